"""Training of recurrent networks on text: a Trainer with another source of data and other checkpoint names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..config.sections import Section
from ..datasets.text import Text, TextStreams
from ..inference.text_generation import SymbolPredictor
from .checkpoint_schedule import CheckpointSchedule
from .data import BatchSource, ListedImages
from .metrics_log import IterationRecord
from .setup import File, TrainingSetup
from .trainer import Trainer


@dataclass
class TextCheckpointSchedule(CheckpointSchedule):
    """The checkpoints of darknet's `rnn train`: BASE_N.weights and BASE.backup, at the intervals of the dialect."""

    @property
    def rolling(self) -> str:
        return f"{self.base}.backup"

    @property
    def final(self) -> str:
        return f"{self.base}_final.weights"

    def due(self, iteration: int, seen: int) -> list[str]:
        names = [f"{self.base}_{iteration}.weights"] if iteration % self.weights_interval == 0 else []
        if iteration % self.last_interval == 0 or (self.every and iteration % self.every == 0):
            names.append(self.rolling)
        return names


class TextSetup(TrainingSetup):
    """The setup of a training run on a text."""

    def checkpoint_schedule(self, pictures: int) -> CheckpointSchedule:
        weights, last = self.model.dialect.rnn_saves
        return TextCheckpointSchedule(
            self.base,
            self.alexeyab,
            detector=False,
            batch=self.imgs,
            pictures=pictures,
            weights_interval=weights,
            last_interval=last,
            every=self.options.save_every,
        )


class TextTrainer(Trainer):
    """A training run on a text. tokenized: see `text.Text`. hooks and other options: as for Trainer."""

    setup_class = TextSetup

    def __init__(
        self, text: File, cfg: File, weights: File | None = None, *, tokenized: bool = False, **options: Any
    ) -> None:
        self._text, self._tokenized = text, tokenized
        super().__init__(Section("data", os.fspath(text), 0), cfg, weights, **options)

    @property
    def steps(self) -> int:
        """Symbols of a sequence."""
        return self.setup.net.positive("time_steps", 1)

    @property
    def streams(self) -> int:
        """Sequences of a mini-batch."""
        return self.model.batch // self.steps

    def _open_dataset(self) -> ListedImages:
        if not self.setup.max_batches:
            raise self.setup.net.error("max_batches is missing; expected the number of iterations", "max_batches")
        return Text(self._text, SymbolPredictor(self.model).alphabet, self._tokenized)  # type: ignore[return-value]

    def _open_source(self) -> BatchSource:
        assert isinstance(self.dataset, Text)
        setup, restart = self.setup, self.model.dialect.rnn_restart
        position, forget = setup.progress.position, self.learner.forget
        return TextStreams(self.dataset, self.streams, self.steps, setup.seed, restart, forget, position)


def train_text(
    text: File, cfg: File, weights: File | None = None, *, tokenized: bool = False, **options: Any
) -> Iterator[IterationRecord]:
    """Train the recurrent network of a .cfg file to predict a text, and yield a record after each iteration.

    tokenized: see `text.Text`. hooks and other options: as for `trainer.train`. Raises DarknetError.
    """
    return TextTrainer(text, cfg, weights, tokenized=tokenized, **options).run()
