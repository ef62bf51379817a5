"""The classes of frames, without a command."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import pydarknet
from pydarknet.errors import DivergedError
from pydarknet.inference.video.capture import PictureSequence
from pydarknet.inference.video.demo import ClassifierDemo, draw_classes

NET = "[net]\nwidth=8\nheight=8\nchannels=3\n"
CFG = NET + "[convolutional]\nfilters=4\nsize=1\nactivation=linear\n[avgpool]\n[softmax]\n"


@pytest.fixture
def frames(tmp_path: Path) -> PictureSequence:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), np.full((40, 80, 3), 80 * number, np.uint8))
    return PictureSequence(paths)


def network(folder: Path, cfg: str = CFG, dialect: str = "pjreddie") -> pydarknet.Model:
    (folder / "net.cfg").write_text(cfg)
    model = pydarknet.load(folder / "net.cfg", dialect=dialect)
    biases, filters = model.layers[0].parameters()
    biases[:], filters[:] = [0, 2, 1, 0], 0
    model.parameters_changed()
    return model


def test_each_frame_has_its_classes(tmp_path: Path, frames: PictureSequence) -> None:
    demo = ClassifierDemo(network(tmp_path), ["a", "b", "c", "d"], frames, top=2)
    found = list(demo.run())
    assert [int(picture[0, 0, 0]) for picture, _ in found] == [0, 80, 160]
    for _, each in found:
        assert [(p.name, round(p.probability, 3)) for p in each.predictions] == [("b", 0.61), ("c", 0.225)]
        assert (each.width, each.height) == (8, 8)


def test_frames_are_letterboxed_or_stretched(tmp_path: Path, frames: PictureSequence) -> None:
    for dialect, rows in (("pjreddie", 4), ("alexeyab", 8)):
        demo = ClassifierDemo(network(tmp_path, dialect=dialect), "abcd", frames)
        x = demo._prepare(np.zeros((40, 80, 3), np.uint8))
        assert (x == 0).all(axis=(0, 2)).sum() == rows  # the others are grey
        demo._reader.close()


def test_of_a_tree_only_leaves_are_named(tmp_path: Path, frames: PictureSequence) -> None:
    (tmp_path / "tree").write_text("animal -1\nthing -1\ndog 0\ncat 0\n")
    model = network(tmp_path, CFG + f"tree={tmp_path / 'tree'}\n")
    biases, _ = model.layers[0].parameters()
    biases[:] = [5, 0, 1, 0]
    model.parameters_changed()
    (_, found), *_ = ClassifierDemo(model, ["animal", "thing", "dog", "cat"], frames, top=2).run()
    assert [each.name for each in found.predictions] == ["dog", "cat"]
    leaf = 1 / (1 + np.exp(-5)) / (1 + np.exp(-1))
    assert found.predictions[0].probability == pytest.approx(leaf, abs=1e-5)


def test_a_benchmark_repeats_the_first_frame(tmp_path: Path, frames: PictureSequence) -> None:
    demo = ClassifierDemo(network(tmp_path), "abcd", frames, repeat_first=True)
    for number, (picture, _) in enumerate(demo.run()):
        assert picture[0, 0, 0] == 0
        if number == 9:
            demo.stop()
        assert number < 10


def test_outputs_that_are_no_numbers(tmp_path: Path, frames: PictureSequence) -> None:
    model = network(tmp_path)
    model.layers[0].parameters()[0][0] = np.nan
    model.parameters_changed()
    with pytest.raises(DivergedError):
        next(ClassifierDemo(model, "abcd", frames).run())


def test_classes_are_drawn_on_a_copy(tmp_path: Path, frames: PictureSequence) -> None:
    picture, found = next(ClassifierDemo(network(tmp_path), "abcd", frames, top=2).run())
    drawn = draw_classes(picture, found)
    assert drawn.shape == picture.shape
    assert (picture == 0).all()
    assert (drawn[:32] == 255).any()
    assert (drawn[36:] == 0).all()
