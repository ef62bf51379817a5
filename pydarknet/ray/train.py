"""One training run on many processes: the mini-batches of an iteration are computed by workers, actors of Ray.

The driver holds the run: its state, its hooks, its checkpoints. Each worker holds a copy of the learner. In an
iteration, worker w of n computes the gradients of every n-th mini-batch, each alone, in n parts; adds part w of all
gradients to part w of the updates, in the order of the mini-batches; and takes the n sums. When the driver has
them too, all of them update their parameters by the same sums. Until then no state has changed. So an iteration
whose workers have died is repeated, and any number of workers gives the bits that one process would give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..datasets.dataloader import DataLoader
from ..errors import DarknetError, OptionError
from ..model import Model
from ..runtime.threads import set_threads
from ..training.divided_learner import DividedLearner
from ..training.hooks import IterationRecord
from ..training.trainer import MiniBatchResult, Trainer, head_reports
from ..utils.arrays import Array
from ..utils.files import log
from .cluster import cluster

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
        self._learner: Any = None

    def seen(self) -> int:
        """Pictures that its state has seen; -1 without a state."""
        return self._learner.seen if self._learner else -1

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
    """The workers of a run, at most `count`. Those that are lost are replaced as soon as there are processors.

    make: starts a worker. model: of the run, which workers copy. ready: workers in the run's state.
    """

    def __init__(self, ray: Any, count: int, make: Callable[[], Any], model: Model) -> None:
        self._ray, self._count, self._make, self._model = ray, count, make, model
        self.ready: list[Any] = []
        self._begun: dict[Any, Any] = {}  # workers that are being started, by what their first call will return
        self._changes: list[Any] = []  # what changes of workers' states will return

    def refill(self, least: int = 1) -> None:
        """Start workers that are missing, and give the state to those that have begun.

        least: of `ready`, for which it waits START seconds. Raises DarknetError if there is none then.
        """
        while len(self.ready) + len(self._begun) < self._count:
            worker = self._make()
            self._begun[worker.seen.remote()] = worker
        wanted = least - len(self.ready)
        count, timeout = (wanted, START) if wanted > 0 else (len(self._begun), 0)
        begun = self._ray.wait([*self._begun], num_returns=count, timeout=timeout)[0] if count else []
        joined, reason = [], f"none has begun within {START:g} seconds; expected a node with free processors"
        for each in begun:
            worker = self._begun.pop(each)
            try:
                self._ray.get(each)
                joined.append(worker)
            except self._ray.exceptions.RayError as error:
                reason = _last_line(error)
        if joined:
            model = self._ray.put(self._model)
            self._changes += [worker.load.remote(model) for worker in joined]
            self.ready += joined
        if not self.ready:
            raise DarknetError(f"--workers {self._count}: {reason}")

    def change(self, *statistics: Array) -> None:
        """Let all workers `advance`."""
        self._changes = [worker.advance.remote(*statistics) for worker in self.ready]

    def check(self) -> None:
        """Raise an error that a change of a state has given."""
        self._ray.get(self._changes)

    def drop_lost(self) -> None:
        """Forget workers that do not answer, or have another state than the run."""
        ready, self.ready, self._changes = self.ready, [], []
        for worker in ready:
            reason = "its state is another one"
            try:
                if self._ray.get(worker.seen.remote()) == self._model.training.seen:
                    self.ready.append(worker)
                    continue
            except self._ray.exceptions.RayError as error:
                reason = _last_line(error)
            self._ray.kill(worker)
            log.warning("a worker is lost, the others repeat the iteration: %s", reason)

    def close(self) -> None:
        """End all workers."""
        for worker in [*self.ready, *self._begun.values()]:
            self._ray.kill(worker)


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
        with cluster(self._address, store) as self._ray, closing(self._make_pool()) as self.pool:
            self.pool.refill(self._workers)
            yield from super().run()

    def _make_pool(self) -> Pool:
        nodes = [int(node["Resources"].get("CPU", 0)) for node in self._ray.nodes() if node["Alive"]]
        threads, seed = threads_of_each(self._workers, self.setup.options.threads, nodes), self.setup.seed
        actor = self._ray.remote(num_cpus=threads, scheduling_strategy="SPREAD")(Worker)
        pictures = self._ray.put(self.dataset)
        return Pool(self._ray, self._workers, lambda: actor.remote(pictures, seed, threads), self.model)

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
        reason = ""
        for _ in range(ATTEMPTS):
            try:
                return self._attempt(tasks, number)
            except self._ray.exceptions.RayError as error:
                cause = getattr(error, "cause", None)
                if cause is not None and not isinstance(cause, self._ray.exceptions.RayError):
                    raise cause from None  # an error of the work itself
                reason = _last_line(error)
            self.pool.drop_lost()
            self.pool.refill()
        raise DarknetError(
            f"iteration {self.iteration + 1}: workers died {ATTEMPTS} times in a row: {reason}; "
            f"{self.checkpointer.last_good()}"
        )

    def _attempt(self, tasks: Sequence[Task], number: int) -> list[MiniBatchResult]:
        workers, n = self.pool.ready, len(self.pool.ready)
        given = [
            workers[(number + i) % n].gradient.options(num_returns=2 + n).remote(task, n)
            for i, task in enumerate(tasks)
        ]
        parts = zip(*(refs[2:] for refs in given), strict=True)
        sums = [worker.add.remote(k, n, *part) for k, (worker, part) in enumerate(zip(workers, parts, strict=True))]
        taken = [worker.take.remote(*sums) for worker in workers]
        self.pool.check()
        results, statistics = (self._ray.get([refs[place] for refs in given]) for place in (0, 1))
        update, _ = self._ray.get(sums), self._ray.get(taken)
        self.pool.change(*statistics)
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


def threads_of_each(workers: int, threads: int | None, nodes: Sequence[int]) -> int:
    """Processors of each worker: those asked for, else those of `nodes`, divided. Raises OptionError for too few."""
    each = threads or max(1, sum(nodes) // workers)
    while not threads and each > 1 and sum(node // each for node in nodes) < workers:
        each -= 1
    if (fit := sum(node // each for node in nodes)) < workers:
        have = f"the cluster has {sum(nodes)} on {len(nodes)} node{'s' * (len(nodes) > 1)}, enough for {fit}"
        raise OptionError(f"--workers {workers}: each needs {each} processor{'s' * (each > 1)}; {have}")
    return each


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].partition(". ")[0] if lines else type(error).__name__  # Ray goes on with all possible causes
