"""`speed`, `export`, `quantize`: the time of a network's passes or layers, its ONNX file, its ranges for 8 bits."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...errors import DivergedError, OptionError
from ...export.check import FP16_TOLERANCE, TOLERANCE, compare_onnx
from ...export.exporter import onnx_bytes
from ...export.formats import ExportOptions
from ...images.image import Picture, as_picture
from ...layers import INPUT
from ...layers.base import sizes
from ...model import Model
from ...network.network import Network
from ...network.weights import file_beside
from ...tools.profile import LayerTime, peak, time_layers, time_passes
from ...tools.quantize import agreement, quantizable, quantize
from ...utils.files import write_file
from ..console import bar, note, say
from ..loading import load_model
from ..outputs import check_folder_of
from ..sources import Name, expand_inputs

PASSES, LAYER_PASSES = 1000, 20


def run_speed(cfg: str, n: int | None, **options: Any) -> None:
    side = options["size"]
    size = {"width": options["width"] or side, "height": options["height"] or side}
    network = load_model(cfg, options["weights"], options, batch=options["batch"], **size)
    if options["batch"] > 1:
        note(f"each of the passes computes {options['batch']} pictures")
    if options["layers"]:
        say(*layer_lines(network, time_layers(network, n or LAYER_PASSES), peak()))
        return
    passes = n or PASSES
    say(*total_lines(network, passes, time_passes(network, passes)))


def total_lines(network: Network, passes: int, seconds: float) -> Iterator[str]:
    """darknet's lines. AlexeyAB's darknet counts whole seconds; here they have fractions."""
    yield f"\n{passes} evals, {seconds:f} Seconds"
    if network.dialect.speed_prints_operations:
        billions = network.ops * network.batch / 1e9
        yield f"Floating Point Operations: {billions:.2f} Bn"
        yield f"FLOPS: {billions * passes / seconds:.2f} Bn"
    yield f"Speed: {seconds / passes:f} sec/eval"
    yield f"Speed: {passes / seconds:f} Hz"


def layer_lines(network: Network, times: Sequence[LayerTime], peak: float) -> Iterator[str]:
    whole = sum(layer.seconds for layer in times)
    columns = f"{'ms':>9s} {'share':>7s} {'GFLOP/s':>8s} {'of peak':>8s}"
    yield f"layer {'kind':15s} {'input':^16s}    {'output':^16s} {columns}"
    for layer in sorted(times, key=lambda layer: -layer.seconds):
        number, kind, source, target = "    -", "input", network.input, network.input
        if layer.index != INPUT:
            described = network.layers[layer.index]
            number, kind = f"{layer.index:5d}", described.kind
            source, target = described.inputs[0], described.shape
        speed = "       -        -"
        if layer.operations:
            speed = f"{layer.rate / 1e9:8.1f} {100 * layer.rate / peak:7.1f}%"
        spent = f"{1000 * layer.seconds:9.3f} {100 * layer.seconds / whole:6.1f}%"
        yield f"{number} {kind:15s} {sizes(source)} -> {sizes(target)} {spent} {speed}"
    operations = sum(layer.operations for layer in times)
    rate = operations / whole
    yield ""
    yield f"total {1000 * whole:.3f} ms, {operations / 1e9:.3f} GFLOP, {rate / 1e9:.1f} GFLOP/s"
    yield f"peak  {peak / 1e9:.1f} GFLOP/s, of which the whole reaches {100 * rate / peak:.1f} %"


def run_export(cfg: str, weights: str, out: str, **options: Any) -> None:
    chosen = ("format", "nms", "thresh", "iou_thresh", "dynamic", "fp16")
    wanted = ExportOptions(**{name: options[name] for name in chosen})
    check_folder_of(out)
    model = load_model(cfg, weights, options, batch=options["batch"])
    content = onnx_bytes(model, wanted)
    if options["check"]:
        _check(content, model, wanted, options["tolerance"])
    write_file(out, content)
    note(f"{out}: written")


def _check(content: bytes, model: Model, wanted: ExportOptions, tolerance: float | None) -> None:
    if tolerance is None:
        tolerance = FP16_TOLERANCE if wanted.fp16 else TOLERANCE
    differences = compare_onnx(content, model, wanted)
    for each in differences:
        remark = f" ({each.remark})" if each.remark else ""
        say(f"{each.output}: differs by {each.largest:.2g} of {each.scale:.4g}{remark}")
    above = [each for each in differences if not each.relative <= tolerance]  # NaN is among them
    worst = max(above or differences, key=lambda each: each.relative)
    say(f"largest difference: {worst.relative:.2g}, tolerance {tolerance:g}")
    if above:
        raise DivergedError(
            f"{worst.output} differs from the engine by {worst.relative:.2g}; expected at most {tolerance:g}; nothing "
            "was written"
        )


def run_quantize(cfg: str, weights: str, images: tuple[str, ...], **options: Any) -> None:
    out = options["out"] or str(file_beside(weights))
    check_folder_of(out)
    if Path(out).exists() and Path(out).samefile(weights):
        raise OptionError(f"{out}: is the weights file; expected another name")
    if options["precision"] != "float32" or options["quantized"]:
        note("--precision and --quantized have no effect on quantize")
    model = load_model(cfg, weights, {**options, "precision": "float32", "quantized": None})
    names = expand_inputs(images)
    pictures = [_picture(name) for name in names[:: max(1, -(-len(names) // options["limit"]))]]
    convolutions = len(quantizable(model.layers))
    with bar(len(pictures) + convolutions, "steps") as count:
        measured = quantize(model, pictures, count)
    found, of = agreement(model, pictures)
    measured.quantization.write(out)
    say(f"8 bits: {measured.layers} of {convolutions} convolutions; the others stay float32")
    say(f"outputs differ by {100 * measured.error:.2f} % (root of the mean square, on {len(pictures)} pictures)")
    what = "objects are found again" if model.heads else "pictures keep their best class"
    say(f"{found} of {of} {what}")
    note(f"{out}: written")


def _picture(name: Name) -> Picture:
    if isinstance(name, Exception):
        raise name
    return as_picture(name)
