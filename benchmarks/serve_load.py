"""Many clients of `pydarknet serve`: pictures a second beside the engine's own rate, and every answer compared.

    python benchmarks/serve_load.py                                  # the toys: 10,000 requests of 1, 8 and 64 clients
    python benchmarks/serve_load.py yolov3-tiny --requests 2000      # random weights, the bundled picture
    python benchmarks/serve_load.py yolov4-tiny.cfg yolov4-tiny.weights photos/

The engine's own rate is what a program without a service would reach: that of `Model.detect` over the bytes of the same
files. It reads ahead, except beside a single client, which sends a picture when the last one is answered: there
`Model.detect` gets one picture after another. The engine, in a process of its own, and the service take turns; the
rates are medians.

Service and load share the machine, so the load is cheap: one process, one thread, raw sockets, requests made before the
clock starts; answers are kept, and compared with those of `Model.detect` after it has stopped. All of the JSON is
compared but the time of the pass. Processor time is stated as well: other programs disturb it less.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import cycle
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from networks import find_cfg, random_network

import pydarknet

ROOT = Path(__file__).parents[1]
TOYS = [str(ROOT / "cfg/toys.cfg"), str(ROOT / "data/toys.weights")]
SAMPLE = ROOT / "data/sample.jpg"
THRESH = 0.3
OBJECTS = 10  # a picture, which random weights are to find
SECONDS = re.compile(rb'"seconds":[^,}]*')
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Case(NamedTuple):
    """What is asked: a network, pictures as bytes, a threshold."""

    cfg: str
    weights: str
    contents: list[bytes]
    thresh: float


# --- the engine alone ---


class Rate(NamedTuple):
    """Pictures a second, and milliseconds of processors for each."""

    pictures: float
    processor: float

    @classmethod
    def median(cls, rates: list[Rate]) -> Rate:
        """The median of both numbers."""
        return cls(*(statistics.median(values) for values in zip(*rates, strict=True)))


def own_rate(case: Case, seconds: float, ahead: bool) -> Rate:
    """That of `Model.detect`, in a process of its own. ahead: it reads the next pictures while it computes one."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_own_rate, (case, seconds, ahead))


def _own_rate(case: Case, seconds: float, ahead: bool) -> Rate:
    model, contents = pydarknet.load(case.cfg, case.weights), cycle(case.contents)
    each = (model.detect(content, case.thresh) for content in contents)
    results = model.detect(contents, case.thresh, batch=1) if ahead else each
    for _ in range(10):
        next(results)
    start, processor, number = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - start < seconds:
        next(results)
        number += 1
    elapsed, processor = time.perf_counter() - start, time.process_time() - processor
    return Rate(number / elapsed, 1e3 * processor / number)


def processor_seconds(process: int) -> float:
    """What a process has used of all processors until now."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def answers_of(case: Case) -> list[bytes]:
    """What the service is to answer, without the time."""
    model = pydarknet.load(case.cfg, case.weights)
    return [comparable(model.detect(each, case.thresh).to_json().encode()) for each in case.contents]


def comparable(answer: bytes) -> bytes:
    """An answer without what differs from run to run."""
    return SECONDS.sub(b"", answer)


def thresh_for(model: pydarknet.Model, contents: list[bytes]) -> float:
    """A threshold above which random weights find about OBJECTS a picture: thousands would be no one's use."""
    low, high = 0.0, 1.0
    for _ in range(20):
        thresh = round((low + high) / 2, 6)
        found = sum(len(model.detect(each, thresh)) for each in contents) / len(contents)
        low, high = (thresh, high) if found > OBJECTS else (low, thresh)
        if OBJECTS / 2 <= found <= OBJECTS:
            break
    return thresh


# --- the load ---


class Client:
    """A connection that sends one request after another; it never blocks."""

    def __init__(self, port: int, selector: selectors.BaseSelector) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self._selector = selector
        selector.register(self.socket, selectors.EVENT_READ, self)

    def close(self) -> None:
        """The service would end the connection after some seconds without a request."""
        self._selector.unregister(self.socket)
        self.socket.close()

    def send(self, number: int, request: bytes) -> None:
        """Begin a request."""
        self.number, self._unsent, self._answer = number, memoryview(request), bytearray()
        self._expected = 0  # bytes of the answer, once its headers are there
        self.start = time.perf_counter()
        self._write()

    def _write(self) -> None:
        sent = self.socket.send(self._unsent)
        self._unsent = self._unsent[sent:]
        if self._unsent:
            self._selector.modify(self.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, self)

    def ready(self, events: int) -> bytes | None:
        """Go on; the answer with its headers when it is complete. Raises ConnectionError where the service hung up."""
        if events & selectors.EVENT_WRITE:
            self._unsent = self._unsent[self.socket.send(self._unsent) :]
            if not self._unsent:
                self._selector.modify(self.socket, selectors.EVENT_READ, self)
        if not events & selectors.EVENT_READ:
            return None
        received = self.socket.recv(1 << 18)
        if not received:
            raise ConnectionError(f"the service closed the connection after {len(self._answer)} bytes of an answer")
        self._answer += received
        if not self._expected and (end := self._answer.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(self._answer, 0, end)
            assert length is not None, bytes(self._answer[:end])
            self._expected = end + 4 + int(length[1])
        return bytes(self._answer) if self._expected and len(self._answer) >= self._expected else None


class Load:
    """`clients` connections that send `count` requests in all."""

    def __init__(self, port: int, case: Case, clients: int, count: int, token: str = "") -> None:
        head = f"POST /v1/detect?thresh={case.thresh} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        requests = [f"{head}Content-Length: {len(each)}\r\n\r\n".encode() + each for each in case.contents]
        selector = selectors.DefaultSelector()
        connections = [Client(port, selector) for _ in range(min(clients, count))]
        self.answers: list[bytes] = [b""] * count
        self.seconds = [0.0] * count
        sent = done = 0
        start, processor = time.perf_counter(), time.process_time()
        for each in connections:
            each.send(sent, requests[sent % len(requests)])
            sent += 1
        while done < count:
            for key, events in selector.select():
                client: Client = key.data
                if (answer := client.ready(events)) is None:
                    continue
                self.answers[client.number] = answer
                self.seconds[client.number] = time.perf_counter() - client.start
                done += 1
                if sent < count:
                    client.send(sent, requests[sent % len(requests)])
                    sent += 1
                else:
                    client.close()
        elapsed = time.perf_counter() - start
        self.rate = count / elapsed
        self.processor = 1e3 * (time.process_time() - processor) / count

    def compare(self, expected: list[bytes]) -> tuple[int, Counter[int]]:
        """How many answers of status 200 are wrong, and how many there are of each other status."""
        wrong, others = 0, Counter[int]()
        for number, answer in enumerate(self.answers):
            head, _, body = answer.partition(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            others[status] += status != 200
            wrong += status == 200 and comparable(body) != expected[number % len(expected)]
        return wrong, +others


def percentile(ordered: list[float], percent: float) -> float:
    """The number that so many of a hundred are at most."""
    return ordered[int(percent / 100 * (len(ordered) - 1))]


# --- both ---


def choose(words: list[str], folder: Path) -> Case:
    """The case of the command line: CFG WEIGHTS [IMAGE...], or the name of a network, which gets random weights."""
    first, *rest = words or TOYS
    named = not rest or not rest[0].endswith(".weights")
    images = [Path(word) for word in (rest if named else rest[1:])] or [SAMPLE]
    paths = [each for path in images for each in (sorted(path.glob("*.jpg")) if path.is_dir() else [path])]
    contents = [path.read_bytes() for path in paths]
    if not named:
        return Case(first, rest[0], contents, THRESH)
    cfg = find_cfg(first)
    if cfg is None:
        sys.exit(f"{first}: no such network")
    model = random_network(cfg)
    model.save_weights(folder / "random.weights")
    return Case(str(cfg), str(folder / "random.weights"), contents, thresh_for(model, contents))


class Service:
    """`pydarknet serve` as a process, which listens when the block begins. options: those of the command."""

    def __init__(self, case: Case, options: list[str]) -> None:
        command = [sys.executable, "-m", "pydarknet", "serve", case.cfg, case.weights, "--port=0", *options]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        url = next(found[0] for line in self._process.stderr if (found := re.search(r"http://\S+", line)))
        self.pid, self.port = self._process.pid, urlsplit(url).port or 0

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()


def measure(case: Case, options: argparse.Namespace) -> None:
    """A line for each number of clients."""
    expected = answers_of(case)
    with Service(case, options.serve.split()) as service:
        for clients in map(int, options.clients.split(",")):
            owns, rates, loads = [], [], []
            for part in range(options.rounds):
                count = options.requests * (part + 1) // options.rounds - options.requests * part // options.rounds
                owns.append(own_rate(case, options.seconds, clients > 1))
                before = processor_seconds(service.pid)
                loads.append(Load(service.port, case, clients, count))
                processor = 1e3 * (processor_seconds(service.pid) - before) / count
                rates.append(Rate(loads[-1].rate, processor))
            engine, rate = Rate.median(owns), Rate.median(rates)
            compared = [load.compare(expected) for load in loads]
            seconds = sorted(each for load in loads for each in load.seconds)
            print(
                f"{clients} clients: {rate.pictures:.1f} pictures/s, engine {engine.pictures:.1f} "
                f"({rate.pictures / engine.pictures:.2f}), p99 {1e3 * percentile(seconds, 99):.0f} ms, "
                f"{sum(wrong for wrong, _ in compared)} wrong and {sum(others.total() for _, others in compared)} "
                f"refused of {len(seconds)}; processor ms a picture: {rate.processor:.1f}, "
                f"engine {engine.processor:.1f}, load {statistics.median(load.processor for load in loads):.1f}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description="Load on pydarknet serve.")
    parser.add_argument("network", nargs="*", metavar="CFG WEIGHTS [IMAGE...]", help="or NAME [IMAGE...]")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", default="1,8,64")
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement of the engine")
    parser.add_argument("--rounds", type=int, default=5, help="of the engine alone, then the service")
    parser.add_argument("--serve", default="", help="options of serve, such as '--batch 4'")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(choose(options.network, Path(folder)), options)


if __name__ == "__main__":
    main()
