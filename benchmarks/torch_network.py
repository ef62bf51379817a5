"""A network rebuilt in PyTorch layer by layer, with the same parameters: the peer of training."""

from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pydarknet.layers import INPUT, Layer
from pydarknet.layers.convolution.convolutional import Convolutional
from pydarknet.layers.joins import Route, Shortcut
from pydarknet.layers.resample import Maxpool, Reorg, Reorg3d, Upsample
from pydarknet.network.network import Network

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "linear": nn.Identity,
    "leaky": lambda: nn.LeakyReLU(0.1, inplace=True),
    "relu": lambda: nn.ReLU(inplace=True),
    "relu6": lambda: nn.ReLU6(inplace=True),
    "logistic": nn.Sigmoid,
    "mish": lambda: nn.Mish(inplace=True),
    "swish": lambda: nn.SiLU(inplace=True),
}


class DarknetMaxpool(nn.Module):
    """Max pooling with darknet's padding: a total, whose smaller half is at the top and left."""

    def __init__(self, layer: Maxpool) -> None:
        super().__init__()
        shape, out, before = layer.inputs[0], layer.shape, layer.padding // 2
        below = max(0, (out.height - 1) * layer.stride_y + layer.size - before - shape.height)
        right = max(0, (out.width - 1) * layer.stride_x + layer.size - before - shape.width)
        same = before == below == right
        self.pad = None if same else (before, right, before, below)
        self.pool = nn.MaxPool2d(layer.size, (layer.stride_y, layer.stride_x), before if same else 0)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(x if self.pad is None else functional.pad(x, self.pad, value=float("-inf")))


class DarknetReorg(nn.Module):
    """Space to depth of the input read as c / s^2 channels of s h x s w, as YOLOv2 has it."""

    def __init__(self, layer: Reorg) -> None:
        super().__init__()
        if isinstance(layer, Reorg3d) or layer.reverse or layer.flatten or layer.extra:
            raise NotImplementedError("[reorg] other than YOLOv2's")
        self.stride = layer.stride

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        s = self.stride
        wide = x.reshape(n, c // (s * s), h, s, w, s)
        return wide.permute(0, 3, 5, 1, 2, 4).reshape(n, c * s * s, h // s, w // s)


def _sum(first: Tensor, other: Tensor) -> Tensor:
    """darknet's: of a larger second input pixels are skipped; channels that it lacks stay as they are."""
    _, channels, height, width = first.shape
    step = max(1, other.shape[2] // height)
    part = other[:, :channels, ::step, ::step][:, :, :height, :width]
    return first + functional.pad(part, (0, 0, 0, 0, 0, channels - part.shape[1]))


def _convolution(layer: Convolutional, folded: bool) -> nn.Module:
    window = layer.window
    normalised = layer.norm is not None and not folded
    plain = nn.Conv2d(
        layer.channels, layer.filters, window.size, (window.stride_y, window.stride_x),
        window.padding * window.dilation, window.dilation, layer.groups, bias=not normalised,
    )  # fmt: skip
    weights, biases = layer.weights, layer.biases
    if layer.norm is not None and folded:
        gain, biases = layer.norm.fold(biases)
        weights = weights * gain[:, None, None, None]
    plain.weight.data = torch.from_numpy(weights.copy())
    parts: list[nn.Module] = [plain]
    if normalised:
        assert layer.norm is not None
        norm = nn.BatchNorm2d(layer.filters, eps=1e-5, momentum=0.1)
        norm.weight.data = torch.from_numpy(layer.norm.scales.copy())
        norm.bias.data = torch.from_numpy(biases.copy())
        norm.running_mean = torch.from_numpy(layer.norm.rolling_mean.copy())
        norm.running_var = torch.from_numpy(layer.norm.rolling_variance.copy())
        parts.append(norm)
    else:
        assert plain.bias is not None
        plain.bias.data = torch.from_numpy(biases.copy())
    if layer.blur or layer.xnor or layer.shares is not None or layer.activation.name not in ACTIVATIONS:
        raise NotImplementedError(f"[convolutional] like {layer}")
    return nn.Sequential(*parts, ACTIVATIONS[layer.activation.name]())


class TorchNetwork(nn.Module):
    """Layers in darknet's order; the outputs are those before heads and costs. Raises NotImplementedError for a layer
    that it does not know."""

    def __init__(self, network: Network, folded: bool = False) -> None:
        super().__init__()
        self.steps = [self._step(layer, folded) for layer in network.layers]
        self.parts = nn.ModuleList(step for step in self.steps if isinstance(step, nn.Module))
        self.sources = [layer.sources for layer in network.layers]
        self.wanted = last_layers(network)

    @staticmethod
    def _step(layer: Layer, folded: bool) -> Any:
        if isinstance(layer, Convolutional):
            return _convolution(layer, folded)
        if isinstance(layer, Maxpool):
            return DarknetMaxpool(layer)
        if isinstance(layer, Route):
            return lambda xs: torch.cat([x.chunk(layer.groups, 1)[layer.group_id] for x in xs], 1)
        if isinstance(layer, Shortcut):
            if layer.weights is not None or any(shape.width < layer.shape.width for shape in layer.inputs):
                raise NotImplementedError("[shortcut] with weights, or with a smaller input")
            act = ACTIVATIONS[layer.activation.name]()
            return lambda xs: act(reduce(_sum, xs))
        if isinstance(layer, Upsample) and not layer.reverse and layer.scale == 1:
            return nn.Upsample(scale_factor=layer.stride, mode="nearest")
        if isinstance(layer, Reorg):
            return DarknetReorg(layer)
        if layer.kind in ("avgpool", "avg"):
            return nn.AdaptiveAvgPool2d(1)
        if layer.kind == "dropout":
            return nn.Dropout(layer.probability)  # type: ignore[attr-defined]
        if layer.kind in ("softmax", "soft"):
            return nn.Softmax(1)
        if layer.is_head or layer.has_loss:
            return nn.Identity()
        raise NotImplementedError(f"[{layer.kind}]")

    def forward(self, x: Tensor) -> list[Tensor]:
        values = {INPUT: x}
        for index, (step, sources) in enumerate(zip(self.steps, self.sources, strict=True)):
            inputs = [values[source] for source in sources]
            values[index] = step(inputs[0]) if isinstance(step, nn.Module) else step(inputs)
        return [values[index] for index in self.wanted]


def last_layers(network: Network) -> list[int]:
    """The outputs that the heads read, or that of the network's last layer."""
    if network.heads:
        return [network.layers[head].sources[0] for head in network.heads]
    return [network.output_index]
