"""The keys that every section may have: how a layer's record is stored, and how the layer learns."""

from __future__ import annotations

from dataclasses import dataclass

from ..config.sections import Section

CONVOLUTIONS = ("convolutional", "conv")


@dataclass(frozen=True)
class RecordOptions:
    """The keys that change how a layer's record is read and written."""

    load: bool = True
    scales: bool = True
    save: bool = True
    filters: int | None = None  # only so many of the filters are in the file
    flipped: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether the file has all of the record."""
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

    stop: the way back ends before this layer; above 1 AlexeyAB's darknet goes on after so many iterations.
    clip: weights stay between -clip and clip, 0 for no limit. from_iteration: updated only after this one.
    from_burn_in: updated only after so many times burn_in. norm_only: this layer and those before it keep all
    parameters, and only rolling statistics change. centred: each filter's accumulated gradient loses its mean.
    """

    rate: float = 1.0
    stop: int = 0
    forward_only: bool = False
    clip: float = 0.0
    from_iteration: int = 0
    from_burn_in: int = 0
    norm_only: bool = False
    centred: bool = False

    @classmethod
    def from_section(cls, section: Section) -> LearningOptions:
        """Read the keys."""
        section.ignore("truth", "smooth")
        return cls(
            rate=section.real("learning_rate", 1.0),
            stop=section.integer("stopbackward", 0),
            forward_only=section.flag("onlyforward"),
            clip=section.real("clip", 0.0),
            from_iteration=section.integer("dont_update", 0),
            from_burn_in=section.integer("burnin_update", 0),
            norm_only=section.flag("train_only_bn"),
            centred=section.kind in CONVOLUTIONS and section.flag("grad_centr"),
        )


@dataclass
class TrainingProgress:
    """How far training is; one for all layers of a network.

    done: updates so far. max_batches: updates in all, 0 where nobody knows.
    """

    done: int = 0
    max_batches: int = 0
