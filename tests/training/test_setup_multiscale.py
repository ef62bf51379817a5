"""The sizes of a run's inputs and mini-batches, and the memory of the largest."""

import pytest
from support.training_files import detection_files

import pydarknet
from pydarknet.errors import OptionError
from pydarknet.training import setup
from pydarknet.training.setup import MultiScaleSchedule


def test_memory_counts_moments_averages_and_the_second_network(tmp_path):
    files = detection_files(tmp_path, adam=1, ema_alpha=0.9)
    model = pydarknet.load(files.cfg, dialect="alexeyab")
    plain = pydarknet.load(detection_files(tmp_path / "plain").cfg)
    more = setup.training_bytes(model, 32, 32, True) - setup.training_bytes(plain, 32, 32)
    assert more == 4 * 5 * model.parameter_count


def make_sizes(rule, **options):
    fields = {"period": 10, "coefficient": 1.4, "seed": 1, "max_batches": 3000} | options
    return MultiScaleSchedule(416, 320, rule=rule, **fields)


def test_sizes_of_pjreddie():
    square = make_sizes("square")
    found = [square.at(done, 0) for done in range(3000)]
    assert {w for w, _ in found} == set(range(320, 609, 32))
    assert all(w == h for w, h in found)
    assert all(found[i] == found[i // 10 * 10] for i in range(3000))
    assert set(found[2810:]) == {(608, 608)}
    assert square.largest == (608, 608)
    classifier = make_sizes("classifier", period=40)
    assert {classifier.at(done, 0)[0] for done in range(9000)} == set(range(128, 449, 32))


def test_the_smallest_size_of_pjreddie(tmp_path):
    files = detection_files(tmp_path, random="1")
    model = pydarknet.load(files.cfg)
    smaller = MultiScaleSchedule.of(model, 0, 3000, 288)
    assert {smaller.at(done, 0)[0] for done in range(2800)} == set(range(288, 609, 32))
    for wrong in (300, 0, 640):
        with pytest.raises(OptionError, match=f"min_size {wrong}: expected a multiple of 32 from 32 to 608"):
            MultiScaleSchedule.of(model, 0, 3000, wrong)
    with pytest.raises(OptionError, match="only pjreddie's detectors with random=1"):
        MultiScaleSchedule.of(pydarknet.load(files.cfg, dialect="alexeyab"), 0, 3000, 288)


def test_mini_batches_that_grow():
    scaled = make_sizes("coefficient", mini_batch=10, grows_batch=True)
    assert scaled.batch_at(608, 480) == 10
    assert scaled.batch_at(576, 448) == 11  # four fifths of it would be fewer than 10
    assert scaled.batch_at(416, 320) == 16  # int(0.8 * 21)
    assert make_sizes("coefficient", mini_batch=10).batch_at(416, 320) == 10


def test_sizes_of_alexeyab():
    scaled = make_sizes("coefficient")
    found = [scaled.at(done, 7) for done in range(7, 3000)]
    assert found[0] == scaled.largest == (608, 480)
    assert set(found[2905:]) == {(608, 480)}
    assert min(found)[0] < 416 < max(found)[0]
    assert all(w % 32 == 0 and h % 32 == 0 and w <= 608 and h <= 480 for w, h in found)


def test_sizes_depend_on_the_seed():
    assert [make_sizes("square", seed=s).at(0, 0) for s in range(20)] != [make_sizes("square", seed=1).at(0, 0)] * 20
