"""What the options of a command mean: networks, weights, names, classes, what is done with pictures."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..config.dialect import choose_dialect
from ..config.sections import Section, read_config, read_data
from ..errors import OptionError
from ..network.network import Network
from ..utils.resources import find_file, network_file
from .console import note

if TYPE_CHECKING:
    from ..inference.classifier import ClassifierSteps
    from ..inference.detector import DetectorSteps
    from ..model import Model

Options = Mapping[str, Any]
TOP = 5  # classes that `classify` prints by default
MODEL_OPTIONS = ("dialect", "threads", "allow_partial", "tune", "precision", "quantized")


def build_network(cfg: str, options: Options) -> Network:
    config = read_config(network_file(cfg))
    dialect = choose_dialect(options["dialect"], config)
    return Network(config, dialect, width=options.get("width"), height=options.get("height"))


def load_network(cfg: str, weights: str | None, options: Options) -> Network:
    """The network of a .cfg file without class names; where `weights` are given, with them."""
    network = build_network(cfg, options)
    if weights is not None:
        load_weights(network, weights, options)
    if options["verbose"]:
        print_table(network)
    return network


def load_weights(network: Network, weights: str, options: Options) -> None:
    network.loaded = network.load_weights(weights, options["allow_partial"])
    note_partial_weights(network, weights)


def load_model(cfg: str, weights: str | None, options: Options, **more: Any) -> "Model":
    """A network with its weights (None: random ones) and class names. more: further arguments of `model.load_model`."""
    from ..model import load_model as model_of  # late: some commands read no pictures

    if options["quantized"] and options["precision"] != "int8":
        note("--quantized has no effect without --precision int8")
    given = {name: options[name] for name in MODEL_OPTIONS} | {
        "width": options.get("width"), "height": options.get("height"), "names": names_file(options), **more
    }  # fmt: skip
    model = model_of(network_file(cfg), weights, **given)
    _ = model.names
    if options["verbose"]:
        print_table(model)
    if weights is not None:
        note_partial_weights(model, weights)
    return model


def refuse_detector(model: "Model", cfg: str, instead: str) -> None:
    """Raise OptionError where a command for classifiers gets a detector. instead: the command to use."""
    if model.heads:
        raise OptionError(f"{cfg}: a detector (it has a [{model.layers[model.heads[0]].kind}] layer); use {instead}")


def read_data_file(path: str) -> Section:
    """A .data file, which may be a bundled one."""
    return read_data(network_file(path))


def names_file(options: Options) -> Path | None:
    """The file of `--names`, else what the file of `--data`, or a command's DATA, calls `names` or `labels`."""
    if options.get("names"):
        return find_file(options["names"], None)
    data = options.get("data") or options.get("data_file")
    return read_data_file(data).file("names", "labels") if data else None


def print_table(network: Network) -> None:
    from ..tools.summary import layer_table

    note(*layer_table(network))


def note_partial_weights(network: Network, weights: str) -> None:
    """Print how many layers a weights file of another length has filled (after --allow-partial)."""
    loaded, layers = network.loaded, len(network.layers)
    if loaded is None or (loaded.layers == layers and not loaded.left_over):
        return
    rest = f"; {loaded.left_over} numbers are left over" if loaded.left_over else ""
    note(f"{weights}: loaded {loaded.layers} of {layers} layers{rest}")


def note_decode(options: Options, scaled: bool, why: str = "no JPEG file is twice the network's size") -> None:
    """A line where --decode scaled has changed nothing. scaled: whether a picture was decoded at a reduced size."""
    if options["decode"] == "scaled" and not scaled:
        note(f"--decode scaled has no effect: {why}")


def letterbox_choice(options: Mapping[str, Any]) -> bool | None:
    """True for -letter_box, False for -stretch, None for neither. Raises UsageError for both."""
    if options["letter_box"] and options["stretch"]:
        raise click.UsageError("-letter_box and -stretch exclude each other")
    return True if options["letter_box"] else False if options["stretch"] else None


def class_numbers(text: str | None, names: Sequence[str]) -> list[int] | None:
    """Class numbers for the value of --classes, a list of names or numbers; None for None. Raises OptionError."""
    if text is None:
        return None
    known = {name.strip().lower(): number for number, name in reversed(list(enumerate(names)))}
    numbers = []
    for word in (part.strip() for part in text.split(",")):
        number = known.get(word.lower(), int(word) if word.isdecimal() else len(names))
        if number >= len(names):
            close = get_close_matches(word.lower(), known, n=1)
            hint = f"; did you mean {names[known[close[0]]]}?" if close else ""
            raise OptionError(
                f'--classes: no class is called "{word}"; expected names of the {len(names)} classes{hint}'
            )
        numbers.append(number)
    return numbers


def detector_steps(model: "Model", options: Options) -> "DetectorSteps":
    """Raises OptionError."""
    from ..inference.detector import DetectorOptions, DetectorSteps, Tiling, heads_of

    heads_of(model)
    classes = class_numbers(options["classes"], model.names)
    thresh, nms, letterbox = options["thresh"], options["nms"], letterbox_choice(options)
    thresh = getattr(model.dialect, options.get("thresh_of", "detect_thresh")) if thresh is None else thresh
    letterbox = options.get("letterbox") if letterbox is None else letterbox
    how = DetectorOptions.of(model, thresh, options["hier"], 0.45 if nms is None else nms, letterbox)
    tiling = Tiling.parse(options["tiles"], options["tile_overlap"]) if options.get("tiles") else None
    return DetectorSteps(model, model.names, how, tiling, classes, options["batch"])


def classifier_steps(model: "Model", cfg: str, options: Options, top: int = TOP) -> "ClassifierSteps":
    """top: classes that are reported by default. Raises OptionError."""
    from ..inference.classifier import ClassifierSteps

    refuse_detector(model, cfg, "detect")
    classes = class_numbers(options["classes"], model.names)
    return ClassifierSteps(model, model.names, options["top"] or top, options["fit"], classes)
