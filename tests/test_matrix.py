"""What `make matrix` and the public CI install is what pyproject.toml promises."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
LOWER = dict(re.findall(r'^    "(numpy|numba|opencv-python|click)>=([\d.]+)"', PROJECT, re.M))


def matrix():
    spec = importlib.util.spec_from_file_location("matrix", ROOT / ".ci" / "matrix.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def numbers(version):
    return tuple(map(int, version.split(".")))


def test_the_oldest_versions_are_the_lower_bounds():
    assert len(LOWER) == 4
    oldest = [dict(requirement.split("==") for requirement in each) for each in matrix().OLDEST.values()]
    for name, bound in LOWER.items():
        length = len(numbers(bound))
        assert min(numbers(each[name])[:length] for each in oldest) == numbers(bound), name


def test_every_python_of_the_classifiers_is_tested():
    pythons = tuple(re.findall(r"Python :: (3\.\d+)", PROJECT))
    assert pythons == matrix().PYTHONS == tuple(matrix().OLDEST)
    workflow = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    assert f"python: [{', '.join(f'{chr(34)}{each}{chr(34)}' for each in pythons)}]" in workflow
    assert f"versions: [{', '.join(matrix().VERSIONS)}]" in workflow


@pytest.mark.slow
def test_this_python_is_found():
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert here not in matrix().PYTHONS or matrix().interpreters()[here] == sys.executable
