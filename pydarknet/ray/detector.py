"""A detector as a stage of `ray.data`'s pipelines."""

from __future__ import annotations

import json
from typing import Any

from ..archive.parts import table_of
from ..archive.work import Failure, outcomes_of
from ..errors import OptionError
from ..images.image import Picture, as_picture
from ..inference.detector import DetectorOptions, DetectorSteps
from ..model import load_model
from ..utils.files import StrPath

COLUMNS = ("image", "bytes", "path")  # of pictures, as `ray.data` calls them where it reads them


class Detector:
    """For `map_batches`: a callable class, which has a network for each actor, with as many threads as the actor has
    processors.

        photos = ray.data.read_binary_files("s3://bucket/photos", include_paths=True)
        found = photos.map_batches(Detector, fn_constructor_args=("yolov4.cfg", "yolov4.weights"), num_cpus=1)

    A row of the result has the columns of the row, except the picture, and `width`, `height` (pixels), `seconds` and
    `objects` as `detect --json` prints them, and `error`: null, or why there are none.
    """

    def __init__(
        self, cfg: StrPath, weights: StrPath, column: str | None = None, *,
        batch: int = 1, thresh: float | None = None, hier: float = 0.5, nms: float = 0.45,
        letterbox: bool | None = None, threads: int | None = None, **options: Any,
    ) -> None:  # fmt: skip
        """column: of the pictures: paths, bytes of files, or (height, width, 3) uint8 RGB arrays; by default the
        first of `image`, `bytes` and `path` that there is. batch: pictures per pass. thresh, hier, nms, letterbox:
        see `Model.detect`. threads: by default the actor's processors. options: those of `load`. Raises DarknetError.
        """
        model = load_model(cfg, weights, threads=threads or _processors(), **options)
        how = DetectorOptions.of(model, thresh, hier, nms, letterbox)
        self._steps, self._column, self._batch = DetectorSteps(model, model.names, how, batch=batch), column, batch

    def __call__(self, rows: Any) -> Any:
        """rows: columns by their names, arrays or a pyarrow table. Returns a pyarrow table. Raises OptionError."""
        columns = rows.to_pydict() if hasattr(rows, "to_pydict") else rows
        column = self._column or next((name for name in COLUMNS if name in columns), "")
        if column not in columns:
            raise OptionError(f"column {column or ' or '.join(COLUMNS)}: not there; found {', '.join(columns)}")

        def load(name: str) -> Picture:
            return as_picture(columns[column][int(name)])

        names = [str(index) for index in range(len(columns[column]))]
        outcomes = outcomes_of(names, load, self._steps, self._batch)
        found = [{} if isinstance(each, Failure) else json.loads(each) for each in outcomes]
        table = table_of("detect", found).drop_columns(["filename"])  # the rows may have one of their own
        for name, values in columns.items():
            if name != column:
                table = table.append_column(name, [list(values)])
        errors = [each.reason if isinstance(each, Failure) else None for each in outcomes]
        return table.append_column("error", [errors])


def _processors() -> int | None:
    """Those that Ray gives this actor; None outside of one."""
    import ray

    if not ray.is_initialized():
        return None
    return max(1, int(ray.get_runtime_context().get_assigned_resources().get("CPU", 0)))
