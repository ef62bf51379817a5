"""Does the page of a run slow the run down? Iterations of `train --live` with four viewers beside those of `train`.

    python benchmarks/live_viewers.py                          # drawn toys, cfg/toys.cfg
    python benchmarks/live_viewers.py obj.data yolov4-tiny.cfg --iterations 100 --repeats 3

Both commands run as processes, one after another in turns. The clock and the processor time of a process are read when
it prints the line of iteration SKIPPED and that of the last one: everything between two iterations counts, as drawing,
writing and answering do. Viewers do what the page does in a browser: they read the stream of events and fetch each new
picture. The figures are medians over the repetitions.

Other programs on the machine disturb such differences by more than a hundredth. The first line is free of that: the
share that drawing and answering have of the processor time of one and the same process (`live_worker.py`).
"""

import argparse
import http.client
import json
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from serve_load import processor_seconds

ROOT = Path(__file__).parents[1]
WORKER = Path(__file__).with_name("live_worker.py")
VIEWERS = 4
SKIPPED = 20  # iterations, in which kernels are loaded and caches fill
ITERATION = re.compile(r"\s*(\d+): [\d.naif-]+, [\d.naif-]+ avg")
ADDRESS = re.compile(r"http://\S+")


class Cost(NamedTuple):
    """Milliseconds of an iteration: by the clock, and of all processors. Shares of the process's processor time."""

    clock: float
    processor: float
    drawing: float
    viewers: float


class Viewer(threading.Thread):
    """The page in a browser, without the browser."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._address = urlsplit(url).netloc
        self.events = self.pictures = 0

    def run(self) -> None:
        stream = self._get("/events")
        try:
            for line in stream:
                if line.startswith(b"event: "):
                    self.events += 1
                elif line.startswith(b'data: {"name"') and json.loads(line[6:])["batch"]:
                    self.pictures += bool(self._get("/live/batch.jpg").read())
        except (OSError, http.client.HTTPException):  # the run has ended
            return

    def _get(self, path: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(self._address, timeout=60)
        connection.request("GET", path)
        return connection.getresponse()


def train(data: str, cfg: str, folder: Path, iterations: int, live: bool) -> Cost:
    """Run it once."""
    command = [sys.executable, str(WORKER), "train", data, cfg, "--backup", str(folder), "--no-chart"]
    command += [f"--max-batches={iterations}", "--clear", *(["--live", "0"] if live else [])]
    viewers: list[Viewer] = []
    shares = [0.0, 0.0]

    def watch() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("live "):
                *parts, whole = (float(word) for word in line.split()[1:])
                shares[:] = (part / whole for part in parts)
            if live and not viewers and (found := ADDRESS.search(line)):
                viewers.extend(Viewer(found[0]) for _ in range(VIEWERS))
                for viewer in viewers:
                    viewer.start()

    marks = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        reader = threading.Thread(target=watch)
        reader.start()
        for line in process.stdout:
            if (found := ITERATION.match(line)) and int(found[1]) in (SKIPPED, iterations):
                marks.append((time.perf_counter(), processor_seconds(process.pid)))
        reader.join()
    if process.returncode or len(marks) != 2:
        sys.exit(f"{' '.join(command)}: ended with {process.returncode}, {len(marks)} of 2 lines seen")
    if live and not all(viewer.events and viewer.pictures for viewer in viewers):
        sys.exit(f"a viewer saw nothing: {[(viewer.events, viewer.pictures) for viewer in viewers]}")
    clock, processor = (1e3 * (end - start) / (iterations - SKIPPED) for start, end in zip(*marks, strict=True))
    return Cost(clock, processor, *shares)


def draw_toys(folder: Path) -> tuple[str, str]:
    """A data set of drawn toys and its network."""
    script = ROOT / "benchmarks/scenes/draw_scenes.py"
    subprocess.run([sys.executable, script, folder, "--train=200", "--valid=1"], check=True, stdout=subprocess.DEVNULL)
    data = folder / "toys.data"
    data.write_text(f"classes=10\ntrain={folder / 'train.list'}\nnames={ROOT / 'data/toys.names'}\n")
    return str(data), str(ROOT / "cfg/toys.cfg")


def main() -> None:
    parser = argparse.ArgumentParser(description="Iterations of train --live beside those of train.")
    parser.add_argument("network", nargs="*", metavar="DATA CFG")
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data, cfg = options.network or draw_toys(folder)
        costs: dict[bool, list[Cost]] = {False: [], True: []}
        for number in range(options.repeats):
            for live in (False, True) if number % 2 else (True, False):
                backup = folder / f"{number}-{live}"
                backup.mkdir()
                costs[live].append(train(data, cfg, backup, options.iterations, live))
    alone, watched = (Cost(*map(statistics.median, zip(*costs[live], strict=True))) for live in (False, True))
    print(f"of the processor time: drawing {watched.drawing:.2%}, {VIEWERS} viewers {watched.viewers:.2%}")
    for what, before, after in zip(("clock", "processor"), alone, watched, strict=False):
        print(
            f"{what}: {before:.1f} ms an iteration, with {VIEWERS} viewers {after:.1f} ms ({after / before - 1:+.1%})"
        )


if __name__ == "__main__":
    main()
