"""Work on many things, divided among the actors of a Ray cluster. Actors and nodes may die, and nodes may join."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from ..errors import DarknetError, OptionError
from ..runtime.threads import set_threads
from ..utils.files import LimitedLog, log
from ..version import __version__
from .cluster import cluster

DEPTH = 2  # pieces that an actor is given: it computes one while the next is under way
DEATHS = 3  # of actors with a piece, before it is divided; of actors with one thing, before that is given up
POLL = 1.0  # seconds between two looks at the cluster
FAILED_STARTS = 20  # in a row, without a result, before a run ends
SPARE_STORE = 64 << 20  # bytes of the object store for results under way

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)


class Work(Protocol[Result_co]):
    """What an actor does with things, which it knows by their names."""

    def check(self, name: str) -> None:
        """Raise DarknetError where this machine cannot reach the things."""

    def __call__(self, names: Sequence[str]) -> Sequence[Result_co]:
        """A result for each."""


@dataclass(frozen=True)
class Spread:
    """address: of the cluster, see `cluster`. cpus: of each actor, and its threads. actors: how many; 0: as many as
    the cluster's processors are enough for, also when nodes come and go."""

    address: str | None = None
    cpus: int = 1
    actors: int = 0

    def run(
        self, work: Work[Result], blocks: Mapping[int, Sequence[str]], lost: Callable[[str], Result], size: int
    ) -> Generator[tuple[int, list[Result]], None, None]:
        """(number of a block, its results) in the order in which they are there; each block once.

        `work` goes to each node once. lost: the result for a thing that ends each process which computes it.
        size: bytes of `work`. Raises DarknetError: that of `work`, which ends the run, and where no actor starts.
        """
        with cluster(self.address, size + SPARE_STORE) as ray:
            run = _Run(ray, self, work, blocks, lost)
            try:
                yield from run.results()
            finally:
                run.end()


class _Actor:
    """Runs in a process of a node."""

    def __init__(self, version: str, folder: str, work: Work[Any], threads: int) -> None:
        self._version, self._folder, self._work, self._threads = version, folder, work, threads

    def begin(self, name: str) -> None:
        if self._version != __version__:
            raise OptionError(f"{os.uname().nodename}: has pydarknet {__version__}; expected {self._version}")
        if os.path.isdir(self._folder):  # noqa: PTH112
            os.chdir(self._folder)
        set_threads(self._threads)
        self._work.check(name)

    def run(self, names: Sequence[str]) -> tuple[Sequence[Any], list[str]]:
        """The results, and the warnings that came with them."""
        with _Warnings() as warnings:
            return self._work(names), warnings.texts


class _Warnings(logging.Handler):
    """The library's warnings within the block."""

    def __enter__(self) -> _Warnings:
        self.texts: list[str] = []
        log.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        log.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@dataclass
class _Piece:
    """Things of a block, from `start` on. deaths: of actors that computed it."""

    index: int
    start: int
    names: Sequence[str]
    deaths: int = 0

    @property
    def is_suspect(self) -> bool:
        """Whether it may have ended a process."""
        return self.deaths > 0 or len(self.names) == 1


class _Run(Generic[Result]):
    def __init__(
        self, ray: Any, spread: Spread, work: Work[Result], blocks: Mapping[int, Sequence[str]],
        lost: Callable[[str], Result],
    ) -> None:  # fmt: skip
        self._ray, self._spread, self._lost = ray, spread, lost
        self._work = ray.put(work)
        self._first = next((names[0] for names in blocks.values()), "")
        self._todo = deque(_Piece(index, 0, names) for index, names in blocks.items())
        self._sizes = {index: len(names) for index, names in blocks.items()}
        self._found: dict[int, dict[int, Sequence[Result]]] = {index: {} for index in blocks}
        self._actors: dict[Any, bool] = {}  # whether they have begun
        self._under_way: dict[Any, tuple[Any, _Piece | None]] = {}  # by reference, in the order of each actor
        self._failed_starts, self._looked = 0, -POLL
        self._warnings = LimitedLog()

    def results(self) -> Iterator[tuple[int, list[Result]]]:
        while self._found:
            self._start_actors()
            self._hand_out()
            if not self._under_way:  # all have just died
                time.sleep(POLL / 10)
                continue
            done, _ = self._ray.wait(list(self._under_way), timeout=POLL)
            for reference in done:
                if reference not in self._under_way:  # of an actor that was found dead just now
                    continue
                actor, piece = self._under_way[reference]
                try:
                    given = self._ray.get(reference)
                except self._ray.exceptions.RayTaskError as error:
                    if isinstance(error.cause, DarknetError):
                        raise error.cause from None
                    raise
                except self._ray.exceptions.RayError as error:
                    self._died(actor, error)
                    yield from self._given_up()
                    continue
                del self._under_way[reference]
                self._actors[actor] = True
                if piece is not None:
                    self._failed_starts = 0
                    results, warnings = given
                    for text in warnings:
                        self._warnings.add(text)
                    yield from self._take(piece, results)

    def _start_actors(self) -> None:
        if time.monotonic() - self._looked < POLL:
            return
        self._looked = time.monotonic()
        cpus = [int(node["Resources"].get("CPU", 0)) for node in self._ray.nodes() if node["Alive"]]
        wanted = self._spread.actors or sum(each // self._spread.cpus for each in cpus)
        if not wanted and not self._failed_starts:
            raise OptionError(
                f"--cpus {self._spread.cpus}: no node has so many; the largest has {max(cpus, default=0)}"
            )
        remaining = len(self._todo) + sum(piece is not None for _, piece in self._under_way.values())
        for _ in range(min(wanted, remaining) - len(self._actors)):
            made = self._ray.remote(_Actor).options(num_cpus=self._spread.cpus, scheduling_strategy="SPREAD")
            actor = made.remote(__version__, os.getcwd(), self._work, self._spread.cpus)  # noqa: PTH109
            self._actors[actor] = False
            self._under_way[actor.begin.remote(self._first)] = actor, None

    def _hand_out(self) -> None:
        for depth in range(DEPTH):
            for actor, has_begun in self._actors.items():
                held = [piece for holder, piece in self._under_way.values() if holder is actor]
                if not has_begun or len(held) > depth or not self._todo:
                    continue
                # Beside a piece that may end the process, the result of another one could be lost.
                if not held or not any(each and each.is_suspect for each in (*held, self._todo[0])):
                    piece = self._todo.popleft()
                    self._under_way[actor.run.remote(piece.names)] = actor, piece

    def _died(self, actor: Any, error: Exception) -> None:
        """Start over what the actor held. Only the first piece can have ended it."""
        has_begun = self._actors.pop(actor)
        self._failed_starts += not has_begun
        self._warnings.add("a process of the cluster has ended; what it computed is computed again")
        if self._failed_starts >= FAILED_STARTS:
            raise OptionError(f"the networks on the cluster end as they start: {str(error).strip().splitlines()[-1]}")
        self._ray.kill(actor)
        held = [reference for reference, (holder, _) in self._under_way.items() if holder is actor]
        pieces = [piece for reference in held if (piece := self._under_way.pop(reference)[1])]
        if pieces:
            pieces[0].deaths += 1
        for piece in reversed(pieces):
            self._todo.extendleft(reversed(list(_divided(piece))))

    def _given_up(self) -> Iterator[tuple[int, list[Result]]]:
        given_up = [piece for piece in self._todo if piece.deaths >= DEATHS]
        for piece in given_up:
            self._todo.remove(piece)
            yield from self._take(piece, [self._lost(piece.names[0])])

    def _take(self, piece: _Piece, results: Sequence[Result]) -> Iterator[tuple[int, list[Result]]]:
        found = self._found[piece.index]
        found[piece.start] = results
        if sum(map(len, found.values())) == self._sizes[piece.index]:
            del self._found[piece.index]
            yield piece.index, [result for start in sorted(found) for result in found[start]]

    def end(self) -> None:
        for actor in self._actors:
            self._ray.kill(actor)


def _divided(piece: _Piece) -> Iterator[_Piece]:
    """The piece, or where its actors have died too often, its halves, until the thing that ends them is alone."""
    middle = len(piece.names) // 2
    if piece.deaths < DEATHS or not middle:
        yield piece
        return
    for start, names in ((0, piece.names[:middle]), (middle, piece.names[middle:])):
        yield _Piece(piece.index, piece.start + start, names, DEATHS - 1 if len(names) > 1 else 0)
