"""Every module of the package has its tests where one looks first, or a line in the table of tests/README.md."""

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "pydarknet"
MODULES = [
    path.relative_to(PACKAGE)
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.name not in ("__init__.py", "__main__.py", "version.py")
]
# Its last table: | `pattern of modules`, ... | `test file`, ... |
TABLE = [
    (re.findall(r"`([^`]+)`", line.split("|")[1]), re.findall(r"`([^`]+)`", line.split("|")[2]))
    for line in (TESTS / "README.md").read_text(encoding="utf-8").partition("| module | tests |")[2].splitlines()
    if line.startswith("| `")
]
MOST_EXCEPTIONS = 90  # modules


def has_own_test(module):
    """Whether a file of the same room is called test_<module>.py, or test_<module>_<aspect>.py."""
    folder = TESTS / module.parent
    return (folder / f"test_{module.stem}.py").is_file() or any(folder.glob(f"test_{module.stem}_*.py"))


def exceptions():
    """The modules without a test file of their name."""
    return [module for module in MODULES if not has_own_test(module)]


def test_a_module_finds_its_tests():
    for module in exceptions():
        listed = [tests for patterns, tests in TABLE if any(fnmatch(str(module), pattern) for pattern in patterns)]
        assert listed, f"write tests/{module.parent}/test_{module.name}, or add a line to the table of tests/README.md"


@pytest.mark.parametrize("patterns, tests", TABLE, ids=lambda names: " ".join(names))
def test_a_line_of_the_table_is_true(patterns, tests):
    assert tests
    assert [name for name in tests if not (TESTS / name).exists()] == []
    without = exceptions()
    assert [p for p in patterns if not any(fnmatch(str(module), p) for module in without)] == [], "needs no line"


def test_exceptions_stay_few():
    assert len(exceptions()) <= MOST_EXCEPTIONS
