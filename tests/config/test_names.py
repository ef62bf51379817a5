"""Class names: read, chosen, counted."""

import pytest

from pydarknet.config.names import choose_names, read_names
from pydarknet.config.sections import read_data
from pydarknet.errors import DataError
from pydarknet.utils import resources


@pytest.mark.parametrize("text, expected", [
    ("dog\ncat\n", ["dog", "cat"]),
    ("dog\ncat", ["dog", "cat"]),
    ("dog\r\ncat\r\n", ["dog", "cat"]),
    ("Eskimo dog, husky\n  two \n", ["Eskimo dog, husky", "  two "]),
    ("dog\n\ncat\n", ["dog", "", "cat"]),
    ("Löwe\n", ["Löwe"]),
    ("dog\ncat\n\n  \r\n", ["dog", "cat"]),
])  # fmt: skip
def test_a_name_is_a_line(write_cfg, text, expected):
    assert read_names(write_cfg(text, "names.txt")) == expected


def test_an_empty_list_is_an_error(write_cfg):
    with pytest.raises(DataError, match=r"names\.txt: the list of names is empty"):
        read_names(write_cfg("", "names.txt"))


@pytest.mark.parametrize("classes, first", [(80, "person"), (20, "aeroplane"), (1000, "kit fox")])
def test_known_numbers_of_classes_have_bundled_names(classes, first):
    names = choose_names(classes, None, exact=True)
    assert len(names) == classes
    assert names[0] == first


def test_other_numbers_are_numbered():
    assert choose_names(3, None, exact=True) == ["0", "1", "2"]


def test_a_bundled_network_has_names_of_its_own(write_cfg):
    bundled_cfg = str(resources.bundled("cfg/toys.cfg"))
    assert choose_names(10, None, exact=True, cfg=bundled_cfg)[0] == "ball"
    assert choose_names(10, None, exact=True, cfg=str(write_cfg("", "toys.cfg")))[0] == "0"
    assert choose_names(80, None, exact=True, cfg=str(resources.bundled("cfg/yolov3.cfg")))[0] == "person"


def test_names_beside_the_network_file_come_before_the_bundled_list(write_cfg):
    """As in the folder of a training run; 20 classes need not be VOC's."""
    cfg = str(write_cfg("", "mine.cfg"))
    assert choose_names(20, None, exact=True, cfg=cfg)[0] == "aeroplane"
    path = write_cfg("".join(f"cell {n}\n" for n in range(20)), "obj.names")
    assert choose_names(20, None, exact=True, cfg=cfg)[0] == "cell 0"
    assert choose_names(80, None, exact=True, cfg=cfg)[0] == "person"  # those are of another network
    path.write_bytes(b"\0")
    assert choose_names(20, None, exact=True, cfg=cfg)[0] == "aeroplane"


def test_a_bundled_file_may_be_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("toys.names", "data/toys.names"):
        assert choose_names(10, name, exact=True)[0] == "ball"


def test_a_longer_list_serves_a_classifier_with_a_warning(write_cfg, warnings):
    path = write_cfg("a\nb\nc\n", "names.txt")
    assert choose_names(2, path, exact=False) == ["a", "b"]
    assert "3 names for 2 classes" in warnings()[0]


@pytest.mark.parametrize("classes, exact", [(2, True), (4, True), (4, False)])
def test_a_list_that_does_not_fit_states_both_numbers(write_cfg, classes, exact):
    with pytest.raises(DataError, match=rf"names\.txt: 3 names; expected {classes}, the number of"):
        choose_names(classes, write_cfg("a\nb\nc\n", "names.txt"), exact)


@pytest.mark.parametrize("text, expected", [
    ("names=mine.txt\nlabels=other.txt\n", "mine.txt"), ("labels=other.txt\n", "other.txt"), ("classes=2\n", None),
])  # fmt: skip
def test_a_data_file_names_the_first_key_that_it_has(write_cfg, text, expected):
    for name in ("mine.txt", "other.txt"):
        write_cfg("a\n", name)
    found = read_data(write_cfg(text, "some.data")).file("names", "labels")
    assert (found.name if found else None) == expected


def test_a_data_file_that_names_nothing_that_exists_is_an_error(write_cfg):
    with pytest.raises(DataError, match=r"Couldn't open file: nowhere\.txt"):
        read_data(write_cfg("names=nowhere.txt\n", "some.data")).file("names")
