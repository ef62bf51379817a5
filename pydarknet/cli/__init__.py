"""The command line. Only here is click imported; NumPy, Numba and OpenCV wait until a command runs."""

from .app import main

__all__ = ["main"]
