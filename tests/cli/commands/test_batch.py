"""`detect --shard`, and `batch` on a cluster: the lines of `detect --json`, in parts."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.evaluation_files import evaluation_files

from pydarknet.cli import console


@pytest.fixture
def photos(folder):
    """150 copies of the picture, one of which is none."""
    (folder / "photos").mkdir()
    for number in range(150):
        (folder / "photos" / f"{number:03}.png").write_bytes(Path("dog.png").read_bytes())
    (folder / "photos" / "100.png").write_text("no picture")
    return "photos"


@pytest.fixture(scope="module")
def ray_here():
    ray = pytest.importorskip("ray", reason="the extra ray is not installed")
    ray.init("local", num_cpus=2, include_dashboard=False, object_store_memory=100 << 20, logging_level="ERROR")
    yield
    ray.shutdown()


def lines_of(text):
    """By file, without the time, which differs from run to run."""
    found = {}
    for line in map(json.loads, text.splitlines()):
        assert line["filename"] not in found
        assert line.pop("seconds") > 0
        found[line["filename"]] = line
    return found


def in_parts(folder):
    return lines_of("".join(path.read_text() for path in sorted(Path(folder).glob("part-*.jsonl"))))


def test_shards_together_are_detect_json(run, detector, photos):
    words = "detect", detector.cfg, detector.weights, photos, "--names", detector.names, "--json"
    plain = run(*words, "--no-picture")
    for shard, blocks in (("1/2", 2), ("2/2", 3)):
        result = run(*words, "--shard", shard, "--out", "found")
        assert (result.exit_code, result.stdout) == (int(shard == "2/2"), "")
        assert len(list(Path("found").glob("part-*"))) == blocks
    assert in_parts("found") == lines_of(plain.stdout)
    error = json.loads(Path("found/errors-00001.jsonl").read_text())
    assert error["filename"] == "photos/100.png" and "unknown or damaged" in error["error"]


def test_a_restart_computes_what_is_missing(run, classifier, photos):
    words = "classify", classifier.cfg, classifier.weights, photos, "--json", "--shard", "1/1", "--out", "found"
    assert run(*words).exit_code == 1
    before = in_parts("found")
    Path("found/part-00001.jsonl").unlink()
    result = run(*words)
    assert "2 of 3 parts are there\n64 pictures in " in result.stderr
    assert in_parts("found") == before
    assert run(*words, "-t", "2").stderr == "found: its results are of top 5, not 2; give another folder\n"
    assert "errors-*" in run(*words).stderr and run(*words).exit_code == 1


def test_nothing_is_silent(run, detector, photos, monkeypatch):
    for name in ("DELAY", "INTERVAL", "LOG_INTERVAL"):
        monkeypatch.setattr(console, name, 0.001)
    words = "detect", detector.cfg, detector.weights, photos, "--json", "--shard", "1/1", "--out"
    lines = run(*words, "found").stderr.splitlines()
    assert any(re.fullmatch(r"0 of 150 pictures, \d+ s so far", line) for line in lines)
    assert any(re.fullmatch(r"128 of 150 pictures, [\d.]+ pictures/s, \d+ s left", line) for line in lines)
    assert "pictures/s" not in run(*words, "again", "--quiet").stderr


def test_options_that_shards_do_not_take(run, detector, photos):
    words = "detect", detector.cfg, detector.weights, photos, "--shard", "1/2"
    for given in ((), ("--json",), ("--out", "found")):
        assert "--shard needs --json and --out DIR" in run(*words, *given).stderr
    assert "--crops has no effect with --shard\n" in run(*words, "--json", "--out", "found", "--crops", "x").stderr
    for wrong in ("0/2", "3/2", "1", "a/b"):
        assert "expected K/N with K from 1 to N" in run(*words[:-1], wrong, "--json", "--out", "found").stderr


def test_sources_that_are_not_there(run, detector, folder):
    (folder / "empty").mkdir()
    for source, what in (("gone", "gone: no such file or folder"), ("empty", "empty: no pictures in this folder")):
        result = run("detect", detector.cfg, detector.weights, source, "--json", "--shard", "1/2", "--out", "found")
        assert result.exit_code == 1 and result.stderr.startswith(what)
    result = run(
        "detect", detector.cfg, detector.weights, ".", "--json", "--shard", "1/2", "--out", "s3://bucket/found"
    )
    assert "--out s3://bucket/found: expected a folder of this machine" in result.stderr and result.exit_code == 2


@pytest.mark.parametrize("modules", ["pydarknet", "pydarknet.cli.app", "pydarknet.api", "pydarknet.training.trainer"])
def test_the_core_imports_nothing_of_ray(modules):
    code = f"import sys, {modules}; sys.exit(str({{'ray', 'pyarrow', 'pandas'}} & set(sys.modules) or ''))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr.strip() == ""


def test_help_and_detect_import_nothing_of_ray(run, detector):
    program = """if True:
        import sys
        from pydarknet.cli.app import pydarknet
        for words in (["--help"], ["batch", "detect", "--help"], sys.argv[1:]):
            try:
                pydarknet(words)
            except SystemExit as end:
                assert not end.code
        assert not {"ray", "pyarrow", "pandas"} & set(sys.modules)
    """
    words = ["detect", detector.cfg, detector.weights, "dog.png", "--json", "--shard", "1/1", "--out", "found"]
    assert subprocess.run([sys.executable, "-c", program, *words], capture_output=True).returncode == 0


def test_without_ray_the_extra_is_named(run, detector, photos, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    result = run("batch", "detect", detector.cfg, detector.weights, photos, "--out", "found")
    assert (result.exit_code, result.stderr) == (1, "this needs the package ray: pip install 'pydarknet[ray]'\n")


@pytest.mark.cluster
def test_batch_is_detect_json(run, ray_here, detector, photos):
    words = "batch", "detect", detector.cfg, detector.weights, photos, "--names", detector.names, "--out"
    result = run(*words, "found", "--block", "20")
    assert result.exit_code == 1
    assert "150 pictures in " in result.stderr and "pictures without a result: see found/errors-*" in result.stderr
    plain = run("detect", detector.cfg, detector.weights, photos, "--names", detector.names, "--json", "--no-picture")
    assert in_parts("found") == lines_of(plain.stdout)
    Path("found/part-00003.jsonl").unlink()
    lines = run(*words, "found", "--block", "20").stderr.splitlines()
    assert lines[0] == "7 of 8 parts are there" and any(line.startswith("20 pictures in ") for line in lines)
    assert in_parts("found") == lines_of(plain.stdout)


@pytest.mark.cluster
def test_batch_takes_and_writes_parquet(run, ray_here, classifier, photos):
    import pyarrow
    from pyarrow.parquet import read_table, write_table

    content = [path.read_bytes() for path in sorted(Path(photos).iterdir())]
    write_table(pyarrow.table({"bytes": content}), "photos.parquet", row_group_size=40)
    words = "batch", "classify", classifier.cfg, classifier.weights, "photos.parquet", "--out", "found", "-t", "2"
    assert run(*words, "--format", "parquet").exit_code == 1
    rows = [row for path in sorted(Path("found").glob("part-*")) for row in read_table(path).to_pylist()]
    assert [row["filename"] for row in rows] == [f"photos.parquet#{row}" for row in range(150) if row != 100]
    assert [each["class_id"] for each in rows[0]["classes"]] == [1, 2]
    assert [row["filename"] for row in read_table("found/errors-00001.parquet").to_pylist()] == ["photos.parquet#100"]


@pytest.mark.cluster
def test_batch_map_prints_what_detector_map_prints(run, ray_here, folder):
    files, weights = evaluation_files(folder)
    words = files.data, files.cfg, weights, "--json"
    here, there = run("detector", "map", *words, "here.json"), run("batch", "map", *words, "there.json")
    assert (there.exit_code, there.stdout) == (0, here.stdout)
    one, other = (json.loads(Path(name).read_text()) for name in ("here.json", "there.json"))
    assert one.keys() == other.keys() and other["forward_pictures_per_second"] is None
    assert {name for name in one if one[name] != other[name]} <= {name for name in one if "second" in name}
