"""Work done prefetched and behind: order, limits, errors."""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest

from pydarknet.utils.prefetch import BackgroundWriter, prefetch


def test_results_keep_the_order_of_the_items():
    def work(number):
        time.sleep(0.002 * (number % 3 == 0))
        return number * number

    assert list(prefetch(work, range(20), threads=4, count=6)) == [n * n for n in range(20)]
    assert list(prefetch(work, [])) == []


def test_no_more_than_count_results_wait():
    begun, largest, lock = [0], [0], threading.Lock()

    def work(number):
        with lock:
            begun[0] += 1
        return number

    for used, _ in enumerate(prefetch(work, iter(range(30)), threads=3, count=4)):
        time.sleep(0.001)
        largest[0] = max(largest[0], begun[0] - used)
    assert 1 < largest[0] <= 4 + 1  # the one in use and those that wait


def test_an_error_comes_in_its_turn_and_ends_the_threads():
    def work(number):
        if number == 2:
            raise ValueError("two")
        return number

    before, results = threading.active_count(), []
    with pytest.raises(ValueError, match="two"):
        for result in prefetch(work, range(100), threads=3, count=5):
            results.append(result)
    assert results == [0, 1]
    assert threading.active_count() == before


def test_an_error_of_the_items_comes_after_the_results_before_it():
    def items():
        yield from range(3)
        raise ValueError("three")

    before, results = threading.active_count(), []
    with pytest.raises(ValueError, match="three"):
        for result in prefetch(str, items(), threads=2, count=5):
            results.append(result)
    assert results == ["0", "1", "2"]
    assert threading.active_count() == before


def test_leaving_early_ends_the_threads():
    before = threading.active_count()
    results = prefetch(time.sleep, [0.001] * 50, threads=3, count=5)
    next(results)
    results.close()
    assert threading.active_count() == before


def test_work_behind_keeps_its_order_and_is_done_at_the_end():
    done: list[int] = []
    with BackgroundWriter() as behind:
        for number in range(20):
            behind.do(partial(done.append, number))
    assert done == list(range(20))


def test_no_more_than_count_works_wait_behind():
    gate, begun = threading.Event(), threading.Event()
    with BackgroundWriter(2) as behind:
        behind.do(gate.wait)
        behind.do(gate.wait)
        late = threading.Thread(target=lambda: (behind.do(begun.set), None))
        late.start()
        late.join(0.05)
        assert late.is_alive()
        gate.set()
        late.join()
    assert begun.is_set()


def test_what_work_behind_raises_comes_to_the_caller():
    def fail():
        raise ValueError("behind")

    with pytest.raises(ValueError, match="behind"), BackgroundWriter() as behind:
        behind.do(fail)
    with pytest.raises(ValueError, match="behind"), BackgroundWriter(1) as behind:
        behind.do(fail)
        for _ in range(2):
            behind.do(lambda: None)
