"""The pictures of an archive: addresses that pyarrow opens, and rows of Parquet files."""

import pickle

import cv2
import numpy as np
import pytest

from pydarknet.archive.store import Store, is_uri
from pydarknet.errors import DataError, ImageError, OptionError

pyarrow = pytest.importorskip("pyarrow")
EXTENSIONS = frozenset({".png"})


def png(value):
    return cv2.imencode(".png", np.full((4, 6, 3), value, np.uint8))[1].tobytes()


@pytest.fixture
def table(tmp_path):
    """Writes a Parquet file of pictures, two rows a group, beside a column of text."""
    from pyarrow.parquet import write_table

    def write(name="photos.parquet", content=None, **columns):
        content = [png(10 * row) for row in range(5)] if content is None else content
        columns = {"text": ["a"] * len(content), "picture": content, **columns}
        write_table(pyarrow.table(columns), tmp_path / name, row_group_size=2)
        return str(tmp_path / name)

    return write


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "in side").mkdir()
    for name in ("b.png", "a.PNG", "in side/c.png", "note.md"):
        (tmp_path / name).write_bytes(png(20))
    return f"file://{tmp_path}"


def test_what_pyarrow_opens():
    assert [is_uri(name) for name in ("s3://b/a", "gs://b", "file:///a", "http://a", "https://a", "a/b")] == [
        True
    ] * 3 + [False] * 3


def test_an_address_names_the_pictures_below_it(tree):
    store = Store(tree)
    names = store.names(EXTENSIONS)
    assert names == [f"{tree}/{name}" for name in ("a.PNG", "b.png", "in side/c.png")]
    assert store.load(names[2]).shape == (4, 6, 3)
    assert Store(f"{tree}/b.png").names(EXTENSIONS) == [f"{tree}/b.png"]
    assert Store(f"{tree}/*.png").names(EXTENSIONS) == [f"{tree}/b.png", f"{tree}/in side/c.png"]


def test_wrong_addresses_are_one_line(tree, tmp_path):
    for address, what in (
        (f"{tree}/gone", "cannot read"),
        (f"{tree}/*.jpg", "no pictures"),
        ("nothing://a", "cannot read"),
    ):
        with pytest.raises(DataError, match=what):
            Store(address).names(EXTENSIONS)
    with pytest.raises(ImageError, match="cannot read"):
        Store(tree).load(f"{tree}/gone.png")
    with pytest.raises(OptionError, match=r"--column x: .* has no \.parquet files"):
        Store(tree, "x").names(EXTENSIONS)


def test_rows_of_a_file_are_pictures(table):
    file = table()
    store = Store("")
    names = store.names(EXTENSIONS, [file])
    assert names == [f"{file}#{row}" for row in range(5)]
    for copy in (store, pickle.loads(pickle.dumps(store))):
        assert [int(copy.load(names[row]).max()) for row in (4, 0, 1, 2, 3)] == [40, 0, 10, 20, 30]
    address = f"file://{file}"
    assert int(Store(address).load(Store(address).names(EXTENSIONS)[3]).max()) == 30


def test_a_row_that_is_no_picture_fails_alone(table):
    store = Store("")
    names = store.names(EXTENSIONS, [table(content=[None, b"text", png(7)])])
    for name, what in zip(names, ("has no bytes", "unknown or damaged format"), strict=False):
        with pytest.raises(ImageError, match=what):
            store.load(name)
    assert store.load(names[2]).max() == 7


def test_the_column_is_chosen_by_its_type_or_by_name(table):
    two = table(other=[b"x"] * 5)
    with pytest.raises(DataError, match="columns of bytes: picture, other; expected one; --column chooses it"):
        Store("").names(EXTENSIONS, [two])
    with pytest.raises(DataError, match="columns of bytes: picture, other; --column text is none of them"):
        Store("", "text").names(EXTENSIONS, [two])
    store = Store("", "picture")
    assert store.load(store.names(EXTENSIONS, [two])[1]).max() == 10


def test_bytes_within_a_struct_are_found(table):
    content = [{"bytes": png(3), "path": "a.png"}]
    store = Store("")
    assert store.load(store.names(EXTENSIONS, [table(content=content)])[0]).max() == 3


def test_large_row_groups_are_refused(table, monkeypatch):
    monkeypatch.setattr("pydarknet.archive.store.LARGEST_GROUP", 100)
    with pytest.raises(DataError, match=r"a row group has .* bytes of pictures; expected at most 100"):
        Store("").names(EXTENSIONS, [table()])


def test_a_file_that_is_no_table_is_one_line(tmp_path):
    (tmp_path / "a.parquet").write_text("text")
    with pytest.raises(DataError, match=r"a\.parquet: cannot read: "):
        Store("").names(EXTENSIONS, [str(tmp_path / "a.parquet")])


def test_without_pyarrow_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(OptionError, match=r"pip install 'pydarknet\[ray\]'"):
        Store("s3://bucket").names(EXTENSIONS)
