"""Arguments and options as darknet spells them (`-ext_output`) and as others do (`--ext-output`): the table of
those that several commands share, and the commands that have them."""

import gc
import math
import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from inspect import cleandoc
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from .console import note
from .not_offered import ABSENT, ON_THE_CPU, absent_command, when_given

Function = TypeVar("Function", bound=Callable[..., Any])
Row = str | Callable[[Any], Any]  # names in SHARED, separated by spaces, or a decorator

CONTEXT = {
    "token_normalize_func": lambda token: token.replace("_", "-"),  # option names may be spelt with either
    "max_content_width": 110,
    "help_option_names": ["-h", "--help"],
}
_LONG = re.compile("-[A-Za-z][A-Za-z-]+")
# Names of options in other detection programs, with their names here; an error suggests the first that a command has.
ELSEWHERE = {
    "conf": ("--thresh",), "conf-thres": ("--thresh",), "confidence": ("--thresh",), "threshold": ("--thresh",),
    "iou": ("--nms", "--iou-thresh"), "iou-thres": ("--nms", "--iou-thresh"), "imgsz": ("--width",),
    "img-size": ("--width",), "size": ("--width",), "epochs": ("--max-batches",), "iterations": ("--max-batches",),
    "batch-size": ("--batch",), "save-txt": ("--save-labels",), "save-crop": ("--crops",), "workers": ("--threads",),
    "output": ("--out-dir", "--out"), "project": ("--out-dir", "--out"), "view-img": ("--show",),
    "letterbox": ("--letter-box",), "random-seed": ("--seed",), "pretrained": ("--init",),
}  # fmt: skip
BEFORE_COMMANDS = ("--help", "--version")  # options of the group itself
FILE = click.Path(readable=False)  # lets the shell complete file names; the file itself is not checked


class FiniteFloat(click.FloatRange):
    """A finite number within bounds. click.FloatRange accepts NaN, because no comparison with it is true."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number.", param, ctx)
        return number


class Share(click.ParamType):
    """3/16: the third of 16 shares."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", value)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            self.fail(f"{value!r}: expected K/N with K from 1 to N, such as 3/16", param, ctx)
        return int(found[1]), int(found[2])


FRACTION = FiniteFloat(0, 1)
POSITIVE, COUNT, PORT = click.IntRange(min=1), click.IntRange(min=0), click.IntRange(0, 65535)
ABOVE_ZERO = FiniteFloat(min=0, min_open=True)
# The type of a value by the name that the help gives it; an option may state another one.
TYPES: dict[str, click.ParamType] = {
    "N": POSITIVE, "W": POSITIVE, "H": POSITIVE, "P": FRACTION, "IOU": FRACTION, "PORT": PORT, "[PORT]": PORT,
    "FILE": FILE, "FILE.data": FILE, "FILE.png": FILE, "DIR": FILE, "CFG": FILE, "NEW.cfg": FILE, "OUT.cfg": FILE,
    "WEIGHTS": FILE,
}  # fmt: skip


class Option(click.Option):
    """An option that may have an effect only beside another one.

    needs: parameters of which the command must be given one as well, where it has any of them; a name that
    begins with "no " must not be given. Otherwise one line says that the option has no effect.
    """

    def __init__(self, *arguments: Any, needs: tuple[str, ...] = (), **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.needs = needs

    def lacks(self, ctx: click.Context) -> str | None:
        """The options of which one is missing, as the user spells them; None where nothing is."""
        others = {each.name: each for each in ctx.command.params if each.expose_value}
        needed = [name for name in self.needs if name.removeprefix("no ") in others]
        given = {name for name, value in ctx.params.items() if value is not None and value is not False}
        if not needed or any((name.removeprefix("no ") in given) != name.startswith("no ") for name in needed):
            return None
        return " or ".join(others[name].opts[-1] for name in needed if not name.startswith("no "))


def flag(spelling: str, text: str | None = None, *short: str, **attributes: Any) -> Callable[[Function], Function]:
    """An option that may begin with one dash or two: `-thresh .5`, `--thresh .5`, `--thresh=.5`.

    spelling: its name, and that of its value, as in `thresh P`, whose type is in TYPES, or all values, as in
    `sort ap|name`; with neither that nor a type or a default it is a switch. text: its help. short: other
    spellings, and the name of the parameter. A default is shown in the help.
    """
    name, _, metavar = spelling.partition(" ")
    if "|" in metavar and "type" not in attributes:
        attributes["type"] = click.Choice(metavar.split("|"))
    elif metavar:
        attributes["metavar"] = metavar
    if metavar in TYPES:
        attributes.setdefault("type", TYPES[metavar])
    if not attributes.keys() & {"metavar", "type", "default"}:
        attributes.setdefault("is_flag", True)  # an explicit False would let click take `-inf` for another option
    attributes.setdefault("show_default", "default" in attributes)
    option = click.option(f"-{name}", f"--{name.replace('_', '-')}", *short, cls=Option, help=text, **attributes)
    option.__name__ = name
    return option


def together(*rows: Row) -> Callable[[Function], Function]:
    """One decorator that applies all of them, so that the help lists their options in this order."""

    def decorate(function: Function) -> Function:
        for row in reversed(rows):
            for each in [SHARED[name] for name in reversed(row.split())] if isinstance(row, str) else [row]:
                function = each(function)
        return function

    return decorate


def command(name: str, work: str, text: str, *rows: Row, **defaults: Any) -> click.Command:
    """A command with these arguments and options.

    work: the function `module.name` in `cli/commands` that it runs. text: its help; lines that begin with $ are
    examples. defaults: arguments of the function where the user gives none.
    """

    def run(**options: Any) -> None:
        module, _, function = work.partition(".")
        further = {key: value for key, value in defaults.items() if options.get(key) is None}
        work_of_module = getattr(import_module(f".commands.{module}", __package__), function)
        if not gc.isenabled():  # as `app.main` leaves it until everything is imported
            gc.freeze()
            gc.enable()
        work_of_module(**options | further)

    what, *examples = cleandoc(text).split("\n$ ")
    if examples:
        what = "\n  ".join([f"{what}\n\b\nExample{'s' if len(examples) > 1 else ''}:", *examples])
    return click.command(name, cls=Command, help=what)(together(*rows)(run))


def given_options(ctx: click.Context) -> list[click.Parameter]:
    """The options and arguments that are on the command line."""
    source = ctx.get_parameter_source
    return [each for each in ctx.command.params if source(each.name or "") is ParameterSource.COMMANDLINE]


def _dashes(name: str) -> str:
    return name.replace("_", "-")


class Command(click.Command):
    """A command that reports an unknown `-thresh`, where click would read `-t` with the value `hresh`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        parameters = [each for each in self.get_params(ctx) if isinstance(each, click.Option)]
        options = {_dashes(name): option for option in parameters for name in option.opts}
        take_value = {name for name, option in options.items() if not option.is_flag}
        args = list(_with_values(args, {name: options[name].flag_value for name in take_value}))
        for before, word in zip(["", *args], args, strict=False):
            given = word.split("=")[0]
            name = _dashes(given)
            if before == "--":
                break
            if name in options or _dashes(before) in take_value:
                continue
            other = next((option for option in ELSEWHERE.get(name.lstrip("-"), ()) if option in options), None)
            if other and name.startswith("-"):
                raise click.NoSuchOption(given, f"No such option '{given}'. Did you mean '{other}'?", ctx=ctx)
            if _LONG.fullmatch(name):
                raise click.NoSuchOption(given, possibilities=get_close_matches(name, options, n=1), ctx=ctx)
        rest = super().parse_args(ctx, args)
        for option in [] if ctx.resilient_parsing else given_options(ctx):
            if isinstance(option, Option) and (missing := option.lacks(ctx)):
                note(f"{option.opts[-1]} has no effect without {missing}")
        return rest


def _with_values(args: list[str], defaults: Mapping[str, Any]) -> Iterator[str]:
    """The words of a command line, with `--live DATA` replaced by `--live=8090 DATA`. defaults: for each option,
    the number that it takes without a value, else None or (click 8.1) False."""
    for word, following in zip(args, [*args[1:], ""], strict=False):
        number = defaults.get(_dashes(word))
        yield f"{word}={number}" if type(number) is int and not following.isdigit() else word


class FlagsFirst(click.Group):
    """A group that takes a command's options before the command's name as well, as darknet does. A command that
    is not offered says so; a misspelt one is answered by the nearest name."""

    command_class = Command

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        words = f"{self.name} {cmd_name}"
        return absent_command(words) if words in ABSENT else super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:  # fmt: skip
        name = _dashes(args[0])
        if not (ctx.resilient_parsing or self.get_command(ctx, args[0]) or self.get_command(ctx, name)):
            close = get_close_matches(args[0], self.list_commands(ctx), n=1)
            ctx.fail(f"No such command '{args[0]}'{f'; did you mean {close[0]}?' if close else '.'}")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = self.list_commands(ctx)
        at = next((i for i, word in enumerate(args) if word in known), 0)
        if args[:1] and args[0].startswith("-") and not set(BEFORE_COMMANDS) & set(args[:at]):
            args = [*args[at : at + 1], *args[:at], *args[at + 1 :]]
        return super().parse_args(ctx, args)


GPU = when_given(lambda option: note(f"{option.opts[0]} is ignored: {ON_THE_CPU}"))
CHECKED = ("check",)  # `export` runs the network only then
MEASURED = ("map", "no cfg")  # `train FOLDER` always measures mAP


def _not_one(ctx: click.Context, parameter: click.Parameter, value: int) -> int:
    if value == 1:
        raise click.BadParameter("1 recall point makes no curve; expected 0, or 2 and more")
    return value


def batch_option(default: int) -> Callable[[Function], Function]:
    return flag("batch N", "Pictures per forward pass; results do not depend on it.",
                type=click.IntRange(1, 1 << 10), default=default)  # fmt: skip


def token_option(text: str, **attributes: Any) -> Callable[[Function], Function]:
    return flag("token TOKEN", f"{text}; also in $PYDARKNET_TOKEN.", envvar="PYDARKNET_TOKEN", **attributes)


# The flags of more than one command, by their names. A help text is one for all commands; a flag whose text differs
# between them stands beside its command.
FLAGS = {each.__name__: each for each in (
    flag("dialect auto|pjreddie|alexeyab", "Which darknet to follow; auto: AlexeyAB's if the cfg "
         "uses anything that only it knows.", default="auto"),
    flag("threads N", "Compute with N threads. Default: all cores.", needs=CHECKED),
    flag("tune", "Time the algorithms of each convolution, and use the fastest in this run and in "
         "later ones on this machine.", needs=CHECKED),
    flag("precision float32|bf16|int8", "bf16: direct convolutions multiply bfloat16 numbers; "
         "needs a processor with AVX-512 BF16. int8: convolutions multiply 8-bit integers; needs "
         "AVX-512 VNNI and the file that quantize writes. Not for training.", default="float32",
         needs=CHECKED),
    flag("quantized FILE", "With --precision int8: the file that quantize wrote. Default: the one "
         "beside the weights."),
    flag("allow_partial", "Accept a weights file of another length: load the layers that it holds."),
    flag("decode whole|scaled", "scaled: decode JPEG files at a half, a quarter or an eighth of "
         "their size where that is at least the network's (in training twice that): faster, and "
         "slightly other numbers. Sizes and boxes stay those of the file.", default="whole"),
    flag("classes NAME,NAME", "Report these classes only: names or numbers."),
    flag("fit auto|shorter|crop|letterbox|stretch", "How pictures are resized. shorter: the whole "
         "picture, its shorter side at the network's size; crop: the middle of that; letterbox: "
         "the whole picture with grey borders; stretch: the aspect ratio changes; auto: shorter if "
         "the network runs at any size, else crop.", default="auto"),
    flag("thresh P", "Report detections with a confidence above P. Default: darknet's."),
    flag("hier P", "In word trees, report the deepest class whose probability is above P.",
         default=0.5),
    flag("nms IOU", "Suppress a box whose IoU with a better one is above IOU. Default: 0.45; 0.4 "
         "in the commands of YOLOv1."),
    flag("ext_output", "Print the boxes as well."),
    flag("letter_box", "Keep the picture's aspect ratio, with grey borders."),
    flag("stretch", "Stretch the picture to the network's size. Default: as darknet does."),
    flag("out_dir DIR", "Write annotated pictures and videos into DIR instead of predictions.jpg "
         "and predictions.avi."),
    flag("no_picture", "Write no annotated picture or video."),
    flag("out_filename FILE", "Write the annotated video: .avi, .mkv, .mov; .mp4 and .webm for "
         "browsers, slower."),
    flag("time_limit_sec N", "End after N seconds.", type=ABOVE_ZERO),
    flag("benchmark", "Measure the speed: repeat the first frame without end, draw nothing."),
    flag("clear", "Count iterations from 0, whatever the weights file says."),
    flag("max_batches N", "Iterations, instead of the cfg's."),
    flag("resume", "Continue from the newest checkpoint in that folder, if it has one."),
    flag("save_every N", "Also write a checkpoint every N iterations."),
    flag("no_chart", "Draw no chart.png."),
    flag("shard K/N", "With --json and --out DIR: write the results of the Kth of N shares of the "
         "pictures into DIR, in the parts of `pydarknet batch`. A restart goes on where parts are "
         "missing.", type=Share()),
    flag("address HOST:PORT", "The Ray cluster, or auto: the one of this machine. Default: a new "
         "one of this machine's processors.", needs=("workers",)),
    flag("bind ADDRESS", "The address to listen on; 0.0.0.0: all interfaces, for other machines.",
         default="127.0.0.1", needs=("port", "live", "json_port", "mjpeg_port")),
)}  # fmt: skip

# Likewise the arguments of more than one command, and groups of options: rows as `command` takes them.
SHARED: dict[str, Callable[[Any], Any]] = FLAGS | {
    "data_file": click.argument("data_file", metavar="DATA", type=FILE),
    "cfg": click.argument("cfg", type=FILE),
    "weights": click.argument("weights", type=FILE),
    "[weights]": click.argument("weights", type=FILE, required=False),
    "images": click.argument("images", type=FILE, nargs=-1, metavar="[IMAGE]..."),
    "[video]": click.argument("video", type=FILE, required=False),
    # every command that builds a network
    "network": together("threads precise"),
    "precise": together("dialect tune precision quantized allow_partial verbose gpu"),
    "verbose": click.option("-v", "--verbose", is_flag=True, help="Print the layer table on standard error."),
    "gpu": together(
        click.option("-i", metavar="N", help="Ignored: the GPU to use.", **GPU),
        flag("nogpu", "Ignored: there is no GPU.", **GPU),
        flag("gpus LIST", "Ignored: the GPUs to use.", **GPU),
    ),
    "size": together(
        flag("width W", "Width of the network's input in pixels, instead of the cfg's."),
        flag("height H", "Height of the network's input in pixels, instead of the cfg's."),
    ),
    "batch": batch_option(default=1),
    # every command that looks at pictures and videos
    "input": together(
        "size batch",
        flag("every N", "Use every Nth frame of a video.", default=1, show_default=False),
        flag("limit N", "End after N pictures or frames."),
        "classes",
        flag("json", "Print one JSON object per line and nothing else.", "as_json"),
        flag("csv FILE", "Write a CSV table with one line per result."),
        "decode",
        flag("quiet", "Print no progress bar, and no results except those of --json."),
    ),
    "names": together(
        flag("names FILE", "Class names, one per line."),
        flag("data FILE.data", "A .data file that names the file of class names."),
    ),
    "top": click.option("-t", "-top", "--top", type=COUNT, default=0, metavar="N",
                        help="Print the N best classes."),
    # every command that finds objects in pictures and videos
    "detection": together(
        "input thresh hier nms ext_output letter_box stretch",
        "tiles",
        flag("out FILE", "FILE.json: write all detections in AlexeyAB's format. Another name, "
             "with a pjreddie network: write the annotated picture to FILE.jpg."),
        flag("save_labels", "Write a label file for each picture, where training looks for it."),
        "out_dir",
        flag("crops DIR", "Write the inside of each box into DIR."),
        "no_picture",
        flag("show", "Show each annotated picture in a window until a key is pressed."),
        flag("dont_show", "Accepted; nothing is shown without --show.", expose_value=False),
    ),
    "tiles": together(
        flag("tiles CxR", "For small objects: detect in C x R overlapping tiles of each "
             "picture as well as in the whole."),
        flag("tile_overlap P", "The overlap of neighbouring tiles, as a fraction of their side.",
             type=click.FloatRange(0, 0.9), default=0.2, needs=("tiles",)),
    ),
    # demos
    "camera": click.option("-c", "camera", type=COUNT, default=0, show_default=True, metavar="N",
                           help="The camera, if no VIDEO is given."),
    "window": together(flag("dont_show", "Open no window."),
                       flag("fullscreen", "Let the window fill the screen.")),
    # training
    "training": together(
        "clear",
        flag("seed N", "Seed of all random numbers; the same seed gives the same weights. "
             "Default: 0.", type=COUNT),
        "max_batches",
        flag("backup DIR", "The folder for weights, instead of the .data file's."),
        "resume save_every",
        flag("workers N", "Divide each iteration's mini-batches among N processes of a Ray cluster (extra "
             "`ray`); --threads is then of each. The weights are the same for any N."),
        "address",
        flag("no_check", "Do not check all labels before the first iteration."),
        flag("map", "Measure mAP on the list `valid` every 4 epochs, and keep the best weights."),
        flag("mAP_epochs N", "Epochs between two measurements of -map.", "map_epochs",
             default=4, needs=MEASURED),
        flag("thresh P", "For -map: count true and false positives among detections with a "
             "confidence above P.", default=0.25, needs=MEASURED),
        flag("iou_thresh IOU", "For -map: a detection is correct if its IoU with an object of "
             "its class is above IOU.", default=0.5, needs=MEASURED),
        flag("patience N", "With -map or -topk: end the run after N measurements in a row that "
             "are no better than the best one."),
        flag("topk", "For classifiers: measure the accuracy among the `top` (5) best classes "
             "on the list `valid`, every 2 epochs."),
        flag("min_size N", "The smallest input size when pjreddie's detectors train at several "
             "sizes, such as 288. Default: 320.", type=click.IntRange(min=32)),
        flag("live [PORT]", "Show the run in the browser, on port 8090; 0: any free port.",
             is_flag=False, flag_value=8090),
        "bind",
        token_option("Viewers of --live need ?token=TOKEN in the address", needs=("live",)),
        flag("mjpeg_port PORT", "Serve chart.png as MJPEG over HTTP. 0: any free port."),
        "no_chart decode",
        flag("dont_show", "Accepted; nothing is shown.", expose_value=False),
        "network",
    ),
    # detectors on the pictures of a list, and the boxes of its labels
    "measuring": together("measured threads"),
    "measured": together(
        "data_file cfg weights",
        flag("thresh P", "Count true and false positives among detections with a confidence "
             "above P.", default=0.25),
        flag("iou_thresh IOU", "A detection is correct if its IoU with an object of its class "
             "is above IOU.", default=0.5),
        flag("points N", "Recall points of the AP. 0: the area under the curve; 11: PASCAL VOC "
             "2007; 101: COCO.", type=COUNT, default=0, callback=_not_one),
        flag("json FILE", "Write all metrics to FILE as JSON.", "json_file"),
        flag("plot FILE", "Draw the precision-recall curves: FILE.png, .svg or .pdf (extra "
             "`plot`)."),
        batch_option(default=4),
        "decode names size precise",
    ),
    "clustering": together(
        flag("width W", "Width of the network's input in pixels."),
        flag("height H", "Height of the network's input in pixels."),
        flag("seed N", "Seed of the random starts; the same seed gives the same anchors.",
             type=COUNT, default=0),
        flag("restarts N", "Random starts; the best result is kept.", default=10),
    ),
    # archives of pictures
    "parts": together(
        flag("out DIR", "The folder for the parts. A restart goes on where parts are missing.",
             required=True),
        flag("format json|parquet", "The format of the parts: JSON lines or Parquet.", default="json"),
        flag("block N", "Pictures of a part. Default: 64.", type=click.IntRange(1, 1 << 16)),
        flag("column NAME", "In Parquet files, the column that holds the bytes of the pictures. "
             "Default: the only one of bytes."),
    ),
    "cluster": together(
        "address",
        flag("cpus N", "Processors, and threads, of each copy of the network.", default=1),
        flag("actors N", "Copies of the network. Default: as many as the cluster has processors "
             "for, also when nodes come and go.", type=COUNT, default=0, show_default=False),
    ),
    "object": flag("json", "Print one JSON object and nothing else.", "as_json"),
}  # fmt: skip


def address_options(default_port: int, token: str) -> Callable[[Function], Function]:
    """token: what its option does."""
    port = flag("port PORT", "The port to listen on; 0: any free port.", default=default_port)
    return together(port, "bind", token_option(token))
