"""`export`, `quantize`: a network's ONNX file, its ranges for 8 bits."""

from typing import Any

from ...errors import DivergedError, OptionError
from ...export.check import FP16_TOLERANCE, TOLERANCE, compare_onnx
from ...export.exporter import onnx_bytes
from ...export.formats import ExportOptions
from ...images.image import Picture, as_picture
from ...model import Model
from ...network.weights import file_beside, path_of
from ...tools.quantize import agreement, quantizable, quantize
from ...utils.files import is_same, write_file
from ..console import bar, note, say
from ..loading import load_model
from ..outputs import check_folder_of
from ..sources import Name, expand_inputs


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
    if is_same(out, path_of(weights)):
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
