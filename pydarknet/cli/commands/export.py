"""`export`: a network as an ONNX file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ...errors import DivergedError
from ..console import note, say
from ..loading import load_model
from ..options import FILE, FRACTION, command, flag

if TYPE_CHECKING:
    from ...export.formats import ExportOptions
    from ...model import Model


@command(
    "export",
    "cfg weights",
    click.argument("out", metavar="OUT.onnx", type=FILE),
    flag("format", type=click.Choice(["raw", "boxes", "yolov5", "yolov8"]), default="raw", help="The outputs. raw: "
         "those of the last layers; boxes: corners and scores; yolov5, yolov8: one tensor, in the layout of "
         "Ultralytics' programs."),
    flag("nms", help="Add non-maximum suppression to the graph."),
    flag("thresh P", type=FRACTION, needs=("nms",), help="With --nms: keep boxes with a confidence above P. Default: "
         "darknet's."),
    flag("iou_thresh IOU", type=FRACTION, default=0.45, needs=("nms",), help="With --nms: suppress a box whose IoU "
         "with a better one of its class is above IOU."),
    flag("dynamic", help="Allow any batch, and any input size unless a layer fixes it."),
    flag("fp16", help="Write weights and activations as float16; input and outputs stay float32."),
    flag("check", help="Before writing, run the file in ONNX Runtime and compare its outputs with pydarknet's."),
    flag("tolerance X", type=click.FloatRange(min=0), needs=("check",), help="With --check: the largest difference "
         "allowed, relative to an output's largest value, or to 1 if that is smaller. Default: 0.001; with --fp16 "
         "0.03."),
    flag("batch N", type=click.IntRange(1, 1 << 10), default=1, help="Pictures per forward pass."),
    "names size network",
)  # fmt: skip
def export_command(cfg: str, weights: str, out: str, **options: Any) -> None:
    """Write the network as an ONNX file, for other runtimes.

    \b
    Examples:
      pydarknet export cfg/yolov3-tiny.cfg yolov3-tiny.weights yolov3-tiny.onnx --check
      pydarknet export cfg/yolov4.cfg yolov4.weights yolov4.onnx --format boxes --nms --thresh 0.3
      pydarknet export cfg/yolov4-tiny.cfg yolov4-tiny.weights yolov4-tiny.onnx --format yolov8 --dynamic
    """
    from ...export.exporter import onnx_bytes
    from ...export.formats import ExportOptions
    from ...utils.files import write_file
    from ..outputs import check_folder_of

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
    """Print the largest difference of each output. Raises DivergedError if one is above the tolerance."""
    from ...export.check import FP16_TOLERANCE, TOLERANCE, compare_onnx

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
