"""The tree drawn in the docstring is the tree of the classes."""

import inspect
import re

import pytest

from pydarknet import errors
from pydarknet.errors import DarknetError

CLASSES = {name: cls for name, cls in inspect.getmembers(errors, inspect.isclass) if cls.__module__ == errors.__name__}


def drawn_tree():
    """{class: its parent} of the lines that begin with the strokes of a tree."""
    parents, stack = {}, []
    for line in errors.__doc__.splitlines():
        found = re.match(r"    ([│ ├└─]*)(\w+Error) ", line)
        if found:
            depth = len(found[1]) // 4
            stack[depth:] = [found[2]]
            parents[found[2]] = stack[depth - 1] if depth else "Exception"
    return parents


def test_the_drawing_shows_every_class_below_its_parent():
    assert drawn_tree() == {name: cls.__base__.__name__ for name, cls in CLASSES.items()}


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_error_is_a_documented_darknet_error(name):
    assert issubclass(CLASSES[name], DarknetError)
    assert CLASSES[name].__doc__
    assert str(CLASSES[name]("one line")) == "one line"
