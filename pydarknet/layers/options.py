"""The keys that every section may have: how its record in a .weights file is read, and how the layer is trained."""

from __future__ import annotations

from dataclasses import dataclass

from ..config.sections import Section, flag, integer, read_options, real

CONVOLUTIONS = ("convolutional", "conv")


@dataclass(frozen=True)
class RecordOptions:
    """The keys that change which parts of a layer's record are read and written.

    load, scales, save: whether the record is read at all, its batch normalisation is read, and it is written.
    filters: how many filters the file holds; None for all. flipped: the filters are stored transposed.
    """

    load: bool = True
    scales: bool = True
    save: bool = True
    filters: int | None = None
    flipped: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether the file holds the whole record."""
        return self.load and self.scales and self.filters is None

    @classmethod
    def from_section(cls, section: Section) -> RecordOptions:
        """Read the keys."""
        numload = section.natural("numload", 0)
        return cls(
            load=not section.flag("dontload"),
            scales=not section.flag("dontloadscales"),
            save=not section.flag("dontsave"),
            filters=numload or None,
            flipped=section.flag("flipped") if section.kind in CONVOLUTIONS else False,
        )


@dataclass(frozen=True)
class LearningOptions:
    """The keys that change how a layer is trained. Those that the dialect does not know have their defaults.

    rate: a factor of the learning rate.
    stop: the backward pass ends before this layer; in AlexeyAB's darknet a number above 1 is the iteration until which.
    forward_only: the layer gets no backward pass.
    clip: weights stay between -clip and clip; 0 for no limit.
    from_iteration: parameters are updated only after this iteration.
    from_burn_in: parameters are updated only after this number times burn_in iterations.
    norm_only: this layer and all before it keep their parameters; only running statistics change.
    centred: the mean of each filter's accumulated update is subtracted from it.
    """

    rate: float = real(1.0, key="learning_rate")
    stop: int = integer(key="stopbackward")
    forward_only: bool = flag(key="onlyforward")
    clip: float = real()
    from_iteration: int = integer(key="dont_update")
    from_burn_in: int = integer(key="burnin_update")
    norm_only: bool = flag(key="train_only_bn")
    centred: bool = False

    @classmethod
    def from_section(cls, section: Section) -> LearningOptions:
        """Read the keys."""
        section.ignore("truth", "smooth")
        centred = section.kind in CONVOLUTIONS and section.flag("grad_centr")
        return cls(**read_options(cls, section), centred=centred)


@dataclass
class TrainingProgress:
    """The progress of training, one object for all layers of a network.

    done: iterations (updates) so far. max_batches: iterations of the whole run; 0 where it is unknown.
    """

    done: int = 0
    max_batches: int = 0
