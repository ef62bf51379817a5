"""What a command looks at, in which order, and how a run ends early."""

import signal
from pathlib import Path

import cv2
import numpy as np
import pytest

from pydarknet.cli.sources import Interruption, Source, process
from pydarknet.errors import ImageError


@pytest.fixture
def pictures(folder):
    """Ten pictures whose grey is their number, and one file that is no picture."""
    (folder / "many").mkdir()
    for number in range(10):
        cv2.imwrite(f"many/{number}.png", np.full((8, 8, 3), number, np.uint8))
    Path("many/4x.png").write_text("no picture")
    return "many"


def grey(picture):
    return int(picture[0, 0, 0])


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_results_come_in_order_at_any_batch(pictures, batch, capsys):
    sizes, seen = [], []

    def compute(inputs):
        sizes.append(len(inputs))
        return [10 * each for each in inputs]

    source = Source([pictures], grey, batch=batch)
    process(source, Interruption(), batch, compute, lambda item, result: seen.append((item.path, result)))
    assert seen == [(f"many/{number}.png", 10 * number) for number in range(10)]
    assert max(sizes) == min(batch, 10)
    assert sum(sizes) == 10
    assert not source.good
    assert (
        capsys.readouterr().err == 'Cannot load image "many/4x.png": unknown or damaged format: this is a text file\n'
    )


def test_a_limit_counts_what_was_looked_at(pictures, capsys):
    assert [item.prepared for item in Source([pictures], grey, limit=6)] == [0, 1, 2, 3, 4, 5]


def test_one_picture_that_cannot_be_computed_leaves_the_rest_of_its_batch(pictures, capsys):
    def compute(inputs):
        if 7 in inputs:
            raise ImageError("seven")
        return inputs

    seen = []
    source = Source([pictures], grey, batch=5)
    process(source, Interruption(), 5, compute, lambda item, result: seen.append(result))
    assert seen == [0, 1, 2, 3, 4, 5, 6, 8, 9]
    assert 'Cannot use image "many/7.png": seven\n' in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_current_batch_be_finished(pictures, number, capsys):
    seen, before = [], signal.getsignal(signal.SIGINT)

    def act(item, result):
        seen.append(result)
        if result == 4:
            signal.raise_signal(number)

    with Interruption() as stop:
        process(Source([pictures], grey, batch=3), stop, 3, lambda inputs: inputs, act)
    assert seen == [0, 1, 2, 3, 4, 5]
    assert stop.number == number
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_ends_a_wait_at_once():
    def endless():
        yield 1
        signal.raise_signal(signal.SIGINT)
        yield 2

    with Interruption() as stop:
        assert list(stop.until(endless())) == [1]
    assert stop.number == signal.SIGINT


def test_an_interrupt_that_is_no_signal_of_ours_is_passed_on():
    def broken():
        yield 1
        raise KeyboardInterrupt

    with Interruption() as stop, pytest.raises(KeyboardInterrupt):
        list(stop.until(broken()))
