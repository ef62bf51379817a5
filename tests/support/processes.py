"""The program as its users start it."""

import subprocess
import sys


def process(*words):
    """The completed process of a command, with its text."""
    return subprocess.run([sys.executable, "-m", "pydarknet", *words], capture_output=True, text=True, timeout=600)
