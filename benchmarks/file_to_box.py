"""From JPEG files to boxes: `Model.detect` of many files beside the obvious loop of ONNX Runtime and of OpenVINO."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from networks import ROOT, find_cfg, random_network
from peers import SAMPLE

import pydarknet
from pydarknet.export.exporter import export_onnx
from pydarknet.export.formats import ExportOptions

NETWORKS = {"yolo-fastest-1.1": 320, "yolov3-tiny": 416, "yolov4-tiny": 416}
FILE_HEAD = [
    "network", "pictures", "pydarknet", "pydarknet scaled", "ONNX Runtime", "OpenVINO",
    "ours / fastest", "scaled / fastest",
]  # fmt: skip
THRESH, OVERLAP = 0.25, 0.45
REPEATS = 3
Loop = Callable[[Sequence[Path]], int]  # the number of objects found


def draw_pictures(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """`count` JPEG files of this width and height: parts of the sample picture at random places, enlarged."""
    rng = np.random.default_rng(count)
    sample = cv2.imread(str(SAMPLE))
    height, width = sample.shape[:2]
    paths = []
    for number in range(count):
        side = rng.uniform(0.5, 1.0)
        top, left = int(rng.random() * (1 - side) * height), int(rng.random() * (1 - side) * width)
        part = sample[top : top + int(side * height), left : left + int(side * width)]
        paths.append(folder / f"{size[0]}-{number}.jpg")
        cv2.imwrite(str(paths[-1]), cv2.resize(part, size, interpolation=cv2.INTER_CUBIC))
    return paths


def few_boxes(network: pydarknet.Model) -> None:
    """Random weights find something in every cell: lower the biases before the heads until few cells have objects."""
    for index, layer in enumerate(network.layers):
        if layer.kind == "yolo":
            for record in network.layers[index - 1].named_parameters():
                if record.name.endswith("biases"):
                    record.array[:] = -4
    network.parameters_changed()


def loop_of(infer: Callable[[np.ndarray], Sequence[np.ndarray]], width: int, height: int) -> Loop:
    """The obvious loop: read, resize, infer, suppress. `infer` gives boxes (1, n, 4) and scores (1, n, classes)."""

    def run(paths: Sequence[Path]) -> int:
        found = 0
        for path in paths:
            picture = cv2.imread(str(path))
            x = cv2.dnn.blobFromImage(picture, 1 / 255, (width, height), swapRB=True)
            boxes, scores = (output[0] for output in infer(x))
            best = scores.max(1)
            kept = best > THRESH
            corners, classes = boxes[kept], scores[kept].argmax(1)
            sides = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
            sides *= np.tile([picture.shape[1], picture.shape[0]], 2)
            rest = best[kept].tolist(), classes.tolist(), THRESH, OVERLAP
            found += len(cv2.dnn.NMSBoxesBatched(sides.tolist(), *rest))
        return found

    return run


def onnx_runtime_loop(path: str, threads: int, width: int, height: int) -> Loop:
    """ONNX Runtime's loop."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return loop_of(lambda x: session.run(["boxes", "scores"], {"input": x}), width, height)


def openvino_loop(path: str, threads: int, width: int, height: int) -> Loop:
    """OpenVINO's loop, in float32."""
    import openvino as ov

    settings = {"INFERENCE_NUM_THREADS": str(threads), "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    model = ov.Core().compile_model(path, "CPU", settings)
    request: Any = model.create_infer_request()

    def infer(x: np.ndarray) -> Sequence[np.ndarray]:
        request.infer([x])
        return [request.get_tensor(name).data for name in ("boxes", "scores")]

    return loop_of(infer, width, height)


def engine_loop(network: pydarknet.Model, decode: str) -> Loop:
    """Ours: the pictures are read ahead."""

    def run(paths: Sequence[Path]) -> int:
        each = network.detect(paths, thresh=THRESH, nms=OVERLAP, letterbox=False, decode=decode)
        return sum(len(found) for found in each)

    return run


def rates(loops: Sequence[Loop], paths: Sequence[Path]) -> list[float]:
    """Pictures per second of each loop, the best of REPEATS; the loops take turns."""
    best = [0.0] * len(loops)
    for _ in range(REPEATS):
        for number, loop in enumerate(loops):
            start = time.perf_counter()
            loop(paths)
            best[number] = max(best[number], len(paths) / (time.perf_counter() - start))
    return best


def time_files(folder: Path, threads: int, count: int) -> list[list[str]]:
    """Table rows: pictures per second of `count` files of 640 x 480 pixels and a tenth as many of 12 megapixels."""
    sets = {
        f"{count} of 640x480": draw_pictures(folder, count, (640, 480)),
        f"{count // 10} of 4000x3000": draw_pictures(folder, count // 10, (4000, 3000)),
    }
    rows = []
    for name, size in NETWORKS.items():
        cfg = find_cfg(name)
        if cfg is None:
            continue
        weights = ROOT.parent / "shared" / "reference" / "weights" / f"{name}.weights"
        if weights.is_file():
            network = pydarknet.load(cfg, weights, threads=threads)
        else:
            network = random_network(cfg, size, threads)
            few_boxes(network)
        path = str(folder / f"{name}-boxes.onnx")
        export_onnx(network, path, ExportOptions(format="boxes"))
        how = path, threads, network.input.width, network.input.height
        loops = [
            engine_loop(network, "whole"),
            engine_loop(network, "scaled"),
            onnx_runtime_loop(*how),
            openvino_loop(*how),
        ]
        for loop in loops:
            loop(sets[f"{count} of 640x480"][:8])
        for title, paths in sets.items():
            whole, scaled, *theirs = found = rates(loops, paths)
            ratios = [f"{ours / max(theirs):.2f}" for ours in (whole, scaled)]
            rows.append([f"{cfg.stem} {network.input.width}", title, *(f"{rate:.0f}" for rate in found), *ratios])
    return rows
