"""A network: layers built from a .cfg file, with their parameters, run forward at any input size and batch."""

import contextlib
import logging
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..config.dialect import Dialect
from ..config.sections import Config, Section
from ..errors import ConfigError, OptionError, ShapeError
from ..layers import INPUT, BuildContext, Changes, Layer, layer_class
from ..layers.autotune import tuning
from ..layers.convolution.direct import FLOAT32, INT8, checked_precision
from ..layers.workspace import Workspace, using
from ..runtime.compile_ahead import Work, will_run
from ..runtime.forking import hold_at_fork
from ..runtime.program import ENGINE_LOCK
from ..tensor import Shape
from ..utils.arrays import Array, check_memory
from ..utils.files import StrPath, log
from .memory_plan import ExecutionPlan
from .weights import Header, Loaded, Quantization, load_weights, save_weights

FOR_IMAGES = frozenset({
    "avg", "avgpool", "conv", "conv_lstm", "convolutional", "crnn", "crop", "deconv", "deconvolutional",
    "Gaussian_yolo", "local", "local_avg", "local_avgpool", "lrn", "max", "maxpool", "normalization", "region", "reorg",
    "reorg3d", "sam", "scale_channels", "upsample", "yolo",
})  # fmt: skip
LARGEST_SIDE = 1 << 16  # pixels
LARGEST_BATCH = 1 << 20  # sequences of recurrent networks count with all their steps
USUAL_STRIDE = 32  # pixels of the input for each cell of the coarsest head

# What a copy has of its own, besides arrays.
OWN = "layers", "plan", "_changes", "_reshaped", "lock", "_workspace"


class Network:
    """Layers in order, their parameters, and the plan of the last pass.

    Threads: any number of them may use one network; its passes wait for each other, and each call returns copies
    of what its own pass gave. `resize`, `precision`, `load_weights` and other changes take effect between two
    passes. Parameters, memory, and the state of recurrent layers are shared. Who reads `layers`, writes to
    parameters, or makes several calls that belong together holds `lock`. Copies and other networks run at the
    same time.

    Processes: a child made by fork has a network of its own. `pickle` and `copy.deepcopy` copy parameters and
    states.

    Ctrl-C during a pass ends that pass alone. Raises ConfigError and ShapeError, naming file, line and layer.
    """

    def __init__(
        self, config: Config, dialect: Dialect, *, width: int | None = None, height: int | None = None,
        batch: int = 1, seed: int | None = 0,
    ) -> None:  # fmt: skip
        self.config, self.dialect, self.path, self.seed = config, dialect, config.path, seed
        self.header = Header(*dialect.version, 0)
        self.input = network_input(config, width, height)
        self.batch = checked_batch(batch)
        self.loaded: Loaded | None = None
        self.tune = False  # whether ways of computing that are not known yet on this machine are timed
        self.setups = 0  # how often the layers got other shapes or tensors; who sets them up for training compares it
        self._reshaped: tuple[Shape, int] | None = None  # the input and batch of the layers' shapes; None: of several
        self.plan: ExecutionPlan | None = None  # of the last pass, and of the next one of the same shape
        self._changes = Changes()
        self._precision = FLOAT32
        self.quantization: Quantization | None = None  # the ranges of 8-bit layers
        self.layers = build_layers(config, dialect, self.input, self.batch, self._changes)
        self._built = self._reshaped = self.input, self.batch
        self._own()

    def _own(self) -> None:
        self._workspace = Workspace()
        self.lock = threading.RLock()  # what every pass holds (see the class); who holds it may call any method
        hold_at_fork(self.lock)

    def __repr__(self) -> str:
        heads = f", heads {', '.join(map(str, self.heads))}" if self.heads else ""
        return (
            f"<{type(self).__name__} {self.path}: {len(self.layers)} layers, input {self.input}, batch {self.batch}, "
            f"{self.parameter_count:,} parameters{heads}>"
        )

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock; kernels that this thread calls use this scratch memory."""
        with self.lock, using(self._workspace):
            yield

    # --- shapes and memory ---

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)"""
        return self.input.channels, self.input.height, self.input.width

    @property
    def resizable(self) -> bool:
        """Whether the network runs at other input sizes."""
        try:
            self.shapes_at(Shape(self.input.channels, self.input.height + 32, self.input.width + 32))
        except ShapeError:
            return False
        return True

    def shapes_at(self, input_: Shape) -> list[Shape]:
        """What each layer would give for this input. Raises ShapeError where one cannot."""
        shapes: list[Shape] = []
        for layer in self.layers:
            inputs = [input_ if source == INPUT else shapes[source] for source in layer.sources]
            shapes.append(layer.out_shape(inputs))
        return shapes

    @property
    def running_size(self) -> tuple[int, int]:
        """(width, height) of the last pass, which may differ from `input`."""
        input_, _ = self._reshaped or (self.input, self.batch)
        return input_.width, input_.height

    def resize(self, width: int, height: int, batch: int | None = None) -> None:
        """For another input size or batch. Raises ShapeError where the network cannot."""
        input_ = Shape(self.input.channels, checked_side("height", height), checked_side("width", width))
        with self.lock:
            batch = self.batch if batch is None else checked_batch(batch)
            self._run_at(input_, batch)
            self.input, self.batch = input_, batch

    def rewire(self) -> None:
        """Give all layers the shapes for `input` again."""
        with self.lock:
            self._reshape(self.input, self.batch)

    def invalidate(self) -> int:
        """Forget the plan, before others set the layers up. At the next pass, `setups` will be another number."""
        with self.lock:
            self.plan = self._reshaped = None
            self.setups += 1
            return self.setups

    def _run_at(self, input_: Shape, batch: int) -> None:
        if (input_, batch) == self._reshaped:
            return
        before = self._reshaped or (self.input, self.batch)
        try:
            self._reshape(input_, batch)
        except ShapeError:
            self._reshape(*before)
            raise

    def _reshape(self, input_: Shape, batch: int) -> None:
        self.invalidate()
        for layer in self.layers:
            layer.reshape([input_ if s == INPUT else self.layers[s].shape for s in layer.sources], batch)
        self._reshaped = input_, batch

    @property
    def precision(self) -> str:
        """ "float32", "bf16" (AVX-512 BF16), or "int8" (AVX-512 VNNI, after `quantize`), of convolutions at
        inference.

        Setting it raises OptionError where that cannot be.
        """
        return self._precision

    @precision.setter
    def precision(self, precision: str) -> None:
        with self.lock:
            if checked_precision(precision) == INT8 and self.quantization is None:
                raise OptionError("precision int8: needs the ranges that `pydarknet quantize` measures on pictures")
            self._precision = precision
            self.plan = None

    def quantize(self, quantization: Quantization) -> None:
        """Use these ranges for "int8". Raises WeightsError where they are of other weights."""
        with self.lock:
            quantization.apply(self.layers)
            self.quantization, self.plan = quantization, None

    # --- parameters ---

    def initialise(self, layers: Sequence[Layer] | None = None) -> None:
        """darknet's initial values, from the seed, by default for all layers."""
        rng = np.random.default_rng(self.seed)
        with self.lock:
            for layer in self.layers if layers is None else layers:
                try:
                    layer.initialise(rng, self.dialect)
                except MemoryError:
                    count = sum(array.size for array in layer.parameters())
                    wrong = f"has {count} parameters, too many for this machine's memory"
                    raise layer.section.shape_error(wrong) from None
            self.parameters_changed()

    def load_weights(self, source: StrPath | bytes, allow_partial: bool = False) -> Loaded:
        """See `weights.load_weights`; layers that a partial file lacks are initialised."""
        with self.lock:
            # Layers of whose record the file is said to lack something start from their initial values.
            self.initialise([layer for layer in self.layers if not layer.record_options.is_whole])
            loaded = load_weights(source, self.layers, allow_partial)
            self.header = loaded.header
            self.initialise(self.layers[loaded.layers :])
            if self.quantization:  # of other weights, ranges would be wrong without a word
                self.quantization.apply(self.layers)
        return loaded

    def save_weights(self, path: StrPath, cutoff: int | None = None) -> None:
        """All, or the first `cutoff` layers. Raises OutputError, OptionError."""
        if cutoff is not None and not 0 <= cutoff <= len(self.layers):
            raise OptionError(f"cutoff {cutoff}: expected a number from 0 to {len(self.layers)}, the number of layers")
        with self.lock:
            save_weights(path, self.layers[:cutoff], self.header)

    def parameters_changed(self) -> None:
        """To be called after writing to a layer's parameters: filters are packed anew."""
        with self.lock:
            self.plan = None
            for layer in self.layers:
                layer.parameters_changed()

    def reset_state(self) -> None:
        """Forget what recurrent layers keep from call to call."""
        with self.lock:
            for layer in self.layers:
                layer.reset_state()

    @property
    def parameter_count(self) -> int:
        """Numbers in a full .weights file."""
        return sum(array.size for layer in self.layers for array in layer.parameters())

    # --- copies ---

    def __getstate__(self) -> dict[str, Any]:
        with self.lock:
            kept = {name: value for name, value in vars(self).items() if name not in OWN}
            arrays = [[array.copy() for array in layer.parameters()] for layer in self.layers]
            states = [
                {name: array.copy() for name, array in getattr(layer, "states", {}).items()} for layer in self.layers
            ]
            return kept | {"arrays": arrays, "states": states}

    def __setstate__(self, state: dict[str, Any]) -> None:
        arrays, states = state.pop("arrays"), state.pop("states")
        vars(self).update(state)
        self.plan, self._changes = None, Changes()
        with without_warnings():  # the original has given them
            self.layers = build_layers(self.config, self.dialect, *self._built, self._changes)
        self._reshaped = self._built
        self._own()
        self._run_at(self.input, self.batch)
        for layer, copies, kept in zip(self.layers, arrays, states, strict=True):
            getattr(layer, "states", {}).update(kept)
            for array, values in zip(layer.parameters(), copies, strict=True):
                array[...] = values
        if self.quantization:
            self.quantization.give_ranges(self.layers)

    # --- running ---

    @property
    def heads(self) -> list[int]:
        """Indices of the layers that decode boxes."""
        return [index for index, layer in enumerate(self.layers) if layer.is_head]

    @property
    def output_index(self) -> int:
        """The last layer that is not a cost."""
        return next((i for i in reversed(range(len(self.layers))) if self.layers[i].gives_output), len(self.layers) - 1)

    def forward(self, x: Array) -> list[Array]:
        """(n, c, h, w) float32 RGB in 0..1, or (n, inputs), to one array per head, or that of the last layer.

        Another batch or input size sets the network up anew. The arrays are copies, (n, c, h, w), or (n,
        outputs) where the layer's order is not channel by channel. Raises OptionError and ShapeError.
        """
        with self._planned(x, keep_all=False) as (plan, array):
            plan.run(array)
            return [plan.read(index) for index in self.heads or [self.output_index]]

    def layer_outputs(self, x: Array) -> list[Array | None]:
        """Of every layer, as `forward` gives the last; None where a layer has none."""
        with self._planned(x, keep_all=True) as (plan, array):
            plan.run(array)
            return [plan.read(index) if layer.gives_output else None for index, layer in enumerate(self.layers)]

    def layer_seconds(self, x: Array) -> dict[int, float]:
        """Of each layer in a forward pass, by its index; INPUT: to bring in the input."""
        with self._planned(x, keep_all=False) as (plan, array):
            index_of = {layer: index for index, layer in enumerate(self.layers)}
            return dict(zip([INPUT, *(index_of[layer] for layer in plan.steps)], plan.run_timed(array), strict=True))

    def prepare(self, shape: tuple[int, ...]) -> None:
        """Set all up, so that `forward` only computes. Raises OptionError, ShapeError."""
        with self.held():
            self._run_at(*self._checked(shape))
            if self.plan is None:
                self._make_plan(keep_all=False)

    def _checked(self, shape: tuple[int, ...]) -> tuple[Shape, int]:
        expected = self.input
        if len(shape) == 4 and shape[1] == expected.channels:
            input_ = Shape(shape[1], checked_side("height", shape[2]), checked_side("width", shape[3]))
        elif len(shape) == 2 and shape[1] == expected.outputs:
            input_ = expected
        else:
            raise OptionError(
                f"the input has shape {shape}; expected (n, {expected.channels}, {expected.height}, {expected.width}) "
                f"or (n, {expected.outputs})"
            )
        return input_, checked_batch(shape[0])

    @contextlib.contextmanager
    def _planned(self, x: Array, keep_all: bool) -> Iterator[tuple[ExecutionPlan, Array]]:
        array = np.asarray(x)
        if array.dtype != np.float32:
            raise OptionError(f"the input is {array.dtype}; expected float32 (values from 0 to 1)")
        array = np.require(array, requirements=("C", "A"))
        with self.held():
            self.prepare(array.shape)
            assert self.plan is not None
            if self.plan.keeps_all != keep_all:
                self._make_plan(keep_all)
            elif self._changes.parameters_dirty:
                with ENGINE_LOCK:
                    self.plan = self.plan.with_new_parameters()
                self._changes.parameters_dirty = False
            yield self.plan, array

    def announce(self, input_: Shape, batch: int, train: bool = False) -> None:
        """Say what is about to run: kernels that it lacks are compiled by several processes."""
        will_run(Work(self.path, self.dialect.name, input_.width, input_.height, batch, self._precision, train))

    def _make_plan(self, keep_all: bool) -> None:
        self.plan = None  # whatever happens below, layers are no longer bound to its tensors
        self.setups += 1
        input_, batch = self._reshaped or (self.input, self.batch)
        self.announce(input_, batch)
        with ENGINE_LOCK, tuning.measured() if self.tune else contextlib.nullcontext():
            self.plan = ExecutionPlan.make(self.layers, input_, batch, self.output_index, self.precision, keep_all)
        self._changes.parameters_dirty = False

    @property
    def ops(self) -> int:
        """Floating-point operations of one picture, in darknet's count."""
        return sum(layer.operations(self.dialect) for layer in self.layers)


# --- layers from a cfg ---


def network_input(config: Config, width: int | None = None, height: int | None = None) -> Shape:
    """By `[net]`, or of this width and height in pixels. Raises ConfigError, OptionError."""
    net = config.net
    h = net.natural("height", 0) if height is None else checked_side("height", height)
    w = net.natural("width", 0) if width is None else checked_side("width", width)
    channels = net.natural("channels", 0)
    if height is not None or width is not None:
        net.ignore("height", "width")
    if not (h and w and channels):
        inputs = net.natural("inputs", 0)
        if not inputs:
            raise net.error(
                f"No input parameters supplied: width={w}, height={h}, channels={channels}; expected all three, or "
                "inputs"
            )
        return Shape(inputs)
    for name, value in (("height", h), ("width", w), ("channels", channels)):
        if value > LARGEST_SIDE:
            raise net.error(f"{name}={value}: expected at most {LARGEST_SIDE}", name)
    return Shape(channels, h, w)


def checked_side(name: str, value: int) -> int:
    """A width or height in pixels. Raises OptionError for one that no network can have."""
    if not isinstance(value, (int, np.integer)) or not 1 <= value <= LARGEST_SIDE:
        raise OptionError(f"{name} {value}: expected a number of pixels from 1 to {LARGEST_SIDE}")
    return value


def checked_batch(batch: int) -> int:
    """Raises OptionError for a batch size that no network can have."""
    if not 1 <= batch <= LARGEST_BATCH:
        raise OptionError(f"batch {batch}: expected a number from 1 to {LARGEST_BATCH}")
    return batch


def build_layers(config: Config, dialect: Dialect, input_: Shape, batch: int, changes: Changes) -> list[Layer]:
    """Options that no layer reads are logged as warnings. Raises ConfigError and ShapeError.

    changes: by which the layers tell their network of new parameters.
    """
    config.net.foreign = dialect.foreign_keys("net")
    config.net.ignore(*dialect.net_keys)
    for line in config.net.unused():
        log.warning("%s", line)
    layers: list[Layer] = []
    parameters = 0
    for index, section in enumerate(config.layers):
        section.foreign = dialect.foreign_keys(section.kind)
        try:
            cls = layer_class(section.kind, dialect)
        except ConfigError as error:
            raise section.error(str(error)) from None
        context = BuildContext(index, layers, input_, dialect, config.net)
        _check_input(section, context)
        layer = cls.from_section(section, context)
        layer.changes = changes
        layer.reshape([context.shape(source) for source in layer.sources], batch)
        layers.append(layer)
        parameters += sum(array.size for array in layer.parameters())
        check_memory(8 * parameters, f"{config.path}: the parameters of layers 0 to {index}")
        for line in section.unused():
            log.warning("%s", line)
    return layers


def _check_input(section: Section, context: BuildContext) -> None:
    """Raise ShapeError if a layer for images follows a [route] of different sizes, usually because the input
    size is not a multiple of the network's stride."""
    if context.index == 0 or section.kind not in FOR_IMAGES:
        return
    route = context.layers[-1]
    shapes = [context.shape(index) for index in route.sources]
    if route.section.kind != "route" or len({(shape.height, shape.width) for shape in shapes}) == 1:
        return
    listed = ", ".join(f"layer {index}: {shape}" for index, shape in zip(route.sources, shapes, strict=True))
    width, height = context.input.width, context.input.height
    raise route.section.shape_error(
        f"layers differ in size: {listed} (width x height x channels), and layer {context.index} [{section.kind}] "
        f"needs an image{input_size_hint(width, height)}",
        "layers",
    )


def input_size_hint(width: int, height: int) -> str:
    """For an error about sizes, if the input's are unusual."""
    if width % USUAL_STRIDE == height % USUAL_STRIDE == 0:
        return ""
    return f"; the input has {width} x {height} pixels; most networks need multiples of {USUAL_STRIDE}"


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Within the block, the warnings of this thread are dropped."""
    here = threading.get_ident()

    def is_another(record: logging.LogRecord) -> bool:
        return record.thread != here

    log.addFilter(is_another)
    try:
        yield
    finally:
        log.removeFilter(is_another)
