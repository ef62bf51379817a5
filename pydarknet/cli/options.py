"""Options as darknet spells them (`-ext_output`) and as others do (`--ext-output`), shared by several commands."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from ..errors import OptionError
from .console import note
from .not_offered import ABSENT, absent_command

Function = TypeVar("Function", bound=Callable[..., Any])

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


FRACTION = FiniteFloat(0, 1)
CHECKED = ("check",)  # `export` runs the network only then
PORT = click.IntRange(0, 65535)


class Option(click.Option):
    """An option that may have an effect only beside another one.

    needs: parameters of which the command must be given one as well, where it has any of them; a name that begins with
    "no " must not be given. Otherwise one line says that the option has no effect.
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


def flag(name: str, *short: str, **attributes: Any) -> Callable[[Function], Function]:
    """An option that may begin with one dash or two: `-thresh .5`, `--thresh .5`, `--thresh=.5`."""
    return click.option(f"-{name}", f"--{name.replace('_', '-')}", *short, cls=Option, **attributes)


class Command(click.Command):
    """A command that reports an unknown `-thresh`, where click would read `-t` with the value `hresh`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        options = [parameter for parameter in self.get_params(ctx) if isinstance(parameter, click.Option)]
        known = {name.replace("_", "-") for option in options for name in option.opts}
        defaults = {
            name.replace("_", "-"): option.flag_value
            for option in options
            if not option.is_flag and type(option.flag_value) is int  # click 8.1 gives False to those without one
            for name in option.opts
        }
        args = list(_with_values(args, defaults))
        take_value = {name.replace("_", "-") for option in options if not option.is_flag for name in option.opts}
        for before, word in zip(["", *args], args, strict=False):
            name = word.split("=")[0].replace("_", "-")
            if before == "--":
                break
            if name in known or before.replace("_", "-") in take_value:
                continue
            given = word.split("=")[0]
            other = next((option for option in ELSEWHERE.get(name.lstrip("-"), ()) if option in known), None)
            if other and name.startswith("-"):
                raise click.NoSuchOption(given, f"No such option '{given}'. Did you mean '{other}'?", ctx=ctx)
            if _LONG.fullmatch(name):
                raise click.NoSuchOption(given, possibilities=get_close_matches(name, known, n=1), ctx=ctx)
        rest = super().parse_args(ctx, args)
        if not ctx.resilient_parsing:
            _note_needless(ctx)
        return rest


def _note_needless(ctx: click.Context) -> None:
    """A line for each option of the command line that has no effect without another one."""
    for option in ctx.command.params:
        if isinstance(option, Option) and ctx.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE:
            missing = option.lacks(ctx)
            if missing:
                note(f"{option.opts[-1]} has no effect without {missing}")


def _with_values(args: list[str], defaults: dict[str, Any]) -> Iterator[str]:
    """The words of a command line, with `--live DATA` replaced by `--live=8090 DATA`.

    defaults: the options whose value, a number, may be omitted, and that value.
    """
    for word, following in zip(args, [*args[1:], ""], strict=False):
        name = word.replace("_", "-")
        yield f"{word}={defaults[name]}" if name in defaults and not following.isdigit() else word


class FlagsFirst(click.Group):
    """A group that takes a command's options before the command's name as well, as darknet does.

    Commands of darknet that are not offered say so; misspelt ones are answered by the nearest name.
    """

    command_class = Command

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        words = f"{self.name} {cmd_name}"
        return absent_command(words) if words in ABSENT else super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:  # fmt: skip
        name = args[0].replace("_", "-")
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


def _ignored(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value and not ctx.resilient_parsing:
        note(f"{parameter.opts[0]} is ignored: pydarknet computes on the CPU")


def together(*decorators: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """One decorator that applies all of them, so that the help lists their options in this order."""

    def decorate(function: Function) -> Function:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def data_argument(function: Function) -> Function:
    """The argument of commands that read a .data file."""
    return click.argument("data_file", metavar="DATA", type=FILE)(function)


def network_files(function: Function) -> Function:
    """The arguments of commands that load a network with its weights."""
    return together(click.argument("cfg", type=FILE), click.argument("weights", type=FILE))(function)


def network_and_pictures(function: Function) -> Function:
    """The arguments of commands that process pictures."""
    images = click.argument("images", type=FILE, nargs=-1, metavar="[IMAGE]...")
    return together(network_files, images)(function)


def dialect_option(function: Function) -> Function:
    """The darknet whose rules apply to a network file."""
    return flag(
        "dialect",
        type=click.Choice(["auto", "pjreddie", "alexeyab"]),
        default="auto",
        show_default=True,
        help="Which darknet to follow; auto: AlexeyAB's if the cfg uses anything that only it knows.",
    )(function)


def network_options(function: Function) -> Function:
    """Options of every command that builds a network."""
    return together(
        dialect_option,
        flag(
            "threads",
            type=click.IntRange(min=1),
            metavar="N",
            needs=CHECKED,
            help="Compute with N threads. Default: all cores.",
        ),
        flag(
            "tune",
            is_flag=True,
            needs=CHECKED,
            help="Time the algorithms of each convolution, and use the fastest in this run and in later ones on this "
            "machine.",
        ),
        flag(
            "precision",
            type=click.Choice(["float32", "bf16"]),
            default="float32",
            show_default=True,
            needs=CHECKED,
            help="bf16: direct convolutions multiply bfloat16 numbers, up to twice as fast. Needs a processor with "
            "AVX-512 BF16; not for training.",
        ),
        flag(
            "allow_partial",
            is_flag=True,
            help="Accept a weights file of another length: load the layers that it holds.",
        ),
        click.option("-v", "--verbose", is_flag=True, help="Print the layer table on standard error."),
        click.option("-i", metavar="N", expose_value=False, callback=_ignored, help="Ignored: the GPU to use."),
        flag("nogpu", is_flag=True, expose_value=False, callback=_ignored, help="Ignored: there is no GPU."),
        flag("gpus", metavar="LIST", expose_value=False, callback=_ignored, help="Ignored: the GPUs to use."),
    )(function)


def size_options(function: Function) -> Function:
    """The size of the network's input."""
    return together(
        flag("width", type=click.IntRange(min=1), metavar="W", help="Width of the network's input in pixels, instead "
             "of the cfg's."),
        flag("height", type=click.IntRange(min=1), metavar="H", help="Height of the network's input in pixels, instead "
             "of the cfg's."),
    )(function)  # fmt: skip


def batch_option(default: int) -> Callable[[Function], Function]:
    """The number of pictures of a forward pass."""
    return flag("batch", type=click.IntRange(1, 1 << 10), default=default, show_default=True, metavar="N",
                help="Pictures per forward pass; results do not depend on it.")  # fmt: skip


def input_options(function: Function) -> Function:
    """Options of every command that looks at pictures and videos."""
    return together(
        size_options,
        batch_option(default=1),
        flag("every", type=click.IntRange(min=1), default=1, metavar="N", help="Use every Nth frame of a video."),
        flag("limit", type=click.IntRange(min=1), metavar="N", help="End after N pictures or frames."),
        classes_option,
        flag("json", "as_json", is_flag=True, help="Print one JSON object per line and nothing else."),
        flag("csv", type=FILE, metavar="FILE", help="Write a CSV table with one line per result."),
        flag("quiet", is_flag=True, help="Print no progress bar, and no results except those of --json."),
    )(function)  # fmt: skip


def class_numbers(text: str | None, names: Sequence[str]) -> list[int] | None:
    """Class numbers for the value of --classes, a list of names or numbers; None for None. Raises OptionError."""
    if text is None:
        return None
    known = {name.strip().lower(): number for number, name in reversed(list(enumerate(names)))}
    numbers = []
    for word in (part.strip() for part in text.split(",")):
        number = known.get(word.lower())
        if number is None and word.isdecimal() and int(word) < len(names):
            number = int(word)
        if number is None:
            close = get_close_matches(word.lower(), known, n=1)
            hint = f"; did you mean {names[known[close[0]]]}?" if close else ""
            raise OptionError(
                f'--classes: no class is called "{word}"; expected names of the {len(names)} classes{hint}'
            )
        numbers.append(number)
    return numbers


def names_options(function: Function) -> Function:
    """Files with the names of classes."""
    return together(
        flag("names", type=FILE, metavar="FILE", help="Class names, one per line."),
        flag("data", type=FILE, metavar="FILE.data", help="A .data file that names the file of class names."),
    )(function)


def fit_option(function: Function) -> Function:
    """How a picture is resized for a classifier."""
    return flag(
        "fit",
        type=click.Choice(["auto", "shorter", "crop", "letterbox", "stretch"]),
        default="auto",
        show_default=True,
        help="How pictures are resized. shorter: the whole picture, its shorter side at the network's size; crop: "
        "the middle of that; letterbox: the whole picture with grey borders; stretch: the aspect ratio changes; "
        "auto: shorter if the network runs at any size, else crop.",
    )(function)


def top_option(function: Function) -> Function:
    """How many classes are printed."""
    return click.option("-t", "-top", "--top", type=click.IntRange(min=0), default=0, metavar="N",
                        help="Print the N best classes.")(function)  # fmt: skip


thresh_option = flag("thresh", type=FRACTION, metavar="P", help="Report detections with a confidence above P. "
                     "Default: darknet's.")  # fmt: skip
hier_option = flag("hier", type=FRACTION, default=0.5, show_default=True, metavar="P", help="In word trees, report the "
                   "deepest class whose probability is above P.")  # fmt: skip
nms_option = flag("nms", type=FRACTION, metavar="IOU", help="Suppress a box whose IoU with a better one is above IOU. "
                  "Default: 0.45; 0.4 in the commands of YOLOv1.")  # fmt: skip
ext_output_option = flag("ext_output", is_flag=True, help="Print the boxes as well.")
letter_box_option = flag("letter_box", is_flag=True, help="Keep the picture's aspect ratio, with grey borders.")
stretch_option = flag("stretch", is_flag=True, help="Stretch the picture to the network's size. Default: as darknet "
                      "does.")  # fmt: skip
classes_option = flag("classes", metavar="NAME,NAME", help="Report these classes only: names or numbers.")
out_dir_option = flag("out_dir", type=FILE, metavar="DIR", help="Write annotated pictures and videos into DIR instead "
                      "of predictions.jpg and predictions.avi.")  # fmt: skip
no_picture_option = flag("no_picture", is_flag=True, help="Write no annotated picture or video.")
bind_option = flag("bind", default="127.0.0.1", show_default=True, metavar="ADDRESS",
                   needs=("port", "live", "json_port", "mjpeg_port"),
                   help="The address to listen on; 0.0.0.0: all interfaces, for other machines.")  # fmt: skip


NO_PASSWORD = "there is no password"  # of streams


def note_open(address: str, token: str | None, remedy: str = "--token TOKEN requires a token") -> None:
    """Tell who can use a server that listens on `address`, where that is everybody."""
    from ..utils.http_server import is_loopback

    if not token and not is_loopback(address):
        note(f"{address}: everyone who can reach this port can use it; {remedy}")


def address_options(default_port: int) -> Callable[[Function], Function]:
    """Where a server listens."""
    port = flag("port", type=PORT, default=default_port, show_default=True, metavar="PORT",
                help="The port to listen on; 0: any free port.")  # fmt: skip
    return together(port, bind_option)


def letterbox_choice(options: Mapping[str, Any]) -> bool | None:
    """True for -letter_box, False for -stretch, None for neither. Raises UsageError for both."""
    if options["letter_box"] and options["stretch"]:
        raise click.UsageError("-letter_box and -stretch exclude each other")
    return True if options["letter_box"] else False if options["stretch"] else None


def detection_options(function: Function) -> Function:
    """Options of every command that finds objects in pictures and videos."""
    return together(
        input_options,
        thresh_option,
        hier_option,
        nms_option,
        ext_output_option,
        letter_box_option,
        stretch_option,
        flag("tiles", metavar="CxR", help="For small objects: detect in C x R overlapping tiles of each picture as "
             "well as in the whole."),
        flag("tile_overlap", type=click.FloatRange(0, 0.9), default=0.2, show_default=True, metavar="P",
             needs=("tiles",), help="The overlap of neighbouring tiles, as a fraction of their side."),
        flag("out", type=FILE, metavar="FILE", help="FILE.json: write all detections in AlexeyAB's "
             "format. Another name, with a pjreddie network: write the annotated picture to FILE.jpg."),
        flag("save_labels", is_flag=True, help="Write a label file for each picture, where training looks for it."),
        out_dir_option,
        flag("crops", type=FILE, metavar="DIR", help="Write the inside of each box into DIR."),
        no_picture_option,
        flag("show", is_flag=True, help="Show each annotated picture in a window until a key is pressed."),
        flag("dont_show", is_flag=True, expose_value=False, help="Accepted; nothing is shown without --show."),
    )(function)  # fmt: skip
