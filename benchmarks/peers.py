"""The other engines. Each reads our exporter's file, or darknet's own files, and runs the same picture."""

import os
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import cv2
import numpy as np
from networks import ROOT, with_options
from turns import Timed, timed

import pydarknet
from pydarknet.export.exporter import export_onnx

SAMPLE = ROOT / "data" / "sample.jpg"
Outputs = Sequence[np.ndarray]


@dataclass
class Job:
    """One network and one picture, (1, c, h, w) float32, for every engine; temporary files go to `folder`."""

    name: str
    cfg: Path
    network: pydarknet.Model
    x: np.ndarray
    folder: Path
    threads: int
    binary: str | None = None
    calibration: Sequence[np.ndarray] = ()  # pictures by which a peer chooses the ranges of its 8 bits

    @cached_property
    def onnx(self) -> str:
        """Path of the network as an ONNX file of our exporter."""
        path = self.folder / f"{self.cfg.stem}.onnx"
        export_onnx(self.network, path)
        return str(path)

    @cached_property
    def darknet_files(self) -> tuple[str, str]:
        """Paths of a .cfg of this input size and of its .weights."""
        size = self.network.input
        cfg = with_options(self.cfg, self.folder, width=size.width, height=size.height, batch=1, subdivisions=1)
        weights = self.folder / f"{self.cfg.stem}.weights"
        self.network.save_weights(weights)
        return str(cfg), str(weights)


def difference(found: Outputs, expected: Outputs) -> float:
    """The largest difference of any output, relative to its largest value; not finite if an output is not."""
    pairs = zip(found, expected, strict=True)
    return float(max(np.abs(a.reshape(b.shape) - b).max() / max(np.abs(b).max(), 1e-30) for a, b in pairs))


@dataclass
class Runner:
    """One engine, ready to run. `seconds` runs it once; `outputs` should equal `expected` where both exist."""

    seconds: Timed
    outputs: Outputs = ()
    expected: Outputs = ()
    close: Callable[[], None] = lambda: None

    def difference(self) -> float | None:
        """The largest difference of any output; None where the outputs have another form."""
        return difference(self.outputs, self.expected) if self.outputs else None


def onnx_runtime(job: Job, path: str | None = None) -> Runner:
    """ONNX Runtime with its default optimisations; `path`: another file than the exported one."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    session = onnxruntime.InferenceSession(path or job.onnx, options, providers=["CPUExecutionProvider"])
    feed = {"input": job.x}
    return Runner(timed(lambda: session.run(None, feed)), session.run(None, feed), job.network.forward(job.x))


def onnx_runtime_int8(job: Job) -> Runner:
    """ONNX Runtime in 8 bits: its static quantisation, a scale for each filter."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Pictures(quantization.CalibrationDataReader):
        feeds = iter([{"input": x} for x in job.calibration])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.feeds, None)

    ready, path = (str(job.folder / f"{job.cfg.stem}.{word}.onnx") for word in ("ready", "int8"))
    quant_pre_process(job.onnx, ready)
    quantization.quantize_static(ready, path, Pictures(), per_channel=True)
    return onnx_runtime(job, path)


def openvino(job: Job, *, float32: bool = True, int8: bool = False) -> Runner:
    """OpenVINO, tuned for latency; `float32`: not its default, bf16 where that is fast; `int8`: NNCF's 8 bits."""
    import openvino as ov

    core = ov.Core()
    settings = {"INFERENCE_NUM_THREADS": str(job.threads), "PERFORMANCE_HINT": "LATENCY"}
    if float32:
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    network = core.read_model(job.onnx)
    if int8:
        import nncf

        network = nncf.quantize(network, nncf.Dataset(list(job.calibration)), subset_size=len(job.calibration))
    model = core.compile_model(network, "CPU", settings)
    request = model.create_infer_request()
    request.infer([job.x])
    outputs = [request.get_output_tensor(i).data.copy() for i in range(len(model.outputs))]
    return Runner(timed(lambda: request.infer([job.x])), outputs, job.network.forward(job.x))


def opencv(job: Job) -> Runner:
    """OpenCV: its reader of darknet files if it has one (boxes in another form), otherwise our ONNX file."""
    cv2.setNumThreads(job.threads)
    native = hasattr(cv2.dnn, "readNetFromDarknet")
    model = cv2.dnn.readNetFromDarknet(*job.darknet_files) if native else cv2.dnn.readNetFromONNX(job.onnx)
    names = model.getUnconnectedOutLayersNames()

    def run() -> Outputs:
        model.setInput(job.x)
        return model.forward(names)

    found = run()
    expected = job.network.forward(job.x)
    if native:
        return Runner(timed(run))
    order = sorted(range(len(names)), key=lambda position: _layer_number(names[position]))
    return Runner(timed(run), [found[position] for position in order], expected)


def _layer_number(name: str) -> int:
    """The layer number in an output's name such as `layer_16_yolo`: engines may return outputs in another order."""
    return int(re.findall(r"layer_(\d+)", name)[0])


def pytorch(job: Job) -> Runner:
    """PyTorch: eager, channels_last, batch normalisation folded; without decoding of boxes."""
    import torch
    from torch_network import TorchNetwork, last_layers

    torch.set_num_threads(job.threads)
    model = TorchNetwork(job.network, folded=True).eval().to(memory_format=torch.channels_last)
    x = torch.from_numpy(job.x).contiguous(memory_format=torch.channels_last)
    wanted = last_layers(job.network)

    def run() -> list[torch.Tensor]:
        with torch.inference_mode():
            return model(x)

    every = job.network.layer_outputs(job.x)
    return Runner(timed(run), [y.numpy() for y in run()], [np.asarray(every[index]) for index in wanted])


def darknet(job: Job) -> Runner:
    """darknet in a process of its own that reads names of pictures; the time is the one that it prints."""
    cfg, weights = job.darknet_files
    family = "detector test" if job.network.heads else "classifier predict"
    classes = job.folder / "classes.names"
    classes.write_text("".join(f"class {number}\n" for number in range(job.network.classes)))
    data = job.folder / "classes.data"
    data.write_text(f"classes={job.network.classes}\nnames={classes}\nlabels={classes}\ntop=1\n")
    process = subprocess.Popen(
        [str(job.binary), *family.split(), str(data), cfg, weights, "-dont_show"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=job.folder,
        env=os.environ | {"OMP_NUM_THREADS": str(job.threads)},
    )

    def seconds() -> float:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(f"{SAMPLE}\n".encode())
        process.stdin.flush()
        for line in iter(process.stdout.readline, b""):
            if found := re.search(rb"Predicted in ([\d.]+) milli-seconds", line):
                return float(found[1]) / 1000
        raise RuntimeError(f"{job.binary}: ended with code {process.wait()} before it had predicted anything")

    def close() -> None:
        process.terminate()
        process.communicate()

    return Runner(seconds, close=close)


@dataclass
class Peer:
    """One engine: its name in the table, how to get it ready, the module that it needs, and whether it is exact."""

    title: str
    prepare: Callable[[Job], Runner]
    module: str | None = None
    exact: bool = True


# By the name on the command line: engines in float32, then those that round.
PEERS = {
    "onnxruntime": Peer("ONNX Runtime", onnx_runtime, "onnxruntime"),
    "openvino": Peer("OpenVINO", openvino, "openvino"),
    "opencv": Peer("OpenCV", opencv, "cv2"),
    "torch": Peer("PyTorch", pytorch, "torch"),
    "darknet": Peer("darknet (C)", darknet),
}
ROUNDING_PEERS = {
    "onnxruntime-int8": Peer("ONNX Runtime int8", onnx_runtime_int8, "onnxruntime", exact=False),
    "openvino-default": Peer("OpenVINO default", partial(openvino, float32=False), "openvino", exact=False),
    "openvino-int8": Peer("OpenVINO int8", partial(openvino, float32=False, int8=True), "nncf", exact=False),
}
ALL_PEERS = PEERS | ROUNDING_PEERS
