"""`detector map`: AlexeyAB's report to the character, and the figures beside it."""

import json
import re

import numpy as np
import pytest
from support.evaluation_files import evaluation_files

# What AlexeyAB's darknet prints for these files, from " calculation mAP" on.
RECORDED = """
 calculation mAP (mean average precision)...
 Detection layer: 3 - type = 28 

 detections_count = 71, unique_truth_count = 10  
 rank = 0 of ranks = 71 \rclass_id = 0, name = /a, ap = 41.67%   \t (TP = 5, FP = 11) 
class_id = 1, name = /b, ap = 20.00%   \t (TP = 3, FP = 19) 

 for conf_thresh = 0.25, precision = 0.21, recall = 0.80, F1-score = 0.33 
 for conf_thresh = 0.25, TP = 8, FP = 30, FN = 2, average IoU = 12.78 % 

 IoU threshold = 50 %, used Area-Under-Curve for each unique Recall 
 mean average precision (mAP@0.50) = 0.308333, or 30.83 % 
"""  # noqa: W291
RECORDED_11 = """
 detections_count = 71, unique_truth_count = 10  
 rank = 0 of ranks = 71 \rclass_id = 0, name = /a, ap = 50.00%   \t (TP = 2, FP = 10) 
class_id = 1, name = /b, ap = 70.53%   \t (TP = 5, FP = 14) 

 for conf_thresh = 0.60, precision = 0.23, recall = 0.70, F1-score = 0.34 
 for conf_thresh = 0.60, TP = 7, FP = 24, FN = 3, average IoU = 12.37 % 

 IoU threshold = 30 %, used 11 Recall-points 
 mean average precision (mAP@0.30) = 0.602670, or 60.27 % 
"""  # noqa: W291
END = """
Set -points flag:
 `-points 101` for MS COCO 
 `-points 11` for PascalVOC 2007 (uncomment `difficult` in voc.data) 
 `-points 0` (AUC) for ImageNet, PascalVOC 2010-2012, your custom dataset
"""  # noqa: W291


@pytest.fixture
def set_of_pictures(folder):
    return evaluation_files(folder)


@pytest.fixture
def detector_map(run, set_of_pictures):
    files, weights = set_of_pictures

    def call(*options, command=("detector", "map")):
        return run(*command, files.data, files.cfg, weights, *options)

    return call


def test_the_report_is_darknets(detector_map):
    result = detector_map()
    assert (result.exit_code, result.stdout) == (0, RECORDED + END)
    eleven = detector_map("-points", "11", "-thresh", ".6", "-iou_thresh", ".3")
    assert eleven.stdout.endswith(RECORDED_11 + END)


def test_the_rest_goes_to_standard_error(detector_map):
    lines = detector_map().stderr.splitlines()
    assert re.fullmatch(r"Total Detection Time: \d+ Seconds", lines[0])
    assert re.fullmatch(
        r"COCO AP \.50:\.95 \d+\.\d\d %, \.50 \d+\.\d\d %, .*; small \d.* %, medium -, large -", lines[1]
    )
    assert lines[2].startswith("COCO AR with 1 detection ")
    assert re.fullmatch(r"10 pictures in \d.* s: \d.* pictures/s \(the network alone: \d.*\)", lines[3])


def test_options_stand_anywhere_and_darknets_others_are_accepted(detector_map):
    early = detector_map(
        "-dont_show", command=("detector", "-iou_thresh", ".3", "-points", "11", "-thresh", ".6", "map")
    )
    assert early.stdout.endswith(RECORDED_11 + END)
    assert "-letter_box is ignored" in detector_map("-letter_box").stderr


def test_batches_change_nothing(detector_map):
    assert detector_map("-batch", "4").stdout == RECORDED + END


def test_letter_box_in_the_cfg(run, set_of_pictures):
    """Square pictures are the same either way; a wide one is not."""
    files, weights = set_of_pictures
    import cv2

    picture = cv2.imread(str(files.folder.parent / "data" / "a0.png"))
    cv2.imwrite(str(files.folder.parent / "data" / "a0.png"), np.hstack([picture, picture]))
    (files.folder.parent / "train.txt").write_text("data/a0.png\n")
    stretched = run("detector", "map", files.data, files.cfg, weights).stdout
    files.cfg.write_text(files.cfg.read_text().replace("[net]", "[net]\nletter_box=1", 1))
    assert run("detector", "map", files.data, files.cfg, weights).stdout != stretched


def test_nothing_above_the_threshold(detector_map):
    text = detector_map("-thresh", "1").stdout
    assert " for conf_thresh = 1.00, precision = -nan, recall = 0.00, F1-score = -nan \n" in text
    assert " for conf_thresh = 1.00, TP = 0, FP = 0, FN = 10, average IoU = 0.00 % \n" in text


def test_nothing_found_at_all(run, set_of_pictures):
    """Where darknet itself crashes."""
    files, weights = set_of_pictures
    import pydarknet

    model = pydarknet.load(files.cfg, weights, dialect="alexeyab")
    model.layers[2].parameters()[0][4] = -100
    model.save_weights(weights)
    result = run("detector", "map", files.data, files.cfg, weights)
    assert result.exit_code == 0
    assert "detections_count = 0, unique_truth_count = 10  \nclass_id = 0, name = /a, ap = 0.00% " in result.stdout


def test_difficult_objects(detector_map, set_of_pictures):
    """False records that lie on a difficult object leave the ranking."""
    files, _ = set_of_pictures
    files.data.write_text(files.data.read_text() + "difficult = hard.txt\n")
    folder = files.folder.parent
    (folder / "hard").mkdir()
    names = (folder / "train.txt").read_text().replace("/data/", "/hard/")
    (folder / "hard.txt").write_text(names)
    for label in (folder / "data").glob("*.txt"):
        number, *box = label.read_text().split()
        (folder / "hard" / label.name).write_text(f"{1 - int(number)} {' '.join(box)}\n")
    counts = []
    for _ in range(2):
        text = detector_map("-iou_thresh", ".1").stdout
        counts.append(int(re.search("detections_count = (.*), unique_truth_count = 10 ", text).group(1)))
        files.data.write_text(files.data.read_text().replace("difficult = hard.txt", ""))
    assert counts[0] < counts[1] == 71


def test_json(detector_map):
    result = detector_map("--json", "out.json")
    assert result.stdout == RECORDED + END
    with open("out.json", encoding="utf-8") as stream:  # noqa: PTH123
        content = json.load(stream)
    assert (content["pictures"], content["tp"], content["fp"], content["fn"]) == (10, 8, 30, 2)
    assert content["mean_average_precision"] == pytest.approx(0.308333, abs=1e-6)
    assert [c["name"] for c in content["classes"]] == ["/a", "/b"]
    assert content["classes"][0]["ap"] == pytest.approx(0.4167, abs=1e-4)
    assert content["classes"][0]["recall"] == 1
    assert content["coco"]["large"] is None
    assert content["coco"]["ap"] == pytest.approx(np.mean([c["coco_ap"] for c in content["classes"]]))


def test_plot(detector_map, folder):
    pytest.importorskip("matplotlib", reason="needs matplotlib (extra plot)")
    assert detector_map("--plot", "curve.png").exit_code == 0
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    refused = detector_map("--plot", "curve.xyz")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr.startswith("curve.xyz: cannot draw a xyz file; expected one of ")


def test_a_missing_label_file_and_a_picture_that_is_none(detector_map, folder):
    (folder / "data" / "a2.txt").unlink()
    (folder / "data" / "b3.png").write_bytes(b"")
    result = detector_map()
    assert result.exit_code == 1
    line = f"Can't open label file. (This can be normal only if you use MSCOCO): {folder}/data/a2.txt \n"
    assert f" Detection layer: 3 - type = 28 \n{line}\n detections_count = " in result.stdout
    assert "unique_truth_count = 9 " in result.stdout
    assert "b3.png" in result.stderr
    assert "the file is empty; it counts as a picture without detections" in result.stderr


def test_one_point_is_no_curve(detector_map):
    result = detector_map("-points", 1)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "expected 0, or 2 and more" in result.stderr


def test_bad_input(detector_map, run, set_of_pictures, classifier):
    files, _ = set_of_pictures
    for options, message in (
        (["--json", "nowhere/out.json"], "nowhere/out.json: cannot write: No such file or directory"),
        (["-names", "classify.names"], "classify.names: 3 names; expected 2, the number of the network's classes"),
    ):
        result = detector_map(*options)
        assert (result.exit_code, result.stdout, result.stderr.strip()) == (1, "", message)
    assert detector_map("-points", "-1").exit_code == 2
    assert detector_map("-thresh", "2").exit_code == 2
    refused = run("detector", "map", files.data, classifier.cfg, classifier.weights, "-names", classifier.names)
    assert (refused.exit_code, "no detection layer" in refused.stderr) == (1, True)
    files.data.write_text("names = names\n")
    result = detector_map()
    assert (result.exit_code, "valid= is missing" in result.stderr) == (1, True)


def test_help(run):
    text = run("detector", "map", "--help").stdout
    assert "Example" in text
    assert "-iou_thresh" in text
