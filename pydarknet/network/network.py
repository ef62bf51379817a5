"""A network: layers built from a .cfg file, bound to memory for one batch and input size, run forward."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import Any

import numpy as np

from ..config.dialect import Dialect
from ..config.sections import Config
from ..errors import OptionError, ShapeError
from ..layers import INPUT, Changes, Layer
from ..layers.autotune import tuning
from ..layers.convolution.bf16 import FLOAT32, checked_precision
from ..runtime.program import Call, fuse_calls
from ..tensor import Shape, Tensor
from ..utils.arrays import Array
from .builder import build_layers
from .input_size import checked_batch, checked_side, network_input
from .memory_plan import find_fusions, lay_out, owner_of, set_precision
from .weights import Header, Loaded, load_weights, save_weights

ONE_AT_A_TIME = threading.RLock()  # compiled kernels share one pool of threads


class Network:
    """Layers in order, their parameters, and the memory they run in.

    Not for several threads at once: a network's buffers belong to one forward pass.
    """

    def __init__(
        self,
        config: Config,
        dialect: Dialect,
        *,
        width: int | None = None,
        height: int | None = None,
        batch: int = 1,
        seed: int | None = 0,
    ) -> None:
        """Build the layers. Raises ConfigError and ShapeError, naming file, line and layer."""
        self.config, self.dialect = config, dialect
        self.path = config.path
        self.seed = seed
        self.header = Header(*dialect.version, 0)
        self.input = self._running = network_input(config, width, height)
        self.batch = self._running_batch = checked_batch(batch)
        self.loaded: Loaded | None = None
        self._tensors: list[Tensor | None] = []
        self._steps: list[Layer] = []
        self._calls: list[Call] = []  # what the steps do, as it is run
        self._changes = Changes()
        self._input_tensor: Tensor | None = None
        self._keeps_all = False
        self.tune = False  # whether ways of computing that are not known yet on this machine are timed
        self._precision = FLOAT32
        self.layers = build_layers(config, dialect, self.input, self.batch, self._changes)

    # --- shapes and memory -------------------------------------------------------------------------------------------

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the input the network is set up for."""
        return self.input.channels, self.input.height, self.input.width

    @property
    def resizable(self) -> bool:
        """Whether the network runs at other input sizes: nothing in it counts its inputs."""
        try:
            self._shapes(Shape(self.input.channels, self.input.height + 32, self.input.width + 32))
        except ShapeError:
            return False
        return True

    def _shapes(self, input_: Shape) -> list[Shape]:
        shapes: list[Shape] = []
        for layer in self.layers:
            inputs = [input_ if source == INPUT else shapes[source] for source in layer.sources]
            shapes.append(layer.out_shape(inputs))
        return shapes

    @property
    def running_size(self) -> tuple[int, int]:
        """(width, height) in pixels of the last forward pass, which may differ from the size the network is set up
        for."""
        return self._running.width, self._running.height

    def resize(self, width: int, height: int, batch: int | None = None) -> None:
        """Set the network up for another input size or batch; parameters stay. Raises ShapeError where it cannot."""
        input_ = Shape(self.input.channels, checked_side("height", height), checked_side("width", width))
        batch = self.batch if batch is None else checked_batch(batch)
        self._run_at(input_, batch)
        self.input, self.batch = input_, batch

    def _run_at(self, input_: Shape, batch: int) -> None:
        """Give all layers the shapes for this input and batch; memory is laid out anew before the next pass."""
        if (input_, batch) == (self._running, self._running_batch):
            return
        before = (self._running, self._running_batch)
        try:
            self._reshape(input_, batch)
        except ShapeError:
            self._reshape(*before)
            raise

    def _reshape(self, input_: Shape, batch: int) -> None:
        self._running, self._running_batch = input_, batch
        self._tensors = []
        for layer in self.layers:
            layer.reshape([input_ if s == INPUT else self.layers[s].shape for s in layer.sources], batch)

    def _plan(self, keep_all: bool) -> None:
        """Allocate the tensors between the layers and set the layers up."""
        tensors = lay_out(self.layers, self._running, self._running_batch, self.output_index, keep_all)
        set_precision(self.layers, self.precision)
        absorbed = {} if keep_all else find_fusions(self.layers, self.output_index)
        self._input_tensor = tensors[INPUT]
        self._tensors = [tensors.get(owner_of(self.layers, index)) for index in range(len(self.layers))]
        self._keeps_all = keep_all
        taken = {i for run in absorbed.values() for i in run}
        steps = [(i, layer) for i, layer in enumerate(self.layers) if not layer.is_alias and i not in taken]
        self._steps = [layer for _, layer in steps]
        with tuning.measured() if self.tune else contextlib.nullcontext():
            for index, layer in steps:
                run = absorbed.get(index, [])
                layer.fused = [self.layers[i] for i in run]
                sources = [*layer.sources, *(self.layers[run[-1]].sources[1:] if run else ())]
                output = self._tensors[run[-1] if run else index]
                layer.setup([tensors[owner_of(self.layers, source)] for source in sources], output)
        self._bind()

    def _bind(self) -> None:
        """Gather what the steps do; what needs no Python between them becomes one call."""
        self._calls = fuse_calls([call for layer in self._steps for call in layer.calls()])
        self._changes.parameters_dirty = False

    def __getstate__(self) -> dict[str, Any]:
        """A copy lays out memory of its own."""
        return vars(self) | {"_tensors": [], "_calls": []}

    @property
    def precision(self) -> str:
        """What direct convolutions multiply at inference: "float32", or "bf16" on a processor with AVX-512 BF16.
        Setting it raises OptionError where that cannot be."""
        return self._precision

    @precision.setter
    def precision(self, precision: str) -> None:
        self._precision = checked_precision(precision)
        self._tensors = []

    # --- parameters --------------------------------------------------------------------------------------------------

    def initialise(self, first: int = 0) -> None:
        """Give the layers from `first` on darknet's initial values, from the seed."""
        rng = np.random.default_rng(self.seed)
        for layer in self.layers[first:]:
            layer.initialise(rng, self.dialect)
        self.parameters_changed()

    def load_weights(self, path: str | os.PathLike[str], allow_partial: bool = False) -> Loaded:
        """Read a .weights file; layers that a partial one does not reach are initialised. Raises WeightsError."""
        self._initialise_unstored()
        loaded = load_weights(path, self.layers, allow_partial)
        self.header = loaded.header
        if loaded.layers < len(self.layers):
            self.initialise(loaded.layers)
        self.parameters_changed()
        return loaded

    def _initialise_unstored(self) -> None:
        """Layers of whose record the file is said to lack something start from their initial values."""
        rng = np.random.default_rng(self.seed)
        for layer in self.layers:
            if not layer.record_options.is_whole:
                layer.initialise(rng, self.dialect)

    def save_weights(self, path: str | os.PathLike[str], cutoff: int | None = None) -> None:
        """Write all parameters, or those of the first `cutoff` layers. Raises OutputError, OptionError."""
        if cutoff is not None and not 0 <= cutoff <= len(self.layers):
            raise OptionError(f"cutoff {cutoff}: expected a number from 0 to {len(self.layers)}, the number of layers")
        save_weights(path, self.layers[:cutoff], self.header)

    def parameters_changed(self) -> None:
        """Derive packed filters anew before the next pass; to be called after writing to a layer's parameters."""
        for layer in self.layers:
            layer.parameters_changed()
        self._tensors = []

    def rewire(self) -> None:
        """Give all layers the shapes of the set-up again, after some have changed their part."""
        self._reshape(self.input, self.batch)

    def reset_state(self) -> None:
        """Forget what recurrent layers keep from call to call."""
        for layer in self.layers:
            layer.reset_state()

    # --- running -----------------------------------------------------------------------------------------------------

    @property
    def heads(self) -> list[int]:
        """Indices of the layers that decode boxes."""
        return [index for index, layer in enumerate(self.layers) if layer.is_head]

    @property
    def output_index(self) -> int:
        """The layer that gives the network's output: the last one that is not a cost."""
        return next((i for i in reversed(range(len(self.layers))) if self.layers[i].gives_output), len(self.layers) - 1)

    def forward(self, x: Array) -> list[Array]:
        """(n, c, h, w) float32 RGB in 0..1, or (n, inputs), to one array per head, or that of the last layer.

        Another batch or input size than the network was set up for sets it up anew. The arrays are copies, (n, c, h,
        w), or (n, outputs) where the layer's order is not channel by channel.
        """
        self._run(x, keep_all=False)
        return [self._values(index) for index in self.heads or [self.output_index]]

    def layer_outputs(self, x: Array) -> list[Array | None]:
        """The output of every layer, as `forward` gives the last; None where a layer has none."""
        self._run(x, keep_all=True)
        return [self._values(index) if layer.gives_output else None for index, layer in enumerate(self.layers)]

    def prepare(self, shape: tuple[int, ...]) -> None:
        """Set everything up for inputs of this shape, (n, c, h, w) or (n, inputs), so that `forward` only computes.

        Raises OptionError, ShapeError.
        """
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
        with ONE_AT_A_TIME:
            self._run_at(input_, checked_batch(shape[0]))
            if not self._tensors:
                self._plan(keep_all=False)

    def _run(self, x: Array, keep_all: bool) -> None:
        array = np.asarray(x)
        if array.dtype != np.float32:
            raise OptionError(f"the input is {array.dtype}; expected float32 (values from 0 to 1)")
        with ONE_AT_A_TIME:
            self.prepare(array.shape)
            if keep_all != self._keeps_all:
                self._plan(keep_all)
            assert self._input_tensor is not None
            self._input_tensor.fill(np.require(array, requirements=("C", "A")))
            if self._changes.parameters_dirty:
                self._bind()
            for call in self._calls:
                call()
            self._input_tensor.release()

    def layer_seconds(self, x: Array) -> dict[int, float]:
        """A forward pass with a clock: what each layer that computes took, by its index, in seconds. INPUT stands for
        bringing the input into the engine's layout."""
        array = np.require(x, requirements=("C", "A"))
        index_of = {layer: index for index, layer in enumerate(self.layers)}
        with ONE_AT_A_TIME:
            self.prepare(array.shape)
            assert self._input_tensor is not None
            clock = [time.perf_counter()]
            self._input_tensor.fill(array)
            clock.append(time.perf_counter())
            for layer in self._steps:
                layer.forward()
                clock.append(time.perf_counter())
            self._input_tensor.release()
        indices = [INPUT, *(index_of[layer] for layer in self._steps)]
        return {index: after - before for index, before, after in zip(indices, clock, clock[1:], strict=False)}

    def _values(self, index: int) -> Array:
        layer, tensor = self.layers[index], self._tensors[index]
        owner = owner_of(self.layers, index)
        if owner != INPUT and self.layers[owner].keeps_nchw_output:
            values = self.layers[owner].values.copy()  # type: ignore[attr-defined]
        else:
            assert tensor is not None
            values = tensor.plain()
        if layer.order_is_nchw and layer.shape.cells > 1:
            return values.reshape(self._running_batch, layer.shape.channels, layer.shape.height, layer.shape.width)
        return values

    @property
    def ops(self) -> int:
        """Floating-point operations of one picture, as darknet counts them."""
        return sum(layer.operations(self.dialect) for layer in self.layers)

    @property
    def parameter_count(self) -> int:
        """Numbers in a full .weights file."""
        return sum(record.array.size for layer in self.layers for record in layer.named_parameters())
