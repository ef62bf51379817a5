"""The split: seeded, no picture in both parts, copies together, every class in both."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from pydarknet.errors import DataError, OptionError
from pydarknet.tools.from_folder.run_files import groups_of, split


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
