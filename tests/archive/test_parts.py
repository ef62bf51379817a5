"""The folder of results: what is there is done, and is of one plan."""

import json

import pytest

from pydarknet.archive.parts import Parts
from pydarknet.archive.work import Failure
from pydarknet.errors import DataError, OptionError, OutputError

NAMES = [f"{number}.jpg" for number in range(5)]
LINE = json.dumps({
    "filename": "0.jpg", "width": 8, "height": 6, "seconds": 0.5, "objects": [{
        "class_id": 1, "name": "dog", "confidence": None, "box": {"x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0},
        "relative_coordinates": {"center_x": 0.1, "center_y": 0.2, "width": 0.3, "height": 0.4},
    }],
})  # fmt: skip


def parts_in(folder, names=NAMES, format="json", block=2, **plan):
    return Parts(str(folder), names, block, format, {"command": "detect", **plan})


def test_a_block_with_a_part_is_done(tmp_path):
    parts = parts_in(tmp_path / "new")
    assert parts.missing() == [0, 1, 2] and list(parts.names_of(2)) == ["4.jpg"]
    parts.write(1, [LINE, Failure("3.jpg", "broken \udcff")])
    again = parts_in(tmp_path / "new")
    assert again.missing() == [0, 2] and again.with_errors([0, 1]) == [1]
    assert (tmp_path / "new" / "part-00001.jsonl").read_text() == f"{LINE}\n"
    assert json.loads((tmp_path / "new" / "errors-00001.jsonl").read_text()) == {
        "filename": "3.jpg",
        "error": "broken \ufffd",
    }


def test_a_block_that_succeeds_at_last_has_no_errors_left(tmp_path):
    parts = parts_in(tmp_path)
    parts.write(0, [Failure("0.jpg", "gone"), Failure("1.jpg", "gone")])
    assert (tmp_path / "part-00000.jsonl").read_bytes() == b""
    parts.write(0, [LINE, LINE])
    assert parts.with_errors([0]) == []


def test_parquet_has_the_same_fields(tmp_path):
    read_table = pytest.importorskip("pyarrow.parquet").read_table
    parts = parts_in(tmp_path, format="parquet")
    parts.write(0, [LINE, Failure("1.jpg", "gone")])
    parts.write(1, [Failure("2.jpg", "gone"), Failure("3.jpg", "gone")])
    assert read_table(tmp_path / "part-00000.parquet").to_pylist() == [json.loads(LINE)]
    assert read_table(tmp_path / "errors-00000.parquet").to_pylist() == [{"filename": "1.jpg", "error": "gone"}]
    empty = read_table(tmp_path / "part-00001.parquet")
    assert (empty.num_rows, empty.schema) == (0, read_table(tmp_path / "part-00000.parquet").schema)


@pytest.mark.parametrize("change, what", [
    ({"thresh": 0.5}, "thresh 0.25, not 0.5"), ({"thresh": 0.25, "nms": 1}, "nms null, not 1"),
    ({"thresh": 0.25, "names": NAMES[1:]}, "pictures 5, not 4"), ({"thresh": 0.25, "block": 3}, "block 2, not 3"),
    ({"thresh": 0.25, "names": NAMES[::-1]}, "names "),
])  # fmt: skip
def test_another_plan_is_refused(tmp_path, change, what):
    parts_in(tmp_path, thresh=0.25)
    parts_in(tmp_path, thresh=0.25)
    with pytest.raises(OptionError, match=f"its results are of {what}.*; give another folder"):
        parts_in(tmp_path, **change)


def test_parts_without_a_plan_are_refused(tmp_path):
    (tmp_path / "part-00000.jsonl").write_text("")
    with pytest.raises(OutputError, match=r"has parts of results, but no plan\.json"):
        parts_in(tmp_path)


@pytest.mark.parametrize("text", ["no JSON", "[1]"])
def test_a_damaged_plan_is_refused(tmp_path, text):
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises((DataError, OptionError), match=r"give (a new|another) folder"):
        parts_in(tmp_path)
