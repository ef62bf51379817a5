"""The Python API: load, names, classify, detect."""

import numpy as np
import pytest
from support.files import write_weights
from support.networks import net
from support.tensors import values

import pydarknet
from pydarknet.errors import ConfigError, DataError, ImageError, OptionError, WeightsError
from pydarknet.images.image import encode_image, fit_for_classify
from pydarknet.runtime import threads

CLASSIFIER = net() + "[convolutional]\nfilters=4\nactivation=linear\n[avgpool]\n[softmax]\n"
ONE_SIZE = net() + "[connected]\noutput=4\nactivation=linear\n[softmax]\n"
DETECTOR = (
    net(3, 32, 32)
    + """[convolutional]
filters=14
size=1
stride=16
activation=linear
[yolo]
mask=0,1
anchors=16,8, 8,16
num=2
classes=2
"""
)


@pytest.fixture
def picture():
    return np.random.default_rng(3).integers(0, 256, (48, 64, 3), np.uint8)


@pytest.fixture
def detector(write_cfg):
    """One object of class 1 in each cell, as the anchor is: 16 x 8 in a network of 32 x 32."""
    model = pydarknet.load(write_cfg(DETECTOR))
    biases, filters = model.layers[0].parameters()
    biases[:7], biases[7:], filters[:] = [0, 0, 0, 0, 20, -20, 20], -20, 0
    model.parameters_changed()
    return model


def test_load_without_weights_draws_them_from_the_seed(write_cfg):
    path = write_cfg(CLASSIFIER)
    arrays = [pydarknet.load(path, seed=seed).layers[0].parameters()[1] for seed in (1, 1, 2)]
    assert (arrays[0] == arrays[1]).all()
    assert not (arrays[0] == arrays[2]).all()
    assert arrays[0].any()


def test_load_reads_weights(write_cfg, tmp_path):
    model = pydarknet.load(write_cfg(CLASSIFIER), write_weights(tmp_path / "some.weights", 16, seen=5))
    assert model.layers[0].parameters()[0].tolist() == [0, 1, 2, 3]
    assert (model.header.seen, model.loaded.layers) == (5, 3)


def test_load_refuses_a_short_file_unless_told_otherwise(write_cfg, tmp_path):
    path, weights = write_cfg(CLASSIFIER), write_weights(tmp_path / "some.weights", 15)
    with pytest.raises(WeightsError, match="takes 16 numbers, the file holds 15"):
        pydarknet.load(path, weights)
    assert pydarknet.load(path, weights, allow_partial=True).loaded.layers == 0


@pytest.mark.parametrize(
    "text, expected", [(CLASSIFIER, "pjreddie"), (CLASSIFIER.replace("linear", "mish"), "alexeyab")]
)
def test_load_finds_the_dialect(write_cfg, text, expected):
    assert pydarknet.load(write_cfg(text)).dialect.name == expected


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_load_takes_the_dialect_that_is_asked_for(write_cfg, dialect):
    assert pydarknet.load(write_cfg(CLASSIFIER), dialect=dialect).dialect.name == dialect


def test_load_takes_another_size_and_batch(write_cfg):
    model = pydarknet.load(write_cfg(CLASSIFIER), width=16, height=12, batch=3)
    assert model.input_shape == (3, 12, 16)
    assert model.batch == 3


def test_load_sets_the_threads_of_the_process(write_cfg):
    before = threads.threads()
    try:
        pydarknet.load(write_cfg(CLASSIFIER), threads=1)
        assert threads.threads() == 1
    finally:
        threads.set_threads(before)


@pytest.mark.parametrize("options, message", [
    ({"threads": 0}, "threads 0: expected at least 1"), ({"dialect": "c"}, "dialect 'c': expected auto"),
    ({"width": 0}, "width 0"), ({"batch": -2}, "batch -2"),
])  # fmt: skip
def test_load_refuses_options_that_make_no_sense(write_cfg, options, message):
    with pytest.raises(OptionError, match=message):
        pydarknet.load(write_cfg(CLASSIFIER), **options)


def test_load_names_what_is_missing(tmp_path, write_cfg):
    with pytest.raises(ConfigError, match="Couldn't open file"):
        pydarknet.load(tmp_path / "nothing.cfg")
    with pytest.raises(WeightsError, match="Couldn't open file"):
        pydarknet.load(write_cfg(CLASSIFIER), tmp_path / "nothing.weights")


def test_every_error_can_be_caught_as_one(tmp_path):
    with pytest.raises(pydarknet.DarknetError):
        pydarknet.load(tmp_path)


def test_names_are_numbers_where_no_list_fits(write_cfg):
    assert pydarknet.load(write_cfg(CLASSIFIER)).names == ["0", "1", "2", "3"]


def test_names_come_from_a_file_or_a_list(write_cfg):
    path = write_cfg("dog\ncat\nhen\nfox\n", "some.names")
    model = pydarknet.load(write_cfg(CLASSIFIER), names=path)
    assert model.names == ["dog", "cat", "hen", "fox"]
    model.names = list("abcd")
    assert model.names == list("abcd")
    with pytest.raises(OptionError, match="3 names; expected 4"):
        model.names = list("abc")


def test_names_may_be_given_as_a_list(write_cfg):
    assert pydarknet.load(write_cfg(CLASSIFIER), names=("a", "b", "c", "d")).names == list("abcd")
    for names in (["dog"], ["dog", "cat", "hen"]):
        with pytest.raises(OptionError, match=f"{len(names)} names; expected 2, the number of the network"):
            pydarknet.load(write_cfg(DETECTOR), names=names)


def test_what_comes_before_an_error_in_a_list_is_given(detector, picture, tmp_path):
    def pictures():
        yield picture
        raise ValueError("mine")

    for images, error in (([picture, tmp_path / "no.png", picture], ImageError), (pictures(), ValueError)):
        results = detector.detect(images, batch=8)
        assert len(next(results)) == 4
        with pytest.raises(error):
            next(results)


def test_a_detector_needs_a_list_of_its_own_length(write_cfg):
    model = pydarknet.load(write_cfg(DETECTOR), names=write_cfg("dog\ncat\nhen\n", "some.names"))
    with pytest.raises(DataError, match="3 names; expected 2"):
        _ = model.names


@pytest.mark.parametrize("text, classes", [(CLASSIFIER, 4), (ONE_SIZE, 4), (DETECTOR, 2), (CLASSIFIER + "[cost]\n", 4)])
def test_classes_are_those_of_the_output(write_cfg, text, classes):
    assert pydarknet.load(write_cfg(text)).classes == classes


@pytest.mark.parametrize("text", [CLASSIFIER, ONE_SIZE])
@pytest.mark.parametrize("top", [1, 3, 4, 100])
def test_classify_gives_the_best_classes_best_first(write_cfg, picture, text, top):
    found = pydarknet.load(write_cfg(text)).classify(picture, top)
    assert len(found) == min(top, 4)
    probabilities = [probability for _, probability in found]
    assert probabilities == sorted(probabilities, reverse=True)
    assert all(isinstance(name, str) and isinstance(p, float) for name, p in found)
    if top >= 4:
        assert sum(probabilities) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("text, fit, mode, size", [
    (CLASSIFIER, "auto", "shorter", (10, 8)), (CLASSIFIER, "shorter", "shorter", (10, 8)),
    (CLASSIFIER, "crop", "crop", (8, 8)), (CLASSIFIER, "letterbox", "letterbox", (8, 8)),
    (CLASSIFIER, "stretch", "stretch", (8, 8)), (ONE_SIZE, "auto", "crop", (8, 8)),
    (ONE_SIZE, "shorter", "crop", (8, 8)),
    (ONE_SIZE, "letterbox", "letterbox", (8, 8)),
])  # fmt: skip
def test_classify_fits_the_picture(write_cfg, picture, text, fit, mode, size):
    model = pydarknet.load(write_cfg(text))
    found = model.classification(picture, top=4, fit=fit)
    assert (found.width, found.height) == size
    expected = model.forward(fit_for_classify(picture, mode, 8, 8)[None])[0][0]
    assert [p.probability for p in found.predictions] == sorted(expected.tolist(), reverse=True)
    assert found.seconds > 0


@pytest.mark.parametrize("options, message", [
    ({"fit": "nonsense"}, "fit 'nonsense': expected auto, shorter, crop, letterbox, stretch"),
    ({"top": 0}, "top 0: expected at least 1"),
])  # fmt: skip
def test_classify_refuses_options_that_make_no_sense(write_cfg, picture, options, message):
    with pytest.raises(OptionError, match=message):
        pydarknet.load(write_cfg(CLASSIFIER)).classify(picture, **options)


@pytest.mark.parametrize("image", [
    np.zeros((8, 8, 2), np.uint8), np.zeros((8, 8, 3), np.int32), np.full((8, 8, 3), 255, np.float32),
    np.full((8, 8, 3), np.nan), np.zeros((0, 8, 3), np.uint8), values(1, 3, 8, 8), 5, None,
])  # fmt: skip
@pytest.mark.parametrize("run", ["classify", "detect"])
def test_what_is_no_picture_is_an_error_that_says_what_it_is(write_cfg, detector, image, run):
    model = detector if run == "detect" else pydarknet.load(write_cfg(CLASSIFIER))
    with pytest.raises(OptionError, match=r"a picture must be .*uint8"):
        getattr(model, run)(image)


@pytest.mark.parametrize("run", ["classify", "detect"])
def test_a_path_is_read(write_cfg, tmp_path, detector, picture, run):
    import cv2

    model = detector if run == "detect" else pydarknet.load(write_cfg(CLASSIFIER))
    cv2.imwrite(str(tmp_path / "picture.png"), picture[:, :, ::-1])
    found = getattr(model, run)(tmp_path / "picture.png")
    assert found == getattr(model, run)(picture) == getattr(model, run)(str(tmp_path / "picture.png"))
    with pytest.raises(ImageError, match=r"nothing\.png"):
        getattr(model, run)(tmp_path / "nothing.png")


def test_detect_gives_boxes_in_pixels_of_the_picture(detector, picture):
    found = detector.detect(picture[:48, :48])
    assert len(found) == 4
    assert {(d.class_id, d.name) for d in found} == {(1, "1")}
    assert all(d.confidence == pytest.approx(1, abs=1e-6) for d in found)
    boxes = sorted((d.box.x, d.box.y, d.box.w, d.box.h) for d in found)
    expected = [(x, y, 24, 12) for x in (12, 36) for y in (12, 36)]
    assert boxes == [pytest.approx(box) for box in expected]


def test_boxes_of_a_scaled_picture_are_those_of_the_file(detector, tmp_path):
    path = tmp_path / "large.jpg"
    path.write_bytes(encode_image(np.full((301, 403, 3), 90, np.uint8)))
    for letterbox in (False, True):
        found = [detector.detect(path, letterbox=letterbox, decode=decode) for decode in ("whole", "scaled")]
        many = next(iter(detector.detect([path], letterbox=letterbox, decode="scaled")))
        assert (found[1].width, found[1].height) == (403, 301)
        assert list(found[0]) == list(found[1]) == list(many)
    with pytest.raises(OptionError, match="decode 'half': expected whole or scaled"):
        detector.detect(path, decode="half")


def test_boxes_of_a_letterboxed_picture_are_moved_back(detector, picture):
    boxes = sorted((d.box.x, d.box.y, d.box.w, d.box.h) for d in detector.detect(picture))  # 64 x 48 in 32 x 24
    assert boxes == [pytest.approx((x, y, 32, 16)) for x in (16, 48) for y in (8, 40)]
    stretched = sorted((d.box.x, d.box.y, d.box.w, d.box.h) for d in detector.detect(picture, letterbox=False))
    assert stretched == [pytest.approx((x, y, 32, 12)) for x in (16, 48) for y in (12, 36)]


def test_detect_has_the_threshold_of_its_dialect(write_cfg, picture):
    for dialect, thresh in (("pjreddie", 0.5), ("alexeyab", 0.25)):
        model = pydarknet.load(write_cfg(DETECTOR), dialect=dialect)
        assert model.find(picture).thresh == thresh
        assert model.find(picture, thresh=0.1).thresh == 0.1


def test_a_threshold_of_one_finds_nothing(detector, picture):
    assert detector.detect(picture, thresh=1) == []


def test_suppression_keeps_the_better_of_two_boxes(write_cfg, picture):
    model = pydarknet.load(write_cfg(DETECTOR.replace("8,16", "16,9")))
    biases, filters = model.layers[0].parameters()
    biases[:], filters[:] = [0, 0, 0, 0, 2, -20, 20, 0, 0, 0, 0, 3, -20, 20], 0
    model.parameters_changed()
    assert len(model.detect(picture, nms=0)) == 8
    kept = model.detect(picture, nms=0.45)
    assert len(kept) == 4
    assert all(d.confidence == pytest.approx(1 / (1 + np.exp(-3)), abs=1e-5) for d in kept)


@pytest.mark.parametrize("option", ["thresh", "hier", "nms"])
@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_detect_refuses_options_beyond_zero_and_one(detector, picture, option, value):
    with pytest.raises(OptionError, match=f"{option} .*: expected a number from 0 to 1"):
        detector.detect(picture, **{option: value})


def test_a_detector_classifies_nothing(detector, picture):
    with pytest.raises(OptionError, match=r"net\.cfg: a detector \(it has a \[\w+\] layer\); use detect"):
        detector.classify(picture)


def test_a_classifier_detects_nothing(write_cfg, picture):
    with pytest.raises(OptionError, match="has no detection layer"):
        pydarknet.load(write_cfg(CLASSIFIER)).detect(picture)


def test_a_model_can_be_saved_and_loaded(write_cfg, tmp_path, picture):
    model = pydarknet.load(write_cfg(CLASSIFIER), seed=4)
    model.save_weights(tmp_path / "saved.weights")
    again = pydarknet.load(write_cfg(CLASSIFIER), tmp_path / "saved.weights")
    assert again.classify(picture) == model.classify(picture)


def test_recurrent_state_stays_from_call_to_call_until_it_is_reset(write_cfg):
    model, x = pydarknet.load(write_cfg("[net]\ninputs=5\n[gru]\noutput=4\n")), values(1, 5)
    first, second = model.forward(x)[0], model.forward(x)[0]
    assert not (first == second).all()
    model.reset_state()
    assert (model.forward(x)[0] == first).all()


def test_the_whole_api_is_there(write_cfg):
    model = pydarknet.load(write_cfg(CLASSIFIER))
    outputs = model.layer_outputs(values(2, 3, 8, 8))
    assert [output.shape for output in outputs] == [(2, 4, 8, 8), (2, 4), (2, 4)]
    assert [len(layer.parameters()) for layer in model.layers] == [2, 0, 0]
    assert model.ops == 2 * 3 * 4 * 64
    assert model.input_shape == (3, 8, 8)
