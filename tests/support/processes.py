"""The program as its users start it, and waiting that ends."""

import json
import os
import subprocess
import sys
import time

PYDARKNET = [sys.executable, "-m", "pydarknet"]


def process(*words, **options):
    """The completed process of a command, with its text. options: those of `subprocess.run`."""
    return subprocess.run([*PYDARKNET, *map(str, words)], capture_output=True, text=True, timeout=600, **options)


def start(*words, **options):
    """The process of a command, whose text is read from pipes. options: those of `subprocess.Popen`."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*PYDARKNET, *map(str, words)], **pipes | options)


def environment(**changes):
    """That of this process without Numba's settings, with some changes."""
    return {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")} | changes


def told_by(program, **options):
    """What a Python program prints, as JSON, and its standard error. options: those of `subprocess.run`."""
    given = {"env": environment(), "timeout": 600} | options
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, **given)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout), result.stderr


def wait_until(condition, seconds=60):
    """Ask again and again; the test fails where the condition does not become true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so after {seconds} seconds"
        time.sleep(0.01)


def read_to(stream, start):
    """The first line that begins with `start`; the test fails where the stream ends before."""
    line = next((line for line in stream if line.startswith(start)), None)
    assert line is not None, f"the stream ended without a line that begins with {start!r}"
    return line
