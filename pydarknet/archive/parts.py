"""A folder of results, one file for each block of pictures, written whole: what is there is done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError, OptionError, OutputError, needed_package
from ..utils.files import atomic_write, flush, json_text, make_folder, read_text, shortened, to_json, write_file
from .work import Failure, Outcome

PLAN = "plan.json"
BLOCK = 64  # pictures of a part, by default
SUFFIXES = {"json": ".jsonl", "parquet": ".parquet"}  # by the format


class Parts:
    """DIR/part-00017.jsonl has the results of block 17; DIR/errors-00017.jsonl, its pictures without one, and why.

    A part is the last thing that is written of a block, so that a block with a part is done. DIR/plan.json says
    what the parts are of; another plan is refused.
    """

    def __init__(
        self, folder: str, names: Sequence[str], block: int | None, format: str, plan: Mapping[str, Any]
    ) -> None:
        """names: all pictures. plan: what else the results depend on, in JSON's types. Raises DarknetError."""
        if format == "parquet":
            table_of("errors", ())  # raises without pyarrow
        self.folder, self.names, self.block, self.format = Path(folder), names, block or BLOCK, format
        digest = hashlib.sha256("\0".join(names).encode("utf-8", "surrogateescape")).hexdigest()
        self._plan = {**plan, "pictures": len(names), "names": digest, "block": self.block, "format": format}
        make_folder(self.folder)
        self._check()

    def _check(self) -> None:
        path = self.folder / PLAN
        if not path.exists():
            if any(self.folder.glob("part-*")):
                raise OutputError(f"{self.folder}: has parts of results, but no {PLAN}; give a new folder")
            write_file(path, to_json(self._plan, indent=1).encode())
            return
        try:
            before = json.loads(read_text(path, DataError))
        except ValueError:
            raise DataError(f"{path}: not JSON; give a new folder") from None
        mine = json.loads(to_json(self._plan))
        before = before if isinstance(before, dict) else {}
        for key in {**mine, **before}:
            if before.get(key) != mine.get(key):
                theirs, ours = (shortened(json.dumps(plan.get(key))) for plan in (before, mine))
                what = f"its results are of {key} {theirs}, not {ours}"
                raise OptionError(f"{self.folder}: {what}; give another folder")

    def __len__(self) -> int:
        """The number of blocks."""
        return -(-len(self.names) // self.block)

    def names_of(self, index: int) -> Sequence[str]:
        """The pictures of a block."""
        return self.names[index * self.block : (index + 1) * self.block]

    def missing(self) -> list[int]:
        """The blocks without a part."""
        return [index for index in range(len(self)) if not self._path("part", index).exists()]

    def with_errors(self, blocks: Iterable[int]) -> list[int]:
        """Those of the blocks that have pictures without a result."""
        return [index for index in blocks if self._path("errors", index).exists()]

    def _path(self, kind: str, index: int) -> Path:
        return self.folder / f"{kind}-{index:05d}{SUFFIXES[self.format]}"

    def write(self, index: int, outcomes: Sequence[Outcome]) -> None:
        """Write what a block gave. Raises OutputError."""
        errors = [
            to_json({"filename": json_text(each.name), "error": json_text(each.reason)}, ensure_ascii=False)
            for each in outcomes
            if isinstance(each, Failure)
        ]
        if errors:
            self._write("errors", index, errors)
        else:
            self._path("errors", index).unlink(missing_ok=True)
        self._write("part", index, [each for each in outcomes if not isinstance(each, Failure)])
        flush(self.folder)

    def _write(self, kind: str, index: int, lines: Sequence[str]) -> None:
        with atomic_write(self._path(kind, index)) as stream:
            if self.format == "json":
                stream.writelines(f"{line}\n".encode() for line in lines)
                return
            from pyarrow.parquet import write_table

            write_table(table_of(self._plan["command"] if kind == "part" else kind, map(json.loads, lines)), stream)


def table_of(kind: str, rows: Iterable[Any]) -> Any:
    """A pyarrow table of results of `detect` or `classify`, as their --json prints them, or of `errors`."""
    with needed_package("Parquet needs the package pyarrow", "'pydarknet[ray]'"):
        import pyarrow
    return pyarrow.Table.from_pylist(list(rows), _schema(kind))


def _schema(kind: str) -> Any:
    import pyarrow as pa

    if kind == "errors":
        return pa.schema({"filename": pa.string(), "error": pa.string()})
    number, text, whole = pa.float64(), pa.string(), pa.int32()
    named = {"class_id": whole, "name": text}
    if kind == "classify":
        classes = pa.struct({**named, "probability": number, "parent": text})
        return pa.schema({"filename": text, "seconds": number, "classes": pa.list_(classes)})
    box = {corner: pa.struct(dict.fromkeys(names, number)) for corner, names in (
        ("box", ("x", "y", "width", "height")), ("relative_coordinates", ("center_x", "center_y", "width", "height")),
    )}  # fmt: skip
    objects = pa.list_(pa.struct({**named, "confidence": number, **box}))
    return pa.schema({"filename": text, "width": whole, "height": whole, "seconds": number, "objects": objects})
