"""Text as mini-batches: what stands where, jumps, and what cannot be learned from."""

from __future__ import annotations

import numpy as np
import pytest

from pydarknet.datasets.dataloader import Text, TextStreams
from pydarknet.errors import DataError


@pytest.fixture
def text(tmp_path):
    def write(content, alphabet=128, tokenized=False):
        (tmp_path / "text").write_bytes(content)
        return Text(tmp_path / "text", alphabet, tokenized)

    return write


def never(stream):
    raise AssertionError


def test_bytes_and_numbers(text):
    assert text(b"ab\n").symbols.tolist() == [97, 98, 10]
    numbers = text(b"3 1\n\n 2\t0\n", alphabet=4, tokenized=True)
    assert numbers.symbols.tolist() == [3, 1, 2, 0]
    assert numbers.check().endswith("text: 4 symbols, 4 different ones")


@pytest.mark.parametrize("content, tokenized, reason", [
    (b"", False, "text: 0 symbols; expected at least 2"),
    (b"a", False, "text: 1 symbols"),
    (b"ab\ncd\0", False, "text:2: Bad char 0; expected bytes from 1 to 127"),
    ("ab\nä".encode(), False, "text:2: Bad char 195"),
    (b"1 2\n3 x\n", True, "text:2: x: expected numbers from 0 to 127"),
    (b"1 2 128\n", True, "text:1: 128: expected numbers"),
    (b"-1 2\n", True, "text:1: -1: expected numbers"),
])  # fmt: skip
def test_what_cannot_be_learned_from(text, content, tokenized, reason):
    with pytest.raises(DataError, match=reason):
        text(content, tokenized=tokenized)


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"Couldn't open file: .*nothing"):
        Text(tmp_path / "nothing", 128)


def test_streams_move_on_and_truth_is_what_follows(text):
    source = TextStreams(text(bytes(range(1, 101))), 3, 4, seed=1, restart=10**9, forget=never)
    start = source.offsets(0)
    for number in range(60):  # more than once round the text
        x, truth = source.next(1, 1)
        assert x.shape == (12, 128)
        assert x.dtype == np.float32
        assert (x.sum(axis=1) == 1).all()
        for t in range(4):
            for stream in range(3):  # ordered by time
                at = start[stream] + 4 * number + t
                assert x[3 * t + stream].argmax() == at % 100 + 1
                assert truth[3 * t + stream].argmax() == (at + 1) % 100 + 1
    assert source.position == 60 * 12


def test_jumps_are_as_frequent_as_told_and_forget(text):
    forgotten = []
    source = TextStreams(text(bytes(range(1, 128)) * 8), 4, 4, seed=5, restart=8, forget=forgotten.append)
    jumps, before = 0, None
    for _ in range(1000):
        forgotten.clear()
        x, truth = source.next(1, 1)
        first = x[:4].argmax(axis=1)
        if before is not None:
            moved = {stream for stream in range(4) if first[stream] != before[stream]}
            assert moved <= set(forgotten)
            assert len(set(forgotten) - moved) <= 1 + len(moved)  # a jump may lead to where the stream was going
        before = [vector.argmax() for vector in truth[-4:]]
        jumps += len(forgotten)
    assert 400 < jumps < 600  # of 4000 chances one in eight


def test_a_resumed_run_finds_its_place(text):
    corpus = text(bytes(range(1, 128)))

    def run(first, last):
        """Mini-batches first to last - 1, and before each the streams that were forgotten."""
        seen = []
        source = TextStreams(corpus, 3, 5, seed=2, restart=4, forget=seen.append, position=15 * first)
        for _ in range(first, last):
            seen.append(source.next(1, 1)[0].argmax(axis=1).tolist())
        return seen

    assert run(0, 7) + run(7, 20) + run(20, 40) == run(0, 40)


def test_the_seed_decides(text):
    corpus = text(bytes(range(1, 128)))
    offsets = [TextStreams(corpus, 8, 5, seed, 64, never).offsets(3).tolist() for seed in (1, 1, 2)]
    assert offsets[0] == offsets[1] != offsets[2]
