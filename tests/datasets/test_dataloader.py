"""The loader: one result at any number of threads, resumed by position, sizes that change, pictures that are broken."""

import threading
import time

import numpy as np
import pytest

from pydarknet.datasets.dataloader import AHEAD, DataLoader, Text, TextStreams
from pydarknet.errors import DataError, ImageError, OptionError


class Numbers:
    """A set whose pictures tell their index and a random number; some of them cannot be read."""

    channels = 1

    def __init__(self, count=10, broken=(), seconds=0.0):
        self.count, self.broken, self.seconds, self.calls = count, broken, seconds, 0
        self.lock = threading.Lock()

    def __len__(self):
        return self.count

    def load(self, index, rng, width, height):
        with self.lock:
            self.calls += 1
        value = rng.random()
        if index in self.broken:
            raise ImageError(f"{index}.png: broken")
        time.sleep(self.seconds * value)
        return np.full((1, height, width), value, np.float32), np.array([index], np.float32)


def take(loader, count, size=(4, 3)):
    """(image values, indices) of so many mini-batches."""
    batches = [loader.next(*size) for _ in range(count)]
    return np.concatenate([x[:, 0, 0, 0] for x, _ in batches]), np.concatenate([np.ravel(t) for _, t in batches])


def run(count=4, size=(4, 3), data=None, **options):
    with DataLoader(data or Numbers(), 3, **{"seed": 5, **options}) as loader:
        return take(loader, count, size)


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_mini_batch():
    with DataLoader(Numbers(), 3, seed=5) as loader:
        images, truth = loader.next(8, 6)
        assert images.shape == (3, 1, 6, 8) and images.dtype == np.float32
        assert len(truth) == 3 and loader.position == 3 and loader.waited > 0


def test_threads_do_not_matter():
    results = [run(6, threads=threads, data=Numbers(seconds=0.003)) for threads in (1, 2, 5)]
    assert same(results[0], results[1]) and same(results[0], results[2])


def test_the_seed_matters():
    assert not same(run(), run(seed=6))
    assert same(run(seed=-1), run(seed=-1))


def test_a_run_goes_on_from_its_position():
    whole = run(6)
    with DataLoader(Numbers(), 3, seed=5) as loader:
        first = take(loader, 2)
        position = loader.position
    assert position == 6
    rest = run(4, position=position)
    assert same(whole, [np.concatenate(pair) for pair in zip(first, rest, strict=True)])


def test_a_change_of_size_changes_no_draw():
    with DataLoader(Numbers(), 3, seed=5) as loader:
        parts = [take(loader, 2, (4, 3)), take(loader, 2, (8, 8)), take(loader, 2, (4, 3))]
    assert same(run(6), [np.concatenate(part) for part in zip(*parts, strict=True)])


def test_sizes_that_are_known_ahead_lose_nothing():
    def size_at(position):
        return (4, 3) if position < 6 else (8, 8)

    data = Numbers()
    with DataLoader(data, 3, seed=5, size_at=size_at) as loader:
        for _ in range(5):
            width, height = size_at(loader.position)
            assert loader.next(width, height)[0].shape == (3, 1, height, width)
        ready = loader.position + AHEAD * 3
    assert data.calls <= ready


def test_a_mini_batch_that_changes_its_size():
    with DataLoader(Numbers(), 3, seed=5) as loader:
        first = take(loader, 1)
        loader.mini_batch = 9
        assert same(run(4), [np.concatenate(pair) for pair in zip(first, take(loader, 1), strict=True)])


def test_pictures_are_drawn_with_equal_chances():
    _, indices = run(700, data=Numbers(7))
    counts = np.bincount(indices.astype(int), minlength=7)
    assert len(counts) == 7 and np.abs(counts / 2100 - 1 / 7).max() < 0.03


def test_a_broken_picture_is_replaced_and_named_once(warnings):
    data = Numbers(4, broken=(2,))
    values, indices = run(20, data=data)
    assert 2 not in indices and same((values, indices), run(20, data=Numbers(4, broken=(2,)), threads=4))
    lines = [line for line in warnings() if "broken" in line]
    assert lines == ["2.png: broken; another picture is used instead"] * 2, "once a run"


def test_too_many_broken_pictures_end_the_run():
    with pytest.raises(DataError, match="pictures in a row cannot be read"):
        run(data=Numbers(3, broken=(0, 1, 2)))


@pytest.mark.parametrize("options", [{"mini_batch": 0}, {"threads": 0}, {"position": -1}])
def test_options_that_make_no_sense(options):
    with pytest.raises(OptionError):
        DataLoader(Numbers(), **{"mini_batch": 1, "seed": 0, **options})
    with pytest.raises(DataError):
        DataLoader(Numbers(0), 1, 0)


def test_close_ends_the_threads():
    before = threading.active_count()
    loader = DataLoader(Numbers(seconds=0.01), 3, seed=5, threads=3)
    loader.next(4, 3)
    loader.close()
    assert threading.active_count() == before


# --- texts ---


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
