"""Heads in training against the recorded losses of the original programs, in a small NumPy trainer of its own."""

import json

import numpy as np
import pytest
from support.files import recorded_parameters

from pydarknet.config.dialect import DIALECTS
from pydarknet.config.sections import read_config
from pydarknet.network.network import Network
from pydarknet.tensor import Layout, Tensor

KINDS = ("train_yolo_", "train_gaussian_", "train_region_", "train_detection_")


class Trainer:
    """Forward, backward and update of the few layers that the recorded cases have; plain order, float64."""

    def __init__(self, folder):
        self.meta = json.loads((folder / "meta.json").read_text())
        config = read_config(folder / "net.cfg")
        self.net = config.net
        self.dialect = DIALECTS[self.meta["dialect"]]
        self.batch = self.meta["mini_batch"]
        self.network = Network(config, self.dialect, batch=self.batch)
        self.network.load_weights(folder / "net.weights")
        self.layers = self.network.layers
        self.parameters, self.updates = [], []
        for layer in self.layers:
            mine = {}
            if layer.kind in ("convolutional", "connected"):
                mine = {"w": layer.weights.astype(float), "b": layer.biases.astype(float)}
                if getattr(layer, "norm", None) is not None:
                    mine["g"] = layer.norm.scales.astype(float)
            self.parameters.append(mine)
            self.updates.append({name: np.zeros_like(array) for name, array in mine.items()})
            if layer.is_head:
                layer.setup([Tensor(Layout(self.batch, layer.inputs[0]))], None)

    def step(self, images, truth, seen):
        """One mini-batch; the reported loss before it is divided by the mini-batch."""
        self.outputs, self.kept, costs = [], [], []
        self.input = images.astype(float)
        for layer, parameters in zip(self.layers, self.parameters, strict=True):
            x = [self.value(source) for source in layer.sources]
            kept = None
            if layer.is_head:
                layer.source_tensors[0].fill(np.ascontiguousarray(x[0].reshape(self.batch, -1), np.float32))
                layer.forward()
                costs.append(layer.loss(truth, self.network.running_size, seen))
                y = layer.values
            elif layer.kind == "route":
                y = np.concatenate(x, axis=1)
            elif layer.kind == "upsample":
                y = x[0].repeat(2, axis=2).repeat(2, axis=3)
            else:
                y, kept = self.forward(layer, parameters, x[0])
            self.outputs.append(y)
            self.kept.append(kept)
        self.backward()
        return np.mean(costs)

    def value(self, source):
        return self.input if source < 0 else self.outputs[source]

    def forward(self, layer, parameters, x):
        if layer.kind == "connected":
            columns, z = x.reshape(self.batch, -1), x.reshape(self.batch, -1) @ parameters["w"].T
            z = z[:, :, None, None]
        else:
            size, stride, pad = layer.window.size, layer.window.stride_x, layer.window.padding
            padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
            columns = np.lib.stride_tricks.sliding_window_view(padded, (size, size), (2, 3))[:, :, ::stride, ::stride]
            z = np.einsum("ncyxij,fcij->nfyx", columns, parameters["w"])
        mean = root = None
        normal = z
        if "g" in parameters:
            mean, variance = z.mean((0, 2, 3), keepdims=True), z.var((0, 2, 3), keepdims=True)
            count = z.size // z.shape[1]
            variance *= count / (count - 1)
            root = np.sqrt(variance + 1e-5) if self.dialect.epsilon_inside_root else np.sqrt(variance) + 1e-6
            normal = (z - mean) / root
            z_out = normal * parameters["g"][:, None, None]
        else:
            z_out = z
        z_out = z_out + parameters["b"][:, None, None]
        name = layer.activation.name
        y = {"leaky": np.where(z_out > 0, z_out, 0.1 * z_out), "linear": z_out, "logistic": 1 / (1 + np.exp(-z_out))}
        slope = {"leaky": np.where(z_out > 0, 1, 0.1), "linear": 1, "logistic": y["logistic"] * (1 - y["logistic"])}
        return y[name], (columns, z, mean, variance if root is not None else None, normal, slope[name])

    def backward(self):
        deltas = [np.zeros_like(y, float) for y in self.outputs]
        for index in reversed(range(len(self.layers))):
            layer, delta = self.layers[index], deltas[index]
            if layer.is_head:
                changes = [layer.loss_delta]
            elif layer.kind == "route":
                edges = np.cumsum([self.value(s).shape[1] for s in layer.sources])[:-1]
                changes = np.split(delta, edges, axis=1)
            elif layer.kind == "upsample":
                n, c, h, w = delta.shape
                changes = [delta.reshape(n, c, h // 2, 2, w // 2, 2).sum((3, 5))]
            else:
                changes = [self.through(layer, self.parameters[index], self.updates[index], self.kept[index], delta)]
            for source, change in zip(layer.sources, changes, strict=True):
                if source >= 0:
                    deltas[source] += change.reshape(deltas[source].shape)

    def through(self, layer, parameters, updates, kept, delta):
        columns, z, mean, variance, normal, slope = kept
        delta = delta * slope
        updates["b"] += delta.sum((0, 2, 3))
        if "g" in parameters:
            updates["g"] += (delta * normal).sum((0, 2, 3))
            delta = delta * parameters["g"][:, None, None]
            root, count = np.sqrt(variance + 1e-5), z.size // z.shape[1]
            by_mean = -delta.sum((0, 2, 3), keepdims=True) / root
            by_variance = -0.5 * root**-3 * (delta * (z - mean)).sum((0, 2, 3), keepdims=True)
            delta = delta / root + 2 * by_variance * (z - mean) / count + by_mean / count
        if layer.kind == "connected":
            updates["w"] += delta[:, :, 0, 0].T @ columns
            return delta[:, :, 0, 0] @ parameters["w"]
        updates["w"] += np.einsum("ncyxij,nfyx->fcij", columns, delta)
        size, stride, pad = layer.window.size, layer.window.stride_x, layer.window.padding
        shape = layer.inputs[0]
        whole = np.zeros((self.batch, shape.channels, shape.height + 2 * pad, shape.width + 2 * pad))
        for i in range(size):
            for j in range(size):
                part = np.einsum("nfyx,fc->ncyx", delta, parameters["w"][:, :, i, j])
                rows, cols = (slice(o, o + n * stride, stride) for o, n in zip((i, j), part.shape[2:], strict=True))
                whole[:, :, rows, cols][:, :, : part.shape[2], : part.shape[3]] += part
        return whole[:, :, pad : pad + shape.height, pad : pad + shape.width]

    def update(self, rate):
        momentum, decay = self.net.real("momentum", 0.9), self.net.real("decay", 0.0001)
        count = self.batch * self.meta["subdivisions"]
        for parameters, updates in zip(self.parameters, self.updates, strict=True):
            for name, array in parameters.items():
                if name == "w":
                    updates[name] -= decay * count * array
                array += rate / count * updates[name]
                updates[name] *= momentum


def rows_of(boxes):
    return np.array([[box[key] for key in ("class", "x", "y", "w", "h")] for box in boxes], np.float32).reshape(-1, 5)


@pytest.mark.parametrize("case", recorded_parameters(KINDS))
def test_losses_of_every_step_are_the_recorded_ones(case):
    folder = case["folder"]
    trainer = Trainer(folder)
    meta, expected = trainer.meta, np.load(folder / "losses.npy")
    truth, images = json.loads((folder / "truth_boxes.json").read_text()), np.load(folder / "images.npy")
    rates, found = np.load(folder / "rates.npy"), []
    for step, (pictures, boxes) in enumerate(zip(images, truth, strict=True)):
        seen = meta["start_seen"] + (step + 1) * meta["mini_batch"]
        found.append(trainer.step(pictures, [rows_of(picture) for picture in boxes], seen))
        if (step + 1) % meta["subdivisions"] == 0:
            trainer.update(rates[step])
    np.testing.assert_allclose(found, expected, rtol=max(1e-4, 10 * meta["sensitivity_loss"]))
