"""`pydarknet.ray.Detector`: what `map_batches` calls."""

from pathlib import Path

import numpy as np
import pytest

import pydarknet
from pydarknet.errors import OptionError

pytest.importorskip("pyarrow")
pytest.importorskip("ray")

from pydarknet.ray import Detector

pytestmark = pytest.mark.cluster

SAMPLE = Path(pydarknet.__file__).parents[1] / "data" / "sample.jpg"


@pytest.fixture(scope="module")
def detector():
    return Detector("cfg/toys.cfg", "toys.weights", threads=1)


def expected():
    return pydarknet.load("cfg/toys.cfg", "toys.weights").detect(SAMPLE)


def test_rows_of_bytes_become_rows_of_objects(detector):
    rows = {"bytes": np.array([SAMPLE.read_bytes(), b"no picture"], object), "path": np.array(["a.jpg", "b.jpg"])}
    good, bad = detector(rows).to_pylist()
    assert [each["name"] for each in good["objects"]] == [each.name for each in expected()]
    assert (good["path"], good["width"], good["error"]) == ("a.jpg", expected().width, None)
    assert bad["path"] == "b.jpg" and bad["objects"] is None and "unknown or damaged format" in bad["error"]
    assert "bytes" not in good


def test_a_column_called_as_one_of_the_results_stays(detector):
    rows = {"path": [str(SAMPLE)], "filename": ["mine.jpg"]}
    assert detector(rows).to_pylist()[0]["filename"] == "mine.jpg"


def test_paths_arrays_and_tables_are_taken(detector):
    import pyarrow

    by_path = detector(pyarrow.table({"path": [str(SAMPLE)]})).to_pylist()[0]
    by_array = detector(
        {"image": pydarknet.load("cfg/toys.cfg", "toys.weights").detect(SAMPLE).image[None]}
    ).to_pylist()[0]
    assert by_path["objects"] == by_array["objects"] and len(by_path["objects"]) == len(expected())


def test_a_missing_column_is_named(detector):
    with pytest.raises(OptionError, match="column image or bytes or path: not there; found text"):
        detector({"text": ["a"]})


def test_map_batches(tmp_path):
    import ray

    from pydarknet.ray.cluster import cluster

    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(SAMPLE.read_bytes())
    (tmp_path / "3.jpg").write_bytes(b"no picture")
    with cluster():
        ray.data.DataContext.get_current().enable_progress_bars = False
        photos = ray.data.read_binary_files(str(tmp_path), include_paths=True)
        found = photos.map_batches(
            Detector, fn_constructor_args=("cfg/toys.cfg", "toys.weights"), batch_size=2, num_cpus=1, concurrency=1
        ).take_all()
    assert sorted(Path(each["path"]).name for each in found) == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert sum(each["error"] is None and len(each["objects"]) == len(expected()) for each in found) == 3
