"""`live`, and `train --live`."""

import csv
import json
import re
import subprocess
import sys
import urllib.request

import pytest
from support.processes import read_to, start
from support.training_files import detection_files


@pytest.fixture
def log(tmp_path):
    """The folder of a run of three iterations, one of them measured."""
    entries = [{"iteration": i, "loss": 1.5 / i} | ({"map": 0.5} if i == 2 else {}) for i in (1, 2, 3)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(each) + "\n" for each in entries))
    return tmp_path


def test_figures_as_a_table(run, log, tmp_path):
    result = run("live", str(log), "--csv", str(tmp_path / "a.csv"))
    assert (result.exit_code, result.output) == (0, "")
    with (tmp_path / "a.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert rows[1] == {"iteration": "2", "loss": "0.75", "map": "0.5"} and rows[0]["map"] == ""


def test_figures_for_tensorboard(run, log, tmp_path):
    pytest.importorskip("tensorboardX", reason="needs pydarknet[tensorboard]")
    assert run("live", str(log), "--tensorboard", str(tmp_path / "events")).exit_code == 0
    (written,) = (tmp_path / "events").iterdir()
    assert b"loss" in written.read_bytes() and b"map" in written.read_bytes()


def test_without_tensorboardx(run, log, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    result = run("live", str(log), "--tensorboard", "events")
    assert result.exit_code == 1
    assert result.stderr == "this needs the package tensorboardX: pip install 'pydarknet[tensorboard]'\n"


def test_no_run(run, tmp_path):
    result = run("live", str(tmp_path / "none"))
    assert result.exit_code == 1
    assert "no train.jsonl here or in a folder directly below" in result.stderr


@pytest.mark.slow
def test_the_page_of_a_run_that_goes_on_and_of_one_that_has_ended(tmp_path):
    files = detection_files(tmp_path)
    words = ["train", "--live", "0", files.data, files.cfg, "--no-chart", "--max-batches=3000"]
    with start(*words, stdout=subprocess.DEVNULL) as process:
        url = next(found[1] for line in process.stderr if (found := re.search(r"browser: (http\S+)", line)))
        with urllib.request.urlopen(url + "events", timeout=60) as reply:
            read_to(reply, b"event: log\n")  # the first iteration
        process.terminate()
    with start("live", files.folder, "--port=0") as process:
        url = re.search(r"http\S+", process.stderr.readline())[0]
        with urllib.request.urlopen(url, timeout=60) as reply:
            assert b"<title>pydarknet" in reply.read()
        process.terminate()


def test_a_port_may_be_left_out():
    from pydarknet.cli.interface.networks import COMMANDS

    for words, port in (
        (["--live", "a.data", "a.cfg"], 8090),
        (["a.data", "a.cfg", "-live"], 8090),
        (["--live", "8100", "a.data", "a.cfg"], 8100),
        (["a.data", "--live=8100", "a.cfg"], 8100),
        (["a.data", "a.cfg"], None),
    ):
        context = COMMANDS["train"].make_context("train", words)
        assert (context.params["live"], context.params["data_file"], context.params["cfg"]) == (port, "a.data", "a.cfg")
