"""Layers with a loss: `[softmax]`, `[logistic]`, `[cost]`, `[contrastive]`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..config.names import WordTree, read_tree, softmax_groups
from ..config.sections import Section, flag, real
from ..kernels.reorder import softmax_planes, softmax_rows, unpack
from ..runtime.program import Call, KernelCall
from ..tensor import Shape, Tensor
from ..utils.arrays import Array
from .activations import LOGISTIC
from .base import BuildContext, Layer, NchwLayer, sizes
from .simple import Empty

MASKED = np.float32(-1234)  # darknet's mark for truths that do not count
COST_TYPES = ("sse", "masked", "smooth", "L1")
_TINY = np.float32(1e-38)  # keeps logarithms finite


def stacked_truth(layer: Layer, truth: Sequence[Array]) -> Array:
    """(batch, inputs): one array per sample. Raises ShapeError for other sizes."""
    expected = layer.inputs[0].outputs
    rows = [np.asarray(values, np.float32).reshape(-1) for values in truth]
    for number, row in enumerate(rows):
        if row.size != expected:
            raise layer.section.shape_error(
                f"compares its {expected} inputs with the truth, but the truth of sample {number} has {row.size} "
                "numbers"
            )
    return np.stack(rows)


def tree_of(section: Section) -> WordTree | None:
    """The word tree that `tree=` names. Raises DataError."""
    return read_tree(path) if (path := section.file("tree")) else None


@dataclass(kw_only=True, eq=False, repr=False)
class Softmax(NchwLayer):
    """e^(x / T) / sum of e^(x / T), with the temperature T.

    The sum is over each of `groups` equal slices of the input; with `spatial` over the channels of each pixel;
    with `tree` over each set of siblings.
    """

    row = "softmax                                        {x.outputs:4d}"
    groups: int
    temperature: float
    tree: WordTree | None
    spatial: bool = flag()
    noloss: bool = flag()

    @property
    def has_loss(self) -> bool:  # type: ignore[override]
        return not self.noloss

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> "Softmax":
        inputs = context.before.outputs
        groups = section.positive("groups", 1)
        if inputs % groups:
            raise section.shape_error(f"groups={groups} does not divide its {inputs} inputs", "groups")
        temperature = section.real("temperature", 1.0)
        if np.float32(temperature) == 0:
            shown = f"temperature={section.text('temperature')}"
            raise section.error(f"{shown}: expected another number, by which inputs are divided", "temperature")
        tree = tree_of(section)
        if tree is not None and len(tree.names) != inputs:
            raise section.shape_error(f"tree has {len(tree.names)} nodes, but the layer reads {inputs} values", "tree")
        return cls.build(section, context, groups=groups, temperature=temperature, tree=tree)

    def bind(self) -> Sequence[Call]:
        if self.tree is not None:
            return [self.forward_in_python]
        (source,), x, y = self.source_tensors, self.nchw_inputs[0].reshape(-1), self.values.reshape(-1)
        batch, shape, temperature = len(self.values), source.shape, np.float32(self.temperature)
        unpacked = KernelCall(unpack, source.data, source.planes, shape.channels, x)
        if self.spatial:
            starts, sums = np.arange(batch) * shape.outputs, np.empty(2 * batch * shape.cells, np.float32)
            sizes = shape.channels, shape.cells, shape.cells
            softmax = KernelCall(softmax_planes, x, y, starts, *sizes, temperature, sums)
        else:
            rows = batch * self.groups
            softmax = KernelCall(softmax_rows, x, y, rows, len(x) // rows, temperature)
        return [unpacked, softmax, *self.pack_calls()]

    def compute(self, x: Array, y: Array) -> None:
        assert self.tree is not None
        y[:] = softmax_groups(np.ascontiguousarray(x.T), self.tree).T

    def loss(self, truth: Sequence[Array], network_size: tuple[int, int], seen: int) -> float:
        """Cross entropy, without elements of -1234; the delta of x is truth - p."""
        target, p = stacked_truth(self, truth), self.values
        counted = target != MASKED
        self.value_deltas[:] = np.where(counted, target - p, np.float32(0))
        positive = counted & (target != 0)
        with np.errstate(divide="ignore"):
            return float(-np.log(p[positive], dtype=np.float64).sum()) if self.has_loss else 0.0


@dataclass(kw_only=True, eq=False, repr=False)
class Logistic(NchwLayer):
    """`[logistic]`: 1 / (1 + e^-x), with a cross-entropy loss in training."""

    row = "logistic x entropy                             {x.outputs:4d}"
    has_loss = True

    def compute(self, x: Array, y: Array) -> None:
        y[:] = x
        LOGISTIC.apply_nchw(y)

    def loss(self, truth: Sequence[Array], network_size: tuple[int, int], seen: int) -> float:
        """Binary cross entropy; the delta of x is truth - p."""
        target, p = stacked_truth(self, truth), self.values
        self.value_deltas[:] = target - p
        entropy = target * np.log(np.maximum(p, _TINY)) + (1 - target) * np.log(np.maximum(1 - p, _TINY))
        return float(-entropy.sum(dtype=np.float64))


@dataclass(kw_only=True, eq=False, repr=False)
class Cost(Empty):
    """`[cost]`: the difference d = truth - x of its source, as a loss; computes nothing at inference.

        sse      sum of d^2, with delta d
        masked   the same without the elements whose truth is -1234
        smooth   d^2 where |d| < 1, else 2 |d| - 1, with delta d or its sign (Huber's loss)
        L1       sum of |d|, with delta the sign of d

    Deltas are multiplied by `scale`.
    """

    row = "cost                                           {x.outputs:4d}"
    gives_output = False
    has_loss = True
    cost_type: str = "sse"
    smooth_sign: float = 1.0  # of a smooth delta beyond 1, which is wrong in pjreddie's darknet
    scale: float = real(1.0)
    smoothing: float = real(key="smooth")  # the share of the truth that is spread evenly over its elements

    @property
    def is_alias(self) -> bool:  # type: ignore[override]
        return not self.training

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> Layer:
        section.ignore("ratio", "noobj", "thresh")
        name = section.text("type", "sse") or "sse"
        if name not in COST_TYPES:
            section.warn(f"Couldn't find cost type {name}, going with SSE")
        return cls.build(section, context, cost_type=name, smooth_sign=context.dialect.smooth_cost_sign)

    def loss(self, truth: Sequence[Array], network_size: tuple[int, int], seen: int) -> float:
        x = self.source_tensors[0].plain()
        target = stacked_truth(self, truth)
        if self.smoothing:
            target = target * np.float32(1 - self.smoothing) + np.float32(self.smoothing / target.shape[1])
        difference = target - x
        if self.cost_type == "masked":
            difference[target == MASKED] = 0
        if self.cost_type == "smooth":
            small = np.abs(difference) < 1
            delta = np.where(small, difference, np.sign(difference) * np.float32(self.smooth_sign))
            cost = np.where(small, difference**2, 2 * np.abs(difference) - 1)
        elif self.cost_type == "L1":
            delta, cost = np.where(difference > 0, np.float32(1), np.float32(-1)), np.abs(difference)
        else:
            delta, cost = difference, difference**2
        self.loss_delta = delta * np.float32(self.scale)
        return float(cost.sum(dtype=np.float64))

    def add_gradient(self, target: Tensor) -> None:
        target.add_plain(self.loss_delta)


@dataclass(kw_only=True, eq=False, repr=False)
class Contrastive(Empty):
    """`[contrastive]`: a loss on embeddings, which is not trained here."""

    gives_output = False
    classes: int
    anchors: int  # of the [yolo] layer whose embeddings it reads, 0 without one

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> Layer:
        section.ignore("temperature", "cls_normalizer", "max_delta", "contrastive_neg_max")
        index = section.integer("yolo_layer", 0)
        index += context.index if index < 0 else 0
        head = context.layers[index] if 0 < index < context.index else None
        classes = getattr(head, "classes", section.positive("classes", 1000))
        return cls.build(section, context, classes=classes, anchors=len(getattr(head, "mask", ())))

    def table_row(self) -> str:
        x, count = self.inputs[0], max(1, self.anchors)
        row = (
            f"contrastive {sizes(Shape(count, x.height, x.width))} x emb_size {x.channels // count:4d} x batch: "
            f"{self.batch:4d}  classes = {self.classes:4d}, step = {self.batch * count * x.cells:4d} "
        )
        return row + "\ndetection " if self.anchors else row
