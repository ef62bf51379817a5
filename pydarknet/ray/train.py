"""One training run on many processes: the mini-batches of an iteration are computed by workers, actors of Ray.

The driver holds the run: its state, its hooks, its checkpoints. Each worker holds a copy of the learner. In an
iteration, worker w of n computes the gradients of every n-th mini-batch, each alone, in n parts; adds part w of all
gradients to part w of the updates, in the order of the mini-batches; and takes the n sums. When the driver has
them too, all of them update their parameters by the same sums. Until then no state has changed. So an iteration
whose workers have died is repeated, and any number of workers gives the bits that one process would give.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..datasets.dataloader import DataLoader
from ..errors import OptionError
from ..model import Model
from ..runtime.threads import set_threads
from ..training.divided_learner import DividedLearner
from ..training.hooks import IterationRecord
from ..training.trainer import MiniBatchResult, Trainer, head_reports
from ..utils.arrays import Array
from .cluster import cluster

log = logging.getLogger("pydarknet")
START = 120.0  # seconds within which a worker has begun
ATTEMPTS = 20  # of one iteration
COPIES = 12  # of the parameters in a local cluster's object store, besides gradients: sums, and states of new workers


@dataclass(frozen=True)
class Task:
    """A mini-batch. position: pictures before it in the run. ahead: mini-batches since the state of the workers."""

    position: int
    ahead: int
    width: int
    height: int
    batch: int


class Worker:
    """A process that computes gradients. Ray calls its methods one after the other, in the driver's order."""

    def __init__(self, pictures: Any, seed: int, threads: int) -> None:
        set_threads(threads)
        self._loader = DataLoader(pictures, 1, seed, threads=threads)

    def begin(self) -> None:
        """Return when the worker is there."""

    def load(self, model: Model) -> None:
        """Take the state of the run."""
        self._model, self._learner = model, model.training
        self._sums: list[Array] = []

    def gradient(self, task: Task, parts: int) -> tuple[Any, ...]:
        """The result of a mini-batch; its changes of running statistics; the parts of its gradient."""
        learner, loader = self._learner, self._loader
        learner.resize(task.width, task.height, task.batch)
        loader.position, loader.mini_batch, loader.stride = task.position, task.batch, parts
        before = loader.waited
        images, truth = loader.next(task.width, task.height)
        with np.errstate(all="ignore"):  # the loss shows overflows
            loss, statistics = learner.alone(images, truth, task.ahead)
        result = MiniBatchResult(loss, loader.waited - before, head_reports(self._model))
        return result, statistics, *np.array_split(learner.gradient, parts)

    def add(self, part: int, parts: int, *gradients: Array) -> Array:
        """A part of the updates with these gradients."""
        total = np.array_split(self._learner.update, parts)[part].copy()
        for gradient in gradients:
            total += gradient
        return total

    def take(self, *sums: Array) -> None:
        """Keep all parts until `advance`."""
        self._sums = list(sums)

    def advance(self, *statistics: Array) -> None:
        """Update the state by the sums that were taken."""
        self._learner.advance(self._sums, statistics)
        self._sums = []


class Pool:
    """Workers of a run: at most `count`, each with `threads` processors. Those that die are replaced when they can be.

    make: starts a worker. state: the model to be copied to workers that have begun.
    """

    def __init__(self, count: int, make: Callable[[], Any], state: Callable[[], Model]) -> None:
        self._count, self._make, self._state = count, make, state
        self.ready: list[Any] = []
        self._begun: dict[Any, Any] = {}  # workers that are being started, by what `begin` will return

    def refill(self, wait: float = 0.0) -> None:
        """Start workers that are missing, and give the state to those that have begun; with none, wait for one.

        wait: seconds for all of them.
        """
        import ray

        while len(self.ready) + len(self._begun) < self._count:
            worker = self._make()
            self._begun[worker.begin.remote()] = worker
        wait = wait if self.ready or wait else START
        least = len(self._begun) if wait and not self.ready else 0
        begun, _ = ray.wait([*self._begun], num_returns=max(1, least), timeout=wait) if self._begun else ([], [])
        joined = [self._begun.pop(each) for each in begun if self._is_there(each)]
        if joined:
            state = ray.put(self._state())
            for worker in joined:
                worker.load.remote(state)
            self.ready += joined
        if not self.ready:
            raise OptionError(
                f"no worker has begun within {wait:g} seconds; expected a node that is free and has pydarknet"
            )

    def _is_there(self, begun: Any) -> bool:
        import ray

        try:
            ray.get(begun)
        except ray.exceptions.RayError as error:
            del self._begun[begun]
            raise OptionError(f"a worker cannot be started: {_last_line(error)}") from None
        return True

    def close(self) -> None:
        """End all workers."""
        import ray

        for worker in [*self.ready, *self._begun.values()]:
            ray.kill(worker)

    def drop_dead(self) -> None:
        """Forget workers that answer no more."""
        import ray

        alive = []
        for worker in self.ready:
            try:
                ray.get(worker.begin.remote())
                alive.append(worker)
            except ray.exceptions.RayError as error:
                log.warning("a worker is lost, and another one is started: %s", _last_line(error))
        self.ready = alive


class ClusterTrainer(Trainer):
    """A Trainer whose mini-batches are computed by `workers` processes of a Ray cluster.

    address: see `cluster`. threads: processors of each worker; by default the cluster's, divided. Other arguments:
    as for Trainer.
    """

    learner_class = DividedLearner
    learner: DividedLearner

    def __init__(self, *arguments: Any, workers: int, address: str | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._workers, self._address = workers, address
        if workers > self.setup.subdivisions:
            found = f"an iteration has {self.setup.subdivisions} mini-batches to divide"
            raise OptionError(
                f"--workers {workers}: {found}; expected at most as many, or higher subdivisions in the cfg"
            )
        self.learner.resize(self.setup.sizes.width, self.setup.sizes.height)  # copies begin with the cfg's size

    def run(self) -> Iterator[IterationRecord]:
        store = 4 * self.learner.update.size * (self.setup.subdivisions + COPIES)
        with cluster(self._address, store), closing(self._make_pool()) as self.pool:
            self.pool.refill(START)
            yield from super().run()

    def _make_pool(self) -> Pool:
        import ray

        threads, seed = threads_of_each(self._workers, self.setup.options.threads), self.setup.seed
        actor = ray.remote(num_cpus=threads, scheduling_strategy="SPREAD")(Worker)
        pictures = ray.put(self.dataset)
        return Pool(self._workers, lambda: actor.remote(pictures, seed, threads), lambda: self.model)

    def _learn(self, width: int, height: int, batch: int) -> Iterator[MiniBatchResult]:
        done, subdivisions, position = 0, self.setup.subdivisions, self.source.position
        self.pool.refill()
        while done < subdivisions:
            count = min(subdivisions - done, self.learner.until_update)
            tasks = [Task(position + i * batch, i, width, height, batch) for i in range(count)]
            yield from self._results(tasks, self.iteration * subdivisions + done)
            done, position = done + count, position + count * batch
        self.source.position = position

    def _results(self, tasks: Sequence[Task], number: int) -> list[MiniBatchResult]:
        import ray

        reason = ""
        for _ in range(ATTEMPTS):
            try:
                return self._attempt(tasks, number)
            except ray.exceptions.RayError as error:
                cause = getattr(error, "cause", None)
                if cause is not None and not isinstance(cause, ray.exceptions.RayError):
                    raise cause from None  # an error of the work itself
                reason = _last_line(error)
            self.pool.drop_dead()
            self.pool.refill()
        raise OptionError(
            f"iteration {self.iteration + 1}: workers died {ATTEMPTS} times in a row: {reason}; "
            f"{self.checkpointer.last_good()}"
        )

    def _attempt(self, tasks: Sequence[Task], number: int) -> list[MiniBatchResult]:
        import ray

        workers, n = self.pool.ready, len(self.pool.ready)
        given = [
            workers[(number + i) % n].gradient.options(num_returns=2 + n).remote(task, n)
            for i, task in enumerate(tasks)
        ]
        parts = zip(*(refs[2:] for refs in given), strict=True)
        sums = [worker.add.remote(k, n, *part) for k, (worker, part) in enumerate(zip(workers, parts, strict=True))]
        taken = [worker.take.remote(*sums) for worker in workers]
        results = ray.get([refs[0] for refs in given])
        statistics = ray.get([refs[1] for refs in given])
        update = ray.get(sums)
        ray.get(taken)
        for worker in workers:
            worker.advance.remote(*statistics)
        self.learner.advance(update, statistics)
        waited = sum(result.waited for result in results) / n
        self.source.waited += waited
        return [replace(result, waited=waited / len(results)) for result in results]

    @property
    def last_batch(self) -> tuple[Array, Sequence[Array]] | None:
        """Loaded when it is asked for: each worker has its own."""
        before, source = self.source.position - self.source.mini_batch, self.source
        if before < 0 or not self.iteration:
            return None
        source.position = before
        return source.next(*self.setup.sizes.at(self.iteration - 1, self.setup.start))


def threads_of_each(workers: int, threads: int | None) -> int:
    """Processors of each worker: those asked for, else the cluster's, divided. Raises OptionError for too few."""
    import ray

    nodes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    each = threads or max(1, sum(nodes) // workers)
    while not threads and each > 1 and sum(node // each for node in nodes) < workers:
        each -= 1
    if (fit := sum(node // each for node in nodes)) < workers:
        have = f"the cluster has {sum(nodes)} on {len(nodes)} node{'s' * (len(nodes) > 1)}, enough for {fit}"
        raise OptionError(f"--workers {workers}: each needs {each} processor{'s' * (each > 1)}; {have}")
    return each


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
