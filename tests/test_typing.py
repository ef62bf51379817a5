"""mypy, on a program that uses the Python API: types are what they should be, and wrong calls are found."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

CLIENT = Path(__file__).parent / "clients" / "typed_client.py"


@pytest.mark.slow
def test_a_typed_client():
    pytest.importorskip("mypy")
    cache = CLIENT.parents[2] / ".mypy_cache" / "client"
    words = ["--strict", "--follow-imports=silent", "--config-file=", f"--cache-dir={cache}", str(CLIENT)]
    environment = {"cwd": CLIENT.parents[2], "capture_output": True, "text": True}
    result = subprocess.run([sys.executable, "-m", "mypy", *words], **environment, timeout=300)
    lines = CLIENT.read_text().splitlines()
    expected = {number for number, line in enumerate(lines, start=1) if "EXPECT-ERROR" in line}
    errors = {int(number) for number in re.findall(r"typed_client\.py:(\d+): error", result.stdout)}
    assert errors == expected, result.stdout + result.stderr


def test_the_package_says_that_it_is_typed():
    assert (CLIENT.parents[2] / "pydarknet" / "py.typed").is_file()
