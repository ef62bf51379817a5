"""Commands of darknet that are not offered: games, and experiments on unpublished data or weights."""

from __future__ import annotations

import click

from ..errors import OptionError

# Each command, of a group with the group's name before it, and the reason.
ABSENT = {
    "3d": "it makes a 3D picture for red-cyan glasses, which needs no network",
    "art": "it rates what a camera sees with weights that were never published",
    "captcha": "its pictures and their solutions were never published",
    "cifar": "it reads one data set from fixed places; classifier train and classifier valid do it for any",
    "classifier gun": "its network was never published",
    "classifier threat": "its network was never published",
    "classifier try": "it prepares pictures for a network that was never published; classify does it for any",
    "coco train": "it reads one data set from fixed places; detector train takes any",
    "compare": "its pairs of pictures were never published",
    "detector draw": "it changes a picture until a detector errs, in builds for GPUs only",
    "detector valid2": "it shifts boxes by half a cell; use detector valid",
    "dice": "its pictures of dice were never published",
    "go": "it plays a board game, with recorded games and weights of its own",
    "isegmenter": "its training data were never published",
    "lsd": "it is an unfinished experiment on lists of pictures that were never published",
    "oneoff2": "it loads one file twice into one network, for an experiment that was never published",
    "regressor": "its networks were never published",
    "rnn generatetactic": "it writes for one data set that was never published; rnn generate does it for any",
    "rnn validtactic": "it measures on one data set that was never published; rnn valid does it for any",
    "segmenter": "its networks were never published",
    "super": "its networks for enlarging pictures were never published",
    "tag": "its pictures and tags were never published",
    "test": "it shows a picture in several colours; imtest writes them as files",
    "vid": "it is an unfinished experiment on videos that were never published",
    "voxel": "its networks for pictures in depth were never published",
    "writing": "its pictures of handwriting were never published",
    "yolo train": "it reads one data set from fixed places; detector train takes any",
}


def absent_command(name: str) -> click.Command:
    """A command that accepts any arguments and says why it is not offered."""

    @click.command(
        name,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        add_help_option=False,
        hidden=True,
    )
    def command() -> None:
        raise OptionError(f"{name} is not offered: {ABSENT[name]}")

    return command
