"""`detect` and darknet's spellings of it: what they print, to the character."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from pydarknet.images.image import write_image

HEAD = " Detection layer: 1 - type = 28 "
PIXELS = "\t(left_x:   16   top_y:   18   width:   32   height:   12)"
LETTERBOXED = "\t(left_x:   16   top_y:   16   width:   32   height:   16)"


@pytest.fixture
def detect(run, detector):
    def call(*options, command=("detect",), dialect="alexeyab", stdin=""):
        words = [*command, detector.cfg, detector.weights, "--dialect", dialect, "--names", detector.names]
        return run(*words, *options, stdin=stdin)

    return call


def test_alexeyabs_lines(detect):
    head, predicted, *rest = detect("dog.png").stdout.splitlines()
    assert head == HEAD
    assert re.fullmatch(r"dog\.png: Predicted in \d+\.\d{6} milli-seconds\.", predicted)
    assert rest == ["dog: 88%", "cat: 27%"]


def test_pjreddies_lines(detect):
    predicted, *rest = detect("dog.png", dialect="pjreddie").stdout.splitlines()
    assert re.fullmatch(r"dog\.png: Predicted in \d+\.\d{6} seconds\.", predicted)
    assert rest == ["dog: 88%"]  # his threshold is 0.5


def test_boxes(detect):
    assert detect("dog.png", "-ext_output").stdout.splitlines()[2:] == [f"dog: 88%{PIXELS}", f"cat: 27%{PIXELS}"]


def test_letterbox_and_stretch(detect):
    assert detect("dog.png", "-ext_output", "-letter_box").stdout.splitlines()[2] == f"dog: 88%{LETTERBOXED}"
    pjreddie = detect("dog.png", "-ext_output", dialect="pjreddie").stdout.splitlines()
    assert pjreddie[1] == f"dog: 88%{LETTERBOXED}"
    both = detect("dog.png", "-letter_box", "--stretch")
    assert both.exit_code == 2
    assert "exclude each other" in both.stderr


@pytest.mark.parametrize(
    "words",
    [["-thresh", ".5"], ["--thresh", ".5"], ["--thresh=.5"], ["-thresh=.5"], ["-thresh", "0.5", "-hier", ".5"]],
)
def test_thresh(detect, words):
    assert detect(*words, "dog.png").stdout.splitlines()[2:] == ["dog: 88%"]


def test_every_is_for_frames(detect):
    assert "--every has no effect on pictures\n" in detect("dog.png", "--every", "2").stderr
    assert "--every" not in detect("dog.png").stderr


def test_decode_scaled(detect, folder):
    sky = np.full((400, 600, 3), 200, np.uint8)
    for name in ("sky.jpg", "sky.png"):
        write_image(folder / name, sky)
    scaled = "--decode", "scaled", "-ext_output", "--no-picture"
    whole = detect("sky.jpg", "-ext_output").stdout.splitlines()[2:]
    for more in ([], ["-letter_box"], ["--tiles", "2x2"]):
        result = detect("sky.jpg", *scaled, *more)
        assert "--decode" not in result.stderr
        assert more or result.stdout.splitlines()[2:] == whole  # in pixels of the file
    nothing = "--decode scaled has no effect: no JPEG file is twice the network's size\n"
    assert nothing in detect("sky.png", *scaled).stderr
    drawn = detect("sky.jpg", *scaled[:2]).stderr
    assert "--decode scaled has no effect: pictures are drawn or cut out; see --no-picture\n" in drawn


@pytest.mark.parametrize("spelling", ["-ext_output", "--ext_output", "--ext-output", "-ext-output"])
def test_spellings(detect, spelling):
    assert detect("dog.png", spelling, "-thresh", ".5").stdout.splitlines()[2] == f"dog: 88%{PIXELS}"


def test_flags_may_stand_anywhere(run, detector, folder):
    (folder / "pets.data").write_text("names = detect.names\n")
    words = ["pets.data", detector.cfg, detector.weights, "dog.png"]
    expected = ["dog: 88%"]
    orders = (
        ["detector", "test", *words, "-thresh", ".5"],
        ["-thresh", ".5", "detector", "test", *words],
        ["detector", "-thresh", ".5", "test", *words],
        ["detector", "test", "-thresh", ".5", *words],
        ["detector", "test", *words[:2], "-thresh", ".5", *words[2:]],
        ["--threads", "1", "detector", "test", "-thresh=.5", *words],
    )
    for order in orders:
        result = run(*order, "--dialect", "alexeyab")
        assert result.stdout.splitlines()[2:] == expected, order


def test_what_a_gpu_would_need_is_noted(detect):
    result = detect("-i", "0", "-nogpu", "-gpus", "0,1", "-dont_show", "dog.png")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stderr.splitlines()] == ["-i", "-nogpu", "-gpus"]


@pytest.mark.parametrize(("words", "hint"), [
    ("detect a b --conf .5", "--thresh"),
    ("detect a b --conf=.5", "--thresh"),
    ("detect a b -iou .5", "--nms"),
    ("detector map a b c --iou .5", "--iou-thresh"),
    ("train a b --epochs 3", "--max-batches"),
    ("detect a b --imgsz 320", "--width"),
])  # fmt: skip
def test_names_that_other_programs_give_to_an_option(run, words, hint):
    result = run(*words.split())
    assert result.exit_code == 2
    assert re.search(rf"No such option '?--?\w+'?\.? .*Did you mean '?{hint}'?\?\n$", result.stderr)


def test_unknown_flags_are_called_unknown(run, detector):
    result = run("classify", detector.cfg, detector.weights, "-thresh", ".5")  # not -t with the value `hresh`
    assert result.exit_code == 2
    assert "-thresh" in result.stderr.splitlines()[-1]
    assert re.search(r"Did you mean '?-thresh'?\?\n$", run("detect", "a", "b", "-tresh", ".5").stderr)


def test_thresholds_of_the_commands(run, detector):
    words = [detector.cfg, detector.weights, "dog.png", "--names", detector.names, "--dialect", "pjreddie"]
    for command in ("yolo", "coco"):
        first, *rest = run(command, "test", *words, "-ext_output").stdout.splitlines()
        assert first.endswith(" seconds.")
        assert rest == [f"dog: 88%{PIXELS}", f"cat: 27%{PIXELS}"]  # stretched, whatever the dialect


def test_yolo_test_of_alexeyabs_prints_seconds_and_no_heads(detect):
    first, *rest = detect("dog.png", command=("yolo", "test")).stdout.splitlines()
    assert first.endswith(" seconds.")
    assert rest == ["dog: 88%", "cat: 27%"]


def test_hidden_classes(detect, detector):
    Path(detector.names).write_text("dont_show dog\ncat\n")
    assert detect("dog.png").stdout.splitlines()[2:] == ["cat: 27%", "dont_show dog: 88%"]
    assert detect("dog.png", "-thresh", ".5").stdout.splitlines()[2:] == []


def test_json_lines(detect):
    result = detect("dog.png", "dog.png", "--json")
    first, second = (json.loads(line) for line in result.stdout.splitlines())
    assert (first["filename"], first["width"], first["height"]) == ("dog.png", 64, 48)
    assert first["seconds"] > 0
    assert first["objects"] == second["objects"]
    dog, cat = first["objects"]
    assert dog == {
        "class_id": 0,
        "name": "dog",
        "confidence": 0.880797,
        "box": {"x": 16.0, "y": 18.0, "width": 32.0, "height": 12.0},
        "relative_coordinates": {"center_x": 0.5, "center_y": 0.5, "width": 0.5, "height": 0.25},
    }
    assert cat["name"] == "cat"


def test_json_lines_hold_any_name(detect, detector):
    Path(detector.names).write_bytes(b'"dog"\\\nk\xe4tzchen \xc3\xa9\n')
    (line,) = detect("dog.png", "--json").stdout_bytes.splitlines()
    assert [found["name"] for found in json.loads(line)["objects"]] == ['"dog"\\', "k\N{REPLACEMENT CHARACTER}tzchen é"]


def test_the_table_goes_to_stderr(detect):
    result = detect("dog.png", "-v")
    assert result.stdout.splitlines()[0] == HEAD
    assert result.stderr.splitlines()[1].startswith(
        "   0 conv      7       1 x 1/32     32 x  32 x   3 ->    1 x   1 x"
    )


def test_classes(detect):
    assert detect("dog.png", "--classes", "cat").stdout.splitlines()[2:] == ["cat: 27%"]
    assert detect("dog.png", "--classes", " 1 , Dog").stdout.splitlines()[2:] == ["dog: 88%", "cat: 27%"]
    result = detect("dog.png", "--classes", "cow,dog")
    assert result.exit_code == 1
    assert result.stderr == ('--classes: no class is called "cow"; expected names of the 2 classes\n')
    assert detect("dog.png", "--classes", "dogg").stderr.endswith("; did you mean dog?\n")


def test_quiet_and_limit(detect):
    result = detect("dog.png", "dog.png", "dog.png", "--limit", "2", "--json", "--quiet")
    assert len(result.stdout.splitlines()) == 2
    assert result.stderr == ""
    assert detect("dog.png", "--quiet").output == ""
    assert Path("predictions.jpg").exists()


def test_results_do_not_depend_on_the_batch(detect):
    def lines(*options):
        found = [json.loads(line) for line in detect(*["dog.png"] * 5, "--json", *options).stdout.splitlines()]
        return [{key: value for key, value in each.items() if key != "seconds"} for each in found]

    assert lines() == lines("--batch", "2") == lines("--batch", "16")
    assert lines("--batch", "2", "--width", "64", "--height", "64")[0]["objects"] != lines()[0]["objects"]


def test_tiles(detect):
    whole = detect("dog.png", "--json", "-thresh", ".5")
    (found,) = json.loads(whole.stdout)["objects"]
    tiled = json.loads(detect("dog.png", "--json", "-thresh", ".5", "--tiles", "2x1", "--tile-overlap", "0").stdout)
    lefts = [each["box"]["x"] for each in tiled["objects"]]
    assert lefts == [8.0, found["box"]["x"], 40.0]  # each tile, and the whole picture, has its own
    result = detect("dog.png", "--tiles", "2")
    assert (result.exit_code, result.stderr) == (1, "tiles 2: expected columns x rows, such as 2x2\n")
    result = detect("dog.png", "--tiles", "60x60")
    assert result.exit_code == 1
    assert result.stderr == 'Cannot use image "dog.png": 64x48 pixels cannot be cut into 60x60 tiles\n'
