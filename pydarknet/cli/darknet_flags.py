"""The flags that AlexeyAB's darknet reads before every `detector` or `classifier` command, whichever it is.

A command that does nothing with one of them accepts it as well, so that his scripts run, and says so in one line.
"""

from __future__ import annotations

from typing import Any

import click

from .console import note

ON_THE_CPU = "pydarknet computes on the CPU"
QUIET = "dont_show"  # of commands that show nothing: they do what it asks for

# The flags of both groups: the value that one takes, or None.
_BOTH: dict[str, str | None] = {
    "benchmark": None,
    "benchmark_layers": None,
    "c": "N",
    "chart": "FILE",
    "clear": None,
    "cuda_debug_sync": None,
    QUIET: None,
    "gpus": "LIST",
    "i": "N",
    "mjpeg_port": "PORT",
    "show_imgs": None,
}
DETECTOR_FLAGS: dict[str, str | None] = {
    **_BOTH,
    "avgframes": "N",
    "dontdraw_bbox": None,
    "ext_output": None,
    "height": "H",
    "hier": "P",
    "http_post_host": "URL",
    "iou_thresh": "IOU",
    "json_file_output": "FILE",
    "json_port": "PORT",
    "letter_box": None,
    "mAP_epochs": "N",
    "map": None,
    "num_of_clusters": "N",
    "out": "NAME",
    "out_filename": "FILE",
    "points": "N",
    "prefix": "P",
    "s": "N",
    "save_labels": None,
    "show": None,
    "thresh": "P",
    "time_limit_sec": "N",
    "width": "W",
}
CLASSIFIER_FLAGS: dict[str, str | None] = {**_BOTH, "dontuse_opencv": None, "t": "N", "topk": None}

# Why a flag has no effect, where that is not plain, and what to use instead.
REASONS = {
    "benchmark_layers": "it times the layers of builds for GPUs; use pydarknet speed --layers",
    "chart": "chart.png is drawn from the numbers of the run, also after --resume",
    "cuda_debug_sync": ON_THE_CPU,
    "dontuse_opencv": "pictures are always decoded by OpenCV",
    "gpus": ON_THE_CPU,
    "i": ON_THE_CPU,
    "show_imgs": "augmented pictures are not shown",
}


def accept_flags(group: click.Group, flags: dict[str, str | None]) -> None:
    """Let every command of the group accept those of the flags that it has no use for. They stay out of its help."""
    for command in group.commands.values():
        known = {
            name.replace("_", "-")
            for option in command.params
            if isinstance(option, click.Option)
            for name in option.opts
        }
        for name, value in flags.items():
            if f"-{name}".replace("_", "-") not in known:
                command.params.append(_without_effect(f"{group.name} {command.name}", name, value))


def _without_effect(command: str, name: str, value: str | None) -> click.Option:
    def tell(ctx: click.Context, parameter: click.Parameter, given: Any) -> None:
        if given and name != QUIET and not ctx.resilient_parsing:
            reason = f": {REASONS[name]}" if name in REASONS else ""
            note(f"-{name} has no effect on {command}{reason}")

    spellings = [f"-{name}"] if len(name) == 1 else [f"-{name}", f"--{name.replace('_', '-')}"]
    what: dict[str, Any] = {"is_flag": True} if value is None else {"metavar": value}
    return click.Option(spellings, expose_value=False, hidden=True, callback=tell, **what)
