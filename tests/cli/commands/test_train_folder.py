"""`train FOLDER`, and going on by the folder's name alone."""

import json
import sys

import numpy as np
import pytest
from support.picture_folders import labelled, voc, with_names

from pydarknet.network.weights import Header


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data set; the current folder is another one, for `runs`."""
    monkeypatch.chdir(tmp_path)
    return with_names(labelled(tmp_path / "set", 20))


@pytest.fixture
def no_report(monkeypatch):
    """Runs end without a report, which takes longer than they do."""
    from pydarknet.cli.commands import train

    monkeypatch.setattr(train, "_report", lambda *arguments: None)


SHORT = ("--max-batches", 4, "--width", 64, "--height", 48, "--no-chart")


def seen(path):
    return Header.parse(str(path), path.read_bytes()[:64])[0].seen


@pytest.mark.slow
def test_from_a_folder_to_weights(run, folder, tmp_path):
    result = run("train", "set", *SHORT)
    assert result.exit_code == 0, result.stderr
    made = tmp_path / "runs/train1"
    for name in ("obj.data", "obj.names", "train.txt", "valid.txt", "small.cfg", "run.json", "small_best.weights",
                 "small_final.weights", "train.jsonl"):  # fmt: skip
        assert (made / name).is_file(), name
    for text in (
        "set: pictures with label files, 20 pictures, 3 classes: red, green, blue",
        "16 pictures to train on, 4 to validate on (split by seed 0)",
        "Network: small (",
        "0 errors, 0 warnings",
        f"  darknet detector train {made}/obj.data {made}/small.cfg -map -dont_show",
        "pydarknet train runs/train1 --resume",
        "Advice: few pictures: 16",
    ):
        assert text in result.stderr, text
    assert "mean_average_precision (mAP@0.50) = " in result.stderr
    assert result.stderr.splitlines()[-1].startswith("The best weights are of iteration 4 (")
    assert run("train", "set", "--max-batches", 1, *SHORT[2:]).exit_code == 0
    assert (tmp_path / "runs/train2/small_final.weights").is_file()


@pytest.mark.slow
def test_a_run_goes_on_by_its_folder(run, folder, tmp_path, no_report):
    """The run is the same, bit for bit, whether it was interrupted or not, with the options that it began with."""
    run("train", "set", *SHORT, "--seed", 3, "--out", "whole", "--save-every", 3)
    run("train", "set", *SHORT, "--seed", 3, "--out", "parts", "--save-every", 3)
    for name in ("small_final.weights", "small_best.weights", "small_best.json"):
        (tmp_path / "parts" / name).unlink()
    assert seen(tmp_path / "parts/small.backup") == 3 * 16
    whole = (tmp_path / "whole/small_final.weights").read_bytes()
    result = run("train", "parts", "--resume")
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "parts/small_final.weights").read_bytes() == whole
    assert json.loads((tmp_path / "parts/run.json").read_text())["options"]["seed"] == 3
    for path in (tmp_path / "parts").glob("small[_.]*"):
        if path.suffix != ".cfg":  # killed before its first checkpoint
            path.unlink()
    assert run("train", "parts", "--resume").exit_code == 0
    assert (tmp_path / "parts/small_final.weights").read_bytes() == whole


def test_voc_and_another_model(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    voc(tmp_path / "set/JPEGImages", tmp_path / "set/Annotations", 10)
    result = run("train", "set", *SHORT[2:], "--max-batches", 1, "--model", "yolov3-tiny", "--no-check")
    assert result.exit_code == 1  # 64x48 is no multiple of 32
    assert "yolov3-tiny" in result.stderr and len(result.stderr.splitlines()[-1]) < 400
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("words", "message"), [
    (["train", "set", "--resume"], "set: no run to continue"),
    (["train", "absent"], "absent: no such file or folder"),
    (["train", "set", "--model", "x"], "--model x: no such network"),
    (["train", "set", "--init", "x"], "--init x: no such file"),
    (["train", "set", "--download"], "--download: no pretrained layers are published for small"),
    (["train", "set", "--backup", "x"], "--backup does not go with"),
    (["train", "set/obj.data", "small.cfg", "--model", "small"], "--model is for `train FOLDER`"),
    (["train", "set", "--precision", "bf16"], "training is always in float32"),
])  # fmt: skip
def test_errors(run, folder, tmp_path, words, message):
    result = run(*words)
    assert result.exit_code in (1, 2)
    assert message in result.stderr
    assert not (tmp_path / "runs").exists()


def test_pretrained_layers(run, folder, tmp_path, monkeypatch):
    """They are found among the downloaded weights, fetched, or named in a remark; the run keeps their path."""
    from pydarknet.cli.commands import train

    monkeypatch.setenv("PYDARKNET_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(train, "_train", lambda *arguments: None)
    words = ("train", "set", "--model", "yolov4-tiny", "--no-check", "--out")
    result = run(*words, "without")
    assert result.exit_code == 0, result.stderr
    assert "--download fetches yolov4-tiny.conv.29" in result.stderr
    assert json.loads((tmp_path / "without/run.json").read_text())["weights"] is None

    def fetch(name, report):
        file = tmp_path / "models" / name
        file.parent.mkdir()
        file.write_bytes(b"")
        return file

    monkeypatch.setattr(train, "download", fetch)
    for name, more in (("fetched", ["--download"]), ("found", [])):
        assert run(*words, name, *more).exit_code == 0
        kept = json.loads((tmp_path / name / "run.json").read_text())["weights"]
        assert kept == str(tmp_path / "models/yolov4-tiny.conv.29")
        assert (
            f"obj.data {tmp_path}/{name}/yolov4-tiny.cfg {kept} -map" in (tmp_path / name / "commands.txt").read_text()
        )


def test_the_folder_of_a_run_needs_resume(run, folder, no_report):
    run("train", "set", *SHORT, "--no-check", "--out", "made")
    result = run("train", "made")
    assert result.exit_code == 1
    assert "made: the folder of a run; add --resume to continue it" in result.stderr
    result = run("train", "made", "--resume", "--model", "small")
    assert result.exit_code == 1
    assert result.stderr == "made: --model is for a new run; this one has its network\n"


def test_minutes(run, folder, tmp_path):
    """The iterations are those that fit; on a machine of any speed at least 100, which are not trained here."""
    from pydarknet.datasets.listing import recognise
    from pydarknet.tools.from_folder import plan, run_files

    found = recognise(folder)
    labels = run_files.read_labelled(found)
    lists = run_files.split_lists(found, labels, 0, 0.2)
    figures = run_files.dataset_statistics(labels, lists["train"], 3)
    made = plan.make_plan(plan.choose_model("small", figures), figures, size=(32, 32))
    now = run_files.clock()
    batches, seconds = run_files.iterations_in(2, found, lists, made, now)
    assert 0 < seconds < 60
    assert batches >= 100
    assert np.isclose(batches, max(100, 110 / seconds), rtol=0.5) or batches == 100
    assert not list(tmp_path.glob("runs"))


def test_without_matplotlib_the_run_ends_without_a_report(run, folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    result = run("train", "set", "--max-batches", 1, "--no-check", "--no-chart", "--out", "made")
    assert result.exit_code == 0
    lines = result.stderr.splitlines()
    assert lines[-2] == "No report: drawing a plot needs the matplotlib package: pip install 'pydarknet[plot]'"
    assert lines[-1].startswith("The best weights are of iteration 1 (")
    assert not (tmp_path / "made/report").exists()
