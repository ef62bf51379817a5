"""Work done prefetched and behind: order, limits, errors. Ctrl-C that waits."""

import signal
import threading
import time
from functools import partial

import pytest

from pydarknet.utils.prefetch import BackgroundWriter, interrupts_held, prefetch


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


@pytest.mark.parametrize(("caller", "worker", "threads"), [(0.004, 0.001, {1}), (0, 0.004, {3})])
def test_there_are_more_threads_where_the_caller_waits(caller, worker, threads):
    def work(number):
        time.sleep(worker)
        return threading.get_ident()

    seen = set()
    for thread in prefetch(work, range(60), threads=3, count=6):
        seen.add(thread)
        time.sleep(caller)
    assert {len(seen)} == threads


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
        late.join(60)
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


# --- Ctrl-C that waits ---

needs_signals = pytest.mark.skipif(not hasattr(signal, "raise_signal"), reason="needs signals")


@pytest.fixture
def interrupts_raise():
    """Whoever starts the tests in the background may have had Ctrl-C ignored."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


def strike():
    signal.raise_signal(signal.SIGINT)


@needs_signals
@pytest.mark.usefixtures("interrupts_raise")
def test_one_waits_for_the_end_of_the_block():
    before, seen = signal.getsignal(signal.SIGINT), []
    with pytest.raises(KeyboardInterrupt), interrupts_held(lambda: seen.append("told")):
        strike()
        seen.append("end")
    assert seen == ["told", "end"]
    assert signal.getsignal(signal.SIGINT) is before


@needs_signals
@pytest.mark.usefixtures("interrupts_raise")
def test_a_second_one_ends_the_block():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interrupts_held(lambda: None):
        strike()
        strike()
        pytest.fail("not ended")
    assert signal.getsignal(signal.SIGINT) is before


@needs_signals
@pytest.mark.usefixtures("interrupts_raise")
def test_a_handler_of_the_program_is_called_at_once_and_may_leave_another():
    seen = []

    def handler(number, frame):
        seen.append("handler")
        signal.signal(signal.SIGINT, signal.default_int_handler)

    former = signal.signal(signal.SIGINT, handler)
    try:
        with interrupts_held(lambda: seen.append("told")):
            strike()
            seen.append("end")
        assert seen == ["handler", "end"]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, former)


@needs_signals
@pytest.mark.usefixtures("interrupts_raise")
def test_other_threads_hold_nothing():
    seen = []

    def work():
        with interrupts_held(lambda: None):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert seen == [signal.getsignal(signal.SIGINT)]


@needs_signals
@pytest.mark.usefixtures("interrupts_raise")
def test_an_error_of_the_block_goes_before():
    with pytest.raises(ValueError, match="own"), interrupts_held(lambda: None):
        strike()
        raise ValueError("own")
