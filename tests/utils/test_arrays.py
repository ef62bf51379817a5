"""What is too large for the machine is refused."""

import pytest

from pydarknet.errors import ShapeError
from pydarknet.utils import arrays
from pydarknet.utils.arrays import check_memory


def test_what_the_machine_cannot_hold_is_an_error(monkeypatch):
    monkeypatch.setattr(arrays, "machine_memory", lambda: 3 << 30)
    check_memory(3 << 30, "something")
    with pytest.raises(ShapeError, match=r"something need 4\.0 GiB; this machine has 3\.0 GiB"):
        check_memory(4 << 30, "something")


def test_a_system_that_does_not_tell_its_memory_refuses_nothing(monkeypatch):
    monkeypatch.delattr(arrays.os, "sysconf")
    check_memory(1 << 60, "something")
