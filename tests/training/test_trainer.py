"""Whole runs over a few small pictures: records, sizes, going on after kills, faults."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.processes import read_to, start
from support.training_files import classification_files, detection_files

import pydarknet
from pydarknet.errors import ConfigError, DivergedError, OptionError, OutputError, ShapeError, WeightsError
from pydarknet.training import setup
from pydarknet.training.trainer import Trainer, train

pytestmark = pytest.mark.usefixtures("empty_charts")


@pytest.fixture
def files(tmp_path):
    return detection_files(tmp_path)


def journal(files):
    return [json.loads(line) for line in (files.folder / "train.jsonl").read_text().splitlines()]


def final(files, name="net_final.weights"):
    return (files.folder / name).read_bytes()


def undisturbed(files, tmp_path, **options):
    """The final weights of a run that nothing interrupts."""
    folder = tmp_path / "undisturbed"
    list(train(files.data, files.cfg, backup=folder, **options))
    return (folder / "net_final.weights").read_bytes()


def test_one_record_an_iteration(files):
    records = list(train(files.data, files.cfg))
    assert [r.iteration for r in records] == list(range(1, 13))
    assert [r.images for r in records] == [4 * i for i in range(1, 13)]
    assert records[0].rate == pytest.approx(0.001 / 3**4)
    assert records[5].rate == 0.001
    assert {(r.width, r.height) for r in records} == {(32, 32)}
    assert [len(r.heads) for r in records] == [2] * 12  # one head, two mini-batches
    assert records[0].average == pytest.approx(records[0].loss)
    assert records[1].average == pytest.approx(0.9 * records[0].loss + 0.1 * records[1].loss)
    assert journal(files) == [r.entry() for r in records]
    assert pydarknet.load(files.cfg, files.folder / "net_final.weights").header.seen == 48


def test_the_seed_decides(files, tmp_path):
    first, again = undisturbed(files, tmp_path, seed=3), undisturbed(files, tmp_path, seed=3, threads=1)
    assert first == again
    assert first != undisturbed(files, tmp_path, seed=4)


def test_a_classifier(tmp_path):
    files = classification_files(tmp_path)
    records = list(train(files.data, files.cfg))
    assert [r.heads for r in records] == [()] * 12
    assert np.isfinite([r.loss for r in records]).all()
    # An epoch is 10 pictures, an iteration 4.
    found = sorted(p.name for p in files.folder.glob("*.weights"))
    assert found == ["net.weights", *(f"net_{epoch}.weights" for epoch in range(1, 5))]


@pytest.mark.slow
@pytest.mark.parametrize("random", ["0", "1"])
@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_going_on_gives_the_same_weights(tmp_path, random, dialect, monkeypatch):
    monkeypatch.setattr(setup, "DETECTOR_PERIOD", 3)
    files = detection_files(tmp_path, random, max_batches=7 if random == "1" else 12)
    expected = undisturbed(files, tmp_path, dialect=dialect)
    rolling = "net_last.weights" if dialect == "alexeyab" else "net.backup"
    for stop_at in (2, 3, 5):
        run = Trainer(files.data, files.cfg, dialect=dialect, resume=True)
        for record in run.run():
            if record.iteration == stop_at:
                run.stop()
        assert run.interrupted
        assert run.checkpointer.last_saved == files.folder / rolling
    list(train(files.data, files.cfg, dialect=dialect, resume=True))
    assert final(files) == expected
    assert [entry["iteration"] for entry in journal(files)] == list(range(1, 8 if random == "1" else 13))


def test_going_on_after_an_abandoned_iteration(files, tmp_path):
    """What came after the checkpoint is done again, and the journal has it once."""
    expected = undisturbed(files, tmp_path)
    run = train(files.data, files.cfg, save_every=4)
    for record in run:
        if record.iteration == 6:
            break
    run.close()
    resumed = Trainer(files.data, files.cfg, resume=True)
    assert resumed.iteration == 4
    assert [r.iteration for r in resumed.run()] == list(range(5, 13))
    assert final(files) == expected
    assert [entry["iteration"] for entry in journal(files)] == list(range(1, 13))


def test_going_on_from_a_finished_run_does_nothing(files):
    list(train(files.data, files.cfg, max_batches=3))
    before = final(files)
    assert list(train(files.data, files.cfg, max_batches=3, resume=True)) == []
    assert final(files) == before


def test_a_finished_run_goes_on_to_more_iterations(files, tmp_path):
    list(train(files.data, files.cfg, max_batches=3))
    list(train(files.data, files.cfg, max_batches=5, resume=True))
    assert final(files) == undisturbed(files, tmp_path, max_batches=5)


def test_resume_without_a_checkpoint_begins(files):
    assert len(list(train(files.data, files.cfg, max_batches=2, resume=True))) == 2


@pytest.mark.slow
def test_ctrl_c_finishes_the_iteration(tmp_path):
    files = detection_files(tmp_path, max_batches=1000000)
    process = start("train", files.data, files.cfg)
    read_to(process.stdout, "3: ")
    process.send_signal(signal.SIGINT)
    _, remarks = process.communicate(timeout=120)
    assert process.returncode == 130
    last = journal(files)[-1]["iteration"]
    assert remarks.endswith(f"Stopped after iteration {last}. To go on, give the same command with --resume.\n")
    assert f"Saving weights to {files.folder}/net.backup" in remarks
    run = Trainer(files.data, files.cfg, resume=True)
    assert run.iteration == last
    run.source.close()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of the system")
def test_a_full_disk_ends_with_one_line(files):
    """A limit on the size of files stands for a full disk; the error comes from the system all the same."""
    list(train(files.data, files.cfg, max_batches=2, save_every=2))
    limit = (files.folder / "net.backup").stat().st_size - 1
    program = (
        f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); "
        "import sys, runpy; sys.argv[0] = 'pydarknet'; runpy.run_module('pydarknet', run_name='__main__')"
    )
    words = ["train", str(files.data), str(files.cfg), "--resume", "--max-batches", "5"]
    before = {p.name: p.read_bytes() for p in files.folder.iterdir()}
    del before["train.jsonl"]
    result = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True)
    assert result.returncode == 1
    error = result.stderr.splitlines()[-1]
    assert error == (
        f"{files.folder}/net_final.weights: cannot write: File too large; the last checkpoint is "
        f"{files.folder}/net.backup"
    )
    assert "Traceback" not in result.stderr
    assert {p.name: p.read_bytes() for p in files.folder.iterdir() if p.name != "train.jsonl"} == before


def test_a_folder_that_cannot_be_made(files, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot make the folder"):
        Trainer(files.data, files.cfg, backup=tmp_path / "file" / "backup")


def test_a_loss_that_is_no_number_stops_the_run(tmp_path):
    files = detection_files(tmp_path)
    run = Trainer(files.data, files.cfg, save_every=2)
    step = run.learner.step
    run.learner.step = lambda *batch: step(*batch) * (np.nan if run.iteration == 4 else 1)
    with pytest.raises(DivergedError, match=r"iteration 5: the loss is nan, at a learning rate of 0\.001; ") as caught:
        list(run.run())
    assert f"the last checkpoint is {files.folder}/net.backup. Try a lower learning_rate" in str(caught.value)
    assert pydarknet.load(files.cfg, run.checkpointer.last_saved).header.seen == 16
    assert not (files.folder / "net_final.weights").exists()


def test_a_rate_that_is_much_too_high(tmp_path):
    files = detection_files(tmp_path, learning_rate="1e9", burn_in=0, max_batches=100)
    with pytest.raises(DivergedError, match=r"iteration \d+: .*; no checkpoint was written before"):
        list(train(files.data, files.cfg))
    assert not list(files.folder.glob("*.weights"))


def test_parameters_that_are_no_numbers_are_not_saved(files):
    run = Trainer(files.data, files.cfg, save_every=2)
    with pytest.raises(DivergedError, match=r"iteration 6: layer 2 \[convolutional\] has parameters that are not"):
        for record in run.run():
            if record.iteration == 4:
                run.checkpointer.save = lambda run, name, save=run.checkpointer.save: (
                    run.model.layers[2].parameters()[0].fill(np.inf), save(run, name)
                )  # fmt: skip
    assert run.checkpointer.last_saved == files.folder / "net.backup"
    assert pydarknet.load(files.cfg, run.checkpointer.last_saved).header.seen == 16


def test_starting_from_weights(files, tmp_path):
    list(train(files.data, files.cfg, max_batches=3))
    weights = tmp_path / "start.weights"
    (files.folder / "net_final.weights").rename(weights)
    assert [r.iteration for r in train(files.data, files.cfg, weights, max_batches=5)] == [4, 5]
    assert [r.iteration for r in train(files.data, files.cfg, weights, max_batches=2, clear=True)] == [1, 2]
    with pytest.raises(OptionError, match="has seen 12 pictures, 3 iterations of 4; max_batches=3 leaves"):
        Trainer(files.data, files.cfg, weights, max_batches=3)
    with weights.open("ab") as stream:
        stream.write(b"\0" * 8)
    with pytest.raises(WeightsError, match="2 too many"):
        Trainer(files.data, files.cfg, weights)


def test_starting_from_the_first_layers(files, tmp_path):
    model = pydarknet.load(files.cfg, seed=9)
    model.save_weights(tmp_path / "net.conv.2", cutoff=2)
    run = Trainer(files.data, files.cfg, tmp_path / "net.conv.2")
    run.source.close()
    assert run.model.loaded.layers == 2
    for mine, its in zip(run.model.layers[0].parameters(), model.layers[0].parameters(), strict=True):
        assert np.array_equal(mine, its)
    assert run.model.layers[2].parameters()[1].any()


def test_other_classes_in_the_data_file(files):
    files.data.write_text(files.data.read_text().replace("classes=2", "classes=3"))
    with pytest.raises(ConfigError, match=r"net\.data:1: \[data\] classes=3, but the network has 2 \(.*net\.cfg:\d+"):
        Trainer(files.data, files.cfg)


def test_memory_is_checked_for_the_largest_size(tmp_path, monkeypatch):
    files = detection_files(tmp_path, random="1")
    monkeypatch.setattr("pydarknet.utils.arrays.machine_memory", lambda: 1 << 20)
    with pytest.raises(ShapeError, match=r"training mini-batches of 2 at 608 x 608 need .* GiB; this machine has"):
        Trainer(files.data, files.cfg)


def test_a_resumed_run_keeps_its_smallest_size(tmp_path, warnings):
    files = detection_files(tmp_path, random="1", max_batches=400)
    run = Trainer(files.data, files.cfg, min_size=32)
    for _ in run.run():
        run.stop()
    again = Trainer(files.data, files.cfg, resume=True, min_size=64)
    again.source.close()
    assert again.setup.sizes.smallest == 32
    assert "the run was started with min_size 32, which it keeps" in warnings()


@pytest.mark.slow
def test_going_on_with_mini_batches_that_grow(tmp_path, monkeypatch):
    monkeypatch.setattr(setup, "DETECTOR_PERIOD", 2)
    files = detection_files(tmp_path, random="1.4", max_batches=120, dynamic_minibatch=1)
    list(train(files.data, files.cfg, backup=tmp_path / "undisturbed", dialect="alexeyab", chart=False))
    run = Trainer(files.data, files.cfg, dialect="alexeyab", chart=False)
    for record in run.run():
        if record.iteration == 5:
            run.stop()
    list(train(files.data, files.cfg, dialect="alexeyab", resume=True, chart=False))
    assert final(files) == (tmp_path / "undisturbed/net_final.weights").read_bytes()
    assert len({entry["batch"] for entry in journal(files)}) > 1
    assert pydarknet.load(files.cfg, files.folder / "net_final.weights").header.seen == 4 * 120


def test_one_size_without_random(files):
    run = Trainer(files.data, files.cfg)
    run.source.close()
    assert not run.setup.sizes.vary
    assert run.setup.sizes.at(5, 0) == run.setup.sizes.largest == (32, 32)


@pytest.mark.parametrize("option", ["max_batches", "save_every"])
def test_numbers_below_one(files, option):
    with pytest.raises(OptionError, match=f"{option} 0: expected at least 1"):
        Trainer(files.data, files.cfg, **{option: 0})


def test_the_folder_defaults_to_backup(files, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    files.data.write_text("\n".join(line for line in files.data.read_text().split("\n") if "backup" not in line))
    list(train(files.data, files.cfg, max_batches=1))
    assert Path("backup/net_final.weights").exists()
