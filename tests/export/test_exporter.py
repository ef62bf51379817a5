"""Networks as ONNX: every layer that can be exported gives, in ONNX Runtime, what the engine gives."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.exports import INPUT, network_of, pixels, run_elsewhere
from support.files import recorded_parameters

import pydarknet
from pydarknet.errors import ConfigError, OptionError, OutputError
from pydarknet.export.check import compare_onnx
from pydarknet.export.exporter import export_onnx, onnx_bytes
from pydarknet.export.formats import ExportOptions
from pydarknet.network.network import Network
from pydarknet.runtime.threads import set_threads, threads

TOLERANCE = 1e-4  # of an output's largest value

CONVOLUTION = "[convolutional]\nfilters=8\nsize=3\nstride=1\npad=1\nactivation=leaky\nbatch_normalize=1\n"

ACTIVATIONS = {
    "pjreddie": "linear logistic loggy relu elu selu relie ramp leaky tanh plse stair hardtan lhtan",
    "alexeyab": "relu6 gelu revleaky swish mish hard_mish normalize_channels normalize_channels_softmax "
    "normalize_channels_softmax_maxval tanh selu",
}

# Name: dialect, sections after INPUT and one convolution of 8 channels at 13x11.
NETWORKS = {
    "dilation": ("alexeyab", "[convolutional]\nfilters=4\nsize=3\npad=1\ndilation=2\nactivation=mish\n"),
    "dilation, unpadded": ("alexeyab", "[convolutional]\nfilters=4\nsize=3\ndilation=3\nactivation=swish\n"),
    "depthwise": ("pjreddie", "[convolutional]\nfilters=8\ngroups=8\nsize=3\nstride=2\npad=1\nactivation=relu\n"),
    "uneven strides": ("alexeyab", "[convolutional]\nfilters=5\nsize=3\nstride_x=2\nstride_y=3\nactivation=elu\n"),
    "blurred": ("alexeyab", "[convolutional]\nfilters=4\nsize=3\nstride=2\npad=1\nantialiasing=1\nactivation=leaky\n"),
    "xnor, padded with -1": ("alexeyab", "[convolutional]\nfilters=6\nsize=3\npad=1\nxnor=1\nactivation=leaky\n"),
    "xnor, padded with 0": ("pjreddie", "[convolutional]\nfilters=6\nsize=3\npad=1\nxnor=1\nactivation=leaky\n"),
    "maxpool": ("pjreddie", "[maxpool]\nsize=2\nstride=2\n[maxpool]\nsize=2\nstride=1\n[maxpool]\nsize=3\nstride=2\n"),
    "maxpool over channels": ("alexeyab", "[maxpool]\nmaxpool_depth=1\nout_channels=3\nsize=1\nstride=1\n"),
    "maxpool, blurred": ("alexeyab", "[maxpool]\nsize=3\nstride=2\nantialiasing=2\n"),
    "local_avgpool": ("alexeyab", "[local_avgpool]\nsize=3\nstride=2\n"),
    "classifier": ("pjreddie", "[avgpool]\n[dropout]\n[softmax]\ngroups=2\ntemperature=3\n[cost]\n"),
    "classifier, connected": ("pjreddie", "[connected]\noutput=9\nactivation=ramp\n[softmax]\n[cost]\n"),
    "local": ("pjreddie", "[local]\nfilters=3\nsize=3\nstride=2\npad=1\nactivation=relu\n"),
    "local, then batchnorm": ("alexeyab", "[local]\nfilters=3\nsize=3\nstride=1\nactivation=linear\n[batchnorm]\n"),
    "deconvolutional": (
        "pjreddie",
        "[deconvolutional]\nfilters=4\nsize=4\nstride=2\npadding=1\nbatch_normalize=1\nactivation=leaky\n",
    ),
    "normalization": ("pjreddie", "[normalization]\nsize=5\nalpha=.3\nbeta=.7\nkappa=1.5\n[l2norm]\n[logistic]\n"),
    "crop": ("pjreddie", "[crop]\ncrop_width=6\ncrop_height=5\n"),
    "flat route": ("pjreddie", "[maxpool]\nsize=2\nstride=2\n[route]\nlayers=-1,0\n[connected]\noutput=4\n"),
    "grouped route": ("alexeyab", "[route]\nlayers=-1,0\ngroups=2\ngroup_id=1\n"),
    "shortcut, alpha and beta": ("pjreddie", CONVOLUTION + "[shortcut]\nfrom=0\nalpha=.5\nbeta=2\nactivation=leaky\n"),
    "shortcut from a larger layer": (
        "pjreddie",
        "[convolutional]\nfilters=5\nsize=3\nstride=2\npad=1\n[shortcut]\nfrom=0\nalpha=.5\nactivation=linear\n",
    ),
    "shortcut from a smaller layer": (
        "pjreddie",
        "[maxpool]\nsize=2\nstride=2\npadding=0\n[convolutional]\nfilters=4\nsize=1\n"
        "[upsample]\nstride=2\n[shortcut]\nfrom=1\nalpha=2\nbeta=.5\nactivation=relu\n",
    ),
    "shortcut of many, weighted": (
        "alexeyab",
        CONVOLUTION * 2 + "[shortcut]\nfrom=-2,-3\nweights_type=per_channel\nweights_normalization=softmax\n"
        "activation=mish\n[shortcut]\nfrom=0\nweights_type=per_feature\nweights_normalization=relu\n",
    ),
    "scale_channels": ("alexeyab", "[avgpool]\n[scale_channels]\nfrom=0\nactivation=logistic\n"),
    "sam": ("alexeyab", CONVOLUTION + "[sam]\nfrom=0\nactivation=relu\n"),
    "upsample": ("pjreddie", "[upsample]\nstride=3\nscale=.5\n[upsample]\nstride=-2\n"),
    "reorg, extended": ("pjreddie", "[reorg]\nextra=7\n"),
    "reorg, flattened": ("pjreddie", "[reorg]\nflatten=1\n"),
    "reorg, reversed": ("alexeyab", "[reorg]\nreverse=1\nstride=2\n"),
    "reorg": ("pjreddie", "[upsample]\nstride=2\n[reorg]\nstride=2\n"),
    "reorg3d": ("alexeyab", "[upsample]\nstride=2\n[reorg3d]\nstride=2\n"),
    "implicit": ("alexeyab", "[implicit]\nfilters=8\natoms=1\n[scale_channels]\nfrom=0\n"),
    "history": ("alexeyab", "[history]\nhistory_size=3\n"),
    "iseg": ("pjreddie", "[iseg]\nclasses=3\nids=5\n"),
    "two heads": (
        "pjreddie",
        "[convolutional]\nfilters=14\nsize=1\nactivation=linear\n[yolo]\nclasses=2\nnum=2\nanchors=1,2, 3,4\n"
        "[route]\nlayers=0\n[convolutional]\nfilters=7\nsize=1\nactivation=linear\n[yolo]\nclasses=2\nnum=1\n",
    ),
    "yolo, stretched": ("alexeyab", "[yolo]\nclasses=3\nnum=1\nanchors=3,4\nscale_x_y=1.2\n"),
    "yolo, new coordinates": ("alexeyab", "[yolo]\nclasses=3\nnum=1\nanchors=3,4\nnew_coords=1\n"),
    "Gaussian yolo": (
        "alexeyab",
        "[convolutional]\nfilters=24\nsize=1\n[Gaussian_yolo]\nclasses=3\nnum=2\nanchors=3,4, 5,6\nscale_x_y=1.1\n",
    ),
    "region, NCHW": ("pjreddie", "[region]\nclasses=3\nnum=1\nanchors=3,4\nsoftmax=1\n"),
    "region, background": ("pjreddie", "[region]\nclasses=3\nnum=1\nanchors=3,4\nsoftmax=1\nbackground=1\n"),
    "region, by cell": ("alexeyab", "[region]\nclasses=3\nnum=1\nanchors=3,4\nsoftmax=1\n"),
    "detection": (
        "pjreddie",
        "[connected]\noutput=52\nactivation=linear\n[detection]\nside=2\nclasses=3\nnum=2\ncoords=4\nsoftmax=1\n",
    ),
}

onnx = pytest.importorskip("onnx", reason="the onnx package is not installed")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """These networks are too small for more, and the other tests of a parallel run want the processors too."""
    before = threads()
    set_threads(1)
    yield
    set_threads(before)


def check(network: Network, x: np.ndarray, path: Path) -> None:
    """Export, run, and compare with the engine."""
    export_onnx(network, path)
    expected, found = network.forward(x), run_elsewhere(path, x)
    assert [array.shape for array in found] == [array.shape for array in expected]
    for theirs, ours in zip(found, expected, strict=True):
        assert np.abs(ours).max() > 0
        assert np.abs(theirs - ours).max() <= TOLERANCE * np.abs(ours).max()


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_gives_the_engines_numbers(name: str, tmp_path: Path) -> None:
    dialect, sections = NETWORKS[name]
    network = network_of(tmp_path, INPUT + CONVOLUTION + sections, dialect, batch=2)
    check(network, pixels(network), tmp_path / "net.onnx")


# What counts its inputs, or is cut by numbers of one size.
FIXED = """dilation|dilation, unpadded|maxpool over channels|classifier, connected|local|local, then batchnorm|crop|
flat route|shortcut from a larger layer|shortcut from a smaller layer|reorg, extended|reorg, flattened|detection"""


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_at_another_batch_and_size(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dialect, sections = NETWORKS[name]
    network = network_of(tmp_path, INPUT + CONVOLUTION + sections, dialect)
    content = onnx_bytes(network, ExportOptions(dynamic=True))
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    fixed = name in FIXED.replace("\n", "").split("|")
    assert ("the input size is fixed to 13x11" in caplog.text) == fixed
    differences = compare_onnx(content, network, ExportOptions(dynamic=True))
    where = "at 2x3x11x13" if fixed else "at 2x3x43x77"
    assert [each.output.endswith(where) for each in differences] == [False, True] * (len(differences) // 2) or (
        len(differences) == 4
    )
    assert max(each.relative for each in differences) < TOLERANCE


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_in_half_precision(name: str, tmp_path: Path) -> None:
    dialect, sections = NETWORKS[name]
    network = network_of(tmp_path, INPUT + CONVOLUTION + sections, dialect)
    content = onnx_bytes(network, ExportOptions(fp16=True))
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    assert max(each.relative for each in compare_onnx(content, network, ExportOptions(fp16=True))) < 2e-2


@pytest.mark.parametrize("dialect", ACTIVATIONS)
def test_every_activation(dialect: str, tmp_path: Path) -> None:
    names = ACTIVATIONS[dialect].split()
    layers = "".join(f"[route]\nlayers=0\n[convolutional]\nfilters=4\nsize=1\nactivation={name}\n" for name in names)
    joined = "[route]\nlayers=" + ",".join(str(2 + 2 * k) for k in range(len(names))) + "\n"
    wide = CONVOLUTION.replace("leaky", "linear")
    network = network_of(tmp_path, INPUT + wide + layers + joined, dialect)
    for layer in network.layers[2::2]:
        if hasattr(layer, "weights"):
            layer.weights *= 4  # so that values reach every piece of every function
    network.parameters_changed()
    check(network, pixels(network), tmp_path / "net.onnx")


def test_activation_layers_after_vectors_and_planes(tmp_path: Path) -> None:
    sections = (
        "[activation]\nactivation=plse\n[connected]\noutput=6\nactivation=linear\n[activation]\nactivation=stair\n"
    )
    network = network_of(tmp_path, INPUT + CONVOLUTION + sections + "[batchnorm]\n", "pjreddie", batch=3)
    check(network, pixels(network), tmp_path / "net.onnx")


@pytest.mark.parametrize("meta", recorded_parameters(kind="infer"))
def test_golden_case(meta: dict[str, Any], tmp_path: Path) -> None:
    case = meta["folder"]
    if {"rnn", "crnn", "gru", "lstm", "conv_lstm"} & set(meta["layers"]):
        pytest.skip("recurrent layers are not exported")
    x = np.load(case / meta.get("input", "input.npy"))[: meta["batch"]]
    weights = case / meta.get("weights", "net.weights")
    network = pydarknet.load(case / "net.cfg", weights, dialect=meta["dialect"], batch=meta["batch"])
    check(network, x.reshape(-1, *network.input_shape), tmp_path / "net.onnx")


def test_names_and_shapes(tmp_path: Path) -> None:
    dialect, sections = NETWORKS["two heads"]
    network = network_of(tmp_path, INPUT + CONVOLUTION + sections, dialect, batch=2)
    export_onnx(network, tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    assert model.producer_name == "pydarknet"
    assert model.opset_import[0].version >= 17

    def described(values: Any) -> dict[str, list[int]]:
        return {value.name: [side.dim_value for side in value.type.tensor_type.shape.dim] for value in values}

    assert described(model.graph.input) == {"input": [2, 3, 11, 13]}
    assert described(model.graph.output) == {"layer_2_yolo": [2, 14, 11, 13], "layer_5_yolo": [2, 7, 11, 13]}


def test_convolutions_are_left_for_the_runtime_to_fuse(tmp_path: Path) -> None:
    network = network_of(tmp_path, INPUT + CONVOLUTION * 2 + "[avgpool]\n[softmax]\n", "pjreddie")
    export_onnx(network, tmp_path / "net.onnx")
    operators = [node.op_type for node in onnx.load(tmp_path / "net.onnx").graph.node]
    assert operators == ["Conv", "LeakyRelu"] * 2 + ["GlobalAveragePool", "Reshape", "Softmax"]


def test_the_size_that_the_network_is_set_up_for(tmp_path: Path) -> None:
    """A picture of another size that went through before does not matter."""
    network = network_of(tmp_path, INPUT + CONVOLUTION, "pjreddie")
    network.forward(np.zeros((2, 3, 32, 32), np.float32))
    export_onnx(network, tmp_path / "net.onnx")
    shape = onnx.load(tmp_path / "net.onnx").graph.input[0].type.tensor_type.shape.dim
    assert [side.dim_value for side in shape] == [1, 3, 11, 13]


def test_a_head_of_one_cell_that_grows_with_the_input(tmp_path: Path) -> None:
    head = "[convolutional]\nfilters=8\nsize=1\nstride=13\n[yolo]\nclasses=3\nnum=1\nanchors=3,4\n"
    network = network_of(tmp_path, INPUT.replace("11", "13") + head, "pjreddie")
    content = onnx_bytes(network, ExportOptions(dynamic=True))
    one, more = compare_onnx(content, network, ExportOptions(dynamic=True))
    assert (one.output, more.output) == ("layer_1_yolo", "layer_1_yolo at 2x3x45x77")
    assert max(one.relative, more.relative) < TOLERANCE


def test_one_tensor_as_two_outputs(tmp_path: Path) -> None:
    head = "[yolo]\nclasses=3\nnum=1\nanchors=3,4\nnew_coords=1\n"
    network = network_of(tmp_path, INPUT + CONVOLUTION + head * 2, "alexeyab")
    check(network, pixels(network), tmp_path / "net.onnx")


def test_a_network_that_does_nothing(tmp_path: Path) -> None:
    network = network_of(tmp_path, INPUT.replace("=3", "=6") + "[dropout]\n", "pjreddie")
    check(network, pixels(network), tmp_path / "net.onnx")


def test_recurrent_layers_are_refused_by_name(tmp_path: Path) -> None:
    network = network_of(tmp_path, INPUT + CONVOLUTION + "[lstm]\noutput=4\n", "pjreddie")
    with pytest.raises(
        ConfigError, match=r"net\.cfg:12: \[lstm\] layer 1 cannot be exported to ONNX: it keeps a state"
    ):
        export_onnx(network, tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()


def test_padding_beyond_the_window_is_refused(tmp_path: Path) -> None:
    network = network_of(tmp_path, INPUT + "[maxpool]\nsize=2\nstride=1\npadding=6\n", "pjreddie")
    with pytest.raises(ConfigError, match=r"\[maxpool\] layer 0 cannot be exported to ONNX: padding=6"):
        export_onnx(network, tmp_path / "net.onnx")


def test_without_the_onnx_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of(tmp_path, INPUT + CONVOLUTION, "pjreddie")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(OptionError) as error:
        export_onnx(network, tmp_path / "net.onnx")
    assert "pip install 'pydarknet[onnx]'" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    network = network_of(tmp_path, INPUT + CONVOLUTION, "pjreddie")
    with pytest.raises(OutputError, match="no-such-folder"):
        export_onnx(network, tmp_path / "no-such-folder" / "net.onnx")


def test_more_than_a_file_can_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of(tmp_path, INPUT + CONVOLUTION, "pjreddie")
    monkeypatch.setattr("pydarknet.export.exporter.LARGEST_FILE", 100)
    with pytest.raises(OptionError, match="expected at most 2 GiB"):
        export_onnx(network, tmp_path / "net.onnx")
