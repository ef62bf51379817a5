"""Training step by step: forward pass, loss and backward pass of mini-batches; an update after `subdivisions`."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from ..config.sections import Config, Section
from ..errors import OptionError
from ..layers import INPUT, Layer
from ..layers.base import Trainable, TrainingProgress
from ..layers.convolution.direct import FLOAT32
from ..layers.heads.yolo_loss import DeltaRejection, YoloLoss
from ..network.memory_plan import Graph, allocate, find_steps, plan_tensors
from ..network.network import Network
from ..runtime.program import pass_under_way
from ..tensor import Layout, Tensor
from ..utils.arrays import Array
from ..utils.files import log
from ..utils.prefetch import interrupts_held
from .lr_schedule import LearningRateSchedule
from .optimizer import MovingAverage, Optimizer, reject_similar
from .state import COUNT, FINITE, FLAG, TABLE, check_arrays, check_generator, check_values

T = TypeVar("T")
_COUNTERS = {
    "seen": COUNT, "steps": COUNT, "updates": COUNT, "average_begun": FLAG, "rejection": TABLE, "random": TABLE,
}  # fmt: skip
_DRAWS = 0xD4A5  # part of the seed, so that draws of layers do not repeat the random numbers of others
WAITING = "Ctrl-C ends the training step when it is complete; a second one ends it at once, and training with it."
HALF_DONE = (
    "a training step was ended while it changed parameters and updates, which may be half changed; expected a network "
    "that is loaded again, or restored from a checkpoint"
)

# Rare options of darknet's GPU and OpenCV builds, by section ("": every layer), with the actual behaviour. An option
# with the value 0 is off.
UNSUPPORTED: Mapping[str, Mapping[str, str]] = {
    "net": {
        "track": "pictures are drawn one by one, not as sequences of frames",
        "contrastive": "pictures are not drawn in pairs",
        "contrastive_jit_flip": "pictures are not drawn in pairs",
        "contrastive_color": "pictures are not drawn in pairs",
        "unsupervised": "classes are those of the labels",
        "adversarial_lr": "there is no adversarial training",
        "attention": "there is no adversarial training",
        "try_fix_nan": "deltas are not limited; a loss that is not finite ends the run",
        "notruth": "layers get the truth",
    },
    "convolutional": {
        "cbn": "statistics are those of each mini-batch, as with batch_normalize",
        "assisted_excitation": "outputs are not raised where objects are",
        "sway": "filters are not rotated",
        "rotate": "filters are not rotated",
        "stretch": "filters are not stretched",
        "stretch_sway": "filters are not stretched",
        "reverse": "updates are not reversed",
        "coordconv": "coordinates are not added",
    },
    "crop": {
        "angle": "pictures are not rotated",
        "saturation": "colours are not changed",
        "exposure": "colours are not changed",
        "shift": "colours are not changed",
    },
    "cost": {"ratio": "all deltas count", "thresh": "all deltas count"},
    "maxpool": {"maxpool_zero_nonmax": "outputs are not changed"},
    "yolo": {"embedding_layer": "embeddings are not trained"},
    "": {"truth": "later layers learn from the labels"},
}
UNTRAINED = {"contrastive": "embeddings are not trained", "iseg": "masks are not trained"}
NEUTRAL = {("crop", "saturation"): 1.0, ("crop", "exposure"): 1.0}
ALIASES = {"conv": "convolutional", "max": "maxpool", "Gaussian_yolo": "yolo"}


class Learner:
    """A network set up for training, with memory for mini-batches of the cfg's size.

    seen: images; each mini-batch counts as one of the cfg's size. parameters: the trainable ones, each with its
    layer, by their names in checkpoints. ema: their moving average, if any. Raises ConfigError, ShapeError, and
    OptionError for another precision than float32.
    """

    def __init__(self, network: Network) -> None:
        if network.precision != FLOAT32:
            raise OptionError(f"precision {network.precision}: training is always in {FLOAT32}")
        net = network.config.net
        for line in unsupported(network.config):
            log.warning("%s", line)
        self.network = network
        self.schedule = LearningRateSchedule.from_section(net)
        self.optimizer = Optimizer(network.layers, net, network.dialect)
        self.subdivisions = net.positive("subdivisions", 1)
        self.mini_batch, self.seen = network.batch, network.header.seen
        alpha = net.real("ema_alpha", 0.0)
        self.ema = MovingAverage(network, alpha, self.schedule.max_batches) if alpha else None
        self._reject_every = net.natural("weights_reject_freq", 0, 1 << 40)
        self._mini_batches, self._half_done = 0, False  # half: a backward pass or an update was interrupted
        self._rng = np.random.default_rng(network.seed)
        self._seed = int(self._rng.integers(1 << 62)) if network.seed is None else network.seed
        self._progress = TrainingProgress(self.update_count, self.schedule.max_batches)
        self._rejection = DeltaRejection.from_section(net)
        options = enumerate(layer.learning_options for layer in network.layers)
        self._stops = [(index, each.stop) for index, each in options if each.stop]
        lasting = [i for i, stop in self._stops if stop == 1 or not network.dialect.stops_for_a_while]
        self._stop_index = max(lasting, default=-1)
        with network.held():
            self._prepare()
        for _, trainable in self.parameters.values():  # of what another learner has left there
            trainable.update.fill(0)

    def _prepare(self) -> None:
        network = self.network
        for index, layer in enumerate(network.layers):
            layer.training = network.dialect.trains_before_stop or index >= self._stop_index
            layer.rng, layer.progress, layer.autotuned = self._rng, self._progress, False
            if isinstance(layer, YoloLoss) and not layer.is_gaussian:
                layer.rejection = self._rejection
        network.rewire()
        input_, batch = network.input, network.batch
        network.announce(input_, batch, train=True)
        graph = Graph(network.layers, input_, network.output_index)
        tensors = allocate(plan_tensors(graph, batch, find_steps(graph, fuse=False), keep_all=True))
        deltas = {i: Tensor(Layout(batch, t.shape)) for i, t in tensors.items() if i > self._stop_index}
        overwriting = _first_delta_writers(graph)
        self._deltas = [delta for owner, delta in deltas.items() if owner not in overwriting]
        self._input = tensors[INPUT]
        self._layers = [layer for layer in network.layers if not layer.is_alias]
        self.parameters: dict[str, tuple[Layer, Trainable]] = {}
        for index, layer in enumerate(network.layers):
            if layer.is_alias:
                continue
            sources = graph.sources(index)
            layer.overwrites = index in overwriting.values()
            layer.setup([tensors[source] for source in sources], tensors.get(index))
            # Layers before stopbackward are not trained, but get a delta, so that they need no special case.
            delta = deltas.get(index) or (Tensor(Layout(layer.batch, layer.shape)) if index in tensors else None)
            layer.setup_training([deltas.get(source) for source in sources], delta)
            for trainable in layer.trainables():
                self.parameters[f"layer.{index}.{trainable.name}"] = layer, trainable
        self._setups = network.setups

    def resize(self, width: int, height: int, batch: int | None = None) -> None:
        """Change the input size in pixels, and the mini-batch (default: the cfg's). Raises ShapeError."""
        batch = self.mini_batch if batch is None else batch
        if (width, height, batch) == (self.network.input.width, self.network.input.height, self.network.batch):
            return
        with self.network.held():
            self.network.resize(width, height, batch)
            with self._uninterrupted():
                self._prepare_again()

    def _prepare_again(self) -> None:
        before = {name: trainable.update for name, (_, trainable) in self.parameters.items()}
        carried = self._carried()
        self._prepare()
        for name, (_, trainable) in self.parameters.items():
            trainable.update[:] = before[name]
        for name, array in self._carried().items():
            if array.shape == carried[name].shape:
                array[:] = carried[name]

    def state_dict(self) -> dict[str, Array]:
        """What a resumed run needs besides parameters, not copied, by the names in docs/training.md."""
        averages = self.ema.averages if self.ema else {}
        return self._own_state() | {f"average.{name}": array for name, array in averages.items()}

    def _own_state(self) -> dict[str, Array]:
        updates = {f"update.{name}": trainable.update for name, (_, trainable) in self.parameters.items()}
        optimizer = {f"optimizer.{name}": a for name, a in self.optimizer.state_dict(self.parameters).items()}
        return updates | optimizer | self._of_layers(lambda layer: layer.state_dict())

    def _of_layers(self, named: Callable[[Layer], Mapping[str, T]]) -> dict[str, T]:
        each = enumerate(self.network.layers)
        return {f"layer.{index}.{name}": value for index, layer in each for name, value in named(layer).items()}

    def _carried(self) -> dict[str, Array]:
        return self._of_layers(lambda layer: layer.carried())

    def load_state_dict(self, state: Mapping[str, Array], counters: Mapping[str, Any]) -> None:
        """Restore `state_dict` and `counters`, of the same size. Raises WeightsError before any change."""
        check_values(counters, _COUNTERS, "training")
        check_values(counters["rejection"], dict.fromkeys(self._rejection.state_dict(), FINITE), "training.rejection")
        generators = self._generators()
        check_values(counters["random"], dict.fromkeys(generators, TABLE), "training.random")
        for name, rng in generators.items():
            check_generator(counters["random"][name], rng, f"training.random.{name}")
        own, averages = self._own_state(), {}
        if self.ema and counters["average_begun"]:
            averages = {f"average.{name}": array for name, array in self.ema.parameters().items()}
        check_arrays(state, own | averages)
        for name, array in own.items():
            array[...] = state[name]
        if self.ema:
            self.ema.load_state_dict({name.removeprefix("average."): state[name] for name in averages})
        self._load_counters(counters)
        self._half_done = False

    def counters(self) -> dict[str, Any]:
        """What belongs to `state_dict`, for JSON."""
        return {
            "seen": self.seen,
            "steps": self._mini_batches,
            "updates": self.optimizer.updates,
            "average_begun": self.ema is not None and bool(self.ema.averages),
            "rejection": self._rejection.state_dict(),
            "random": {name: rng.bit_generator.state for name, rng in self._generators().items()},
        }

    def _load_counters(self, counters: Mapping[str, Any]) -> None:
        self.seen, self._mini_batches, self.optimizer.updates = counters["seen"], counters["steps"], counters["updates"]
        self._progress.done = self.update_count
        self._rejection.load_state_dict(counters["rejection"])
        for name, rng in self._generators().items():
            rng.bit_generator.state = counters["random"][name]

    def _seed_draws(self) -> None:
        """Give each mini-batch random numbers of its own, whichever were drawn before."""
        for number, rng in enumerate(self._generators().values()):
            begin = np.random.default_rng([self._seed, _DRAWS, self._mini_batches, number])
            rng.bit_generator.state = begin.bit_generator.state

    def _generators(self) -> dict[str, np.random.Generator]:
        return {"training": self._rng} | self._of_layers(lambda layer: layer.generators())

    @property
    def first_trained(self) -> int:
        """The index of the first layer that the backward pass may reach."""
        return self._stop_index + 1

    def forget(self, sequence: int) -> None:
        """Set what recurrent layers carry for a sequence of the mini-batch to 0."""
        for array in self._carried().values():
            array[sequence] = 0

    @property
    def update_count(self) -> int:
        """The number of updates, from the images seen."""
        return self.seen // (self.mini_batch * self.subdivisions)

    @property
    def until_update(self) -> int:
        """The number of mini-batches up to the next update, that of the update included."""
        by_seen = self.seen // self.mini_batch
        done = by_seen if self.network.dialect.updates_by_seen else self._mini_batches
        return self.subdivisions - done % self.subdivisions

    def step(self, images: Array, truth: Sequence[Array]) -> float:
        """Train on one mini-batch; parameters are updated after every `subdivisions` of them.

        images: (n, c, h, w) or (n, inputs) float32. truth: an array for each picture. Returns the mean of the
        losses of all layers that have one, each summed over the mini-batch. Raises OptionError for other sizes.
        """
        with self._ready(images, truth):
            return self._pass(images, truth, then=self._end_mini_batch)

    @contextlib.contextmanager
    def _ready(self, images: Array, truth: Sequence[Array]) -> Iterator[None]:
        network = self.network
        array, numbers = np.asarray(images), network.batch * network.input.outputs
        if array.dtype != np.float32 or len(array) != network.batch or array.size != numbers:
            raise OptionError(
                f"images are {array.dtype} of shape {array.shape}; expected float32, a mini-batch of "
                f"{network.batch} x {network.input}"
            )
        if len(truth) != network.batch:
            raise OptionError(f"truth for {len(truth)} pictures; expected {network.batch}")
        with network.held(), pass_under_way():
            if self._half_done:
                raise OptionError(HALF_DONE)
            if network.setups != self._setups:  # an inference pass or another size came between
                with self._uninterrupted():
                    self._prepare_again()
            network.announce(network.input, network.batch, train=True)
            yield

    def _pass(self, images: Array, truth: Sequence[Array], then: Callable[[], None]) -> float:
        with contextlib.ExitStack() as undo:
            before = {name: array.copy() for name, array in self._changed_by_forward().items()}
            undo.callback(self._undo_forward, before, self.counters())
            self._seed_draws()
            self.seen += self.mini_batch
            for delta in self._deltas:
                delta.data.fill(0)
            self._input.fill(np.ascontiguousarray(images))
            loss = self._forward(truth)
            with self._uninterrupted():
                undo.pop_all()
                self._backward()
                then()
        return loss

    def _end_mini_batch(self) -> None:
        self._mini_batches += 1
        for layer in self.network.layers:  # running statistics change without an update, too
            layer.parameters_changed()
        if self.until_update == self.subdivisions:
            self._update()

    def _changed_by_forward(self) -> dict[str, Array]:
        return self._of_layers(lambda layer: {**layer.state_dict(), **running_statistics(layer)})

    def _undo_forward(self, before: Mapping[str, Array], counters: Mapping[str, Any]) -> None:
        with self._uninterrupted():
            self._load_counters(counters)
            for name, array in self._changed_by_forward().items():
                array[...] = before[name]

    @contextlib.contextmanager
    def _uninterrupted(self) -> Iterator[None]:
        """Ctrl-C waits for the end of the block. After anything that ends it earlier, the learner cannot be used."""
        with interrupts_held(lambda: log.warning("%s", WAITING)):
            half_done, self._half_done = self._half_done, True
            yield
            self._half_done = half_done

    def _forward(self, truth: Sequence[Array]) -> float:
        costs = []
        size = self.network.input.width, self.network.input.height
        for layer in self._layers:
            layer.forward_training() if layer.training else layer.forward()
            if layer.has_loss:
                costs.append(layer.loss(truth, size, self.seen))
        return sum(costs) / len(costs) if costs else 0.0

    def _backward(self) -> None:
        stop = max((i for i, until in self._stops if until > self._progress.done), default=self._stop_index)
        for index in reversed(range(max(stop, self._stop_index) + 1, len(self.network.layers))):
            layer = self.network.layers[index]
            if not layer.is_alias and not layer.learning_options.forward_only:
                layer.backward()

    @property
    def lr(self) -> float:
        """The learning rate of the next update."""
        return self.schedule.at(self.update_count)

    def _update(self) -> None:
        number, network = self.update_count, self.network
        self.optimizer.step(self.parameters, number, self.lr, network.batch * self.subdivisions)
        if self.ema:
            self.ema.update(number)
        if self._reject_every and number % self._reject_every == 0 and number < self.schedule.max_batches * 3 // 4:
            reject_similar(network.layers, np.random.default_rng([self._seed, _DRAWS, number]))
        self._progress.done = number
        network.header = replace(network.header, seen=self.seen)


def running_statistics(layer: Layer) -> dict[str, Array]:
    """Those of its batch normalisation, not copied."""
    numbered = enumerate(layer.named_parameters())  # parts of recurrent layers may have equal names
    return {f"{number}.{each.name}": each.array for number, each in numbered if "rolling" in each.name}


def _first_delta_writers(graph: Graph) -> dict[int, int]:
    """Layers whose delta need not be cleared, and their last readers, which write it first."""
    found = {}
    for owner, readers in graph.readers.items():
        last = graph.layers[readers[-1]] if readers else None
        if last and last.can_overwrite and len(last.sources) == 1 and not last.learning_options.forward_only:
            found[owner] = readers[-1]
    return found


def mini_batch(net: Section) -> int:
    """The pictures of one pass: batch / subdivisions, times the length of a sequence."""
    batch, subdivisions = net.positive("batch", 1), net.positive("subdivisions", 1)
    return max(1, batch // subdivisions) * net.positive("time_steps", 1)


def unsupported(config: Config) -> list[str]:
    """A line for each unsupported option or section that is on."""
    lines = []
    for section in [config.net, *config.layers]:
        kind = "net" if section is config.net else ALIASES.get(section.kind, section.kind)
        if kind in UNTRAINED:
            lines.append(_line(section, section.line, "", UNTRAINED[kind]))
        effects = {**UNSUPPORTED[""], **UNSUPPORTED.get(kind, {})}
        for option in section.options:
            neutral = NEUTRAL.get((kind, option.key), 0.0)
            if option.key in effects.keys() - section.foreign and section.real(option.key, 0.0) != neutral:
                lines.append(_line(section, option.line, f" {option.key}={option.value}", effects[option.key]))
    return lines


def _line(section: Section, number: int, option: str, effect: str) -> str:
    return f"{section.path}:{number}: [{section.kind}]{option} is not supported in training: {effect}"
