"""Comparison of an ONNX model with the engine: both get the same pictures, and their outputs are compared."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..boxes import Candidates, suppress
from ..errors import needed_package
from ..images.image import fit_for_classify, load_image
from ..inference.detector import heads_of
from ..inference.finite import require_finite
from ..network.network import Network
from ..runtime.threads import threads
from ..utils.arrays import Array
from ..utils.resources import bundled
from .exporter import thresh_of
from .formats import MOST_DETECTIONS, ExportOptions
from .heads import BEFORE_CLASSES

TOLERANCE, FP16_TOLERANCE = 1e-3, 3e-2


@dataclass(frozen=True)
class Difference:
    """The difference of an output."""

    output: str
    largest: float  # difference of two numbers
    scale: float  # the largest number of the engine's output, at least 1
    remark: str = ""  # the numbers that were compared, if not the whole output

    @property
    def relative(self) -> float:
        return self.largest / self.scale


def compare_onnx(content: bytes, network: Network, options: ExportOptions) -> list[Difference]:
    """Run an exported model in ONNX Runtime and in the engine. Returns the differences of each output and input
    size.

    The input is the bundled sample picture, mirrored in every second picture of a batch; noise if the network
    takes no pictures. A model for any batch or size is also run at another one. Boxes are compared in fractions
    of the input. Raises OptionError without ONNX Runtime, DivergedError for a network whose outputs are not
    finite.
    """
    with needed_package("--check needs the package onnxruntime", "onnxruntime"):
        import onnxruntime
    how = onnxruntime.SessionOptions()
    how.intra_op_num_threads, how.log_severity_level = threads(), 3
    session = onnxruntime.InferenceSession(content, how, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    names = [output.name for output in session.get_outputs()]
    differences: list[Difference] = []
    for x in _inputs(network, given.shape):
        found = dict(zip(names, session.run(None, {given.name: x}), strict=True))
        where = "" if x.shape == (network.batch, *network.input_shape) else f" at {'x'.join(map(str, x.shape))}"
        with network.lock:
            each = _compare(network, options, x, found)
            differences += [replace(difference, output=difference.output + where) for difference in each]
    return differences


def _inputs(network: Network, shape: list[int | str]) -> Iterator[Array]:
    channels, sample = network.input.channels, bundled("data/sample.jpg")
    sizes = [(network.batch, network.input.width, network.input.height)]
    if isinstance(shape[0], str):
        more = 0 if isinstance(shape[2], int) else 32
        sizes.append((network.batch + 1, network.input.width + 2 * more, network.input.height + more))
    for batch, width, height in sizes:
        if channels not in (1, 3) or sample is None:
            yield np.random.default_rng(0).random((batch, channels, height, width), np.float32)
        else:
            one = fit_for_classify(load_image(sample), "stretch", width, height, channels)
            yield np.stack([one[..., ::-1] if number % 2 else one for number in range(batch)])


def _compare(network: Network, options: ExportOptions, x: Array, found: dict[str, Array]) -> Iterator[Difference]:
    outputs = network.forward(x)
    require_finite(network, x, outputs)
    if options.is_raw:
        for (name, theirs), ours in zip(found.items(), outputs, strict=True):
            yield _difference(name, theirs.reshape(ours.shape), ours)  # the engine gives planes of one cell as a vector
        return
    size = x.shape[3], x.shape[2]
    heads = heads_of(network)
    candidates = [
        Candidates.concatenate([head.detections(sample, size, thresh=-np.inf, hier=0.5) for head in heads])
        for sample in range(len(x))
    ]  # all boxes, of any score
    if options.nms:
        kept = _suppressed_detections(options, found, size)
        yield _compare_detections(options, thresh_of(network, options), candidates, kept)
        return
    boxes, scores = _boxes_and_scores(options, found, size)
    yield _difference("boxes", boxes, np.stack([each.boxes for each in candidates]))
    yield _difference("scores", scores, np.stack([each.probabilities for each in candidates]))


@np.errstate(invalid="ignore")  # two infinite boxes differ by NaN, which is above every tolerance
def _difference(name: str, theirs: Array, ours: Array) -> Difference:
    if theirs.shape != ours.shape:
        raise AssertionError(f"{name}: {theirs.shape} in the file, {ours.shape} in the engine")
    return Difference(name, float(np.abs(theirs - ours).max(initial=0)), max(1.0, float(np.abs(ours).max(initial=0))))


@np.errstate(invalid="ignore")
def _boxes_and_scores(options: ExportOptions, found: dict[str, Array], size: tuple[int, int]) -> list[Array]:
    if options.format == "boxes":
        corners = found["boxes"]
        near, far = corners[..., :2], corners[..., 2:]
        return [np.concatenate([(near + far) / 2, far - near], axis=-1), found["scores"]]
    rows, pixels = found["output0"], np.array(size * 2, np.float32)
    if options.format == "yolov8":
        rows = rows.transpose(0, 2, 1)
        return [rows[..., :4] / pixels, rows[..., 4:]]
    return [rows[..., :4] / pixels, rows[..., 4:5] * rows[..., BEFORE_CLASSES:]]


# --- after suppression ---

# Columns of a detection: left, top, right, bottom in fractions of the input, score, class.
SCORE, CLASS = 4, 5


def _suppressed_detections(options: ExportOptions, found: dict[str, Array], size: tuple[int, int]) -> dict[int, Array]:
    if options.format == "boxes":
        rows = found["detections"]
        return {int(number): rows[rows[:, 0] == number][:, [1, 2, 3, 4, 6, 5]] for number in np.unique(rows[:, 0])}
    scale = np.array([*size, *size, 1, 1], np.float32)
    return {number: rows[rows[:, SCORE] > 0] / scale for number, rows in enumerate(found["output0"])}


def _own_detections(candidates: Candidates, thresh: float, iou_thresh: float) -> Array:
    """(m, 6): the engine's detections after the suppression that ONNX has, best first."""
    above = np.where(candidates.probabilities > np.float32(thresh), candidates.probabilities, np.float32(0))
    left = suppress(Candidates(candidates.boxes, candidates.objectness, above), iou_thresh)
    box, kind = np.nonzero(left.probabilities)
    centre, half = left.boxes[box, :2], left.boxes[box, 2:] / 2
    scores = left.probabilities[box, kind]
    rows = np.concatenate([centre - half, centre + half, scores[:, None], kind[:, None].astype(np.float32)], axis=1)
    return rows[np.argsort(-scores, kind="stable")]


def _compare_detections(
    options: ExportOptions, thresh: float, candidates: list[Candidates], kept: dict[int, Array]
) -> Difference:
    """Compare each detection with the nearest one of its class in the other output. One without a counterpart
    differs by 1, unless its score is so near the threshold that rounding decides."""
    margin = FP16_TOLERANCE if options.fp16 else TOLERANCE
    largest, scale, total = 0.0, 1.0, 0
    for number, each in enumerate(candidates):
        ours = _own_detections(each, thresh, options.iou_thresh)
        ours = ours if options.format == "boxes" else ours[:MOST_DETECTIONS]
        theirs = kept.get(number, np.empty((0, 6), np.float32))
        total += len(ours)
        scale = max(scale, float(np.abs(ours[:, :SCORE]).max(initial=0)))
        largest = max(largest, _farthest(ours, theirs, thresh, margin), _farthest(theirs, ours, thresh, margin))
    return Difference("detections", largest, scale, f"{total} detections above {thresh:g}")


def _farthest(some: Array, others: Array, thresh: float, margin: float) -> float:
    """The largest distance of a detection from its counterpart, the nearest unmatched one of its class; 1
    without one. Scores within `margin` of the threshold are left out."""
    largest = 0.0
    for kind in np.unique(some[:, CLASS]):
        same = others[others[:, CLASS] == kind, :CLASS]
        for row in some[(some[:, CLASS] == kind) & (np.abs(some[:, SCORE] - thresh) > margin), :CLASS]:
            if not len(same):
                return max(largest, 1.0)
            distance = np.abs(same - row).max(axis=1)
            nearest = int(distance.argmin())
            largest = max(largest, float(distance[nearest]))
            same = np.delete(same, nearest, axis=0)
    return largest
