"""`train`, `detector train`, `classifier train`: darknet's lines, remarks, errors."""

import json
import os
import pty
import re
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.processes import process, start
from support.training_files import classification_files, detection_files

import pydarknet
from pydarknet.cli.commands import train
from pydarknet.cli.formats.training import RECENT, HoursLeft, RecentPace, no_objects
from pydarknet.layers.heads.base import Statistics
from pydarknet.layers.heads.region import Region
from pydarknet.layers.heads.yolo import Yolo
from pydarknet.runtime import compile_time

pytestmark = pytest.mark.usefixtures("empty_charts")

NUMBER = r"-?\d+\.\d{6}"


@pytest.fixture
def files(tmp_path):
    return detection_files(tmp_path, max_batches=3)


def matches(text, *patterns):
    """The lines of a text match these patterns, all of them and nothing else."""
    lines = text.splitlines()
    assert len(lines) == len(patterns), text
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(pattern, line), (line, pattern)


def test_pjreddie_detector(run, files):
    result = run("detector", "train", files.data, files.cfg, "-dont_show")
    assert result.exit_code == 0
    head = rf"Region 3 Avg IOU: {NUMBER}, Class: {NUMBER}, Obj: {NUMBER}, No Obj: {NUMBER}, .5R: {NUMBER}, " \
           rf".75R: {NUMBER},  count: \d+"  # fmt: skip
    iterations = []
    for i in (1, 2, 3):
        iterations += [rf"Loaded: {NUMBER} seconds( - performance bottleneck on CPU or Disk HDD/SSD)?", head, head]
        iterations += [rf"{i}: {NUMBER}, {NUMBER} avg, {NUMBER} rate, {NUMBER} seconds, {4 * i} images"]
    matches(result.stdout, "net", "Learning Rate: 0.001, Momentum: 0.9, Decay: 0.0001", *iterations)
    assert "\n3: " in result.stdout and "0.001000 rate" in result.stdout
    matches(
        result.stderr,
        "10 pictures, 10 objects, .*",
        r"Waited \d+\.\d of \d+\.\d seconds for pictures \(\d+\.\d%\)",
        f"Saving weights to {files.folder}/net_final.weights",
        rf"To use the weights: pydarknet detector test {files.data} {files.cfg} \S+/net_final.weights PICTURE",
    )


def test_alexeyab_detector(run, files):
    result = run("train", files.data, files.cfg, "--dialect", "alexeyab")
    iterations = []
    for i in (1, 2, 3):
        hours = r"-1\.0" if i == 1 else r"0\.0"
        iterations += [
            rf"Loaded: {NUMBER} seconds( - performance bottleneck on CPU or Disk HDD/SSD)?",
            rf"{i}/3: loss=\d+\.\d hours left={hours}",
        ]
        iterations += [
            rf" {i}: {NUMBER}, {NUMBER} avg loss, {NUMBER} rate, {NUMBER} seconds, {4 * i} images, {NUMBER} hours left"
        ]
    matches(
        result.stdout,
        "net",
        "mini_batch = 2, batch = 4, time_steps = 1, train = 1 ",
        "",
        " Warning: You set batch=4 lower than 64! It is recommended to set batch=64 subdivision=64 ",
        r"Weights are saved after: 1000 iterations. Last weights \(\*_last.weight\) are stored every 100 iterations. ",
        "Learning Rate: 0.001, Momentum: 0.9, Decay: 0.0001",
        " Detection layer: 3 - type = 28 ",
        *iterations,
        "If you want to train from the beginning, then use flag in the end of training command: -clear ",
    )
    head = r"v3 \(mse loss, Normalizer: \(iou: 0.75, obj: 1.00, cls: 1.00\) Region 3 Avg \(IOU: \S+\), count: .*"
    boxes = [int(n) for n in re.findall(r"^ total_bbox = (\d+), rewritten_bbox = \S+ % $", result.stderr, re.M)]
    assert len(re.findall(head, result.stderr)) == 6
    assert boxes == sorted(boxes)
    assert "saveweights: Using default '1000'\nsavelast: Using default '100'\n" in result.stderr


def test_classifier(run, tmp_path):
    files = classification_files(tmp_path)
    result = run("classifier", "train", files.data, files.cfg, "--max-batches", "2")
    matches(
        result.stdout,
        "net",
        "1",
        "Learning Rate: 0.01, Momentum: 0.9, Decay: 0.0001",
        "10",
        r"16 32",
        rf"Loaded: {NUMBER} seconds( - performance bottleneck on CPU or Disk HDD/SSD)?",
        f"1, 0.400: {NUMBER}, {NUMBER} avg, 0.010000 rate, {NUMBER} seconds, 4 images",
        rf"Loaded: {NUMBER} seconds( - performance bottleneck on CPU or Disk HDD/SSD)?",
        f"2, 0.800: {NUMBER}, {NUMBER} avg, 0.010000 rate, {NUMBER} seconds, 8 images",
    )
    result = run("train", files.data, files.cfg, "--max-batches", "1", "--dialect", "alexeyab", "--backup", "b")
    assert re.search(f"^1, 0.400: .* 4 images, {NUMBER} hours left$", result.stdout, re.M)


def test_sizes_are_announced(run, tmp_path):
    files = detection_files(tmp_path, random="1", max_batches=1)
    assert "\nResizing\n608\nLoaded: " in run("train", files.data, files.cfg).stdout
    result = run("train", files.data, files.cfg, "--dialect", "alexeyab", "--backup", "b")
    assert "\nResizing, random_coef = 1.40 \n\n 64 x 64 \nLoaded: " in result.stdout


@pytest.mark.slow
def test_sizes_of_mini_batches_are_announced(run, tmp_path):
    files = detection_files(tmp_path, random="1", max_batches=104, dynamic_minibatch=1)
    model = pydarknet.load(files.cfg, dialect="alexeyab")
    model.header = model.header.__class__(0, 2, 5, 4 * 83)
    model.save_weights("start.weights")
    result = run("train", files.data, files.cfg, "start.weights", "--dialect", "alexeyab", "--max-batches", "204")
    assert result.exit_code == 0, result.stderr
    found = [
        tuple(map(int, sizes)) for sizes in re.findall(r"^ (\d+) x (\d+)  \(batch = (\d+)\) $", result.stdout, re.M)
    ]
    assert found[0] == (64, 64, 2)
    assert set(found) == {(64, 64, 2), (32, 32, 6)}
    entries = [json.loads(line) for line in (files.folder / "train.jsonl").read_text().splitlines()]
    assert {(e["width"], e["height"], e["batch"]) for e in entries} == set(found)
    assert [e["images"] for e in entries] == [4 * e["iteration"] for e in entries]


@pytest.mark.slow
def test_map_of_alexeyab(run, tmp_path):
    files = detection_files(tmp_path, max_batches=102, learning_rate=0.01)
    result = run("detector", "train", files.data, files.cfg, "--dialect", "alexeyab", "-map", "-iou_thresh", ".3")
    assert result.exit_code == 0
    out = result.stdout
    assert out.startswith(
        " Prepare additional network for mAP calculation...\nmini_batch = 1, batch = 1, time_steps = 1, "
    )
    assert re.search(r"\n\n \(next mAP calculation at 100 iterations\) 1/102: loss=\d+\.\d hours left=-1\.0\n 1: ", out)
    assert out.count("calculation mAP (mean average precision)...") == 2
    report = re.search(
        r"^ 100: .*\n\n calculation mAP .*\n Detection layer: 3 - type = 28 \n\n detections_count = \d+, "
        r"unique_truth_count = 10  \nclass_id = 0, name = /a, ap = (?s:.*?)\n mean average precision \(mAP@0\.30\) = "
        r"(\d\.\d{6}), or .* % \n(?s:.*?)`-points 0`.*\n\n mean_average_precision \(mAP@0\.30\) = (\d\.\d{6}) \n"
        r"(New best mAP!\n)?Loaded",
        out,
        re.M,
    )
    assert report and report[1] == report[2] and report[3]
    value = float(report[1])
    assert value > 0
    assert (
        f"\n (next mAP calculation at 200 iterations) \n Last accuracy mAP@0.30 = {100 * value:2.2f} %, best = "
        f"{100 * value:2.2f} % 101/102: loss="
    ) in out
    assert re.search(rf" map={value:.2f} best={value:.2f} hours left=", out)
    assert f"Saving weights to {files.folder}/net_best.weights\n" in result.stderr
    assert re.search(r"^Total Detection Time: \d+ Seconds$", result.stderr, re.M)
    assert not re.search(r"[\r\033\a]", out)


def test_map_of_pjreddie_stands_on_standard_error(run, tmp_path):
    files = detection_files(tmp_path, max_batches=2)
    result = run("detector", "train", files.data, files.cfg, "-map")
    assert "mAP" not in result.stdout
    assert re.search(r"^ mean_average_precision \(mAP@0\.50\) = \d\.\d{6} $", result.stderr, re.M)


def test_patience_ends_a_run_and_the_best_weights_are_named(run, tmp_path, monkeypatch):
    from pydarknet.training import validation

    values = iter([0.3, 0.4, 0.4, 0.1, 0.9])
    monkeypatch.setattr(validation, "LEAST_INTERVAL", 10)
    monkeypatch.setattr(
        validation.AveragePrecision, "run", lambda self, network: validation.Measurement("map", next(values))
    )
    monkeypatch.setattr("pydarknet.cli.formats.training.Printer._report", lambda self, measurement: None)
    files = detection_files(tmp_path, max_batches=100)
    result = run("train", files.data, files.cfg, "-map", "-mAP_epochs", "1", "--patience", "2")
    assert result.exit_code == 0
    assert result.stderr.splitlines()[-3:] == [
        f"Saving weights to {files.folder}/net_final.weights",
        "Ended after iteration 40: the best measurement, 0.4000, is of iteration 20, and the 2 since were no better.",
        f"The best weights are of iteration 30 (40.00%): pydarknet detector test {files.data} {files.cfg} "
        f"{files.folder}/net_best.weights PICTURE",
    ]


def test_accuracy_of_a_classifier(run, tmp_path):
    files = classification_files(tmp_path)
    files.data.write_text(files.data.read_text() + "top=1\n")
    words = (files.data, files.cfg, "--dialect", "alexeyab", "--max-batches", "111")
    result = run("classifier", "train", *words, "-topk")
    found = re.findall(r"\n\n accuracy top1 = (\d\.\d{6}) \n(\d+), ", result.stdout)
    assert [number for _, number in found] == ["100", "105", "110", "111"]
    assert "\n (next TOP1 calculation at 100 iterations) " in result.stderr
    value = 100 * float(found[1][0])
    assert f"\n (next TOP1 calculation at 110 iterations)  Last accuracy TOP1 = {value:2.2f} % \n" in result.stderr


def test_tune_is_ignored(run, files):
    assert "-tune is ignored: in training" in run("train", files.data, files.cfg, "--max-batches", "1", "-tune").stderr


def test_no_chart(run, files):
    run("train", files.data, files.cfg, "--no-chart")
    assert not (files.folder / "chart.png").exists()
    pytest.importorskip("matplotlib", reason="needs matplotlib (extra plot)")
    run("train", files.data, files.cfg)
    assert (files.folder / "chart.png").exists()


def test_heads_without_objects_say_so(run, tmp_path):
    files = detection_files(tmp_path, objects=False, max_batches=1)
    result = run("train", files.data, files.cfg, "--no-check")
    assert "Region 3 Avg IOU: no objects, Class: no objects, Obj: no objects, No Obj: 0." in result.stdout
    assert "nan" not in result.stdout


def test_no_objects():
    nothing, some = Statistics(predictions=4), Statistics(predictions=4, count=1)
    assert no_objects(nothing.line(Region.line), nothing) == (
        "Region Avg IOU: no objects, Class: no objects, Obj: no objects, No Obj: 0.000000, Avg Recall: no objects,  "
        "count: 0"
    )
    assert "nan" in no_objects(some.line(Yolo.line, index=1), some)  # a mean over classes that really is none


def test_hours_left():
    hours = HoursLeft()
    hours.update(10, 3600)
    assert hours.value == 10
    hours.update(9, 7200)
    assert hours.value == pytest.approx(0.99 * 10 + 0.01 * 18)


def test_the_time_left_follows_the_last_iterations():
    pace, now = RecentPace(), 0.0
    pace.append(now)
    for seconds in (9.0, *[0.5] * RECENT):
        now += seconds
        pace.append(now)
    assert pace.per_iteration == pytest.approx(0.5), "the first ones are forgotten"
    pace.append(now + 10.5)
    assert pace.per_iteration == pytest.approx((99 * 0.5 + 10.5) / RECENT)


def test_compiling_is_no_time_of_training(run, files, monkeypatch):
    from pydarknet.training.learner import Learner

    step = Learner.step

    def compiles(self, *batch):
        compile_time.begin()
        time.sleep(0.5)
        compile_time.end()
        return step(self, *batch)

    monkeypatch.setattr(Learner, "step", compiles)
    result = run("train", files.data, files.cfg, "--max-batches", "1")
    seconds = [float(text) for text in re.findall(r"rate, (\S+) seconds", result.stdout)]
    assert len(seconds) == 1 and seconds[0] < 0.45
    entries = [json.loads(line) for line in (files.folder / "train.jsonl").read_text().splitlines()]
    assert all(0 <= entry["seconds"] < 0.45 for entry in entries)
    assert float(re.search(r"Waited \S+ of (\S+) seconds", result.stderr)[1]) < 0.45


def test_resume_says_where_it_goes_on(run, files):
    assert "no checkpoint of net; this is a new run" in run("train", files.data, files.cfg, "-resume").stderr
    result = run("train", files.data, files.cfg, "--resume", "--max-batches", "5", "--seed", "8")
    assert f"Resuming from {files.folder}/net_final.weights, iteration 3\n" in result.stderr
    assert "the run was started with seed 0, which it keeps" in result.stderr
    assert re.findall(r"^(\d+): ", result.stdout, re.M) == ["4", "5"]


def test_a_second_run_says_where_the_first_one_is(run, files):
    first = run("train", files.data, files.cfg)
    weights = (files.folder / "net_final.weights").read_bytes()
    second = run("train", files.data, files.cfg, "--seed", "5")
    assert second.exit_code == 0
    aside = files.folder / "net.old1"
    assert (
        f"{files.folder}: weights of an earlier run (net_final.weights) are now in {aside}; to continue that run, "
        "resume it there\n"
    ) in second.stderr
    assert len(second.stdout.splitlines()) == len(first.stdout.splitlines())
    assert (aside / "net_final.weights").read_bytes() == weights
    assert (files.folder / "net_final.weights").read_bytes() != weights
    resumed = run("train", files.data, files.cfg, "--backup", aside, "--resume", "--max-batches", "5")
    assert re.findall(r"^(\d+): ", resumed.stdout, re.M) == ["4", "5"]


def test_checkpoints_are_announced(run, files):
    result = run("train", files.data, files.cfg, "--save-every", "2")
    assert f"Saving weights to {files.folder}/net.backup\n" in result.stderr


def test_partial_weights_are_announced(run, files):
    import pydarknet

    pydarknet.load(files.cfg).save_weights("net.conv.2", cutoff=2)
    assert "net.conv.2: loaded 2 of 4 layers" in run("train", files.data, files.cfg, "net.conv.2").stderr


@pytest.mark.parametrize(("words", "error"), [
    ("classifier train {data} {cfg}", "{cfg}: a detector; use detector train"),
    ("train {data} {cfg} -topk", "{cfg}: -topk does not go with this network; use -map"),
    (
        "train {data} {cfg} --min-size 288",
        "min_size 288: only pjreddie's detectors with random=1 in the last layer change between 320 and 608",
    ),
    ("train {data} {cfg} --patience 3", "--patience 3: counts measurements; give -map or -topk, too"),
    ("train . {cfg}", ".: with a CFG, expected a .data file; for this data set: pydarknet train . --model {cfg}"),
    (
        "detector train data.yaml {cfg}",
        "data.yaml: with a CFG, expected a .data file; for this data set: pydarknet train data.yaml --model {cfg}",
    ),
    ("train nothing.data {cfg}", "Couldn't open file: nothing.data (No such file or directory)"),
    ("train {data} {cfg} nothing.weights", "Couldn't open file: nothing.weights (No such file or directory)"),
])  # fmt: skip
def test_errors_are_one_line(run, files, words, error):
    result = run(*words.format(data=files.data, cfg=files.cfg).split())
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == error.format(data=files.data, cfg=files.cfg)


def test_the_wrong_command_leaves_the_folder_of_a_run_alone(run, files):
    run("detector", "train", files.data, files.cfg)
    before = {path.name: path.read_bytes() for path in files.folder.iterdir()}
    assert "train.jsonl" in before
    assert run("classifier", "train", files.data, files.cfg).exit_code == 1
    assert {path.name: path.read_bytes() for path in files.folder.iterdir()} == before


@pytest.mark.slow
def test_no_control_characters_in_a_pipe(files):
    result = process("train", files.data, files.cfg, "--dialect", "alexeyab")
    assert result.returncode == 0
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", result.stdout + result.stderr)


@pytest.mark.slow
def test_at_a_terminal_there_is_progress(files):
    master, slave = pty.openpty()
    terminal = {"stdin": slave, "stdout": slave, "stderr": slave}
    started = start("train", files.data, files.cfg, "--dialect", "alexeyab", **terminal)
    os.close(slave)
    text = b""
    try:
        while part := os.read(master, 65536):
            text += part
    except OSError:  # Linux, when the other side is closed
        pass
    os.close(master)
    assert started.wait(60) == 0
    assert b"\033[H\033[J2/3: loss=" in text
    assert b"\a\r\n 2: " in text
    assert re.search(rb"2/3  loss [\d.e+]+  rate [\d.e-]+  [\d.]+ images/s  0:00:\d\d left\r\033\[K", text)
    assert not list(Path.cwd().glob("*.part"))


def test_an_interrupt_while_a_line_is_written_stops_training_all_the_same(monkeypatch):
    def busy(*lines):
        raise RuntimeError("reentrant call inside <_io.BufferedWriter name='<stderr>'>")

    stopped = []
    monkeypatch.setattr(train, "note", busy)
    with train.first_interrupt_stops(SimpleNamespace(stop=lambda: stopped.append(True))):
        signal.raise_signal(signal.SIGINT)
    assert stopped == [True]
