"""`evaluate`: the table, the worst pictures, the order of classes, the report, bad input."""

import json
import re
import sys

import cv2
import pytest
from support.evaluation_files import evaluation_files


@pytest.fixture
def evaluate(run, folder):
    files, weights = evaluation_files(folder)

    def call(*options, dialect="alexeyab"):
        return run("evaluate", files.data, files.cfg, weights, "--dialect", dialect, *options)

    return call


def rows(result):
    """{class: numbers of its row}"""
    lines = result.stdout.split("\n\n")[0].splitlines()[1:]
    return {line.split()[0]: line.split()[1:] for line in lines}


def test_the_table_has_the_figures_of_detector_map(evaluate, run, folder):
    result = evaluate()
    assert result.exit_code == 0
    table = rows(result)
    assert list(table) == ["/a", "/b", "all"]
    assert table["/a"][:2] == ["5", "41.67%"]
    assert table["/a"][3:] == ["0.31", "1.00", "0.48", "0.19", "5", "11", "0"]
    assert table["/b"][:2] == ["5", "20.00%"]
    assert table["all"][:2] == ["10", "30.83%"]
    assert table["all"][3:] == ["0.21", "0.80", "0.33", "0.13", "8", "30", "2"]
    assert "\nCOCO AP .50:.95 " in result.stdout
    assert re.search(r"^10 pictures in \d.* s: \d.* pictures/s", result.stderr, re.MULTILINE)


@pytest.mark.parametrize(("sort", "first"), [("ap", "/a"), ("name", "/a"), ("truths", "/a"), ("missed", "/b")])
def test_sort(evaluate, sort, first):
    assert next(iter(rows(evaluate("--sort", sort)))) == first


def test_the_worst_pictures(evaluate, folder):
    result = evaluate("--worst", "look_at", "-thresh", ".5")
    listed = re.findall(r"^ +(\d+) of +(\d+)  (.*)$", result.stdout, re.MULTILINE)
    table = rows(result)
    assert len(listed) == sum(int(missed) for missed, _, _ in listed) == int(table["all"][-1]) > 0
    written = sorted(path.name for path in (folder / "look_at").iterdir())
    assert written == [f"{place:02d}_{path.rpartition('/')[2]}" for place, (_, _, path) in enumerate(listed, start=1)]
    picture = cv2.imread(str(folder / "look_at" / written[0]))
    assert ((picture[..., 1] == 200) & (picture[..., 2] == 0)).any()  # green


def test_a_perfect_detector_has_no_worst_pictures(evaluate, folder):
    for label in (folder / "data").glob("*.txt"):
        label.write_text("")
    result = evaluate("--worst", "look_at")
    assert "Most missed" not in result.stdout
    assert list((folder / "look_at").iterdir()) == []
    assert rows(result)["all"][:3] == ["0", "-", "-"]


def test_json_and_plot(evaluate, folder):
    pytest.importorskip("matplotlib", reason="needs matplotlib (extra plot)")
    assert evaluate("--json", "e.json", "--plot", "e.svg").exit_code == 0
    assert json.loads((folder / "e.json").read_text())["tp"] == 8
    assert "<svg" in (folder / "e.svg").read_text()


def test_letterbox_and_stretch(evaluate, folder):
    """The dialect decides unless an option does."""
    picture = cv2.imread("data/a0.png")
    cv2.imwrite("data/a0.png", cv2.hconcat([picture, picture]))
    (folder / "train.txt").write_text("data/a0.png\n")
    tables = [evaluate(*options, dialect="alexeyab").stdout for options in ((), ("-stretch",), ("-letter_box",))]
    assert tables[0] == tables[1] != tables[2]
    tables = [evaluate(*options, dialect="pjreddie").stdout for options in ((), ("-stretch",), ("-letter_box",))]
    assert tables[0] == tables[2] != tables[1]
    assert evaluate("-stretch", "-letter_box").exit_code == 2


def test_decode_scaled_names_a_list_without_large_jpeg_files(evaluate):
    line = "--decode scaled has no effect: no JPEG file is twice the network's size\n"
    assert line in evaluate("--decode", "scaled").stderr
    assert line not in evaluate().stderr


def test_missing_labels_pictures_and_lists(evaluate, folder):
    (folder / "data" / "a0.txt").unlink()
    (folder / "data" / "b1.png").unlink()
    result = evaluate("--worst", "look_at")
    assert result.exit_code == 1
    assert f"no label file: {folder}/data/a0.txt" in result.stderr
    assert "without detections" in result.stderr
    assert f"   1 of    1  {folder}/data/b1.png" in result.stdout
    (folder / "net.data").write_text("train=train.txt\nnames=names\n")
    assert "valid= is missing; these are the pictures of train=" in evaluate().stderr
    (folder / "data" / "a2.txt").write_text("0 .5 .5\n")
    result = evaluate()
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{folder}/data/a2.txt:1: found '0 .5 .5'; expected class x y w h" in result.stderr


def test_help(run):
    text = run("evaluate", "--help").stdout
    assert "Examples" in text
    assert "--worst" in text


def test_the_page_and_its_figures(evaluate, tmp_path):
    pytest.importorskip("matplotlib", reason="needs the extra `plot`")
    result = evaluate("--report", tmp_path / "report")
    assert result.exit_code == 0, result.stderr
    assert result.stderr.splitlines()[-1] == f"Report: {tmp_path}/report/report.html"
    assert "net.cfg, net.weights" in (tmp_path / "report/report.html").read_text(encoding="utf-8")
    figures = json.loads((tmp_path / "report/report.json").read_text(encoding="utf-8"))
    assert figures["mean_average_precision"] == pytest.approx(0.308333, abs=1e-6)
    assert figures["coco"] and figures["confusion"]


def test_without_matplotlib_there_is_one_line_and_no_folder(evaluate, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    result = evaluate("--report", tmp_path / "report")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "drawing a plot needs the matplotlib package: pip install 'pydarknet[plot]'"
    )
    assert not (tmp_path / "report").exists()
