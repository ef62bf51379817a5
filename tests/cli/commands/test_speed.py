"""`speed`: darknet's lines, and the table of layers."""

import re

import pytest
from support.processes import process

NUMBER = r"(\d+\.\d{6})"


def test_what_pjreddies_darknet_prints(run, classifier):
    result = run("speed", classifier.cfg, 5)
    assert result.exit_code == 0
    pattern = (
        rf"\n5 evals, {NUMBER} Seconds\nFloating Point Operations: 0.00 Bn\nFLOPS: \d+\.\d\d Bn\n"
        rf"Speed: {NUMBER} sec/eval\nSpeed: {NUMBER} Hz\n"
    )
    found = re.fullmatch(pattern, result.stdout)
    assert found, result.stdout
    seconds, each, rate = map(float, found.groups())
    assert each == pytest.approx(seconds / 5, abs=1e-6)
    assert rate == pytest.approx(5 / seconds, rel=0.01)


@pytest.mark.slow
def test_as_a_process(classifier):
    for words, last in ((["speed", classifier.cfg, "2"], "Hz"), (["ops", classifier.cfg], "Bn")):
        result = process(*words)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.endswith(f" {last}\n")


def test_what_alexeyabs_darknet_prints(run, classifier):
    result = run("speed", classifier.cfg, 3, "--dialect", "alexeyab", "-weights", classifier.weights)
    pattern = rf"\n3 evals, {NUMBER} Seconds\nSpeed: {NUMBER} sec/eval\nSpeed: {NUMBER} Hz\n"
    assert re.fullmatch(pattern, result.stdout), result.stdout


@pytest.mark.parametrize("words", [[], ["0"]])
def test_a_thousand_passes_unless_said_otherwise(run, classifier, words):
    assert run("speed", classifier.cfg, *words).stdout.startswith("\n1000 evals, ")


def test_layers_with_the_slowest_first(run, detector):
    result = run("speed", detector.cfg, "--layers", 3, "--size", 64, "--batch", 2)
    assert result.exit_code == 0
    assert result.stderr == "each of the passes computes 2 pictures\n"
    head, *rows, empty, total, peak = result.stdout.splitlines()
    assert head.split() == ["layer", "kind", "input", "output", "ms", "share", "GFLOP/s", "of", "peak"]
    assert len(head) == len(rows[0])
    kinds = {row.split()[0]: row.split()[1] for row in rows}
    assert kinds == {"-": "input", "0": "convolutional", "1": "yolo"}
    milliseconds = [float(re.search(r"(\d+\.\d+) +\d+\.\d%", row)[1]) for row in rows]
    assert milliseconds == sorted(milliseconds, reverse=True)
    whole = float(re.match(r"total (\d+\.\d+) ms, 0\.000 GFLOP", total)[1])
    assert whole == pytest.approx(sum(milliseconds), abs=0.002)
    assert re.fullmatch(r"peak  \d+\.\d GFLOP/s, of which the whole reaches \d+\.\d %", peak)
    convolution = next(row for row in rows if " convolutional " in row)
    assert "64 x  64 x   3 ->    2 x   2 x   7" in convolution
    assert convolution.endswith("%") and empty == ""


def test_bad_inputs(run, classifier):
    assert run("speed", "missing.cfg").exit_code == 1
    assert run("speed", classifier.cfg, "--", "-3").exit_code == 2
    assert run("speed", classifier.cfg, "--batch", 0).exit_code == 2
    result = run("speed", classifier.cfg, 2, "--weights", "missing.weights")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "missing.weights" in result.stderr
