"""Ctrl-C that waits."""

import signal
import threading

import pytest

from pydarknet.utils.interrupts import interrupts_held

pytestmark = pytest.mark.skipif(not hasattr(signal, "raise_signal"), reason="needs signals")


@pytest.fixture(autouse=True)
def interrupts_raise():
    """Whoever starts the tests in the background may have had Ctrl-C ignored."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


def strike():
    signal.raise_signal(signal.SIGINT)


def test_one_waits_for_the_end_of_the_block():
    before, seen = signal.getsignal(signal.SIGINT), []
    with pytest.raises(KeyboardInterrupt), interrupts_held(lambda: seen.append("told")):
        strike()
        seen.append("end")
    assert seen == ["told", "end"]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_one_ends_the_block():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interrupts_held(lambda: None):
        strike()
        strike()
        pytest.fail("not ended")
    assert signal.getsignal(signal.SIGINT) is before


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


def test_other_threads_hold_nothing():
    seen = []

    def work():
        with interrupts_held(lambda: None):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]


def test_an_error_of_the_block_goes_before():
    with pytest.raises(ValueError, match="own"), interrupts_held(lambda: None):
        strike()
        raise ValueError("own")
