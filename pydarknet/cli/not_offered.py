"""What darknet's command line has and this one has not: commands (games, experiments on unpublished data or
weights), and flags that have no effect.

AlexeyAB's darknet accepts the same flags with every `detector` or `classifier` command. A command that has no
use for one of them accepts it too, so that existing scripts run, and says so in one line.
"""

from collections.abc import Callable, Sequence
from typing import Any

import click

from ..errors import OptionError
from .console import note

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

ON_THE_CPU = "pydarknet computes on the CPU"
DONT_SHOW = "dont_show"  # accepted silently: commands without a window already do what it asks for

# The flags of both groups, each with the name of its value.
_BOTH = (
    "benchmark", "benchmark_layers", "c N", "chart FILE", "clear", "cuda_debug_sync", DONT_SHOW, "gpus LIST", "i N",
    "mjpeg_port PORT", "show_imgs",
)  # fmt: skip
DETECTOR_FLAGS = (
    *_BOTH, "avgframes N", "dontdraw_bbox", "ext_output", "height H", "hier P", "http_post_host URL", "iou_thresh IOU",
    "json_file_output FILE", "json_port PORT", "letter_box", "mAP_epochs N", "map", "num_of_clusters N", "out NAME",
    "out_filename FILE", "points N", "prefix P", "s N", "save_labels", "show", "thresh P", "time_limit_sec N",
    "width W",
)  # fmt: skip
CLASSIFIER_FLAGS = (*_BOTH, "dontuse_opencv", "t N", "topk")

# Why a flag has no effect, or what to use instead.
REASONS = {
    "benchmark_layers": "it times the layers of builds for GPUs; use pydarknet speed --layers",
    "chart": "chart.png is drawn from the numbers of the run, also after --resume",
    "cuda_debug_sync": ON_THE_CPU,
    "dontuse_opencv": "pictures are always decoded by OpenCV",
    "gpus": ON_THE_CPU,
    "i": ON_THE_CPU,
    "show_imgs": "augmented pictures are not shown",
}


def absent_command(name: str) -> click.Command:
    """A command that accepts any arguments and says why it is not offered."""

    def refuse() -> None:
        raise OptionError(f"{name} is not offered: {ABSENT[name]}")

    anything = {"ignore_unknown_options": True, "allow_extra_args": True}
    return click.Command(name, callback=refuse, context_settings=anything, add_help_option=False, hidden=True)


def when_given(act: Callable[[click.Parameter], None]) -> dict[str, Any]:
    """The attributes of an option that the command's function does not get; `act` is called where it is given."""

    def callback(ctx: click.Context, option: click.Parameter, given: Any) -> None:
        if given and not ctx.resilient_parsing:
            act(option)

    return {"expose_value": False, "callback": callback}


def accept_flags(group: click.Group, flags: Sequence[str]) -> None:
    """Let every command of the group accept the flags that it has no use for. Its help does not show them."""
    for command in group.commands.values():
        known = {name.replace("_", "-") for option in command.params for name in option.opts}
        for flag in flags:
            name, _, metavar = flag.partition(" ")
            if f"-{name}".replace("_", "-") not in known:
                command.params.append(_without_effect(f"{group.name} {command.name}", name, metavar))


def _without_effect(command: str, name: str, metavar: str) -> click.Option:
    reason = f": {REASONS[name]}" if name in REASONS else ""
    remarks = [] if name == DONT_SHOW else [f"-{name} has no effect on {command}{reason}"]
    said = when_given(lambda option: note(*remarks))
    spellings = [f"-{name}"] if len(name) == 1 else [f"-{name}", f"--{name.replace('_', '-')}"]
    return click.Option(spellings, is_flag=not metavar, metavar=metavar or None, hidden=True, **said)
