"""`train`. Without a cfg, it makes the folder of a run, checks the data, trains, and writes a report."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ...errors import DarknetError, DataError, OptionError
from ..console import bar, counted, note
from ..loading import Options
from ..options import FILE, Command, flag, size_options, together
from .train import Function, check_precision, run_options, run_train

if TYPE_CHECKING:
    from ...datasets.recognise import Recognised
    from ...tools.from_folder.plan import Choice, DatasetStatistics, Plan
    from ...tools.from_folder.run_files import RunFolder
    from ...training.trainer import Trainer

FOLDER_OPTIONS = ("model", "init", "download", "out", "minutes", "held_out", "width", "height")
SHOWN = 3  # findings of each kind that are printed
# Options that a run keeps for --resume: those that affect its numbers or its files.
KEPT = (
    "seed", "threads", "save_every", "min_size", "map", "map_epochs", "thresh", "iou_thresh", "patience", "no_chart",
    "dialect",
)  # fmt: skip


def folder_options(function: Function) -> Function:
    """Options of `train` without a cfg."""
    return together(
        flag("model", metavar="NAME", help="The network: a bundled one, such as yolov4-tiny, or a .cfg file. Default: "
             "chosen by the number of pictures and the processor."),
        flag("init", type=FILE, metavar="WEIGHTS", help="Initial weights, such as yolov4-tiny.conv.29."),
        flag("download", is_flag=True, help="Download the network's pretrained first layers if they are missing."),
        flag("out", type=FILE, metavar="DIR", help="The folder to make. Default: runs/train1, runs/train2, ..."),
        flag("minutes", type=click.FloatRange(min=0.5), metavar="M", help="Train for about M minutes: the first "
             "iterations are timed, and max_batches is set."),
        flag("held_out", type=click.FloatRange(0.01, 0.9), default=0.2, show_default=True, metavar="P",
             help="The fraction of the pictures to validate on, if the data set has no validation list."),
        size_options,
    )(function)  # fmt: skip


@click.command("train", cls=Command)
@click.argument("data_file", metavar="DATA", type=FILE)
@click.argument("cfg", type=FILE, required=False)
@click.argument("weights", type=FILE, required=False)
@folder_options
@run_options
@click.pass_context
def train_command(ctx: click.Context, data_file: str, cfg: str | None, weights: str | None, **options: Any) -> None:
    """Train a detector or a classifier; the network's last layer decides which.

    With CFG, DATA is a .data file. Without, DATA is a data set of boxes: a folder of pictures with label files, a
    data.yaml, COCO's JSON or a VOC folder; or, with --resume, the folder of such a run.

    \b
    Examples:
      pydarknet train my-pictures/
      pydarknet train my-pictures/ --model yolov4-tiny --patience 5
      pydarknet train runs/train1 --resume
      pydarknet train data/obj.data yolov4-tiny.cfg yolov4-tiny.conv.29
      pydarknet train data/obj.data yolov4-tiny.cfg --resume
    """
    given = {name for name in options if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT}
    of_folder = {name: options.pop(name) for name in FOLDER_OPTIONS}
    if cfg is None:
        train_folder(data_file, {**options, **of_folder}, given)
        return
    if wrong := given & of_folder.keys():
        raise click.UsageError(
            f"--{min(wrong).replace('_', '-')} is for `train FOLDER`; with a CFG, the cfg and the .data file decide"
        )
    run_train(data_file, cfg, weights, options)


def train_folder(source: str, options: dict[str, Any], given: Set[str]) -> None:
    """Train on a data set, or resume the run of a folder. given: the names of the options on the command line."""
    from ...tools.from_folder.run_files import RunFolder

    check_precision(options)
    for name in ("backup", "topk", "clear"):
        if name in given:
            raise OptionError(f"--{name} does not go with `train FOLDER`, which trains a detector in a new folder")
    if RunFolder.is_one(source):
        if not options["resume"]:
            raise OptionError(f"{source}: the folder of a run; add --resume to continue it")
        if wrong := given & set(FOLDER_OPTIONS):
            raise OptionError(f"{source}: --{min(wrong).replace('_', '-')} is for a new run; this one has its network")
        run = RunFolder.open(source)
        _train(run, _options_of_run(run, options, given))
        return
    if options["resume"]:
        raise DataError(
            f"{source}: no run to continue; expected a folder that `train FOLDER` made, such as runs/train1"
        )
    _train(_prepare(source, {**options, "map": True}), {**options, "map": True, "max_batches": None})


def _options_of_run(run: RunFolder, options: Options, given: Set[str]) -> dict[str, Any]:
    """The options, where those not given take the values that the run has kept."""
    kept = run.about.get("options", {})
    if not isinstance(kept, dict):
        raise DataError(f"{run.folder}: run.json is damaged: expected a mapping of options")
    return {**options, **{name: kept[name] for name in KEPT if name in kept and name not in given}}


def _train(run: RunFolder, options: Options) -> None:
    weights = None if options["resume"] else run.about.get("weights")
    run_train(
        str(run.data), str(run.cfg), weights, {**options, "backup": str(run.folder)}, detector=True,
        at_end=lambda trainer: _report(run, trainer, options), resume_command=f"pydarknet train {run.folder} --resume",
    )  # fmt: skip


def _report(run: RunFolder, trainer: Trainer, options: Options) -> None:
    """Write the report of the best weights. A failure is one line and no error: the run itself has succeeded."""
    from .evaluate import report_of_run

    known = trainer.best.record()
    weights = trainer.best.path if known else trainer.checkpointer.last_saved
    try:
        report_of_run(str(run.data), str(run.cfg), str(weights), options, str(run.folder / "report"))
    except DarknetError as error:
        note(f"No report: {error}")


# --- the run's folder ---


@dataclass
class _Prepared:
    found: Recognised
    lists: Mapping[str, Sequence[Path]]
    statistics: DatasetStatistics
    choice: Choice
    plan: Plan
    weights: str | None


def _prepare(source: str, options: Options) -> RunFolder:
    """Make the folder of a run from a data set, and print its content."""
    from ...tools.from_folder.run_files import RunFolder, next_folder, write_run

    prepared = _plan(source, options)
    folder = Path(options["out"]) if options["out"] else next_folder()
    kept = {name: options[name] for name in KEPT}
    about = {
        "source": os.path.abspath(source),  # noqa: PTH100 - links stay as they are
        "form": prepared.found.form, "model": str(prepared.choice.cfg), "weights": prepared.weights, "options": kept,
    }  # fmt: skip
    write_run(folder, prepared.found, prepared.lists, prepared.plan, about)
    run = RunFolder.open(folder)
    _check(run, prepared, options)
    note(f"{folder}: written. The same with darknet:")
    for line in (folder / "commands.txt").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        note(f"  {line}")
    note(f"To continue this run if it is stopped: pydarknet train {folder} --resume")
    return run


def _plan(source: str, options: Options) -> _Prepared:
    """Read and split the data set, choose the network and adapt it; print a line about each step."""
    from ...datasets.recognise import recognise
    from ...runtime.compile_time import clock
    from ...tools.from_folder import plan as plans
    from ...tools.from_folder.run_files import dataset_statistics, naming_source, read_labelled, split_lists

    began, seed = clock(), options["seed"] or 0
    found = recognise(source)
    note(f"{source}: {found.form}, {counted(len(found.pictures), 'picture')}, {_class_summary(found.classes)}")
    for text in found.notes:
        note(text)
    if found.unlabelled:
        what = f"{counted(len(found.unlabelled), 'picture')} without a label file left out, e.g. {found.unlabelled[0]}"
        note(f"{what}; an empty label file marks a picture without objects")
    with naming_source(source):
        labelled = read_labelled(found)
        lists = split_lists(found, labelled, seed, options["held_out"])
        statistics = dataset_statistics(labelled, lists["train"], len(found.classes))
    _print_lists(found, lists, seed)
    choice = plans.choose_model(options["model"], statistics)
    size = options["width"], options["height"]
    plan = plans.make_plan(choice, statistics, seed, options["max_batches"], size)
    if options["minutes"] and not options["max_batches"]:
        from ...tools.from_folder.run_files import iterations_in

        note(f"Timing the first iterations, to train for {options['minutes']:g} minutes")
        threads = options["threads"]
        batches, _ = iterations_in(options["minutes"], found, lists, plan, began, threads=threads, seed=seed)
        plan = plans.make_plan(choice, statistics, seed, batches, size)
    _print_plan(plan)
    return _Prepared(found, lists, statistics, choice, plan, _initial_weights(choice.name, source, options))


def _class_summary(classes: Sequence[str]) -> str:
    shown = ", ".join(classes[:8])
    return (
        f"{counted(len(classes), 'class').replace('classs', 'classes')}: {shown}{', ...' if len(classes) > 8 else ''}"
    )


def _print_lists(found: Recognised, lists: Mapping[str, Sequence[Path]], seed: int) -> None:
    from ...datasets.recognise import UNSPLIT

    how = f"split by seed {seed}" if UNSPLIT in found.lists else "the data set's own split"
    note(f"{len(lists['train'])} pictures to train on, {len(lists['valid'])} to validate on ({how})")


def _print_plan(plan: Plan) -> None:
    note(f"Network: {plan.choice.name} ({plan.choice.reason})")
    anchors = f"{len(plan.anchors)} anchors from the labels, average IoU {plan.iou:.1%}"
    kept = "the cfg's anchors, because the labels have fewer different sizes than it has anchors"
    note(f"Input {plan.width}x{plan.height}; {anchors if plan.iou == plan.iou else kept}")
    note(f"max_batches {plan.max_batches}, {plan.batch} pictures each; the learning rate drops at 80 % and 90 %")


def _initial_weights(name: str, source: str, options: Options) -> str | None:
    """The initial weights: those given, else the network's pretrained first layers if they are on the disk or
    downloaded, else None.

    Raises DataError, OptionError, DownloadError.
    """
    from ...tools.from_folder.plan import BACKBONES, find_backbone
    from ...utils.resources import models_folder

    given = options["init"]
    if given is not None:
        if not Path(given).is_file():
            raise DataError(f"--init {given}: no such file; expected a weights file")
        return os.path.abspath(given)  # noqa: PTH100 - as above
    file = BACKBONES.get(name)
    if file is None:
        if options["download"]:
            raise OptionError(f"--download: no pretrained layers are published for {name}")
        return None
    near = Path(source) if Path(source).is_dir() else Path(source).parent
    found = find_backbone(name, [Path(), near, models_folder()])
    if found is None and options["download"]:
        from ...zoo.download import download

        found = download(file, report=note)
    if found is None:
        note(f"No pretrained layers: --download fetches {file}, --init FILE names it; with it, less training is needed")
        return None
    note(f"Pretrained layers: {found}")
    return os.path.abspath(found)  # noqa: PTH100 - as above


def _check(run: RunFolder, prepared: _Prepared, options: Options) -> None:
    """Check the data set as `dataset check` does, and print advice for the training."""
    from ...datasets.check import check_dataset
    from ...datasets.listing import ImageLists
    from ...tools.from_folder.plan import advice
    from .dataset import report_lines

    if options["no_check"]:
        return
    with bar(sum(map(len, prepared.lists.values()))) as count:
        report = check_dataset(ImageLists.open(run.data), len(prepared.found.classes), each=count)
    for line in report_lines(report, prepared.found.classes, SHOWN):
        note(line)
    for line in advice(prepared.statistics, prepared.plan, report, prepared.found.classes, prepared.lists):
        note(f"Advice: {line}")
