"""The flags that AlexeyAB's darknet accepts with every `detector` or `classifier` command.

A command that has no use for one of them accepts it too, so that existing scripts run, and says so in one line.
"""

from __future__ import annotations

from typing import Any

import click

from .console import note

ON_THE_CPU = "pydarknet computes on the CPU"
DONT_SHOW = "dont_show"  # accepted silently: commands without a window already do what it asks for

# The flags of both groups, each with the name of its value, or None.
_BOTH: dict[str, str | None] = {
    "benchmark": None,
    "benchmark_layers": None,
    "c": "N",
    "chart": "FILE",
    "clear": None,
    "cuda_debug_sync": None,
    DONT_SHOW: None,
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


def accept_flags(group: click.Group, flags: dict[str, str | None]) -> None:
    """Let every command of the group accept the flags that it has no use for. Its help does not show them."""
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
    def report(ctx: click.Context, parameter: click.Parameter, given: Any) -> None:
        if given and name != DONT_SHOW and not ctx.resilient_parsing:
            reason = f": {REASONS[name]}" if name in REASONS else ""
            note(f"-{name} has no effect on {command}{reason}")

    spellings = [f"-{name}"] if len(name) == 1 else [f"-{name}", f"--{name.replace('_', '-')}"]
    what: dict[str, Any] = {"is_flag": True} if value is None else {"metavar": value}
    return click.Option(spellings, expose_value=False, hidden=True, callback=report, **what)
