"""Hooks of a run: when they are called, in which order files are written, and what a checkpoint keeps of them."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from support.training_files import OFTEN

import pydarknet
from pydarknet.errors import OptionError, WeightsError
from pydarknet.training import validation
from pydarknet.training.checkpoint import newest
from pydarknet.training.hooks import EarlyStopping, Hook, Measurement
from pydarknet.training.trainer import Trainer, train

pytestmark = pytest.mark.usefixtures("empty_charts")

DOCS = Path(__file__).parents[2] / "docs"


class Calls(Hook):
    """Notes every call."""

    def __init__(self):
        self.calls = []

    def before_run(self, run):
        self.calls.append(("before_run", run.iteration))

    def before_step(self, run):
        self.calls.append(("before_step", run.iteration))

    def after_step(self, run, record):
        assert record.iteration == run.iteration
        self.calls.append(("after_step", record.iteration))

    def after_run(self, run):
        self.calls.append(("after_run", run.iteration))


class Total(Hook):
    """Adds losses up over the whole run, also a resumed one."""

    total = 0.0

    def after_step(self, run, record):
        self.total += record.loss
        record.metrics["total"] = self.total

    def state_dict(self):
        return {"total": self.total}

    def load_state_dict(self, state):
        self.total = state["total"]


def values(files, key):
    entries = [json.loads(line) for line in (files.folder / "train.jsonl").read_text().splitlines()]
    return [entry.get(key) for entry in entries]


def test_a_hook_is_called_before_and_after_each_iteration(files):
    hook = Calls()
    list(pydarknet.train(files.data, files.cfg, max_batches=2, hooks=[hook]))
    assert hook.calls == [
        ("before_run", 0), ("before_step", 0), ("after_step", 1), ("before_step", 1), ("after_step", 2),
        ("after_run", 2),
    ]  # fmt: skip


def test_a_run_that_is_left_calls_no_after_run(files):
    hook = Calls()
    run = train(files.data, files.cfg, hooks=[hook])
    next(run)
    run.close()
    assert [name for name, _ in hook.calls] == ["before_run", "before_step", "after_step"]


def test_files_are_written_in_the_order_of_darknet(files, monkeypatch):
    """Best weights, then numbered ones, then the rolling checkpoint; the line of the iteration before all of them."""
    written = []
    rename = Path.replace

    def replace(self, target):
        written.append(Path(target).name)
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(validation.AveragePrecision, "run", lambda self, network: Measurement("map", 0.5))

    class Look(Hook):
        def after_step(self, run, record):
            if record.iteration == 100:
                assert record.measurement and not record.saved
                assert values(files, "iteration")[-1] == 99
                written.clear()

    for record in train(files.data, files.cfg, max_batches=100, hooks=[Look()], **OFTEN):
        assert values(files, "iteration")[-1] == record.iteration
    names = [name for name in written if name.endswith((".weights", ".backup"))]
    assert names == ["net_best.weights", "net_100.weights", "net.backup", "net_final.weights"]
    assert [path.name for path in record.saved] == names[:3]


def test_a_hook_adds_numbers_to_the_log_and_goes_on_with_its_state(files, tmp_path):
    list(train(files.data, files.cfg, max_batches=8, hooks=[Total()], backup=tmp_path / "undisturbed"))
    for record in train(files.data, files.cfg, max_batches=8, hooks=[Total()], save_every=3):
        if record.iteration == 5:  # not in the checkpoint of iteration 3
            break
    list(train(files.data, files.cfg, max_batches=8, hooks=[Total()], resume=True))
    found = values(files, "total")
    assert found == pytest.approx(np.cumsum(values(files, "loss")), rel=1e-12)
    whole = [json.loads(line)["total"] for line in (tmp_path / "undisturbed/train.jsonl").read_text().splitlines()]
    assert found == whole


def test_the_state_of_a_hook_that_a_resumed_run_lacks_is_kept(files):
    list(train(files.data, files.cfg, max_batches=2, hooks=[Total()]))
    state = newest(files.folder, "net").progress.hooks["Total"]
    list(train(files.data, files.cfg, max_batches=4, resume=True))
    assert newest(files.folder, "net").progress.hooks["Total"] == state


def test_two_hooks_with_a_state_need_two_names(files):
    with pytest.raises(OptionError, match="2 hooks are called Total; expected different names"):
        Trainer(files.data, files.cfg, hooks=[Total(), Total()])


class Measured(Hook):
    """Stands for a validation with given values."""

    name = "validation"

    def __init__(self, *values):
        self.values = values

    def before_run(self, run):
        run.validator = None

    def after_step(self, run, record):
        value = self.values[record.iteration - 1]
        record.measurement = validation.Measurement("map", value, max(self.values[: record.iteration]), 0.0)


def test_a_run_that_gets_no_better_ends_with_the_final_weights(files):
    hooks = [Measured(0.1, 0.5, 0.5, 0.4, 0.6, 0.7), EarlyStopping(2)]
    run = Trainer(files.data, files.cfg, hooks=hooks)
    assert [r.iteration for r in run.run()] == [1, 2, 3, 4]
    assert run.finished and not run.interrupted
    assert run.finish_reason == ("the best measurement, 0.5000, is of iteration 2, and the 2 since were no better")
    assert pydarknet.load(files.cfg, files.folder / "net_final.weights").header.seen == 16
    again = Trainer(files.data, files.cfg, hooks=[EarlyStopping(2)], resume=True)
    assert list(again.run()) == []
    longer = Trainer(files.data, files.cfg, hooks=[hooks[0], EarlyStopping(3)], resume=True, max_batches=6)
    assert [r.iteration for r in longer.run()] == [5, 6]


def test_patience_below_one(files):
    with pytest.raises(OptionError, match="patience 0: expected at least 1"):
        EarlyStopping(0)


def test_a_damaged_state_of_a_hook_is_one_line(files):
    list(train(files.data, files.cfg, max_batches=2, save_every=1))
    state = newest(files.folder, "net").state
    with np.load(state) as archive:
        arrays = dict(archive)
    content = json.loads(str(arrays.pop("content")))
    content["progress"]["hooks"]["checkpoints"]["last"] = "two"
    np.savez(state, content=np.array(json.dumps(content)), **arrays)
    with pytest.raises(WeightsError, match=r"not the state of a training run of .*: checkpoints\.last is 'two'; exp"):
        Trainer(files.data, files.cfg, resume=True)


def test_the_example_of_the_documentation_runs(files, monkeypatch, capsys):
    """Every Python example of docs/training.md, on a small set under the names that it uses."""
    folder = files.data.parent
    monkeypatch.chdir(folder)
    Path("data/obj.data").write_text(files.data.read_text())
    Path("yolov4-tiny.cfg").write_text(files.cfg.read_text())
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / "training.md").read_text(), re.M | re.S)
    assert any("Hook" in block for block in blocks)
    for block in blocks:
        exec(compile(re.sub(r"max_batches=\d+", "max_batches=2", block), "training.md", "exec"), {})
        assert capsys.readouterr().out.count("\n") >= 2
