"""Training of recurrent networks on text: a Trainer with another source of data and other checkpoint names."""

import os
from collections.abc import Iterator
from typing import Any

from ..config.sections import Section
from ..datasets.dataloader import Text, TextStreams
from ..inference.text_generation import SymbolPredictor
from ..utils.files import StrPath
from .hooks import IterationRecord
from .trainer import Trainer


class TextTrainer(Trainer):
    """A training run on a text. tokenized: see `Text`. Other arguments: as for Trainer."""

    is_text = True

    def __init__(
        self, text: StrPath, cfg: StrPath, weights: StrPath | None = None, *, tokenized: bool = False, **options: Any
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

    def _open_dataset(self) -> Text:
        if not self.setup.max_batches:
            raise self.setup.net.error("max_batches is missing; expected the number of iterations", "max_batches")
        return Text(self._text, SymbolPredictor(self.model).alphabet, self._tokenized)

    def _open_source(self) -> TextStreams:
        assert isinstance(self.dataset, Text)
        setup, restart = self.setup, self.model.dialect.rnn_restart
        position, forget = setup.progress.position, self.learner.forget
        return TextStreams(self.dataset, self.streams, self.steps, setup.seed, restart, forget, position)


def train_text(
    text: StrPath, cfg: StrPath, weights: StrPath | None = None, *, tokenized: bool = False, **options: Any
) -> Iterator[IterationRecord]:
    """Train a recurrent network to predict a text, and yield a record after each iteration.

    The arguments are those of TextTrainer. Raises DarknetError.
    """
    return TextTrainer(text, cfg, weights, tokenized=tokenized, **options).run()
