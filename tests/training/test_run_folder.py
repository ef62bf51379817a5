"""Results of an earlier run are moved aside by a new one, whole, and stay where the new one goes on from them."""

import errno
import os
import shutil
from pathlib import Path

import pytest
from support.files import killed_at_rename
from support.training_files import detection_files

from pydarknet.errors import OutputError
from pydarknet.training.run_folder import set_aside
from pydarknet.training.trainer import Trainer, train
from pydarknet.utils.files import make_folder

pytestmark = pytest.mark.usefixtures("empty_charts")

HEADER = (0).to_bytes(4, "little") + (2).to_bytes(4, "little") + (5).to_bytes(4, "little")


def weights(path, seen):
    path.write_bytes(HEADER + seen.to_bytes(8, "little") + path.name.encode())


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path):
    """The folder of a finished run, and weights that are not this network's."""
    for name, seen in (("net_100.weights", 400), ("net_200.weights", 800), ("net_final.weights", 820)):
        weights(tmp_path / name, seen)
        (tmp_path / f"{name}.state.npz").write_bytes(name.encode())
    for name in ("net_tiny_final.weights", "net_best.weights", "net.weights", "net.conv.15"):
        weights(tmp_path / name, 999)
    for name in ("train.jsonl", "chart.png", "net_best.json", "net.cfg"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


RUN = {"net_100.weights", "net_200.weights", "net_final.weights"}
RUN |= {f"{name}.state.npz" for name in RUN}


def test_a_new_run_moves_all_results(folder, warnings):
    before = contents(folder)
    aside = set_aside(folder, "net", "net_final.weights", None, 0)
    assert aside == folder / "net.old1"
    moved = RUN | {"train.jsonl", "chart.png"}
    expected = {f"net.old1/{name}" if name in moved else name: content for name, content in before.items()}
    assert contents(folder) == expected
    assert warnings() == [
        f"{folder}: weights of an earlier run (net_100.weights and 2 more) are now in {aside}; to continue that run, "
        "resume it there"
    ]
    assert set_aside(folder, "net", "net_final.weights", None, 0) is None
    weights(folder / "net.backup", 4)
    assert set_aside(folder, "net", "net_final.weights", None, 0) == folder / "net.old2"


def test_the_final_weights_of_a_classifier_are_results(folder):
    set_aside(folder, "net", "net.weights", None, 0)
    assert (folder / "net.old1/net.weights").exists()


def test_what_a_run_goes_on_from_stays(folder):
    assert set_aside(folder, "net", "net_final.weights", folder / "net_final.weights", 820) is None
    before = contents(folder)
    set_aside(folder, "net", "net_final.weights", folder / "net_100.weights", 400)
    later = {name for name in RUN if "100" not in name}
    expected = {f"net.old1/{name}" if name in later else name: content for name, content in before.items()}
    assert contents(folder) == expected | {f"net.old1/{n}": before[n] for n in ("train.jsonl", "chart.png")}


def test_weights_that_a_run_begins_with_stay_where_they_are(folder):
    """Also where iterations are counted from 0: a script that names them finds them again."""
    before = contents(folder)
    set_aside(folder, "net", "net_final.weights", folder / "net_200.weights", 0)
    assert (folder / "net_200.weights").read_bytes() == before["net_200.weights"]
    assert (folder / "net.old1/net_200.weights").read_bytes() == before["net_200.weights"]
    assert not (folder / "net_100.weights").exists()


def test_weights_of_another_folder_keep_nothing(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "net_final.weights"
    weights(other, 5000)
    assert set_aside(folder, "net", "net_final.weights", other, 5000) == folder / "net.old1"
    assert not RUN & {path.name for path in folder.iterdir()}


def test_a_file_that_is_no_weights_file_is_moved_too(folder):
    (folder / "net_last.weights").write_bytes(b"<html>")
    set_aside(folder, "net", "net_final.weights", folder / "net_final.weights", 820)
    assert contents(folder)["net.old1/net_last.weights"] == b"<html>"


@pytest.mark.parametrize("kill_at", range(8))
def test_a_kill_between_two_files_loses_none(folder, monkeypatch, kill_at):
    before = contents(folder)
    with killed_at_rename(monkeypatch, kill_at):
        set_aside(folder, "net", "net_final.weights", None, 0)
    set_aside(folder, "net", "net_final.weights", None, 0)
    found = contents(folder)
    assert sorted(found.values()) == sorted(before.values())
    assert not {Path(name).name for name in found if "old" not in name} & RUN


def test_a_folder_that_takes_no_folder_is_one_line(folder, monkeypatch):
    def refuse(self, *arguments, **options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", refuse)
    before = contents(folder)
    with pytest.raises(OutputError, match=r"net\.old1: cannot move earlier results here: Read-only file system$"):
        set_aside(folder, "net", "net_final.weights", None, 0)
    assert contents(folder) == before


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot make the folder"):
        make_folder(tmp_path / "file" / "backup")


def test_a_second_run_moves_the_first_one_and_resumes_as_itself(tmp_path, warnings):
    files = detection_files(tmp_path)
    list(train(files.data, files.cfg, max_batches=6, chart=False))
    first = contents(files.folder)
    for record in train(files.data, files.cfg, max_batches=5, save_every=2, seed=2, chart=False):
        if record.iteration == 3:
            break
    assert "net.old1; to continue that run, resume it there" in warnings()[-1]
    assert {n.removeprefix("net.old1/"): c for n, c in contents(files.folder).items() if "old" in n} == first
    again = Trainer(files.data, files.cfg, max_batches=5, resume=True)
    assert again.iteration == 2, "of the second run, not of the first"
    list(again.run())
    old = Trainer(files.data, files.cfg, backup=files.folder / "net.old1", resume=True, max_batches=7)
    assert old.iteration == 6
    old.source.close()


def test_darknets_way_to_go_on_moves_nothing(tmp_path):
    """`detector train obj.data net.cfg backup/net_final.weights`, with more iterations."""
    files = detection_files(tmp_path)
    list(train(files.data, files.cfg, max_batches=3, chart=False))
    start = files.folder / "net_final.weights"
    assert [r.iteration for r in train(files.data, files.cfg, start, max_batches=5, chart=False)] == [4, 5]
    assert sorted(path.name for path in files.folder.iterdir()) == [
        "net_final.weights", "net_final.weights.state.npz", "train.jsonl",
    ]  # fmt: skip
    assert len((files.folder / "train.jsonl").read_text().splitlines()) == 5


@pytest.mark.parametrize("moment", ["log", "checkpoint"])
def test_a_folder_that_disappears_is_one_line(tmp_path, moment):
    files = detection_files(tmp_path)
    run = train(files.data, files.cfg, chart=False)
    next(run)
    shutil.rmtree(files.folder)
    if moment == "checkpoint":
        files.folder.mkdir()
        list(run)
        assert (files.folder / "net_final.weights").exists()
        return
    with pytest.raises(OutputError, match=r"train\.jsonl: cannot write: No such file or directory; no checkpoint"):
        list(run)


def test_a_clock_that_goes_back_changes_nothing(tmp_path, monkeypatch):
    files = detection_files(tmp_path)
    list(train(files.data, files.cfg, max_batches=4, backup=tmp_path / "plain", chart=False))
    now = iter(range(1_000_000_000, 0, -100_000))
    monkeypatch.setattr("time.time", lambda: float(next(now)))
    for record in train(files.data, files.cfg, max_batches=4, save_every=2, chart=False):
        for path in files.folder.iterdir():
            os.utime(path, (record.iteration, 10**9 - 10**6 * record.iteration))
        if record.iteration == 3:
            break
    list(train(files.data, files.cfg, max_batches=4, resume=True, chart=False))
    assert (files.folder / "net_final.weights").read_bytes() == (tmp_path / "plain/net_final.weights").read_bytes()
