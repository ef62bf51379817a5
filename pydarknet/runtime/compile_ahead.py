"""Several processes compile the kernels of a network: this one as it meets them, helpers ahead of it. The first
one that asks for a kernel compiles it; others wait for its file, or compile something else.

A network says what it is about to run (`will_run`). The first kernel that is not in the cache starts helpers,
once for a work (`kernel_is_missing`). A helper prints the names of the files that the work lacks, and compiles
those that nobody has claimed. Where a helper has claimed what this process needs, it compiles what nobody has
claimed, and waits when there is nothing left.

A claim is a lock on a small file beside the kernel's cache file. The system releases it when its process ends.
"""

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

try:
    import fcntl
except ImportError:  # Windows: every process compiles for itself
    fcntl = None  # type: ignore[assignment]

VARIABLE = "PYDARKNET_COMPILE_PROCESSES"
MOST = 8  # processes by default: a network has few kernels that take long
WORKER = "pydarknet.cli.compile_worker"
LONGEST = 300.0  # seconds to wait for another process; no kernel takes so long
PAUSE = 0.02


class Work(NamedTuple):
    """What a network is about to run: enough to build it again in another process, without its weights."""

    cfg: str
    dialect: str
    width: int  # pixels
    height: int
    batch: int
    precision: str
    train: bool


class Missing(NamedTuple):
    """A kernel that the work needs, and that has to be compiled."""

    file: Path  # of the cache
    cost: float  # its share of the time
    kernel: bytes  # a pickle for `jit.py`: its module, its name, and the types of its arguments


class Progress(NamedTuple):
    """Kernels that are compiled, those that the work needs (0: not known yet), and seconds left (0: not known)."""

    done: int
    total: int
    seconds: float


class _Ahead:
    """The helpers of one work, and which files they are to make."""

    def __init__(self, work: Work, helpers: int) -> None:
        self.start = time.monotonic()
        self.missing: dict[Path, Missing] = {}
        self.open: list[Missing] = []  # those that this process has not looked at, the shortest first
        self.processes = helpers + 1
        import subprocess  # processes that compile nothing do not wait for it

        command = [sys.executable, "-m", WORKER, json.dumps(work)]
        for _ in range(helpers):
            helper = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            threading.Thread(target=self._listen, args=(helper,), daemon=True).start()

    def _listen(self, helper: Any) -> None:
        """Read what the helper has found missing, and wait for its end. Every helper finds the same."""
        try:
            for line in helper.stdout:
                found = [Missing(Path(file), cost, bytes.fromhex(kernel)) for file, cost, kernel in json.loads(line)]
                if not self.missing:
                    self.missing = {each.file: each for each in found}
                    self.open = sorted(found, key=lambda each: each.cost)
        except ValueError:  # no answer of ours
            pass
        helper.wait()


_lock = threading.Lock()
_work: Work | None = None
_ahead: _Ahead | None = None
_begun: set[Work] = set()
never_waits = False  # whether a kernel that another process compiles is left to it: in helpers


def will_run(work: Work) -> None:
    global _work
    _work = work


def kernel_is_missing() -> None:
    """Called where a kernel is about to be compiled: starts the helpers for the work that was announced, once."""
    global _ahead
    work = _work
    with _lock:
        if work is None or work in _begun or never_waits:
            return
        _begun.add(work)
        helpers = processes() - 1
        if helpers < 1 or getattr(sys, "frozen", False) or not sys.executable or not Path(work.cfg).is_file():
            return
        with contextlib.suppress(OSError):  # no more processes, no memory: this one compiles alone
            _ahead = _Ahead(work, helpers)


def next_missing() -> Missing | None:
    """A kernel for a process that waits to compile: the longest one that is not there and was not given before."""
    ahead = _ahead
    while ahead is not None and ahead.open:
        found = ahead.open.pop()
        if not found.file.exists():
            return found
    return None


def progress() -> Progress | None:
    """How far the helpers' work is, where kernels under way count half; None where there are no helpers."""
    ahead = _ahead
    if ahead is None:
        return None
    missing = ahead.missing.values()
    done = [each.cost for each in missing if each.file.exists()]
    rest = sorted((each.cost for each in missing if not each.file.exists()), reverse=True)
    work = sum(done) + sum(rest[: ahead.processes]) / 2
    seconds = (time.monotonic() - ahead.start) * (sum(done) + sum(rest) - work) / work if done else 0.0
    return Progress(len(done), len(missing), seconds)


def processes() -> int:
    """How many processes compile at a time: $PYDARKNET_COMPILE_PROCESSES, else one for each processor, MOST at most."""
    try:
        return max(1, int(os.environ[VARIABLE]))
    except (KeyError, ValueError):
        return min(MOST, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


# --- claims -----------------------------------------------------------------------------------------------------------

_held: dict[Path, int] = {}  # open files


def claim(file: Path) -> bool:
    """Claim the kernel of a cache file. False: another process has it. Where locks do not work, everybody may
    compile.

    A process may claim a kernel again that it holds, so that a compilation that was interrupted can be begun
    anew.
    """
    if fcntl is None or file in _held:
        return True
    try:
        descriptor = os.open(_lock_of(file), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        return not isinstance(error, BlockingIOError)
    _held[file] = descriptor
    return True


def wait(file: Path, meanwhile: Callable[[], bool] = lambda: False) -> None:
    """Wait until the process that has the claim has released it, LONGEST at most, and claim the kernel.

    meanwhile: does some other work; False if there was none.
    """
    end = time.monotonic() + LONGEST
    while not claim(file) and time.monotonic() < end:
        if not meanwhile():
            time.sleep(PAUSE)


def release(file: Path) -> None:
    """Give a claim back, if this process has it. The kernel's file is there by now, or will not be."""
    descriptor = _held.pop(file, None)
    if descriptor is None:
        return
    # Who has opened the old file meanwhile may claim it beside who makes a new one: then both look for the kernel's
    # file again, and at worst both compile.
    with contextlib.suppress(OSError):
        _lock_of(file).unlink(missing_ok=True)
    os.close(descriptor)


def _lock_of(file: Path) -> Path:
    return file.with_name(file.name + ".claim")
