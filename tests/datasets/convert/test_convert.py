"""Worked examples of each form, all ways between them, and what cannot be converted."""

import json
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from support.picture_folders import turned

from pydarknet.datasets.convert.convert import AnnotatedPicture, AnnotatedSet, PixelBox, form_of, read_set, write_set
from pydarknet.errors import DataError, OptionError, OutputError
from pydarknet.images.image import write_image

NAMES = ["dog", "Eskimo cat"]
# In a picture of 100 x 50: from (10, 20) to (30, 30), and the rounded_coordinate of it.
LABELS = "1 0.200000 0.500000 0.200000 0.200000\n0 0.500000 0.500000 1.000000 1.000000\n"
VOC = """\
<annotation>
  <folder>any</folder><filename>a.png</filename><path>/nowhere/a.png</path>
  <size><width>100</width><height>50</height><depth>3</depth></size>
  <object>
    <name>Eskimo cat</name><difficult>0</difficult>
    <bndbox><xmin>11</xmin><ymin>21</ymin><xmax>31</xmax><ymax>31</ymax></bndbox>
  </object>
  <object>
    <name>dog</name><difficult>1</difficult>
    <bndbox><xmin>1</xmin><ymin>1.0</ymin><xmax>101</xmax><ymax>51</ymax></bndbox>
  </object>
</annotation>
"""
COCO = {
    "images": [
        {"id": 7, "file_name": "a.png", "width": 100, "height": 50},
        {"id": 3, "file_name": "b.png", "width": 100, "height": 50},
    ],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 9, "bbox": [10, 20, 20, 10], "iscrowd": 0},
        {"id": 2, "image_id": 7, "category_id": 2, "bbox": [0, 0, 100, 50], "iscrowd": 1},
    ],
    "categories": [{"id": 9, "name": "Eskimo cat"}, {"id": 2, "name": "dog"}],
}
CAT, DOG = PixelBox(1, 10, 20, 30, 30), PixelBox(0, 0, 0, 100, 50)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Two pictures to learn from and one to test on."""
    monkeypatch.chdir(tmp_path)
    Path("set/images").mkdir(parents=True)
    for number, name in enumerate("abc"):
        write_image(f"set/images/{name}.png", np.full((50, 100, 3), number, np.uint8))
    return tmp_path


@pytest.fixture
def darknet():
    Path("set/labels").mkdir()
    for name, text in {"a": LABELS, "b": "", "c": LABELS[:38]}.items():
        Path(f"set/labels/{name}.txt").write_text(text)
    Path("set/train.txt").write_text("images/a.png\nimages/b.png\n")
    Path("set/test.txt").write_text("images/c.png\n")
    Path("set/obj.names").write_text("".join(f"{name}\n" for name in NAMES))
    Path("set/obj.data").write_text("classes=2\ntrain=train.txt\nvalid=test.txt\nnames=obj.names\n")
    return "set/obj.data"


@pytest.fixture
def voc():
    Path("set/Annotations").mkdir()
    Path("set/Annotations/a.xml").write_text(VOC)
    return "set"


@pytest.fixture
def coco():
    Path("set/instances_train2017.json").write_text(json.dumps(COCO))
    return "set/instances_train2017.json"


def boxes(found, key="train"):
    """Name of the picture: boxes with coordinates that are whole but for rounding."""
    return {
        picture.path.name: [
            PixelBox(b.number, *(round(e, 4) for e in (b.left, b.top, b.right, b.bottom)), b.difficult, b.crowd)
            for b in picture.boxes
        ]
        for picture in found.lists[key]
    }


def test_darknet_is_read(darknet):
    found = read_set([darknet])
    assert found.classes == NAMES
    assert boxes(found) == {"a.png": [CAT, DOG], "b.png": []}
    assert boxes(found, "valid") == {"c.png": [CAT]}


def test_darknet_without_names(darknet):
    assert read_set(["set/train.txt"]).classes == ["0", "1"]
    Path("set/obj.data").write_text("classes=3\ntrain=train.txt\n")
    assert read_set([darknet]).classes == ["0", "1", "2"]


def test_what_is_no_label_is_left_out_and_counted(darknet):
    Path("set/labels/a.txt").write_text(f"{LABELS}7 .5 .5 .1 .1\n0 1.5 .5 .1 .1\n0 .5\n")
    Path("set/labels/b.txt").unlink()
    found = read_set([darknet])
    assert boxes(found)["a.png"] == [CAT, DOG]
    assert +found.left_out == Counter(
        {
            "labels with a wrong class or box left out": 2,
            "lines that are no labels left out": 1,
            "label files missing": 1,
        }
    )


def test_voc_is_read(voc):
    found = read_set([voc])
    assert found.classes == sorted(NAMES)
    assert boxes(read_set([voc], names=NAMES)) == {"a.png": [CAT, PixelBox(0, 0, 0, 100, 50, difficult=True)]}
    assert found.lists["train"][0].path == Path("set/images/a.png")


def test_vocs_lists(voc):
    for name in "bc":
        Path(f"set/Annotations/{name}.xml").write_text(VOC.replace("a.png", f"{name}.png"))
    Path("set/ImageSets/Main").mkdir(parents=True)
    Path("set/ImageSets/Main/train.txt").write_text("a\nc\n")
    Path("set/ImageSets/Main/val.txt").write_text("b  1\n")
    Path("set/ImageSets/Main/dog_val.txt").write_text("c -1\n")
    found = read_set([voc])
    assert {key: [p.path.stem for p in listed] for key, listed in found.lists.items()} == {
        "train": ["a", "c"],
        "valid": ["b"],
    }


def test_a_folder_of_xml_files_without_sizes(voc):
    Path("set/Annotations").rename("set/images/xml")
    Path("set/images/xml/a.xml").write_text(VOC.replace(">100<", ">0<"))
    found = read_set(["set/images/xml"], pictures="set/images")
    assert (found.lists["train"][0].width, found.lists["train"][0].height) == (100, 50)


def test_coco_is_read(coco):
    found = read_set([coco])
    assert found.classes == NAMES  # by id
    assert boxes(found) == {"a.png": [CAT, PixelBox(0, 0, 0, 100, 50, crowd=True)], "b.png": []}
    assert found.lists["train"][0].path == Path("set/images/a.png")
    assert boxes(read_set([coco], names=["Eskimo cat", "x", "dog"]))["a.png"][0].number == 0


def test_several_coco_files_are_lists(coco):
    Path("set/instances_val2017.json").write_text(json.dumps({**COCO, "images": [], "annotations": []}))
    assert list(read_set([coco, "set/instances_val2017.json"]).lists) == ["train", "valid"]
    assert list(read_set(["set"]).lists) == ["train", "valid"]
    Path("set/other_val.json").write_text(json.dumps(COCO))
    assert list(read_set(["set"], "coco").lists) == ["train", "instances_val2017", "other_val"]


def test_darknet_is_written(darknet):
    write_set(read_set([darknet]), "new", "darknet")
    assert Path("new/obj.data").read_text() == (
        "classes = 2\ntrain = train.txt\nvalid = valid.txt\nnames = obj.names\nbackup = backup\n"
    )
    assert Path("new/obj.names").read_text() == "dog\nEskimo cat\n"
    assert Path("new/train.txt").read_text() == "JPEGImages/a.png\nJPEGImages/b.png\n"
    assert Path("new/labels/a.txt").read_text() == LABELS
    assert Path("new/labels/b.txt").read_text() == ""
    assert Path("new/JPEGImages/a.png").is_symlink()
    assert Path("new/JPEGImages/a.png").read_bytes() == Path("set/images/a.png").read_bytes()


def test_voc_is_written(darknet):
    write_set(read_set([darknet]), "new", "voc")
    tree = ElementTree.parse("new/Annotations/a.xml").getroot()
    assert [tree.findtext(key) for key in ("filename", "path", "size/width", "size/height", "size/depth")] == [
        "a.png", "../set/images/a.png", "100", "50", "3",
    ]  # fmt: skip
    first = tree.find("object")
    assert [first.findtext(key) for key in ("name", "difficult")] == ["Eskimo cat", "0"]
    assert [edge.text for edge in first.find("bndbox")] == ["11", "21", "31", "31"]
    assert Path("new/ImageSets/Main/train.txt").read_text() == "a\nb\n"
    assert Path("new/ImageSets/Main/val.txt").read_text() == "c\n"
    assert not Path("new/JPEGImages").exists()


def test_coco_is_written(darknet):
    write_set(read_set([darknet]), "new", "coco")
    content = json.loads(Path("new/annotations/instances_train.json").read_text())
    assert content["images"][0] == {"id": 1, "file_name": "../set/images/a.png", "width": 100, "height": 50}
    assert content["categories"] == [{"id": 1, "name": "dog"}, {"id": 2, "name": "Eskimo cat"}]
    assert content["annotations"][0] == {
        "id": 1, "image_id": 1, "category_id": 2, "bbox": [10, 20, 20, 10], "area": 200, "iscrowd": 0,
        "segmentation": [],
    }  # fmt: skip
    assert [item["image_id"] for item in content["annotations"]] == [1, 1]
    second = json.loads(Path("new/annotations/instances_val.json").read_text())
    assert [item["id"] for item in second["images"]] == [3], "ids are those of no other list"


def test_numbers_of_coco_are_those_of_the_result_files(folder):
    """Ends of names and COCO's categories: what `detector valid` found can be compared with the converted truth."""
    names = [str(number) for number in range(80)]
    ending = ["COCO_val2014_000000000042", "000000000007"]
    for stems, ids in ((ending, [42, 7]), (["a1", "b1"], [1, 2]), (["a9", "b"], [1, 2])):
        pictures = [AnnotatedPicture(Path(f"{stem}.jpg"), 9, 9, [PixelBox(79, 1, 1, 2, 2)]) for stem in stems]
        write_set(AnnotatedSet(names, {"valid": pictures}), folder / stems[0], "coco")
        content = json.loads((folder / stems[0] / "annotations" / "instances_val.json").read_text())
        assert [item["id"] for item in content["images"]] == ids
        assert [item["image_id"] for item in content["annotations"]] == ids
        assert content["annotations"][0]["category_id"] == 90
        assert read_set([folder / stems[0]]).lists["valid"][1].boxes == [PixelBox(79, 1, 1, 2, 2)]
    write_set(AnnotatedSet([*names, "80"], {"valid": pictures}), folder / "more", "coco")
    content = json.loads((folder / "more" / "annotations" / "instances_val.json").read_text())
    assert content["annotations"][0]["category_id"] == 80


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("first", ["darknet", "voc", "coco"])
@pytest.mark.parametrize("second", ["darknet", "voc", "coco"])
def test_all_ways(darknet, first, second, copy):
    start = read_set([darknet])
    write_set(start, "one", first, copy)
    write_set(read_set([source("one", first)], names=NAMES), "two", second, copy)
    end = read_set([source("two", second)], names=NAMES)
    assert [boxes(end, key) for key in end.lists] == [boxes(start, key) for key in start.lists]
    assert list(end.lists) == list(start.lists)
    assert not end.missing
    if copy:
        assert all(Path("two").resolve() in picture.path.resolve().parents for picture in end)


@pytest.mark.parametrize("form", ["voc", "coco"])
def test_label_files_of_whole_pixels_come_back_as_they_were(darknet, form):
    write_image("set/images/a.png", np.zeros((960, 1281, 3), np.uint8))
    pixels = [(7, 11, 31, 49), (0, 3, 1281, 77)] + [(k, 3 * k, 5 * k, 960) for k in range(1, 250)]  # down to the edge
    sizes = [((a + c) / 2562, (b + d) / 1920, (c - a) / 1281, (d - b) / 960) for a, b, c, d in pixels]
    text = "".join("1 {:.6f} {:.6f} {:.6f} {:.6f}\n".format(*row) for row in sizes)
    Path("set/labels/a.txt").write_text(text)
    write_set(read_set([darknet]), "one", form)
    write_set(read_set([source("one", form)], names=NAMES), "two", "darknet")
    assert Path("two/labels/a.txt").read_text() == text


def source(folder, form):
    return f"{folder}/obj.data" if form == "darknet" else folder


def test_marks_of_difficult_and_crowd_objects(voc, coco):
    found = read_set([voc], "voc", NAMES)
    for form, key in (("coco", "difficult"), ("voc", "difficult")):
        write_set(found, f"new-{form}", form)
        assert [getattr(b, key) for b in boxes(read_set([f"new-{form}"], names=NAMES))["a.png"]] == [False, True]
    crowd = read_set([coco])
    write_set(crowd, "crowd-voc", "voc")
    write_set(crowd, "crowd-coco", "coco")
    assert boxes(read_set(["crowd-voc"], names=NAMES))["a.png"][1].difficult
    assert boxes(read_set(["crowd-coco"]))["a.png"][1].crowd
    for name, marked in (("difficult", found), ("crowd", crowd)):
        written = write_set(marked, f"none-{name}", "darknet")
        assert written.left_out[f"{name} objects left out"] == 1
        assert Path(f"none-{name}/labels/a.txt").read_text() == LABELS[:38]
        write_set(marked, f"all-{name}", "darknet", keep_difficult=True)
        assert Path(f"all-{name}/labels/a.txt").read_text() == LABELS


def test_boxes_that_stand_out_are_cut(coco):
    content = json.loads(Path(coco).read_text())
    for box in ([-10, -5, 20, 10], [95, 45, 20, 10], [200, 0, 5, 5], [50.2, 0, 50.1, 50]):
        content["annotations"].append({"id": 9, "image_id": 3, "category_id": 2, "bbox": box})
    Path(coco).write_text(json.dumps(content))
    written = write_set(read_set([coco]), "new", "coco")
    kept = [PixelBox(0, 0, 0, 10, 5), PixelBox(0, 95, 45, 100, 50), PixelBox(0, 50.2, 0, 100, 50)]
    assert boxes(written)["b.png"] == kept
    assert +written.left_out == Counter(
        {"boxes cut at the edge of their picture": 2, "boxes outside their picture left out": 1}
    )


def test_pictures_of_other_proportions_than_their_annotations(coco):
    """A photo that its viewer turned: what is 30 x 60 there is stored as 60 x 30."""
    Path("set/images/b.png").write_bytes(turned(6, width=60, height=30))
    content = json.loads(Path(coco).read_text())
    (item,) = [image for image in content["images"] if image["file_name"] == "b.png"]
    item |= {"width": 30, "height": 60}
    Path(coco).write_text(json.dumps(content))
    found = read_set([coco])
    assert list(boxes(found)) == ["a.png"]
    (text,) = +found.left_out
    assert text.startswith("pictures left out, whose aspect ratio is not that of their annotations: set/")
    assert text.endswith("b.png: 30x60 in the annotations, 60x30 in the file, EXIF orientation 6: rotate its pixels, "
                         "and remove that entry")  # fmt: skip
    item |= {"width": 599, "height": 301}  # the picture was made smaller after it was annotated
    Path(coco).write_text(json.dumps(content))
    assert len(boxes(read_set([coco]))) == 2


def test_pictures_that_are_not_there(coco):
    Path("set/images/b.png").unlink()
    found = read_set([coco])
    assert found.missing == [Path("set/b.png")]
    with pytest.raises(DataError, match=r"set/b\.png: no such picture \(1 of 2 are missing\)"):
        write_set(found, "new", "darknet", copy=True)
    write_set(found, "new", "darknet")
    assert Path("new/train.txt").read_text() == "JPEGImages/a.png\nJPEGImages/b.png\n"
    assert not Path("new/JPEGImages/b.png").exists()


def test_two_pictures_of_one_name(darknet):
    write_image("set/images/a.bmp", np.zeros((5, 5, 3), np.uint8))
    Path("set/train.txt").write_text("images/a.png\nimages/a.bmp\n")
    for form in ("darknet", "voc"):
        with pytest.raises(DataError, match=r"a\.bmp and .*a\.png: two pictures of the same name"):
            write_set(read_set([darknet]), "new", form)
        assert not Path("new").exists()


def test_the_new_folder_must_be_new(darknet):
    found = read_set([darknet])
    with pytest.raises(OutputError, match="set: is there already; expected a new or empty folder"):
        write_set(found, "set", "voc")
    with pytest.raises(OutputError, match="no/new: cannot write"):
        write_set(found, "no/new", "voc")
    Path("new").mkdir()
    write_set(found, "new", "voc")
    assert sorted(path.name for path in Path().iterdir()) == ["new", "set"]


BAD_VOC = [
    ("<annotation>", "a.xml:2: not XML"),
    ("<x/>", "found <x>; expected <annotation>"),
    (VOC.replace("<name>dog</name>", ""), "a.xml: object 2 has no <name>"),
    (VOC.replace("<xmin>11</xmin>", ""), "a.xml: object 1: <xmin> is None; expected a number"),
    (VOC.replace("<ymax>31</ymax>", "<ymax>far</ymax>"), "a.xml: object 1: <ymax> is 'far'; expected a number"),
]


@pytest.mark.parametrize(("text", "message"), BAD_VOC)
def test_bad_xml(voc, text, message):
    Path("set/Annotations/a.xml").write_text(text + "\n")
    with pytest.raises(DataError, match=message):
        read_set([voc])


def test_a_size_that_nobody_knows(voc):
    Path("set/Annotations/a.xml").write_text(VOC.replace(">100<", ">x<"))
    Path("set/images/a.png").unlink()
    with pytest.raises(DataError, match=r'Cannot load image ".*a\.png".*expected a picture whose size'):
        read_set([voc])


def changed(key, **values):
    return {**COCO, key: [{**COCO[key][0], **values}, *COCO[key][1:]]}


BAD_COCO = [
    ("{", "instances_train2017.json:1: not JSON"),
    ("[" * 100_000, "not JSON"),
    ('{"images": ' + "9" * 5000 + "}", "not JSON|no list 'images'"),
    ([], "no list 'images'; expected images, annotations and categories"),
    ({**COCO, "annotations": {}}, "no list 'annotations'"),
    ({**COCO, "images": [{"id": 7}]}, r"images\[0\] has no 'file_name'"),
    ({**COCO, "categories": [3]}, r"categories\[0\] has no 'id'"),
    (changed("annotations", bbox=[1, 2]), r"annotations\[0\]: bbox is \[1, 2\]; expected four numbers"),
    (changed("annotations", image_id=5), r"annotations\[0\] is of image 5, which is not in the file"),
    (changed("annotations", category_id=5), r"annotations\[0\] is of category 5, which is not in the file"),
    (
        changed("annotations", image_id=[5]),
        r"annotations\[0\]: image_id is \[5\]; expected a whole number",
    ),
    (changed("images", file_name=""), r"images\[0\]: file_name is ''; expected a name"),
    (changed("categories", name="a\nb"), r"categories\[0\]: name is 'a\\nb'; expected a name"),
    (changed("images", width=None, file_name="z.png"), r"z\.png.*expected a picture whose size"),
    (changed("images", width=10**400, file_name="z.png"), r"z\.png.*expected a picture whose size"),
]


@pytest.mark.parametrize(("content", "message"), BAD_COCO)
def test_bad_json(coco, content, message):
    Path(coco).write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(DataError, match=message):
        read_set([coco])


def test_names_that_do_not_fit(voc, coco):
    with pytest.raises(DataError, match="set: class 'dog' is not among the 1 names"):
        read_set([voc], "voc", ["Eskimo cat"])
    with pytest.raises(DataError, match="class 'Eskimo cat' is not among the 1 names"):
        read_set([coco], names=["dog"])


def test_categories_that_differ_between_files(coco):
    Path("set/instances_val2017.json").write_text(json.dumps(changed("categories", name="cow")))
    with pytest.raises(DataError, match="category 9 is 'cow'; elsewhere it is 'Eskimo cat'"):
        read_set([coco, "set/instances_val2017.json"])


def test_forms_are_recognised(darknet, coco):
    assert [form_of(Path(path)) for path in (darknet, "set/train.txt", coco, "set")] == [
        "darknet", "darknet", "coco", "coco",
    ]  # fmt: skip
    Path("set/Annotations").mkdir()
    assert form_of(Path("set")) == "voc"
    assert [form_of(Path(path)) for path in ("set/images", "data.yaml")] == ["any", "any"]
    with pytest.raises(DataError, match=r"no \.xml files"):
        read_set(["set"])
    with pytest.raises(OptionError, match="a second source"):
        read_set([darknet, darknet])


def test_only_pictures_are_copied(coco):
    """A file that the annotations name need not be one."""
    Path("secret.key").write_text("password")
    Path(coco).write_text(json.dumps(changed("images", file_name="../secret.key")))
    found = read_set([coco])
    with pytest.raises(DataError, match=r"secret.key.*unknown or damaged format.*; only pictures are copied"):
        write_set(found, "out", "coco", copy=True)
    assert not Path("out").exists()


@pytest.mark.parametrize("encoding", ["utf-7", "foo", "utf-32"])
def test_an_encoding_that_is_not_known(voc, encoding):
    file = next(iter(Path(voc, "Annotations").glob("*.xml")))
    file.write_bytes(f'<?xml version="1.0" encoding="{encoding}"?><annotation/>'.encode())
    with pytest.raises(DataError, match=rf"{file.name}:1: unreadable XML"):
        read_set([voc])


@pytest.mark.parametrize("box", [[10**400, 0, 1, 1], [0, 0, float("nan"), 1], [0, 0, float("inf"), 1], 7])
def test_a_box_of_no_finite_numbers(coco, box):
    Path(coco).write_text(json.dumps(changed("annotations", bbox=box)))
    with pytest.raises(DataError, match=r"annotations\[0\]: bbox is .*; expected four numbers") as caught:
        read_set([coco])
    assert "\n" not in str(caught.value)
