"""Fuzz pydarknet: damaged inputs of every kind, each read in a child process with bounds on time and memory.

    python tests/fuzz/run.py --minutes 10            all kinds in turn, until the time is over
    python tests/fuzz/run.py --kind voc --cases 10000 --seed 3

A case may succeed or raise DarknetError with a text of one line. Everything else is a finding: another exception, more
seconds of computing than the kind may, more than MEMORY bytes, the end of the process, a process that waits for ever.
A finding is kept as found/KIND-HASH, which `test_fuzz.py` reads again from then on. Case n of a kind follows from the
seed and n alone. Seconds are those that the processor gave to the case: other processes take none of them.
"""

import argparse
import contextlib
import functools
import hashlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]  # for `python tests/fuzz/run.py`

from fuzz.kinds import KINDS  # noqa: E402
from pydarknet.errors import DarknetError  # noqa: E402

FOUND = HERE / "found"
MEMORY = 6 << 30  # bytes of address space of a child: the libraries alone reserve about two
PATIENCE = 300  # seconds of a child besides those of a case, of computing or of doing nothing: it may have to compile
BLOCK = 2500  # cases of one child


class TooLongError(Exception):
    """A case took more seconds of computing than its kind may."""


def _ring(*_):
    raise TooLongError("too many seconds of computing")


@functools.cache
def _prepare(kind):
    with tempfile.TemporaryDirectory() as folder, _in(folder):
        KINDS[kind].prepare()


def examples(kind):
    """The good examples of a kind."""
    with tempfile.TemporaryDirectory() as folder, _in(folder):
        return KINDS[kind].seeds()


@contextlib.contextmanager
def _in(folder):
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def case(kind, seeds, seed, number):
    """The content of case `number`."""
    rng = np.random.default_rng([seed, number, zlib.crc32(kind.encode())])
    return KINDS[kind].mutate(seeds[int(rng.integers(len(seeds)))], rng)


def verdict(kind, content):
    """None for a case that ends as it may, else what happened, in a few lines. Runs in a new folder."""
    _prepare(kind)
    with tempfile.TemporaryDirectory() as folder, _in(folder):
        signal.signal(signal.SIGPROF, _ring)
        signal.setitimer(signal.ITIMER_PROF, KINDS[kind].seconds)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", RuntimeWarning)
                KINDS[kind].read(content)
        except DarknetError as error:
            return None if len(str(error).splitlines()) == 1 else f"a message of several lines: {error!s:.300}"
        except Exception:
            return traceback.format_exc()[-1500:]
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    return None


def _child(kind, seed, first, count):
    """Cases first to first + count; tells on standard output which one begins and what was found, one JSON a line, and
    on standard error which one took more than a quarter of its time."""
    out, terminal = os.fdopen(os.dup(1), "w"), os.fdopen(os.dup(2), "w", buffering=1)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    seeds = examples(kind)
    _prepare(kind)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in range(first, first + count):
        print(json.dumps([number, None]), file=out, flush=True)
        start = time.process_time()
        result = verdict(kind, case(kind, seeds, seed, number))
        if time.process_time() - start > KINDS[kind].seconds / 4:
            terminal.write(f"  {kind} {number} took {time.process_time() - start:.1f} s\n")
        if result:
            print(json.dumps([number, result]), file=out, flush=True)
    print(json.dumps([-1, None]), file=out, flush=True)


def speaks(child, seconds):
    """Wait for a line of a child. False: without one it has computed for so many seconds, or waited for as many.

    Seconds in which the child, or this process, is stopped do not count; a system without /proc counts all as waiting.
    """
    stat, ticks = Path(f"/proc/{child.pid}/stat"), os.sysconf("SC_CLK_TCK")
    first = last = None
    waited, step = 0, min(1.0, seconds / 3)
    while not select.select([child.stdout], [], [], step)[0]:
        state, computed = "S", 0
        if stat.exists():
            fields = stat.read_text().rpartition(")")[2].split()
            state, computed = fields[0], int(fields[11]) + int(fields[12])
        first = computed if first is None else first
        waited += step * (computed == last and state != "T")
        if max(waited, (computed - first) / ticks) > seconds:
            return False
        last = computed
    return True


def run_block(kind, seed, first, count, deadline):
    """(cases that ran, [(number, what happened)]) of `count` cases; a child that dies or hangs ends the block,
    as does the end of the time."""
    command = [sys.executable, str(HERE / "run.py"), "--child", kind, str(seed), str(first), str(count)]
    findings, last = [], first - 1
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        while True:
            ready = speaks(child, PATIENCE + KINDS[kind].seconds)
            line = child.stdout.readline() if ready else ""
            if not line:
                child.kill()
                what = "hung" if not ready else f"ended with {child.wait(60)}"
                return last - first + 1, [*findings, (max(last, first), f"the process {what}")]
            number, result = json.loads(line)
            if time.monotonic() >= deadline:
                child.kill()
                return last - first + 1, findings
            if number < 0:
                return count, findings
            last = number
            if result:
                findings.append((number, result))


def run(kind, cases, seed=0, deadline=float("inf"), first=0):
    """(cases run, [(content, what happened)]), until the cases are done or the time is over."""
    done, findings, seeds = 0, [], examples(kind)
    while done < cases and time.monotonic() < deadline:
        count, found = run_block(kind, seed, first + done, min(BLOCK, cases - done), deadline)
        findings += [(case(kind, seeds, seed, number), what) for number, what in found]
        done += max(count, 1)
    return done, findings


def keep(kind, content):
    """Write a finding to the folder of regressions; its path."""
    FOUND.mkdir(exist_ok=True)
    path = FOUND / f"{kind}-{hashlib.sha256(content).hexdigest()[:12]}"
    path.write_bytes(content)
    return path


def _report(kind, done, findings, seconds):
    print(f"{kind}: {done} cases, {len(findings)} findings, {seconds:.0f} s", flush=True)
    seen = set()
    for content, what in findings:
        last = what.strip().splitlines()[-1][:200]
        if last not in seen:
            seen.add(last)
            print(f"  {keep(kind, content).name}: {what if len(seen) <= 5 else last}", flush=True)


def main():
    if sys.argv[1:2] == ["--child"]:
        kind, *numbers = sys.argv[2:]
        return _child(kind, *map(int, numbers))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", action="append", choices=sorted(KINDS))
    parser.add_argument("--cases", type=int, help="of each kind; without it, and without --minutes, 500")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case, to go on where a run ended")
    options = parser.parse_args()
    deadline = time.monotonic() + 60 * options.minutes if options.minutes else float("inf")
    first, failed = options.first, False
    while True:
        for kind in options.kind or KINDS:
            start = time.monotonic()
            cases = options.cases or max(1, int(500 * KINDS[kind].share))
            done, findings = run(kind, cases, options.seed, deadline, first)
            _report(kind, done, findings, time.monotonic() - start)
            failed |= bool(findings)
        first += options.cases or 500
        if not options.minutes or options.cases or time.monotonic() >= deadline:
            return sys.exit(failed)


if __name__ == "__main__":
    main()
