"""Genuine weights on well-known pictures, by the command line."""

import json

import pytest
from support.files import SHARED

REFERENCE = SHARED / "reference"
DOG = REFERENCE / "images" / "dog.jpg"
PUBLISHED = {
    "malamute": 0.167168, "Eskimo dog": 0.065828, "dogsled": 0.063020, "standard schnauzer": 0.051153,
    "Siberian husky": 0.037506,
}  # fmt: skip

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="no reference files beside this checkout")


def test_the_dog_of_the_tiny_darknet_page(run):
    result = run("classify", "cfg/tiny.cfg", REFERENCE / "weights" / "tiny.weights", DOG)
    first, *rest = result.stdout.splitlines()
    assert first.startswith(f"{DOG}: Predicted in ")
    found = {name: float(value) for name, _, value in (line.rpartition(": ") for line in rest)}
    assert list(found) == list(PUBLISHED)
    assert found == pytest.approx(PUBLISHED, rel=0.03)


@pytest.mark.parametrize(("network", "picture", "case"), [
    ("yolo-fastest-1.1", "dog", "real_yolo_fastest_1.1_dog_ab"),
    ("yolo-fastest", "horses", "real_yolo_fastest_1.0_horses_ab"),
    ("yolo-fastest-1.1_body", "person", "real_yolo_fastest_1.1_body_ab"),
])  # fmt: skip
def test_objects_of_yolo_fastest(run, network, picture, case):
    recorded = json.loads((SHARED / "golden" / case / "detections.json").read_text())[0]
    files = [REFERENCE / "weights" / f"{network}.{end}" for end in ("cfg", "weights")]
    flags = ["--json", "--no-picture", "-thresh", ".3", *(["-letter_box"] if recorded["letter"] else [])]
    found = json.loads(run("detect", *files, REFERENCE / "images" / f"{picture}.jpg", *flags).stdout)
    assert (found["width"], found["height"]) == (recorded["imw"], recorded["imh"])
    expected = sorted((d["class"], d["prob"]) for d in recorded["detections"] if d["prob"] > 0.3)
    objects = sorted((d["class_id"], d["confidence"]) for d in found["objects"])
    assert [number for number, _ in objects] == [number for number, _ in expected]
    assert [p for _, p in objects] == pytest.approx([p for _, p in expected], abs=0.03)
