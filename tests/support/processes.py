"""The program as its users start it, and waiting that ends."""

import subprocess
import sys
import time


def process(*words):
    """The completed process of a command, with its text."""
    return subprocess.run([sys.executable, "-m", "pydarknet", *words], capture_output=True, text=True, timeout=600)


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
