"""What changes parameters after an iteration: update rules, their moving average, similar filters.

An update is minus the sum of the gradients over all pictures of an iteration, which backward passes accumulate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..config.dialect import Dialect
from ..config.sections import Section
from ..kernels.dense import adam_step, sgd_step
from ..layers import Layer
from ..layers.base import Trainable
from ..network.network import Network
from ..utils.arrays import Array
from ..utils.files import StrPath, log

Parameters = Mapping[str, tuple[Layer, Trainable]]  # by their names in checkpoints
UPDATES_AFTER = 1000  # the number of updates after the average has replaced the parameters
SIMILARITY = 0.4  # cosine of two filters
NEAR_HEAD = 3  # layers before a head that are not changed


@dataclass
class SGD:
    """update -= decay * weights; weights += lr / pictures * update; update *= momentum.

    Biases and scales do not decay.
    """

    momentum: float

    def step(
        self, name: str, parameter: Trainable, lr: float, decay: float, pictures: int, count: int
    ) -> None:  # fmt: skip
        """Update one parameter, named as in checkpoints.

        lr: with the layer's own factor. decay: of all pictures, whose gradients were summed. count: of updates,
        by which Adam corrects its bias.
        """
        weights, update = parameter.array.reshape(-1), parameter.update.reshape(-1)
        decay = decay if parameter.decays else 0.0
        sgd_step(weights, update, np.float32(lr / pictures), np.float32(decay), np.float32(self.momentum))

    def state_of(self, name: str, parameter: Trainable) -> dict[str, Array]:
        """What the rule keeps for a parameter, not copied: nothing beside the update."""
        return {}


@dataclass
class Adam:
    """Kingma and Ba, 2015, as in darknet: of the sum of the gradients; biases and scales decay as well."""

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-7
    _moments: dict[str, dict[str, Array]] = field(default_factory=dict, repr=False)

    def step(
        self, name: str, parameter: Trainable, lr: float, decay: float, pictures: int, count: int
    ) -> None:  # fmt: skip
        arrays = parameter.array, parameter.update, *self.state_of(name, parameter).values()
        betas = np.float32(self.beta1), np.float32(self.beta2)
        adam_step(
            *(array.reshape(-1) for array in arrays),
            np.float32(lr),
            np.float32(decay),
            *betas,
            *(np.float32(1 - float(beta) ** count) for beta in betas),
            np.float32(self.epsilon),
        )

    def state_of(self, name: str, parameter: Trainable) -> dict[str, Array]:
        """The running means of a parameter's updates and of their squares."""
        if name not in self._moments:
            self._moments[name] = {kind: np.zeros(parameter.array.shape, np.float32) for kind in ("mean", "square")}
        return self._moments[name]


class Optimizer:
    """Applies the update rule of `[net]` to every parameter that is not frozen."""

    def __init__(self, layers: Sequence[Layer], net: Section, dialect: Dialect) -> None:
        self.momentum, self.decay = net.real("momentum", 0.9), net.real("decay", 0.0001)
        self.rule: SGD | Adam = SGD(self.momentum)
        if net.flag("adam"):
            self.rule = Adam(net.real("B1", 0.9), net.real("B2", 0.999), net.real("eps", dialect.adam_epsilon))
        self.updates = 0  # since the run began; a resumed run continues the count
        self._by_iteration, self._mends = dialect.adam_by_iteration, dialect.mends_updates
        self._clip, self._burn_in = net.real("clip", 0.0), net.natural("burn_in", 0, 1 << 40)
        last = max((i for i, layer in enumerate(layers) if layer.learning_options.norm_only), default=-1)
        self._norm_only = {id(layer) for layer in layers[: last + 1]}

    def step(self, parameters: Parameters, iteration: int, lr: float, pictures: int) -> None:
        """iteration: counted from 1. pictures: whose gradients were summed."""
        self.updates += 1
        count = iteration if self._by_iteration else self.updates
        for name, (layer, parameter) in parameters.items():
            options = layer.learning_options
            waits = iteration <= options.from_iteration or iteration < options.from_burn_in * self._burn_in
            if waits or not layer.training or id(layer) in self._norm_only:
                continue
            self._mend_update(layer, parameter)
            self.rule.step(name, parameter, lr * options.rate, self.decay * pictures, pictures, count)
            limit = options.clip or (self._clip if layer.has_filters else 0.0)
            if limit and parameter.decays:
                np.clip(parameter.array, -limit, limit, out=parameter.array)

    def state_dict(self, parameters: Parameters) -> dict[str, Array]:
        """What the next update needs, besides parameters and updates; not copied."""
        return {
            f"{name}.{kind}": array
            for name, (_, parameter) in parameters.items()
            for kind, array in self.rule.state_of(name, parameter).items()
        }

    def _mend_update(self, layer: Layer, parameter: Trainable) -> None:
        update = parameter.update
        if self._mends and not np.isfinite(update.sum(dtype=np.float64)):
            update[~np.isfinite(update)] = 0
        if layer.learning_options.centred and parameter.decays and getattr(layer, "norm", None) is not None:
            update -= update.mean(axis=(1, 2, 3), keepdims=True)


class MovingAverage:
    """AlexeyAB's `ema_alpha`, for all convolutions: ema = alpha * ema + (1 - alpha) * parameters, after each
    update of a run's second half. Near its end it replaces the parameters.

    max_batches: updates of the whole run. averages: by `parameters`' names, once begun.
    """

    def __init__(self, network: Network, alpha: float, max_batches: int) -> None:
        self.network, self.alpha = network, alpha
        self.first, self.last = max_batches // 2, max_batches - UPDATES_AFTER
        self.averages: dict[str, Array] = {}
        if self.last <= self.first:
            net = network.config.net
            where = f"{net.path}:{net.line}: ema_alpha: with max_batches={max_batches}"
            used = f"after iteration {max(0, self.last)}"
            log.warning("%s the average would be used %s, before it starts; it has no effect", where, used)

    def update(self, number: int) -> bool:
        """Returns whether the averages have replaced the parameters."""
        if number < self.first:
            return False
        current = self.parameters()
        if not self.averages:
            self.averages = {name: array.copy() for name, array in current.items()}
        if number == self.last:
            self._write(current, self.averages)
            return True
        if number < self.last:
            alpha = np.float32(self.alpha)
            for name, array in current.items():
                self.averages[name] *= alpha
                self.averages[name] += (1 - alpha) * array
        return False

    def save(self, path: StrPath) -> None:
        """Write the averages as weights. Raises OutputError."""
        current = self.parameters()
        before = {name: array.copy() for name, array in current.items()}
        self._write(current, self.averages)
        try:
            self.network.save_weights(path)
        finally:
            self._write(current, before)

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Restore nothing, or an array for each of `parameters`, of checked shapes."""
        self.averages = {name: state[name].copy() for name in self.parameters() if state}

    def parameters(self) -> dict[str, Array]:
        """Those of every convolution of its own, by their names in checkpoints."""
        found: dict[str, Array] = {}
        for index, layer in enumerate(self.network.layers):
            trained = layer.trainables() if layer.has_filters else []
            found |= {f"layer.{index}.{parameter.name}": parameter.array for parameter in trained}
        return found

    @staticmethod
    def _write(to: Mapping[str, Array], values: Mapping[str, Array]) -> None:
        for name, array in to.items():
            array[:] = values[name]


def reject_similar(layers: Sequence[Layer], rng: np.random.Generator) -> list[int]:
    """AlexeyAB's `weights_reject_freq`: of two filters of a convolution whose cosine is above SIMILARITY, the
    most similar ones, initialise the first again.

    Not in the first layer, linear convolutions and those near a head. Returns the indices of changed layers.
    """
    changed = []
    for index, layer in enumerate(layers):
        following = layers[index + 1 : index + 1 + NEAR_HEAD]
        if index == 0 or not layer.has_filters or any(other.is_head for other in following):
            continue
        parameters = {record.name: record.array for record in layer.named_parameters()}
        activation = getattr(layer, "activation", None)
        if "weights" not in parameters or len(parameters["weights"]) < 2 or activation is None or activation.is_linear:
            continue
        weights = parameters["weights"]
        pair, cosine = _most_similar(weights.reshape(len(weights), -1))
        if cosine <= SIMILARITY:
            continue
        log.info("layer %d: filters %d and %d are similar (cosine %f)", index, *pair, cosine)
        weights[pair[0]] = np.sqrt(2 / weights[0].size) * (2 * rng.random(weights.shape[1:], np.float32) - 1)
        parameters["biases"][pair[0]] = 0
        if "scales" in parameters:
            parameters["scales"][pair[0]] = 1
        changed.append(index)
    return changed


def _most_similar(filters: np.ndarray) -> tuple[tuple[int, int], float]:
    lengths = np.linalg.norm(filters, axis=1)
    unit = filters / np.where(lengths > 0, lengths, 1)[:, None]
    cosines = unit @ unit.T
    cosines[np.tril_indices(len(filters))] = -np.inf
    first, second = divmod(int(cosines.argmax()), len(filters))
    return (first, second), float(cosines[first, second])
