"""Networks for the tests of the ONNX export, and what ONNX Runtime makes of them."""

from pathlib import Path

import numpy as np
import pytest

import pydarknet
from pydarknet.network.network import Network

INPUT = "[net]\nwidth=13\nheight=11\nchannels=3\n"


def network_of(folder: Path, sections: str, dialect: str, batch: int = 1) -> pydarknet.Model:
    """A network with random weights and statistics, whose activations stay near 1."""
    cfg = folder / "net.cfg"
    cfg.write_text(sections)
    network = pydarknet.load(cfg, dialect=dialect, batch=batch)
    rng = np.random.default_rng(7)
    for layer in network.layers:
        for record in layer.named_parameters():
            if record.name.endswith(("variance", "scales")):
                record.array[:] = rng.uniform(0.5, 2, record.array.shape)
            elif not record.name.endswith("weights"):
                record.array[:] = rng.normal(0, 0.3, record.array.shape)
            elif not record.array.any() or layer.kind in ("local", "shortcut"):
                record.array[:] = rng.normal(0, 0.5, record.array.shape)
    network.parameters_changed()
    return network


def run_elsewhere(path: Path, x: np.ndarray) -> list[np.ndarray]:
    """What ONNX Runtime gives, from a valid file."""
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    onnx = pytest.importorskip("onnx", reason="the onnx package is not installed")
    onnx.checker.check_model(onnx.load(path), full_check=True)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})


def pixels(network: Network) -> np.ndarray:
    return np.random.default_rng(3).random((network.batch, *network.input_shape), np.float32)
