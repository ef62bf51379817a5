"""Decoded pictures that are kept in memory, and what both kinds of data sets read from their files."""

import logging
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.training_files import ROW, picture_set

from pydarknet.config.dialect import ALEXEYAB, PJREDDIE
from pydarknet.config.sections import Option, Section, read_config, read_data
from pydarknet.datasets import training_sets
from pydarknet.datasets.training_sets import ClassificationDataset, ImageCache, TrainingSet
from pydarknet.errors import ConfigError, DarknetError, DataError
from pydarknet.network.network import Network
from pydarknet.training.setup import open_pictures
from pydarknet.utils.files import SHOWN


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), np.full((4, 5, 3), 10 * number, np.uint8))
    return paths


def test_a_picture_is_read_once(files):
    cache = ImageCache(files, 3)
    first = cache[1]
    files[1].unlink()
    assert cache[1] is first
    assert first.shape == (4, 5, 3) and (first == 10).all()


def test_what_does_not_fit_is_read_again(files, monkeypatch):
    monkeypatch.setattr(training_sets, "PICTURES_IN_MEMORY", 4 * 5 * 3)
    cache = ImageCache(files, 3)
    assert cache[0] is cache[0]
    assert cache[2] is not cache[2]
    np.testing.assert_array_equal(cache[2], cache[2])


def test_grey_networks_get_one_channel(files):
    assert ImageCache(files, 1)[0].shape == (4, 5, 1)


def test_scaled_pictures_also_in_a_copy_for_another_process(tmp_path):
    cv2.imwrite(str(tmp_path / "a.jpg"), np.full((80, 120, 3), 10, np.uint8))
    whole, cache = (ImageCache([tmp_path / "a.jpg"], 3, least) for least in (None, (30, 20)))
    for each in (cache, pickle.loads(pickle.dumps(cache))):
        assert each[0].shape == (20, 30, 3) and each.scaled
    assert whole[0].shape == (80, 120, 3) and not whole.scaled


@pytest.fixture
def options(tmp_path, write_cfg):
    """What `TrainingSet.options` reads from the lines of `[net]`, and of a .data file."""
    (tmp_path / "list.txt").write_text("a.png\n\nb.png\n")

    def read(net="", data="train=list.txt\n"):
        (tmp_path / "net.data").write_text(data)
        section = read_config(write_cfg(f"[net]\n{net}\n[softmax]\n")).net
        return TrainingSet.options(read_data(tmp_path / "net.data"), section, ALEXEYAB)

    return read


@pytest.mark.parametrize("net, mode", [
    ("", 0), ("mixup=1", 1), ("cutmix=1", 2), ("mosaic=1", 3), ("cutmix=1\nmosaic=1", 4), ("mixup=3", 3),
])  # fmt: skip
def test_how_pictures_are_mixed(options, net, mode):
    assert options(net)["mix"] == mode


def test_networks_for_pictures_have_three_channels_or_one(options):
    assert options("channels=1")["channels"] == 1
    with pytest.raises(ConfigError, match=r"net\.cfg:2: .*channels=4: expected 3 or 1"):
        options("channels=4")


def test_the_list_to_learn_from_keeps_its_line_numbers(options):
    found = options()
    assert found["source"].name == "list.txt"
    assert found["lines"] == (1, 3)
    assert [picture.name for picture in found["paths"]] == ["a.png", "b.png"]


def test_a_missing_list_is_named(options):
    with pytest.raises(DarknetError, match="train= is missing: the list of training pictures"):
        options(data="classes=2\n")


# --- classifiers ---


def generator(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture
def coloured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return picture_set(tmp_path)


def classification(coloured, dialect=PJREDDIE, tree=None, more="", **net):
    (coloured / "labels.list").write_text("0.png\n1.png\nzebra\n")
    options = {"width": 32, "height": 32, **net}
    section = Section("net", "n.cfg", 1, [Option(key, str(value), 2) for key, value in options.items()])
    (coloured / "x.data").write_text(f"classes=3\ntrain=train.txt\nlabels=labels.list\n{more}")
    return ClassificationDataset.from_config(read_data("set/x.data"), section, 3, tree, dialect)


def test_check_of_classes(coloured, warnings):
    data = classification(coloured)
    with pytest.raises(DataError, match="6 pictures, 2 of 3 classes, 4 without a label, 0 with several; more than 50%"):
        data.check()
    assert data.check(0.9).startswith("6 pictures")
    assert "train.txt:3: Too many or too few labels: 0, set/images/2.png" in warnings()[0]


def test_tags(coloured):
    data = classification(coloured, more="tag=1\n")
    (coloured / "images/3.png").rename(coloured / "images/3.jpg")
    data.paths = [Path("set/images/3.jpg"), Path("set/images/4.png")]
    Path("set/labels/3.txt").write_text("0 2\n8\n")
    assert data.matches(0) == [0, 2] and data.matches(1) == []


@pytest.mark.parametrize("dialect", [PJREDDIE, ALEXEYAB])
def test_a_classifiers_picture(coloured, dialect):
    data = classification(coloured, dialect, angle=10, aspect=1.2, hue=0.1, saturation=1.5, exposure=1.5)
    image, truth = data.load(1, generator(), 32, 32)
    assert image.shape == (3, 32, 32) and truth.tolist() == [0, 1, 0]
    assert data.load(1, generator(), 64, 32)[0].shape == (3, 32, 64)
    again, _ = data.load(1, generator(), 32, 32)
    assert np.array_equal(image, again)


def test_crops_grow_with_the_input_for_pjreddie(coloured):
    data = classification(coloured, min_crop=32, max_crop=48)
    assert data.ratio == (1, 1.5)
    assert classification(coloured, ALEXEYAB, min_crop=40, max_crop=48).crop == (40, 48)


@pytest.mark.parametrize("key", ["mixup", "cutmix", "mosaic"])
def test_mixtures_share_the_truth(coloured, key):
    data = classification(coloured, ALEXEYAB, **{key: 1})
    truths = np.array([data.load(0, generator(k), 32, 32)[1] for k in range(60)])
    assert truths.max() <= 1 and 15 < (truths[:, 0] == 1).sum() < 50
    assert ((truths > 0.01) & (truths < 0.99)).any()


def test_the_list_of_labels_must_be_long_enough(coloured):
    (coloured / "labels.list").write_text("a\n")
    section = Section("net", "n.cfg", 1)
    with pytest.raises(DataError, match="1 names; expected 3"):
        ClassificationDataset.from_config(read_data("set/x.data"), section, 3, None, PJREDDIE)


# --- detectors ---


BCCD = Path(__file__).parents[2].parent / "shared" / "reference" / "bccd"

YOLO = """
    [net]
    width=64
    height=48
    {net}
    [convolutional]
    filters=8
    size=1
    [yolo]
    anchors=8,8
    num=1
    classes=3
    {head}
    """


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return picture_set(tmp_path)


@pytest.fixture
def detection(pictures, write_cfg):
    """The set for a small [yolo] network."""

    def make(dialect=PJREDDIE, net="", head=""):
        config = read_config(write_cfg(YOLO.format(net=f"{net}\nchannels=3", head=head)))
        network = Network(config, dialect)
        return open_pictures(read_data("set/x.data"), network)

    return make


@pytest.mark.parametrize("dialect", [PJREDDIE, ALEXEYAB])
def test_both_rules_are_tried_and_reported_once(detection, caplog, dialect):
    caplog.set_level(logging.INFO, "pydarknet")
    data = detection(dialect)
    assert data.check() == (
        "6 pictures, 6 objects, 0 label files missing, 0 wrong labels (label files by pjreddie's rule)"
    )
    data.load(0, generator(), 64, 48)
    assert [r.message.startswith("labels are found by pjreddie's rule") for r in caplog.records] == [True]


def test_labels_beside_the_pictures(detection, pictures):
    for path in (pictures / "labels").iterdir():
        path.rename(pictures / "images" / path.name)
    assert "by alexeyab's rule" in detection().check()


def test_a_folder_whose_name_only_contains_images(detection, pictures):
    (pictures / "my_images").mkdir()
    for folder in ("images", "labels"):
        (pictures / folder).rename(pictures / "my_images" / folder)
    (pictures / "train.txt").write_text("my_images/images/0.png\n")
    assert "by a labels folder beside that of the pictures" in detection().check()


# --- checks ---


def test_check_names_what_is_wrong(detection, pictures, warnings):
    (pictures / "labels/0.txt").write_text(f"{ROW}7 0.5 0.5 0.1 0.1\n1 1.5 0.5 0.1 0.1\n1 0.5 0.5 0 0.1\nx\n")
    (pictures / "labels/1.txt").unlink()
    summary = detection(ALEXEYAB).check()
    assert summary.startswith("6 pictures, 8 objects, 1 label files missing, 4 wrong labels")
    lines = warnings()
    assert "labels/0.txt:5: found 'x'; expected class x y w h" in lines[0]
    assert "labels/0.txt:2: Wrong annotation: class_id = 7. But class_id should be [from 0 to 2]" in lines[1]
    assert "labels/0.txt:3: Wrong annotation: x = 1.500000" in lines[2]
    assert "labels/0.txt:4: Wrong annotation: w = 0.000000" in lines[3]
    assert "images/1.png: no label file; looked for" in lines[4] and "labels/1.txt" in lines[4]


def test_check_refuses_past_the_share(detection, pictures):
    (pictures / "labels/0.txt").write_text("9 0.5 0.5 0.1 0.1\n" * 4)
    assert "4 wrong labels" in detection().check()
    with pytest.raises(DataError, match=r"9 objects.*4 wrong labels.*more than 30% of the labels cannot be used"):
        detection().check(0.3)


def test_missing_label_files_count_for_pjreddie_only(detection, pictures):
    for k in range(4):
        (pictures / f"labels/{k}.txt").unlink()
    assert "4 label files missing" in detection(ALEXEYAB).check()
    with pytest.raises(DataError, match="4 label files missing"):
        detection().check()
    for k in range(4, 6):
        (pictures / f"labels/{k}.txt").unlink()
    with pytest.raises(DataError, match=r"expected at least one object. Tried .*labels/0\.txt"):
        detection(ALEXEYAB).check()


def test_check_shows_only_the_first_lines(detection, pictures, warnings):
    (pictures / "labels/0.txt").write_text("9 0.5 0.5 0.1 0.1\n" * 40)
    detection().check(share=0.99)
    assert len(warnings()) == SHOWN + 1


# --- pictures with boxes ---


def enclosed(image, rows, width, height):
    """How much of the bright pixels lies inside the boxes, and how much of the boxes is bright."""
    bright = image[0] > 0.6
    inside = np.zeros_like(bright)
    for _, x, y, w, h in rows.tolist():
        left, right = round((x - w / 2) * width), round((x + w / 2) * width)
        top, bottom = round((y - h / 2) * height), round((y + h / 2) * height)
        inside[max(0, top - 1) : bottom + 1, max(0, left - 1) : right + 1] = True
    return bright[inside].sum() / max(1, bright.sum()), bright[inside].mean() if inside.any() else 1.0


@pytest.mark.parametrize(("dialect", "net", "head"), [
    (PJREDDIE, "", "jitter=.3"), (ALEXEYAB, "", "jitter=.3\nresize=1.5"), (ALEXEYAB, "letter_box=1", "jitter=.1"),
    (ALEXEYAB, "mosaic=1", "jitter=.2\nresize=1.3"), (ALEXEYAB, "mosaic=1\nmosaic_bound=1", "jitter=.2"),
    (ALEXEYAB, "flip=0\nblur=1\ngaussian_noise=5", "jitter=.2"),
])  # fmt: skip
def test_boxes_enclose_what_they_are_labels_of(detection, dialect, net, head):
    data = detection(dialect, net, head)
    shares = []
    for k in range(40):
        image, rows = data.load(k % 6, generator(k), 128, 96)
        assert image.shape == (3, 96, 128) and image.dtype == np.float32 and image.flags.c_contiguous
        assert image.min() >= 0 and image.max() <= 1
        assert rows.shape[1] == 5 and rows.dtype == np.float32
        assert ((rows[:, 1:] > 0) & (rows[:, 1:] <= 1)).all()
        shares.append(enclosed(image, rows, 128, 96))
    covered, filled = np.array(shares).T
    assert np.mean(covered > 0.97) > 0.9
    assert np.median(filled) > 0.75


def test_mixup_blends_two_pictures_and_joins_their_boxes(detection):
    data = detection(ALEXEYAB, "mixup=1", "jitter=0.1")
    counts = [len(data.load(0, generator(k), 64, 48)[1]) for k in range(40)]
    assert set(counts) == {1, 2} and 8 < counts.count(2) < 32


def test_no_more_boxes_than_max(detection, pictures):
    (pictures / "labels/0.txt").write_text("".join(f"0 0.5 0.5 0.{k} 0.2\n" for k in range(10, 90)))
    data = detection(head="max=7\njitter=0")
    widths = {tuple(data.load(0, generator(k), 64, 64)[1][:, 3].tolist()) for k in range(5)}
    assert {len(w) for w in widths} == {7} and len(widths) == 5, "of the shuffled list"


def test_unknown_classes_are_dropped_by_alexeyab_only(detection, pictures):
    (pictures / "labels/0.txt").write_text("9 0.5 0.5 0.2 0.2\n-1 0.5 0.5 0.2 0.2\nrubbish\n")
    assert len(detection(ALEXEYAB, head="jitter=0").load(0, generator(), 64, 48)[1]) == 0
    assert len(detection(head="jitter=0").load(0, generator(), 64, 48)[1]) == 1


def test_a_network_of_one_channel(detection):
    image, _ = detection(net="channels=1\nexposure=1.5").load(0, generator(), 64, 48)
    assert image.shape == (1, 48, 64)


def test_combinations_that_darknet_refuses(detection, warnings):
    with pytest.raises(ConfigError, match=r"letter_box=1 do not go together"):
        detection(ALEXEYAB, "mosaic=1\nletter_box=1")
    assert detection(ALEXEYAB, "mosaic=1\ncutmix=1").mix == 3
    assert any("cutmix is for classifiers" in line for line in warnings())


def test_train_must_be_named(detection, pictures):
    (pictures / "x.data").write_text("classes=3\n")
    with pytest.raises(ConfigError, match=r"train= is missing"):
        detection()


def test_yolov1_crops(pictures, write_cfg):
    text = "[net]\nwidth=64\nheight=64\nchannels=3\n[connected]\noutput=128\n"
    text += "[detection]\nclasses=3\ncoords=4\nside=4\nnum=1\njitter=.2\nsoftmax=0\nsqrt=1\n"
    config = read_config(write_cfg(text))
    network = Network(config, PJREDDIE)
    data = open_pictures(read_data("set/x.data"), network)
    assert data.grid
    for k in range(10):
        image, rows = data.load(0, generator(k), 64, 64)
        assert enclosed(image, rows, 64, 64)[0] > 0.97 and not (image == 0.5).any()


# --- a real set ---


def test_blood_cells():
    if not BCCD.is_dir():
        pytest.skip("the blood-cell set is not here")
    config = read_config(BCCD / "bccd-tiny.cfg")
    network = Network(config, PJREDDIE)
    data = open_pictures(read_data(BCCD / "bccd.data"), network)
    assert data.check().startswith("292 pictures, 3941 objects, 0 label files missing, 0 wrong labels")
    image, rows = data.load(0, generator(), 224, 160)
    assert image.shape == (3, 160, 224) and len(rows) > 0
