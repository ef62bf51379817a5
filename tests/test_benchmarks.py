"""The benchmark: its options, its turns, and a real run on a small network."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pydarknet
from pydarknet.boxes import Box, Detection
from pydarknet.config.sections import read_config
from pydarknet.kernels.convolution import bf16, int8

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
SMALL = """
    [net]
    batch=64
    subdivisions = 8
    width=96
    height=96
    channels=3

    [convolutional]
    batch_normalize=1
    filters=8
    size=3
    stride=1
    pad=1
    activation=leaky

    [maxpool]
    size=2
    stride=2

    [convolutional]
    batch_normalize=1
    filters=8
    size=3
    stride=1
    pad=1
    activation=mish

    [shortcut]
    from=-2
    activation=linear

    [route]
    layers=-1
    groups=2
    group_id=1

    [maxpool]
    size=2
    stride=1

    [upsample]
    stride=2

    [reorg]
    stride=2

    [maxpool]
    size=3
    stride=2

    [route]
    layers=-1

    [convolutional]
    filters=21
    size=1
    activation=linear

    [yolo]
    mask=0,1,2
    anchors=10,14, 23,27, 37,58
    num=3
    classes=2
"""


@pytest.fixture(autouse=True)
def modules_of_the_benchmark(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)


def test_networks_by_name_size_and_comma():
    from networks import SIZES, chosen

    assert chosen([], SIZES) is SIZES
    assert chosen(["tiny,yolov3:320", "other"], {}) == {"tiny": 224, "yolov3": 320, "other": 416}
    assert chosen(["yolo-fastest-1.1", "tiny.cfg"], {}) == {"yolo-fastest-1.1": 320, "tiny.cfg": 224}


def test_every_network_of_the_table_that_is_bundled_is_found():
    from networks import SIZES, find_cfg

    assert {name for name in SIZES if find_cfg(name) is None} <= {"yolo-fastest-1.1"}
    assert find_cfg("nothing") is None


def test_options_of_net_are_replaced_and_nothing_else(write_cfg, tmp_path):
    from networks import with_options

    folder = tmp_path / "copies"
    folder.mkdir()
    original = read_config(write_cfg(SMALL))
    copy = read_config(with_options(write_cfg(SMALL), folder, width=64, batch=8, subdivisions=1, momentum=1))
    assert [copy.net.text(key) for key in ("width", "height", "batch", "subdivisions", "momentum")] == [
        "64", "96", "8", "1", "1",
    ]  # fmt: skip
    assert [layer.kind for layer in copy.layers] == [layer.kind for layer in original.layers]


def test_turns_alternate_and_give_the_median(monkeypatch):
    import turns

    monkeypatch.setattr(turns, "REST", 0)
    order = []

    def runner(name, times):
        remaining = iter(times)

        def run():
            order.append(name)
            return next(remaining)

        return run

    found = turns.take_turns([runner("a", [9, 1, 9, 3]), runner("b", [9, 5, 9, 5])], repeats=2)
    assert found == [2, 5]
    assert "".join(order) == "aabbaabb"


def test_the_fastest_peer_counts():
    from forward import Row, summary

    rows = [
        Row("a 1", [10], [20, 40, None], 0.0),
        Row("b 1", [10], [None, 5, None], None),
        Row("c 1", [10], [None] * 3, None),
    ]
    assert [row.ratio for row in rows] == [2, 0.5, None]
    assert summary(rows).startswith("Geometric mean of fastest peer / pydarknet over 2 networks: 1.00; lowest: 0.50 (b")
    assert rows[1].cells() == ["b 1", "10.00", "-", "5.00", "-", "0.50", "-"]


def test_the_fastest_precision_counts():
    from forward import Row, head

    row = Row("a 1", [10, 8, 5], [10, 20], 0.1)
    assert row.ratio == 2
    assert len(head(["openvino", "openvino-int8"], ["float32", "bf16", "int8"])) == len(row.cells())


@pytest.mark.slow
def test_files_are_read_and_their_objects_found(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    import file_to_box

    monkeypatch.setattr(file_to_box, "REPEATS", 1)
    monkeypatch.setattr(file_to_box, "NETWORKS", {"yolov3-tiny": 64})
    monkeypatch.setattr(file_to_box, "openvino_loop", file_to_box.onnx_runtime_loop)  # a peer fewer to install
    rows = file_to_box.time_files(tmp_path, 1, 20)
    assert [row[:2] for row in rows] == [["yolov3-tiny 64", "20 of 640x480"], ["yolov3-tiny 64", "2 of 4000x3000"]]
    assert all(float(cell) > 0 for row in rows for cell in row[2:])


def test_charts_are_drawn_from_a_report(tmp_path):
    pytest.importorskip("matplotlib")
    import charts
    from report import table

    head = ["network", "pydarknet float32", "pydarknet int8", "OpenVINO int8", "fastest / ours", "difference"]
    heading = list(charts.CHARTS)[1]
    report = f"# Benchmarks\n\n## {heading}\n\ntext\n\n{table(head, [['a 1', '4.00', '2.00', '3.00', '1.50', '-']])}\n"
    (rows,) = charts.sections(report).values()
    peers = charts.peers_of(rows)
    assert (peers, charts.ratios(rows[0], peers)) == ({"OpenVINO": ["OpenVINO int8"]}, [1.5])
    charts.draw(rows, "title", tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_the_readme_shows_the_report():
    import charts
    from report import table

    times, training = ["network", "pydarknet", "OpenCV", "fastest / ours", "difference"], ["network", "PyTorch / ours"]
    parts = ["# Benchmarks", "A processor, 2 threads.  \nPython 3.  \n`bench.py`"]
    for heading, mean in zip(charts.CHARTS, ("2.00", "1.00"), strict=True):
        rows = [["a 1", "4.00", "8.00", mean, "1e-6"]]
        parts += [f"## {heading}", "Milliseconds.", table(times, rows), f"Geometric mean of ...: {mean}"]
    parts += ["## Training", table(training, [["a 1", "1.00"], ["b 1", "4.00"]])]
    text = charts.shown("\n\n".join(parts))
    assert text.startswith(
        "A processor, 2 threads. Python 3. Milliseconds for one picture in float32, from `bench.py`:"
    )
    assert "| a 1     | 4.00      | 8.00   | 2.00           |\n" in text and "difference" not in text
    assert [text.count(line) for line in ("Geometric mean of ...: 2.00", "best precision: Geometric mean of ...: 1.00")]
    assert text.endswith("over 2 networks: 2.00.\n")
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    assert charts.PART.sub(r"\1\2", readme).count("<!-- ") == 2


RESAMPLED = """
    [net]
    width=32
    height=32
    channels=3

    [convolutional]
    filters=4
    size=1
    activation=leaky

    [convolutional]
    filters=8
    size=3
    stride=2
    pad=1
    activation=leaky

    [shortcut]
    from=-2
    activation=leaky
"""


def run_bench(*words, **options):
    command = [sys.executable, str(FOLDER / "bench.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@pytest.mark.slow
def test_a_run_compares_times_and_writes_its_report(write_cfg, tmp_path):
    pytest.importorskip("onnxruntime")
    report = tmp_path / "report.md"
    words = f"--networks {write_cfg(SMALL)}:32,nothing --peers onnxruntime,opencv --repeats 1 --processes 0"
    words += " --no-train --files 0"
    process = run_bench(*words.split(), "--out", report)
    assert process.returncode == 0, process.stderr
    assert "nothing: left out, no nothing.cfg found" in process.stderr
    text = report.read_text()
    row = next(line for line in text.splitlines() if line.startswith("| net 32"))
    ours, theirs, opencv, ratio, difference = (float(cell) for cell in row.strip("| ").split("|")[1:])
    assert min(theirs, opencv) / ours == pytest.approx(ratio, rel=0.2)
    assert 0 < difference < 1e-4
    assert "onnxruntime" in text and "bench.py --networks" in text


@pytest.mark.slow
@pytest.mark.parametrize("words, message", [
    ("--peers nobody", "--peers nobody: expected some of"),
    ("--darknet /nowhere", "/nowhere: no such program"),
])  # fmt: skip
def test_bad_options(words, message):
    process = run_bench(*words.split())
    assert process.returncode != 0
    assert message in process.stderr
    assert "Traceback" not in process.stderr


@pytest.mark.slow
def test_a_peer_that_differs_is_an_error(write_cfg, tmp_path, monkeypatch):
    import forward
    from peers import Peer, Runner

    def wrong(job):
        expected = job.network.forward(job.x)
        return Runner(lambda: 0.0, [2 * array for array in expected], expected)

    monkeypatch.setitem(forward.ALL_PEERS, "wrong", Peer("Wrong", wrong))
    with pytest.raises(ArithmeticError, match="the outputs of Wrong differ by 1"):
        forward.time_network(str(write_cfg(SMALL)), 32, ["wrong"], ["float32"], 1, 1, tmp_path, None)


@pytest.mark.parametrize(("cfg", "dialect"), [(SMALL, "alexeyab"), (RESAMPLED, "pjreddie")])
def test_the_torch_network_is_ours(write_cfg, cfg, dialect):
    torch = pytest.importorskip("torch")
    from networks import make_sane
    from torch_network import TorchNetwork, last_layers

    network = pydarknet.load(write_cfg(cfg), width=33, height=31, batch=2, dialect=dialect)
    make_sane(network)
    x = np.random.default_rng(0).random((2, 3, 31, 33), np.float32)
    every = network.layer_outputs(x)
    for folded in (False, True):
        with torch.inference_mode():
            outputs = TorchNetwork(network, folded).eval()(torch.from_numpy(x))
        for index, y in zip(last_layers(network), outputs, strict=True):
            assert np.abs(y.numpy() - every[index]).max() < 1e-4 * np.abs(every[index]).max()


@pytest.mark.slow
def test_training_beside_torch(write_cfg, tmp_path):
    from train_step import time_training

    folder = tmp_path / "copies"
    folder.mkdir()
    row = time_training(str(write_cfg(SMALL)), 32, 1, 1, folder)
    assert row[0].endswith("net.cfg 32, batch 8")
    assert float(row[1]) > 0


def found_object(number, left, confidence):
    return Detection(number, str(number), confidence, Box(left + 5, 5, 10, 10))


def test_objects_of_two_precisions_are_matched_by_class_and_overlap():
    from precision import objects_line

    expected = [found_object(0, 0, 0.9), found_object(0, 20, 0.8), found_object(1, 0, 0.7), found_object(2, 0, 0.6)]
    found = [found_object(0, 20, 0.8), found_object(0, 1, 0.88), found_object(1, 0, 0.7), found_object(3, 0, 0.6)]
    assert objects_line(found, expected) == (
        "3 of 4 objects found again, 1 others; lowest IoU 0.818, probabilities within 2.00 points"
    )
    assert objects_line([], []) == "0 of 0 objects found again, 0 others"


def test_classes_of_two_precisions_are_compared():
    from precision import classes_line

    expected = [("cat", 0.5), ("dog", 0.3), ("hen", 0.2)]
    assert classes_line([("cat", 0.49), ("dog", 0.31), ("hen", 0.2)], expected) == (
        "the same class, the five best in the same order, probabilities within 1.00 points"
    )
    assert classes_line([("dog", 0.41), ("cat", 0.4), ("hen", 0.2)], expected) == (
        "dog instead of cat, the five best in another order, probabilities within 11.00 points"
    )


@pytest.mark.slow
@pytest.mark.parametrize("precision, largest_difference", [("bf16", 0.03), ("int8", 0.2)])
def test_a_comparison_of_precisions(write_cfg, precision, largest_difference):
    missing = {"bf16": bf16, "int8": int8}[precision].MISSING
    if missing:
        pytest.skip(f"this processor has no {' and no '.join(missing)}")
    words = ["--networks", f"{write_cfg(SMALL)}:32,nothing", "--repeats", "1", "--precision", precision]
    process = subprocess.run(
        [sys.executable, str(FOLDER / "precision.py"), *words], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    assert "nothing: left out, no nothing.cfg found" in process.stderr
    name, rounded, *numbers = [cell.strip() for cell in process.stdout.splitlines()[-1].strip("| ").split("|")]
    exact, fast, ratio, largest, last = map(float, numbers)
    assert (name, rounded) == ("net 32", "2 of 3")
    assert exact / fast == pytest.approx(ratio, rel=0.2)
    assert 0 < last <= largest < largest_difference


@pytest.mark.slow
def test_load_and_rude_clients_of_a_service():
    for module in ("starlette", "uvicorn", "python_multipart"):
        pytest.importorskip(module, reason="needs pydarknet[serve]")

    def lines(script, *options):
        command = [sys.executable, FOLDER / script, *options]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    found = lines("serve_load.py", "--requests=40", "--clients=1,8", "--seconds=0.2", "--rounds=1")
    assert [line.split(" clients")[0] for line in found] == ["1", "8"]
    assert all(" 0 wrong and 0 refused of 40;" in line for line in found)
    found = lines("serve_rude.py", "--requests=40", "--slow=0")
    assert len([line for line in found if " 0 wrong and 0 refused of 40;" in line]) == 2
    rude = dict(line.strip().split(": ", 1) for line in found[2:])
    assert rude["wrong token"].endswith(" x 401") and rude["100 MB"].endswith(" x 413")
    assert rude["400 megapixels"].endswith(" x 400")


def test_wrong_answers_of_a_service_are_counted():
    from serve_load import Load, comparable

    head = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"
    load = Load.__new__(Load)
    load.answers = [
        head + b'{"seconds": 0.1, "objects": [1]}',
        head + b'{"seconds": 0.2, "objects": [2]}',
        b"HTTP/1.1 429 Many\r\n\r\n",
    ]  # fmt: skip
    expected = [comparable(b'{"seconds": 7, "objects": [1]}')]
    wrong, others = load.compare(expected)
    assert (wrong, dict(others)) == (1, {429: 1})


@pytest.mark.slow
def test_viewers_of_a_run_see_events_and_pictures():
    command = [sys.executable, FOLDER / "live_viewers.py", "--iterations=24", "--repeats=1"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split(": ")[0] for line in found] == ["of the processor time", "clock", "processor"]
    shares = [float(share) for share in re.findall(r"([\d.]+)%", found[0])]
    assert len(shares) == 2 and all(0 <= share < 10 for share in shares)  # one may be below a tick of the clock


def test_the_work_divides_evenly_among_many_cores():
    from cores import NETWORKS, evenness_of
    from networks import find_cfg, random_network

    for name in ("tiny", "yolov3-tiny", "yolov4-tiny"):
        network = random_network(find_cfg(name), NETWORKS[name])
        found = {cores: evenness_of(network, cores) for cores in (4, 6, 8, 12, 16)}
        assert min(found.values()) > 0.95, (name, found)


def test_the_model_of_more_cores():
    from cores import LOOP, Layer, Machine, evenness

    assert [evenness(tasks, 4) for tasks in (1, 4, 5, 8)] == [0.25, 1, 0.625, 1]
    layers = [Layer(0, 1.0, 1, 8, 100, 10), Layer(1, 1.0, 1, 1, 0, 4000)]
    machine = Machine({4: 1e6}, LOOP, 1000)
    assert machine.seconds(layers, {0: 0.004, 1: 0.002, 2: 0.1}, 4) == pytest.approx(0.001 + 0.004 + 4 * LOOP + 0.025)
