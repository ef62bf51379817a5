"""Every form of a data set gives the same pictures and boxes."""

import json

import numpy as np
import pytest
from support.picture_folders import CLASSES, coco, label, labelled, voc, with_names

from pydarknet.datasets.listing import COCO, DATA, LABELLED, LIST, UNSPLIT, VOC, YAML, recognise
from pydarknet.errors import DataError
from pydarknet.tools.from_folder.run_files import read_labelled


def beside(folder):
    with_names(labelled(folder, 6))
    return folder, LABELLED, {UNSPLIT: 6}


def in_images_and_labels(folder):
    with_names(labelled(folder, 6, beside=False))
    return folder, LABELLED, {UNSPLIT: 6}


def ultralytics_tree(folder):
    for part, first in (("train", 0), ("val", 4)):
        labelled(folder / "x", 4 if not first else 2, first, beside=False)
        for kind in ("images", "labels"):
            (folder / kind).mkdir(exist_ok=True)
            (folder / "x" / kind).rename(folder / kind / part)
    with_names(folder)
    return folder, LABELLED, {"train": 4, "valid": 2}


def roboflow_yaml(folder):
    labelled(folder / "train", 3, beside=False)
    labelled(folder / "valid", 2, 3, beside=False)
    labelled(folder / "test", 1, 5, beside=False)
    text = f"train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 3\nnames: {list(CLASSES)}\n"
    (folder / "data.yaml").write_text(text)
    return folder, YAML, {"train": 3, "valid": 2, "test": 1}


def cvat_yaml(folder):
    labelled(folder / "x", 6, beside=False)
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
        (folder / "x" / kind).rename(folder / kind / "train")
    (folder / "train.txt").write_text("".join(f"data/images/train/p{k}.png\n" for k in range(6)))
    (folder / "data.yaml").write_text("names:\n  0: red\n  1: green\n  2: blue\npath: .\ntrain: train.txt\n")
    return folder / "data.yaml", YAML, {UNSPLIT: 6}


def windows_darknet(folder):
    """darknet's own layout, written on Windows; the paths of one list are those of another machine."""
    labelled(folder / "data/img", 6)
    with_names(folder / "data", "obj.names")
    lists = {"train": "data\\img\\p{}.png\r\n", "valid": "C:\\darknet\\data\\img\\p{}.png\r\n"}
    for key, line in lists.items():
        numbers = range(4) if key == "train" else range(4, 6)
        (folder / f"data/{key}.txt").write_text("".join(map(line.format, numbers)))
    (folder / "data/obj.data").write_text(
        "classes=3\r\ntrain=data\\train.txt\r\nvalid=data\\valid.txt\r\nnames=data\\obj.names\r\nbackup=backup\\\r\n"
    )
    return folder / "data/obj.data", DATA, {"train": 4, "valid": 2}


def cvat_darknet(folder):
    """CVAT's paths begin with `data/`, which the archive lacks."""
    labelled(folder / "obj_train_data", 6)
    with_names(folder, "obj.names")
    (folder / "train.txt").write_text("".join(f"data/obj_train_data/p{k}.png\n" for k in range(6)))
    (folder / "obj.data").write_text("classes = 3\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n")
    return folder, DATA, {UNSPLIT: 6}


def darknet_data(folder):
    labelled(folder, 6)
    with_names(folder, "obj.names")
    for name, numbers in (("train", range(4)), ("valid", range(4, 6))):
        (folder / f"{name}.txt").write_text("".join(f"p{k}.png\n" for k in numbers))
    (folder / "obj.data").write_text("classes=3\ntrain=train.txt\nvalid=valid.txt\nnames=obj.names\n")
    return folder / "obj.data", DATA, {"train": 4, "valid": 2}


def list_of_pictures(folder):
    with_names(labelled(folder, 6))
    (folder / "all.txt").write_text("".join(f"p{k}.png\n" for k in range(6)))
    return folder / "all.txt", LIST, {UNSPLIT: 6}


def coco_file(folder):
    return coco(folder / "images", folder / "annotations" / "instances_default.json", 6), COCO, {UNSPLIT: 6}


def coco_folder(folder):
    coco(folder / "images", folder / "annotations" / "instances_train2017.json", 4)
    coco(folder / "images", folder / "annotations" / "instances_val2017.json", 2, 4)
    return folder, COCO, {"train": 4, "valid": 2}


def roboflow_coco(folder):
    for part, count, first in (("train", 3, 0), ("valid", 2, 3), ("test", 1, 5)):
        coco(folder / part, folder / part / "_annotations.coco.json", count, first, root=True)
    return folder, COCO, {"train": 3, "valid": 2, "test": 1}


def voc_folder(folder):
    voc(folder / "JPEGImages", folder / "Annotations", 6)
    return folder, VOC, {UNSPLIT: 6}


def voc_with_sets(folder):
    voc(folder / "JPEGImages", folder / "Annotations", 6)
    (folder / "ImageSets/Main").mkdir(parents=True)
    (folder / "ImageSets/Main/train.txt").write_text("".join(f"p{k}\n" for k in range(4)))
    (folder / "ImageSets/Main/val.txt").write_text("p4\np5\n")
    return folder, VOC, {"train": 4, "valid": 2}


def roboflow_voc(folder):
    voc(folder / "train", folder / "train", 4)
    voc(folder / "valid", folder / "valid", 2, 4)
    return folder, VOC, {"train": 4, "valid": 2}


def in_capitals(folder):
    with_names(labelled(folder, 6, beside=False))
    for name in ("images", "labels"):
        (folder / name).rename(folder / name.capitalize())
    return folder, LABELLED, {UNSPLIT: 6}


def yaml_of_another_machine(folder):
    """As notebooks in the cloud write it."""
    ultralytics_tree(folder)
    text = f"train: /content/set/images/train\nval: images\\val\nnc: 3\nnames: {list(CLASSES)}\n"
    (folder / "data.yaml").write_text(text)
    return folder, YAML, {"train": 4, "valid": 2}


def coco_of_windows(folder):
    file = coco(folder / "images", folder / "all.json", 6)
    content = json.loads(file.read_text())
    for number, image in enumerate(content["images"]):
        name = image["file_name"]
        image["file_name"] = f"D:\\set\\images\\{name}" if number % 2 else f"images\\{name}"
    file.write_text(json.dumps(content))
    return file, COCO, {UNSPLIT: 6}


def voc_beside_images(folder):
    voc(folder / "images", folder / "xmls", 6)
    return folder, VOC, {UNSPLIT: 6}


FORMS = [
    in_capitals, yaml_of_another_machine, coco_of_windows, voc_beside_images,
    beside, in_images_and_labels, ultralytics_tree, roboflow_yaml, cvat_yaml, cvat_darknet, windows_darknet,
    darknet_data, list_of_pictures, coco_file, coco_folder, roboflow_coco, voc_folder, voc_with_sets, roboflow_voc,
]  # fmt: skip


@pytest.mark.parametrize("make", FORMS, ids=lambda make: make.__name__)
def test_forms(tmp_path, make):
    source, form, lists = make(tmp_path / "set")
    found = recognise(source)
    assert found.form == form
    assert {key: len(pictures) for key, pictures in found.lists.items()} == lists
    # The classes of XML are sorted by name; others have their own order.
    order = [found.classes.index(name) for name in CLASSES]
    assert sorted(found.classes) == sorted(CLASSES)
    labels = read_labelled(found)
    assert len(labels) == 6
    expected = labelled(tmp_path / "again", 6)
    for path, item in labels.items():
        rows = np.array((expected / f"{path.stem}.txt").read_text().split(), np.float32).reshape(-1, 5)
        rows[:, 0] = [order[int(number)] for number in rows[:, 0]]
        np.testing.assert_allclose(item.rows, rows, atol=1e-5, err_msg=str(path))
        assert item.size == (64, 48)


def test_classes_are_numbers_without_names(tmp_path):
    found = recognise(labelled(tmp_path / "set", 8))
    assert found.classes == ["0", "1", "2"]
    assert "no classes.txt" in found.notes[0]


def test_pictures_without_a_label_file_are_left_out(tmp_path):
    folder = with_names(labelled(tmp_path / "set", 6))
    (folder / "p2.txt").unlink()
    (folder / "p3.txt").write_text("")
    found = recognise(folder)
    assert [path.name for path in found.unlabelled] == ["p2.png"]
    assert len(found.pictures) == 5


def test_pictures_of_a_run_in_the_folder_are_left_out(tmp_path):
    folder = with_names(labelled(tmp_path / "set", 6))
    labelled(folder / "runs/train1/data", 6, beside=False)
    (folder / "runs/train1/run.json").write_text("{}")
    assert len(recognise(folder).pictures) == 6


def test_a_test_list_stands_in_for_valid(tmp_path):
    labelled(tmp_path / "train", 3)
    labelled(tmp_path / "test", 2, 3)
    found = recognise(with_names(tmp_path))
    assert {key: len(pictures) for key, pictures in found.lists.items()} == {"train": 3, "valid": 2}
    assert "`test` is used" in found.notes[0]


@pytest.mark.parametrize(("make", "message"), [
    (lambda folder: None, "no such file or folder"),
    (lambda folder: folder.mkdir(), "found nothing; expected pictures with label files"),
    (lambda folder: [labelled(folder, 2), *[p.unlink() for p in folder.glob("*.txt")]], "no label file such as"),
    (lambda folder: folder.with_suffix("").write_text(""), "expected a folder, a .data file"),
    (lambda folder: [labelled(folder, 2), [p.write_text("") for p in folder.glob("*.txt")]], "found no object"),
    (lambda folder: [folder.mkdir(), *[(folder / f"{n}.yaml").write_text("") for n in "ab"]], "give one of these"),
    (lambda folder: [folder.mkdir(), (folder / "a.yaml").write_text("names: [a]\ntrain: x\n")], "no such folder"),
    (lambda folder: coco(folder / "elsewhere", folder / "a.json", 2), "2 pictures are missing"),
])  # fmt: skip
def test_errors(tmp_path, make, message):
    folder = tmp_path / "set"
    make(folder)
    with pytest.raises(DataError) as error:
        recognise(folder)
    assert message in str(error.value)
    assert str(error.value).startswith(str(tmp_path))


def test_outlines_are_no_boxes(tmp_path):
    folder = with_names(labelled(tmp_path / "set", 6))
    (folder / "p3.txt").write_text("0 0.5 0.5 0.1 0.1\n1 0.1 0.1 0.2 0.1 0.2 0.2\n")
    with pytest.raises(DataError, match=r"p3.txt:2: found 7 numbers, an outline of points; expected class x y w h"):
        recognise(folder)


def test_archives_are_to_be_unpacked(tmp_path):
    (tmp_path / "set.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match="unpack it"):
        recognise(tmp_path / "set.zip")


def test_label_rows():
    assert label([(1, 0, 0, 64, 24)]) == "1 0.500000 0.250000 1.000000 0.500000\n"
