"""Many clients of `pydarknet serve`: pictures a second beside the engine's own rate, and every answer compared.

    python benchmarks/serve_load.py                               # the toys, 10,000 requests of 1, 8 and 64 clients
    python benchmarks/serve_load.py yolov4-tiny.cfg yolov4-tiny.weights photos/ --requests 2000

The service runs as a process of its own. The engine's own rate is that of `Model.detect` over the same files, in this
process, reading ahead. Objects must equal those of `Model.detect` to the last digit of their JSON.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import subprocess
import sys
import threading
import time
from itertools import count, cycle
from pathlib import Path
from urllib.parse import urlsplit

import pydarknet

ROOT = Path(__file__).parents[1]
TOYS = [str(ROOT / "cfg/toys.cfg"), str(ROOT / "data/toys.weights"), str(ROOT / "data/sample.jpg")]
THRESH = 0.3


def objects_of(answer: str | bytes) -> list[object]:
    """What must be equal: all but the time and the name."""
    return json.loads(answer)["objects"]


def own_rate(model: pydarknet.Model, paths: list[Path], seconds: float) -> float:
    """Pictures a second of `Model.detect`."""
    start, number = time.perf_counter(), 0
    for _ in model.detect(cycle(paths), THRESH, batch=1):
        number += 1
        if time.perf_counter() - start > seconds:
            break
    return number / (time.perf_counter() - start)


class Load:
    """`clients` connections that send `requests` pictures in all."""

    def __init__(self, port: int, contents: list[bytes], expected: list[list[object]], clients: int, requests: int):
        self._port, self._contents, self._expected, self._requests = port, contents, expected, requests
        self._numbers, self._lock = count(), threading.Lock()
        self.seconds: list[float] = []
        self.wrong = self.refused = 0
        threads = [threading.Thread(target=self._client) for _ in range(clients)]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.rate = len(self.seconds) / (time.perf_counter() - start)

    def _client(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        while (number := next(self._numbers)) < self._requests:
            which = number % len(self._contents)
            start = time.perf_counter()
            connection.request("POST", f"/v1/detect?thresh={THRESH}", self._contents[which])
            response = connection.getresponse()
            body = response.read()
            with self._lock:
                self.refused += response.status != 200
                self.wrong += response.status == 200 and objects_of(body) != self._expected[which]
                self.seconds.append(time.perf_counter() - start)

    @property
    def p99(self) -> float:
        """Milliseconds that 99 of 100 requests took at most."""
        return 1e3 * sorted(self.seconds)[int(0.99 * (len(self.seconds) - 1))]


def main() -> None:
    parser = argparse.ArgumentParser(description="Load on pydarknet serve.")
    parser.add_argument("network", nargs="*", default=TOYS, metavar="CFG WEIGHTS IMAGE...")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", default="1,8,64")
    parser.add_argument("--batch", default="1", help="of serve")
    options = parser.parse_args()
    cfg, weights, *images = options.network
    paths = [each for path in map(Path, images) for each in (sorted(path.glob("*.jpg")) if path.is_dir() else [path])]
    model = pydarknet.load(cfg, weights)
    expected = [objects_of(model.detect(path, THRESH).to_json()) for path in paths]
    command = [sys.executable, "-m", "pydarknet", "serve", cfg, weights, "--port=0", f"--batch={options.batch}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        url = next(found[0] for line in process.stderr if (found := re.search(r"http://\S+", line)))
        port = urlsplit(url).port
        assert port is not None
        for clients in map(int, options.clients.split(",")):
            own = own_rate(model, paths, 3)
            load = Load(port, [path.read_bytes() for path in paths], expected, clients, options.requests)
            print(
                f"{clients} clients: {load.rate:.1f} pictures/s, engine {own:.1f} ({load.rate / own:.2f}), "
                f"p99 {load.p99:.0f} ms, {load.wrong} wrong and {load.refused} refused of {len(load.seconds)}",
                flush=True,
            )
        process.terminate()


if __name__ == "__main__":
    main()
