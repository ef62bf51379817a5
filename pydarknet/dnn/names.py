"""OpenCV's names and numbers: of backends and targets, and of layers as OpenCV 4's Darknet importer named them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..layers import INPUT, Layer

(
    DNN_BACKEND_DEFAULT,
    DNN_BACKEND_HALIDE,
    DNN_BACKEND_INFERENCE_ENGINE,
    DNN_BACKEND_OPENCV,
    DNN_BACKEND_VKCOM,
    DNN_BACKEND_CUDA,
    DNN_BACKEND_WEBNN,
    DNN_BACKEND_TIMVX,
    DNN_BACKEND_CANN,
) = range(9)
(
    DNN_TARGET_CPU,
    DNN_TARGET_OPENCL,
    DNN_TARGET_OPENCL_FP16,
    DNN_TARGET_MYRIAD,
    DNN_TARGET_VULKAN,
    DNN_TARGET_FPGA,
    DNN_TARGET_CUDA,
    DNN_TARGET_CUDA_FP16,
    DNN_TARGET_HDDL,
    DNN_TARGET_NPU,
    DNN_TARGET_CPU_FP16,
) = range(11)

# Their names by number.
BACKENDS = {number: name for name, number in globals().copy().items() if name.startswith("DNN_BACKEND_")}
TARGETS = {number: name for name, number in globals().copy().items() if name.startswith("DNN_TARGET_")}

# What darknet calls a layer: the start of OpenCV's name, and OpenCV's type. Others keep darknet's word.
_SPELLED = {
    **dict.fromkeys(("conv", "convolutional"), ("conv", "Convolution")),
    **dict.fromkeys(("conn", "connected"), ("fullyConnected", "InnerProduct")),
    **dict.fromkeys(("max", "maxpool"), ("pool", "Pooling")),
    **dict.fromkeys(("avg", "avgpool"), ("avgpool", "Pooling")),
    **dict.fromkeys(("soft", "softmax"), ("softmax", "Softmax")),
    **dict.fromkeys(("dropout", "cost"), ("identity", "Identity")),
    **dict.fromkeys(("yolo", "Gaussian_yolo"), ("yolo", "Region")),
    "reorg": ("reorg", "Reorg"),
    "upsample": ("upsample", "Resize"),
    "shortcut": ("shortcut", "Eltwise"),
    "sam": ("sam", "Eltwise"),
    "scale_channels": ("scale_channels", "Scale"),
    "detection": ("detection", "Region"),
}
_NORMALIZED = ("conv", "fullyConnected")  # may be followed by batch normalisation
_ACTIVATED = (*_NORMALIZED, "shortcut", "sam", "scale_channels")  # may be followed by an activation
_DEFAULT_ACTIVATION = {"conv": "logistic", "fullyConnected": "logistic"}
_ACTIVATION_TYPES = {
    "relu": "ReLU",
    "leaky": "ReLU",
    "swish": "Swish",
    "mish": "Mish",
    "logistic": "Sigmoid",
    "tanh": "TanH",
}

# What part of one of darknet's layers a named layer gives: a convolution or product without batch normalisation, that
# before the activation, what a head reads (channels last), a crop in 0..1, a source of a route with groups, all of it.
SUMS, NORMALIZED, PERMUTED, CROPPED, PART, OUTPUT = "sums", "normalized", "permuted", "cropped", "part", "output"


@dataclass(frozen=True)
class NamedLayer:
    """A layer in OpenCV's list: one of darknet's layers, or a step of it."""

    name: str  # such as `conv_0`, `bn_0`, `leaky_1`, `yolo_82`
    type: str  # OpenCV's
    index: int  # of darknet's layer
    step: str
    part: int = 0  # the number of the step


def named_layers(layers: Sequence[Layer]) -> list[NamedLayer]:
    """All layers in OpenCV's order.

    The number in a name is OpenCV's count of layers, which is darknet's index unless a crop or a route with
    groups stands before. An activation has the number of the next layer.
    """
    named: list[NamedLayer] = []
    count = 0
    for index, layer in enumerate(layers):
        steps = list(_steps(layer))
        for position, (start, type_, step, counts) in enumerate(steps, start=1):
            name = start if start == "detection_out" else f"{start}_{count}"
            named.append(NamedLayer(name, type_, index, OUTPUT if position == len(steps) else step, position - 1))
            count += counts
    return named


def _steps(layer: Layer) -> Iterator[tuple[str, str, str, int]]:
    """Of one layer: the start of each name, OpenCV's type, the step, and by how much the count goes on after it."""
    kind, section = layer.kind, layer.section
    if kind == "route":
        sources = len(layer.sources)
        if section.integer("groups", 1) > 1:
            yield from [("slice", "Slice", PART, 1)] * sources
        elif sources == 1:
            yield "identity", "Identity", OUTPUT, 1
        if sources > 1:
            yield "concat", "Concat", OUTPUT, 1
        return
    if kind == "crop":
        yield "crop", "Slice", CROPPED, 1
        if not section.flag("noadjust"):
            yield "adjust_crop", "Scale", OUTPUT, 1
        return
    if layer.is_head and kind != "detection":
        yield "permute", "Permute", PERMUTED, 0
    if kind == "region":
        yield "detection_out", "Region", OUTPUT, 1
        return
    start, type_ = _SPELLED.get(kind, (kind, kind))
    normalizes = start in _NORMALIZED and getattr(layer, "norm", None) is not None
    yield start, type_, SUMS, int(not normalizes)
    if normalizes:
        yield "bn", "BatchNorm", NORMALIZED, 1
    activation = section.text("activation", _DEFAULT_ACTIVATION.get(start, "linear")) or "linear"
    if start in _ACTIVATED and activation != "linear":
        yield activation, _ACTIVATION_TYPES.get(activation, activation), OUTPUT, 0


def unconnected(layers: Sequence[Layer], named: Sequence[NamedLayer]) -> list[int]:
    """The positions in `named` of the layers that no other layer reads."""
    read = {source for layer in layers for source in layer.sources if source != INPUT}
    return [at for at, each in enumerate(named) if each.step == OUTPUT and each.index not in read]
