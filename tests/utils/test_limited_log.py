"""Warnings of one kind: the first are logged, all are counted."""

from __future__ import annotations

from pydarknet.utils.limited_log import SHOWN, LimitedLog


def test_few_warnings_are_all_logged(warnings):
    log = LimitedLog()
    for number in range(SHOWN):
        log.add(f"label {number} is 100% wrong")
    assert warnings() == [f"label {number} is 100% wrong" for number in range(SHOWN)]


def test_many_are_counted_and_the_rest_is_one_line(warnings):
    log = LimitedLog()
    for number in range(3 * SHOWN):
        log.add(str(number))
    assert log.count == 3 * SHOWN
    assert warnings()[SHOWN - 1 :] == [
        str(SHOWN - 1),
        f"there are more warnings like these; only the first {SHOWN} are shown",
    ]
