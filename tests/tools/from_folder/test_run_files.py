"""The folder of a run: lists, labels, names, .data, cfg; written whole or not at all."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from support.picture_folders import coco, labelled, with_names

from pydarknet.config.dialect import ALEXEYAB
from pydarknet.config.sections import read_data
from pydarknet.datasets.labels import label_path, parse_labels, read_list
from pydarknet.datasets.listing import recognise
from pydarknet.errors import DataError, OptionError, OutputError
from pydarknet.tools.from_folder.plan import choose_model, make_plan
from pydarknet.tools.from_folder.run_files import (
    RunFolder,
    dataset_statistics,
    groups_of,
    next_folder,
    read_labelled,
    split,
    split_lists,
    write_run,
)


def make_run(source, folder, about=None):
    """A run of the data set `source` in `folder`."""
    found = recognise(source)
    labels = read_labelled(found)
    lists = split_lists(found, labels, 0, 0.2)
    statistics = dataset_statistics(labels, lists["train"], len(found.classes))
    write_run(folder, found, lists, make_plan(choose_model("small", statistics), statistics), about or {})
    return found, labels, RunFolder.open(folder)


@pytest.mark.parametrize("kind", ["beside", "folders", "coco"])
def test_darknet_finds_everything(tmp_path, kind):
    """AlexeyAB's rule leads from each listed picture to its labels, whatever the form of the data set."""
    source = tmp_path / "set"
    if kind == "coco":
        coco(source / "images", source / "all.json", 20)
    else:
        with_names(labelled(source, 20, beside=kind == "beside"))
    found, labels, run = make_run(source, tmp_path / "run")
    data = read_data(run.data)
    assert data.text("backup") == str(tmp_path / "run")
    assert data.file("names").read_text().split() == ["red", "green", "blue"]
    pictures = {key: read_list(data.file(key)) for key in ("train", "valid")}
    assert len(pictures["train"]) == 16 and len(pictures["valid"]) == 4
    seen = set()
    for picture in [*pictures["train"], *pictures["valid"]]:
        assert picture.is_absolute() and picture.is_file()
        original = next(path for path in found.pictures if path.samefile(picture))
        rows = parse_labels(label_path(picture, ALEXEYAB))[1]
        assert rows.tolist() == labels[original].rows.tolist()
        seen.add(original)
    assert len(seen) == 20
    assert (tmp_path / "run" / "data").exists() == (kind != "beside")


def test_pictures_of_one_name_keep_their_labels(tmp_path):
    labelled(tmp_path / "set/a", 4, beside=False)
    labelled(tmp_path / "set/b", 4, beside=False)
    for number, text in enumerate(sorted((tmp_path / "set/b/labels").glob("*.txt"))):
        text.write_text(f"2 0.5 0.5 0.25 0.{number + 1}\n")
    found, labels, run = make_run(with_names(tmp_path / "set"), tmp_path / "run")
    pictures = [p for key in ("train", "valid") for p in read_list(read_data(run.data).file(key))]
    assert len({picture.name for picture in pictures}) == 8
    for picture in pictures:
        original = next(path for path in found.pictures if path.samefile(picture))
        assert parse_labels(label_path(picture, ALEXEYAB))[1].tolist() == labels[original].rows.tolist()


@pytest.mark.parametrize(("row", "message"), [
    ("0 94 69 58 49", r"p0\.txt:1: Wrong annotation: x = 94\.000000, y = 69\.000000; expected fractions"),
    ("0 0,5 0,5 0,1 0,1", r"p0\.txt:1: found '0 0,5 0,5 0,1 0,1'; expected class x y w h"),
    ("0 .5 .5 .1 .1 .93", r"p0\.txt:1: found '0 .5 .5 .1 .1 .93'; expected class x y w h"),
    ("3 .5 .5 .1 .1", r"p0\.txt:1: Wrong annotation: class_id = 3"),
    ("", "none with an object"),
])  # fmt: skip
def test_labels_of_which_none_can_be_used(tmp_path, row, message):
    source = with_names(labelled(tmp_path / "set", 6))
    for text in source.glob("p*.txt"):
        text.write_text(f"{row}\n" if row else "")
    with pytest.raises(DataError, match=f"5 training pictures, (no valid label: .*)?{message}"):
        make_run(source, tmp_path / "run")


def test_the_folder_is_new_and_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = with_names(labelled(tmp_path / "set", 6))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").write_text("")
    with pytest.raises(OutputError, match="is there already"):
        make_run(source, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mine"]
    assert next_folder() == Path("runs/train1")
    make_run(source, tmp_path / "runs" / "train1")
    assert next_folder() == Path("runs/train2")


def test_a_name_that_no_list_can_have(tmp_path):
    source = with_names(labelled(tmp_path / "set", 6))
    for suffix in (".png", ".txt"):
        (source / f"p1{suffix}").rename(source / f"p\n1{suffix}")
    with pytest.raises(DataError, match=r"cannot contain line breaks"):
        make_run(source, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_is_known_by_its_description(tmp_path):
    _, _, run = make_run(with_names(labelled(tmp_path / "set", 6)), tmp_path / "run", {"options": {"seed": 3}})
    assert RunFolder.is_one(tmp_path / "run") and not RunFolder.is_one(tmp_path / "set")
    assert run.about["options"] == {"seed": 3}
    assert run.cfg.is_file() and run.data.is_file()
    assert str(run.cfg) in (tmp_path / "run/commands.txt").read_text()
    with pytest.raises(DataError, match=r"no run .* \(it has no run.json\)"):
        RunFolder.open(tmp_path / "set")


@pytest.mark.parametrize("text", ["", "[]", '{"data": "obj.data"}', '{"data": "../x", "cfg": "a"}', '{"data": 1}'])
def test_a_damaged_description_is_one_line(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(DataError, match=r"run.json: damaged: "):
        RunFolder.open(tmp_path)


def test_the_description_is_json(tmp_path):
    make_run(with_names(labelled(tmp_path / "set", 6)), tmp_path / "run", {"weights": None})
    content = json.loads((tmp_path / "run/run.json").read_text())
    assert content == {"weights": None, "data": "obj.data", "cfg": "small.cfg"}


# --- the split ---


@pytest.fixture
def files(tmp_path):
    """100 files of different content; each of equal size."""
    paths = [tmp_path / f"{number:03}.jpg" for number in range(100)]
    for number, path in enumerate(paths):
        path.write_text(f"{number:03}")
    return paths


def test_a_fifth_by_the_seed(files):
    train, valid = split(files, {}, seed=1)
    assert len(valid) == 20
    assert sorted([*train, *valid]) == files
    assert split(files, {}, seed=1) == (train, valid)
    assert split(files, {}, seed=2)[1] != valid
    assert train == sorted(train)


def test_copies_stay_together(files):
    for number in range(0, 50, 2):
        shutil.copy(files[number], files[number + 1])
    for seed in range(20):
        valid = set(split(files, {}, seed)[1])
        for number in range(0, 50, 2):
            assert (files[number] in valid) == (files[number + 1] in valid)


def test_links_and_augmented_copies_are_one(tmp_path):
    names = ["a_jpg.rf.0a1b.jpg", "b.jpg", "a_jpg.rf.ffff.jpg", "c.jpg", "d.jpg"]
    paths = [tmp_path / name for name in names]
    for number, path in enumerate(paths[:4]):
        path.write_text("x" * number)
    paths[4].symlink_to(paths[1])
    assert groups_of(paths) == [[paths[0], paths[2]], [paths[1], paths[4]], [paths[3]]]


def test_each_class_has_its_share(files):
    classes = {path: frozenset({0} if number < 80 else {0, 1} if number < 95 else {2})
               for number, path in enumerate(files)}  # fmt: skip
    for seed in range(10):
        valid = split(files, classes, seed)[1]
        counts = Counter(number for path in valid for number in classes[path])
        assert counts[1] == 3
        assert counts[2] == 1


def test_errors(files):
    with pytest.raises(DataError, match="1 different pictures"):
        split(files[:1], {})
    with pytest.raises(OptionError, match="share 1"):
        split(files, {}, share=1)
    with pytest.raises(DataError, match="No such file"):
        split([Path("absent.jpg"), files[0]], {})
