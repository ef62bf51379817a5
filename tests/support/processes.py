"""The program as its users start it, and waiting that ends."""

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
