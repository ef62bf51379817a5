"""Rude clients of `pydarknet serve` beside eight that behave: what each gets, and how much memory the service takes.

    python benchmarks/serve_rude.py                               # the toys
    python benchmarks/serve_rude.py yolov4-tiny.cfg yolov4-tiny.weights

Some clients hang up in the middle of a picture or before its answer, some ask and never read, some send a byte now and
then, some 100 MB with a length or without one, some files that claim 400 megapixels, some pictures of 49 megapixels,
some the wrong token.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import select
import socket
import struct
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from serve_load import Case, Load, Service, answers_of, choose, percentile

TOKEN = "word"


def request(length: int | None, token: str = TOKEN) -> bytes:
    """The head of a request; length None: a body in chunks."""
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return f"POST /v1/detect HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{size}\r\n\r\n".encode()


def png(side: int) -> bytes:
    """A PNG file of one colour, `side` pixels wide and high."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer, rows = zlib.compressobj(1), io.BytesIO()
    for _ in range(side):
        rows.write(packer.compress(bytes(1 + side)))
    rows.write(packer.flush())
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", rows.getvalue()), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def ask(port: int, head: bytes, body: bytes = b"", repeat: int = 1, pause: float = 0.0) -> str:
    """The status of the answer to a body that is sent `repeat` times, or what happened instead."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        try:
            connection.sendall(head)
            for _ in range(repeat):
                if select.select([connection], [], [], pause)[0]:  # it has been answered
                    break
                connection.sendall(body)
            return connection.recv(1 << 16).partition(b" ")[2][:3].decode() or "closed"
        except ConnectionError:
            return "closed"


def hang_up(port: int, content: bytes, share: float) -> str:
    """Send a part of a picture and go."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request(len(content)) + content[: int(share * len(content))])
    return "gone"


def never_read(port: int, content: bytes) -> str:
    """Send as many requests as the service takes without an answer being read, for two seconds."""
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        with contextlib.suppress(TimeoutError):
            for _ in range(1000):
                connection.sendall(request(len(content)) + content)
        time.sleep(2)
    return "gone"


def kinds(port: int, content: bytes) -> dict[str, Callable[[], str]]:
    """What rude clients do again and again."""
    megabyte = bytes(1 << 20)
    claims, large = png(20_000), png(7_000)
    piece = b"%x\r\n" % len(megabyte) + megabyte + b"\r\n"
    return {
        "hang up in a picture": lambda: hang_up(port, content, 0.5),
        "hang up before the answer": lambda: hang_up(port, content, 1),
        "ask and never read": lambda: never_read(port, content),
        "100 MB": lambda: ask(port, request(100 << 20), megabyte, 100),
        "100 MB in chunks": lambda: ask(port, request(None), piece, 100),
        "400 megapixels": lambda: ask(port, request(len(claims)), claims),
        "49 megapixels": lambda: ask(port, request(len(large)), large),
        "wrong token": lambda: ask(port, request(len(content), "other"), content),
        "no picture": lambda: ask(port, request(9), b"something"),
    }


class Rude:
    """A thread for each kind of rude client, from the beginning to the end of a block; `slow` for the slow ones."""

    def __init__(self, port: int, content: bytes, slow: int) -> None:
        self.answers: dict[str, Counter[str]] = {}
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._go_on, args=each) for each in kinds(port, content).items()]
        trickle = ("a byte now and then", lambda: ask(port, request(1000), b"a", 1000, 0.5))
        self._threads += [threading.Thread(target=self._once, args=trickle) for _ in range(slow)]

    def _once(self, name: str, call: Callable[[], str]) -> None:
        status = "no connection"
        with contextlib.suppress(OSError):
            status = call()
        self.answers.setdefault(name, Counter())[status] += 1

    def _go_on(self, name: str, call: Callable[[], str]) -> None:
        while not self._ended.is_set():
            self._once(name, call)
            time.sleep(0.05)

    def __enter__(self) -> Rude:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()


def most_memory(process: int) -> int:
    """MiB that a process has had at most."""
    found = re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{process}/status").read_text())
    assert found is not None
    return int(found[1]) // 1024


def measure(case: Case, requests: int, slow: int) -> None:
    """Eight clients alone, then beside rude ones."""
    expected = answers_of(case)
    with Service(case, ["--token", TOKEN]) as service:
        for what in ("alone", "beside rude clients"):
            rude = Rude(service.port, case.contents[0], slow) if what != "alone" else None
            with rude or contextlib.nullcontext():
                load = Load(service.port, case, 8, requests, TOKEN)
            wrong, others = load.compare(expected)
            slowest = 1e3 * percentile(sorted(load.seconds), 99)
            print(
                f"8 clients {what}: {load.rate:.1f} pictures/s, p99 {slowest:.0f} ms, {wrong} wrong and "
                f"{others.total()} refused of {requests}; most memory {most_memory(service.pid)} MiB",
                flush=True,
            )
            for name, answers in rude.answers.items() if rude else ():
                print(f"  {name}: {', '.join(f'{count} x {status}' for status, count in answers.most_common())}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Rude clients of pydarknet serve.")
    parser.add_argument("network", nargs="*", metavar="CFG WEIGHTS [IMAGE...]", help="or NAME [IMAGE...]")
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--slow", type=int, default=20, help="clients that send a byte now and then")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(choose(options.network, Path(folder)), options.requests, options.slow)


if __name__ == "__main__":
    main()
