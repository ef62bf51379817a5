"""`train`, `detector train` and `classifier train`. Without a cfg, `train` makes the folder of a run, checks the data,
trains, and writes a report."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ...errors import DarknetError, DataError, OptionError
from ...utils.resources import network_file
from ..console import CLEAR_LINE, bar, counted, note, say
from ..formats.training import Printer
from ..loading import Options, note_partial_weights, print_table
from ..options import FILE, FRACTION, NO_PASSWORD, PORT, POSITIVE, command, flag, note_open, together

if TYPE_CHECKING:
    from ...datasets.listing import Recognised
    from ...tools.from_folder.plan import DatasetStatistics, Plan
    from ...tools.from_folder.run_files import RunFolder
    from ...training.hooks import Hook, Run
    from ...training.trainer import Trainer

MEASURED = ("map", "no cfg")  # `train FOLDER` always measures mAP
RESUME_COMMAND = "give the same command with --resume"
FOLDER_OPTIONS = ("model", "init", "download", "out", "minutes", "held_out", "width", "height")
SHOWN = 3  # findings of each kind that are printed
# Options that a run keeps for --resume: those that affect its numbers or its files.
KEPT = (
    "seed", "threads", "save_every", "min_size", "map", "map_epochs", "thresh", "iou_thresh", "patience", "no_chart",
    "dialect",
)  # fmt: skip

run_options = together(
    "clear",
    flag("seed N", type=click.IntRange(min=0), help="Seed of all random numbers; the same seed gives the same weights. "
         "Default: 0."),
    "max_batches",
    flag("backup DIR", type=FILE, help="The folder for weights, instead of the .data file's."),
    "resume save_every",
    flag("no_check", help="Do not check all labels before the first iteration."),
    flag("map", help="Measure mAP on the list `valid` every 4 epochs, and keep the best weights."),
    flag("mAP_epochs N", "map_epochs", type=POSITIVE, default=4, needs=MEASURED, help="Epochs between two measurements "
         "of -map."),
    flag("thresh P", type=FRACTION, default=0.25, needs=MEASURED, help="For -map: count true and false positives among "
         "detections with a confidence above P."),
    flag("iou_thresh IOU", type=FRACTION, default=0.5, needs=MEASURED, help="For -map: a detection is correct if its "
         "IoU with an object of its class is above IOU."),
    flag("patience N", type=POSITIVE, help="With -map or -topk: end the run after N measurements in a row that are no "
         "better than the best one."),
    flag("topk", help="For classifiers: measure the accuracy among the `top` (5) best classes on the list `valid`, "
         "every 2 epochs."),
    flag("min_size N", type=click.IntRange(min=32), help="The smallest input size when pjreddie's detectors train at "
         "several sizes, such as 288. Default: 320."),
    flag("live [PORT]", type=PORT, is_flag=False, flag_value=8090, help="Show the run in the browser, on port 8090; "
         "0: any free port."),
    "bind",
    flag("token TOKEN", envvar="PYDARKNET_TOKEN", needs=("live",), help="Viewers of --live need ?token=TOKEN in the "
         "address; also in $PYDARKNET_TOKEN."),
    flag("mjpeg_port PORT", type=PORT, help="Serve chart.png as MJPEG over HTTP. 0: any free port."),
    "no_chart",
    flag("dont_show", expose_value=False, help="Accepted; nothing is shown."),
    "network",
)  # fmt: skip
train_options = together("data_file cfg [weights]", run_options)  # of the commands in darknet's spelling


@command(
    "train",
    "data_file",
    click.argument("cfg", type=FILE, required=False),
    "[weights]",
    flag("model NAME", help="The network: a bundled one, such as yolov4-tiny, or a .cfg file. Default: chosen by the "
         "number of pictures and the processor."),
    flag("init WEIGHTS", type=FILE, help="Initial weights, such as yolov4-tiny.conv.29."),
    flag("download", help="Download the network's pretrained first layers if they are missing."),
    flag("out DIR", type=FILE, help="The folder to make. Default: runs/train1, runs/train2, ..."),
    flag("minutes M", type=click.FloatRange(min=0.5), help="Train for about M minutes: the first iterations are timed, "
         "and max_batches is set."),
    flag("held_out P", type=click.FloatRange(0.01, 0.9), default=0.2, help="The fraction of the pictures to validate "
         "on, if the data set has no validation list."),
    "size",
    run_options,
)  # fmt: skip
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


# --- with a cfg ---


def run_train(
    data: str,
    cfg: str,
    weights: str | None,
    options: Options,
    detector: bool | None = None,
    at_end: Callable[[Trainer], None] = lambda trainer: None,
    resume_command: str = RESUME_COMMAND,
) -> None:
    """Train, and print darknet's lines.

    detector: whether the command expects a detector or a classifier; None accepts both. at_end: called before the last
    line of a finished run. resume_command: how to continue, printed when a run was stopped.
    """
    from ...training.trainer import Trainer

    check_precision(options)
    if Path(data).is_dir() or Path(data).suffix.lower() in (".yaml", ".yml", ".json"):
        raise OptionError(
            f"{data}: with a CFG, expected a .data file; for this data set: pydarknet train {data} --model {cfg}"
        )
    trainer = Trainer(
        network_file(data), network_file(cfg), weights, hooks=_hooks(options), **_library_options(options)
    )
    is_detector = bool(trainer.model.heads)
    kind, given, right = ("detector", "-topk", "-map") if is_detector else ("classifier", "-map", "-topk")
    wrong = f"a {kind}; use {kind} train" if detector not in (None, is_detector) else ""
    if not wrong and options["topk" if is_detector else "map"]:
        wrong = f"{given} does not go with this network; use {right}"
    if wrong:
        trainer.source.close()
        raise OptionError(f"{cfg}: {wrong}")
    print_start(trainer, weights, options)
    printer = Printer(trainer, is_detector)
    for line in printer.opening():
        say(line)
    with first_interrupt_stops(trainer), _live_page(trainer, options):
        for record in trainer.run():
            printer.show(record)
    printer.close()
    if trainer.seconds:
        share = trainer.waited / trainer.seconds
        note(f"Waited {trainer.waited:.1f} of {trainer.seconds:.1f} seconds for pictures ({share:.1%})")
    print_end(trainer, resume_command)
    if options["live"] is not None:
        again = shlex.join(["pydarknet", "live", str(trainer.setup.folder)])
        note(f"The page of the run again: {again}")
    if trainer.finished:
        at_end(trainer)
        _print_use_of_weights(trainer, data, cfg)
    if trainer.interrupted:
        raise click.exceptions.Exit(130)


def check_precision(options: Options) -> None:
    """Raise OptionError for another precision than float32."""
    if options["precision"] != "float32":
        raise OptionError(f"--precision {options['precision']}: training is always in float32")


def _hooks(options: Options) -> list[Hook]:
    """The hooks that the options request. Raises OptionError for --patience without a measurement, or a port in use."""
    from ...training.hooks import EarlyStopping

    hooks: list[Hook] = []
    if options["patience"] is not None:
        if not (options["map"] or options["topk"]):
            raise OptionError(f"--patience {options['patience']}: counts measurements; give -map or -topk, too")
        hooks.append(EarlyStopping(options["patience"]))
    if options["live"] is not None:
        from ...training.live import LiveHook

        hooks.append(LiveHook())
    if options["mjpeg_port"] is not None:
        from ...inference.video.mjpeg_server import MJPEG, Stream
        from ...training.live import ChartStream

        stream = Stream(options["mjpeg_port"], MJPEG, options["bind"])
        note_open(options["bind"], None, NO_PASSWORD)
        note(f"MJPEG-stream of the chart: {stream.url}")
        hooks.append(ChartStream(stream))
    return hooks


@contextmanager
def _live_page(trainer: Trainer, options: Options) -> Iterator[None]:
    """Serve the page of the run while it trains."""
    if options["live"] is None:
        yield
        return
    from ...server.live import LiveServer
    from ...training.hooks import Hook

    class Opening(Hook):
        """Starts the server. As the last hook, it runs after the log of an earlier run has been moved aside."""

        def before_run(self, run: Run) -> None:
            server.start()

    server = LiveServer(trainer.setup.folder, options["live"], options["bind"], options["token"])
    trainer.hooks.append(Opening())
    note_open(options["bind"], options["token"])
    note(f"The run in the browser: {server.url}")
    try:
        yield
    finally:
        server.close()


def _library_options(options: Options) -> dict[str, Any]:
    """The keyword arguments of Trainer for the options of the command line."""
    from ...training.setup import MeasuringOptions

    same = ("seed", "threads", "max_batches", "clear", "dialect", "backup", "resume", "save_every", "allow_partial")
    return {
        **{name: options[name] for name in (*same, "min_size")},
        "checks": not options["no_check"],
        "chart": not options["no_chart"],
        "measure": options["map"] or options["topk"],
        "measuring": MeasuringOptions(options["thresh"], options["iou_thresh"], epochs=options["map_epochs"]),
    }


@contextmanager
def first_interrupt_stops(trainer: Trainer) -> Iterator[None]:
    """Ctrl-C ends training after the iteration in progress; a second one ends it at once."""

    def stop(number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, before)
        note(f"{CLEAR_LINE if sys.stderr.isatty() else ''}Finishing the iteration; press Ctrl-C again to end at once.")
        trainer.stop()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def print_start(trainer: Trainer, weights: str | None, options: Options) -> None:
    """Print the layer table if it is asked for, a summary of the data set, and where the run starts from."""
    if options["verbose"]:
        print_table(trainer.model)
    if options["tune"]:
        note("-tune is ignored: in training the algorithms do not change, so that a run can be repeated")
    if trainer.summary:
        note(trainer.summary)
    setup = trainer.setup
    if setup.resumed is not None:
        note(f"Resuming from {setup.resumed.weights}, iteration {trainer.iteration}")
    else:
        if options["resume"]:
            note(f"{setup.folder}: no checkpoint of {setup.base}; this is a new run")
        if weights is not None:
            note_partial_weights(trainer.model, weights)


def print_end(trainer: Trainer, resume_command: str = RESUME_COMMAND) -> None:
    """Print where the weights are, why the run ended, and how to continue."""
    note(f"Saving weights to {trainer.checkpointer.last_saved}")
    if trainer.finish_reason:
        note(f"Ended after iteration {trainer.iteration}: {trainer.finish_reason}.")
    if trainer.interrupted:
        note(f"Stopped after iteration {trainer.iteration}. To go on, {resume_command}.")
    elif trainer.setup.alexeyab and trainer.model.heads:
        say("If you want to train from the beginning, then use flag in the end of training command: -clear ")


def _print_use_of_weights(trainer: Trainer, data: str, cfg: str) -> None:
    """Print the command that uses the best weights, or the last ones if nothing was measured."""
    best = trainer.best.record() if trainer.validator else None
    weights = trainer.best.path if best else trainer.checkpointer.last_saved
    command = ["detector", "test"] if trainer.model.heads else ["classifier", "predict"]
    what = (
        f"The best weights are of iteration {best['iteration']} ({best['value']:.2%})" if best else "To use the weights"
    )
    note(f"{what}: {shlex.join(['pydarknet', *command, data, cfg, str(weights)])} PICTURE")


# --- without a cfg ---


def train_folder(source: str, options: dict[str, Any], given: Set[str]) -> None:
    """Train on a data set, or resume the run of a folder, which has kept its options.

    given: the names of the options on the command line, which go before those that were kept.
    """
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
        kept = run.about.get("options", {})
        if not isinstance(kept, dict):
            raise DataError(f"{run.folder}: run.json is damaged: expected a mapping of options")
        _train(run, {**options, **{name: kept[name] for name in KEPT if name in kept and name not in given}})
        return
    if options["resume"]:
        raise DataError(
            f"{source}: no run to continue; expected a folder that `train FOLDER` made, such as runs/train1"
        )
    _train(_prepare(source, {**options, "map": True}), {**options, "map": True, "max_batches": None})


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


def _prepare(source: str, options: Options) -> RunFolder:
    """Read and split a data set, make the folder of a run from it, and print a line about each step."""
    from ...datasets.listing import UNSPLIT, recognise
    from ...runtime.compile_time import clock
    from ...tools.from_folder import run_files

    began, seed = clock(), options["seed"] or 0
    found = recognise(source)
    _print_found(source, found)
    with run_files.naming_source(source):
        labelled = run_files.read_labelled(found)
        lists = run_files.split_lists(found, labelled, seed, options["held_out"])
        statistics = run_files.dataset_statistics(labelled, lists["train"], len(found.classes))
    how = f"split by seed {seed}" if UNSPLIT in found.lists else "the data set's own split"
    note(f"{len(lists['train'])} pictures to train on, {len(lists['valid'])} to validate on ({how})")
    plan = _plan(found, lists, statistics, options, began)
    weights = _initial_weights(plan.choice.name, source, options)
    folder = Path(options["out"]) if options["out"] else run_files.next_folder()
    about = {
        "source": os.path.abspath(source),  # noqa: PTH100 - links stay as they are
        "form": found.form, "model": str(plan.choice.cfg), "weights": weights,
        "options": {name: options[name] for name in KEPT},
    }  # fmt: skip
    run_files.write_run(folder, found, lists, plan, about)
    run = run_files.RunFolder.open(folder)
    if not options["no_check"]:
        _check(run, found, lists, statistics, plan)
    note(f"{folder}: written. The same with darknet:")
    for line in (folder / "commands.txt").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        note(f"  {line}")
    note(f"To continue this run if it is stopped: pydarknet train {folder} --resume")
    return run


def _print_found(source: str, found: Recognised) -> None:
    classes = f"{len(found.classes)} {'class' if len(found.classes) == 1 else 'classes'}"
    names = ", ".join([*found.classes[:8], *(["..."] if len(found.classes) > 8 else [])])
    note(f"{source}: {found.form}, {counted(len(found.pictures), 'picture')}, {classes}: {names}")
    for text in found.notes:
        note(text)
    if found.unlabelled:
        what = f"{counted(len(found.unlabelled), 'picture')} without a label file left out, e.g. {found.unlabelled[0]}"
        note(f"{what}; an empty label file marks a picture without objects")


def _plan(
    found: Recognised,
    lists: Mapping[str, Sequence[Path]],
    statistics: DatasetStatistics,
    options: Options,
    began: float,
) -> Plan:
    """Choose the network and adapt it to the data set. began: when the command did, for --minutes."""
    from ...tools.from_folder.plan import choose_model, make_plan
    from ...tools.from_folder.run_files import iterations_in

    seed, batches, size = options["seed"] or 0, options["max_batches"], (options["width"], options["height"])
    choice = choose_model(options["model"], statistics)
    plan = make_plan(choice, statistics, seed, batches, size)
    if options["minutes"] and not batches:
        note(f"Timing the first iterations, to train for {options['minutes']:g} minutes")
        batches, _ = iterations_in(
            options["minutes"], found, lists, plan, began, threads=options["threads"], seed=seed
        )  # fmt: skip
        plan = make_plan(choice, statistics, seed, batches, size)
    note(f"Network: {choice.name} ({choice.reason})")
    anchors = f"{len(plan.anchors)} anchors from the labels, average IoU {plan.iou:.1%}"
    kept = "the cfg's anchors, because the labels have fewer different sizes than it has anchors"
    note(f"Input {plan.width}x{plan.height}; {anchors if plan.iou == plan.iou else kept}")
    note(f"max_batches {plan.max_batches}, {plan.batch} pictures each; the learning rate drops at 80 % and 90 %")
    return plan


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


def _check(
    run: RunFolder,
    found: Recognised,
    lists: Mapping[str, Sequence[Path]],
    statistics: DatasetStatistics,
    plan: Plan,
) -> None:
    """Check the data set as `dataset check` does, and print advice for the training."""
    from ...datasets.check import check_dataset
    from ...datasets.listing import ImageLists
    from ...tools.from_folder.plan import advice
    from .files import report_lines

    with bar(sum(map(len, lists.values()))) as count:
        report = check_dataset(ImageLists.open(run.data), len(found.classes), each=count)
    note("\n".join(report_lines(report, found.classes, SHOWN)))
    for line in advice(statistics, plan, report, found.classes, lists):
        note(f"Advice: {line}")
