"""`train`, also of `detector`, `classifier`, `rnn`. Without a cfg, the program's makes the folder of a run,
checks the data, trains, and writes a report."""

import os
import shlex
import signal
import sys
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

import click

from ...datasets.check import check_dataset
from ...datasets.listing import UNSPLIT, ImageLists, Recognised, recognise
from ...errors import DarknetError, DataError, OptionError
from ...inference.video.mjpeg_server import MJPEG
from ...runtime.compile_time import clock
from ...server.live import LiveServer
from ...tools.from_folder import run_files
from ...tools.from_folder.plan import BACKBONES, DatasetStatistics, Plan, advice, choose_model, find_backbone, make_plan
from ...tools.from_folder.run_files import RunFolder, iterations_in
from ...training.hooks import EarlyStopping, Hook, IterationRecord, Run
from ...training.live import ChartStream, LiveHook
from ...training.setup import MeasuringOptions
from ...training.text_trainer import TextTrainer
from ...training.trainer import Trainer
from ...utils.resources import models_folder, network_file
from ...zoo.download import download
from ..console import CLEAR_LINE, Interruption, bar, counted, fail_if, note, say
from ..formats.training import Printer, rates_line
from ..loading import Options, note_decode, note_partial_weights, print_table
from ..options import given_options
from .evaluate import report_of_run
from .files import report_lines
from .serve import note_open, open_stream

RESUME_COMMAND = "give the same command with --resume"
FOLDER_OPTIONS = ("model", "init", "download", "out", "minutes", "held_out", "width", "height")
Lists = Mapping[str, Sequence[Path]]
SHOWN = 3  # findings of each kind that are printed
# Options that a run keeps for --resume: those that affect its numbers or its files.
KEPT = (
    "seed", "threads", "save_every", "min_size", "map", "map_epochs", "thresh", "iou_thresh", "patience", "no_chart",
    "dialect", "decode",
)  # fmt: skip


def run_train(data_file: str, cfg: str | None, weights: str | None, **options: Any) -> None:
    given = {each.name for each in given_options(click.get_current_context()) if each.name}
    of_folder = {name: options.pop(name) for name in FOLDER_OPTIONS}
    if cfg is None:
        train_folder(data_file, {**options, **of_folder}, given)
        return
    if wrong := given & of_folder.keys():
        raise click.UsageError(
            f"--{min(wrong).replace('_', '-')} is for `train FOLDER`; with a CFG, the cfg and the .data file decide"
        )
    run_with_cfg(data_file, cfg, weights, **options)


def run_with_cfg(
    data_file: str, cfg: str, weights: str | None, detector: bool | None = None,
    at_end: Callable[[Trainer], None] = lambda trainer: None, resume_command: str = RESUME_COMMAND, **options: Any,
) -> None:  # fmt: skip
    """Train, and print darknet's lines.

    detector: whether the command expects a detector or a classifier; None accepts both. at_end: called before
    the last line of a finished run. resume_command: how to continue, printed when a run was stopped.
    """
    check_precision(options)
    if Path(data_file).is_dir() or Path(data_file).suffix.lower() in (".yaml", ".yml", ".json"):
        instead = f"pydarknet train {data_file} --model {cfg}"
        raise OptionError(f"{data_file}: with a CFG, expected a .data file; for this data set: {instead}")
    trainer = _trainer_class(options)(
        network_file(data_file), network_file(cfg), weights, hooks=_hooks(options), **_library_options(options)
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
    for line in printer.opening():  # which writes on standard error as well, in order
        say(line)
    with first_interrupt_stops(trainer), _live_page(trainer, options):
        for record in trainer.run():
            printer.show(record)
    printer.close()
    if trainer.seconds:
        share = trainer.waited / trainer.seconds
        dataset: Any = trainer.dataset  # with pictures, not a text; each worker loads its own
        scaled = options["workers"] is not None or dataset.pictures.scaled
        note_decode(options, scaled, "no JPEG file is four times the network's size")
        note(f"Waited {trainer.waited:.1f} of {trainer.seconds:.1f} seconds for pictures ({share:.1%})")
    print_end(trainer, resume_command)
    if options["live"] is not None:
        again = shlex.join(["pydarknet", "live", str(trainer.setup.folder)])
        note(f"The page of the run again: {again}")
    if trainer.finished:
        at_end(trainer)
        _print_use_of_weights(trainer, data_file, cfg)
    fail_if(trainer.interrupted, 130)


def _trainer_class(options: Options) -> Callable[..., Trainer]:
    if options["workers"] is None:
        return Trainer
    from ...ray.train import ClusterTrainer

    return partial(ClusterTrainer, workers=options["workers"], address=options["address"])


def check_precision(options: Options) -> None:
    if options["precision"] != "float32":
        raise OptionError(f"--precision {options['precision']}: training is always in float32")


def _hooks(options: Options) -> list[Hook]:
    hooks: list[Hook] = []
    if options["patience"] is not None:
        if not (options["map"] or options["topk"]):
            raise OptionError(f"--patience {options['patience']}: counts measurements; give -map or -topk, too")
        hooks.append(EarlyStopping(options["patience"]))
    if options["live"] is not None:
        hooks.append(LiveHook())
    if options["mjpeg_port"] is not None:
        title = "MJPEG-stream of the chart:"
        hooks.append(ChartStream(open_stream(options["mjpeg_port"], MJPEG, options["bind"], title)))
    return hooks


def _live_page(trainer: Trainer, options: Options) -> AbstractContextManager[object]:
    if options["live"] is None:
        return nullcontext()

    class Opening(Hook):
        """Starts the server. As the last hook, it runs after the log of an earlier run has been moved aside."""

        def before_run(self, run: Run) -> None:
            server.start()

    server = LiveServer(trainer.setup.folder, options["live"], options["bind"], options["token"])
    trainer.hooks.append(Opening())
    note_open(options["bind"], options["token"])
    note(f"The run in the browser: {server.url}")
    return server


def _library_options(options: Options) -> dict[str, Any]:
    same = ("seed", "threads", "max_batches", "clear", "dialect", "backup", "resume", "save_every", "allow_partial")
    return {
        **{name: options[name] for name in (*same, "min_size", "decode")},
        "checks": not options["no_check"],
        "chart": not options["no_chart"],
        "measure": options["map"] or options["topk"],
        "measuring": MeasuringOptions(options["thresh"], options["iou_thresh"], epochs=options["map_epochs"]),
    }


def first_interrupt_stops(trainer: Trainer | TextTrainer) -> Interruption:
    """Ctrl-C ends training after the iteration in progress; a second one ends it at once."""

    def stop() -> None:
        trainer.stop()
        start = CLEAR_LINE if sys.stderr.isatty() else ""
        with suppress(RuntimeError):  # "reentrant call": the signal came while a line was being written
            note(f"{start}Finishing the iteration; press Ctrl-C again to end at once.")

    return Interruption(stop, [signal.SIGINT])


def print_start(trainer: Trainer, weights: str | None, options: Options) -> None:
    if options["verbose"]:
        print_table(trainer.model)
    if options["tune"]:
        note("-tune is ignored: in training the algorithms do not change, so that a run can be repeated")
    if trainer.summary:
        note(trainer.summary)
    setup = trainer.setup
    if setup.resumed is not None:
        note(f"Resuming from {setup.resumed.weights}, iteration {trainer.iteration}")
        return
    if options["resume"]:
        note(f"{setup.folder}: no checkpoint of {setup.base}; this is a new run")
    if weights is not None:
        note_partial_weights(trainer.model, weights)


def print_end(trainer: Trainer, resume_command: str = RESUME_COMMAND) -> None:
    note(f"Saving weights to {trainer.checkpointer.last_saved}")
    if trainer.finish_reason:
        note(f"Ended after iteration {trainer.iteration}: {trainer.finish_reason}.")
    if trainer.interrupted:
        note(f"Stopped after iteration {trainer.iteration}. To go on, {resume_command}.")
    elif trainer.setup.alexeyab and trainer.model.heads:
        say("If you want to train from the beginning, then use flag in the end of training command: -clear ")


def _print_use_of_weights(trainer: Trainer, data: str, cfg: str) -> None:
    best = trainer.best.record() if trainer.validator else None
    weights = trainer.best.path if best else trainer.checkpointer.last_saved
    command = ["detector", "test"] if trainer.model.heads else ["classifier", "predict"]
    what = (
        f"The best weights are of iteration {best['iteration']} ({best['value']:.2%})" if best else "To use the weights"
    )
    note(f"{what}: {shlex.join(['pydarknet', *command, data, cfg, str(weights)])} PICTURE")


def train_folder(source: str, options: dict[str, Any], given: Set[str]) -> None:
    """Train on a data set, or resume the run of a folder, which has kept its options; those `given` go before them."""
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
    if options["workers"] and options["minutes"]:
        raise OptionError("--minutes times iterations of one process; with --workers, give --max-batches")
    if options["resume"]:
        raise DataError(
            f"{source}: no run to continue; expected a folder that `train FOLDER` made, such as runs/train1"
        )
    _train(_prepare(source, {**options, "map": True}), {**options, "map": True, "max_batches": None})


def _train(run: RunFolder, options: Options) -> None:
    run_with_cfg(
        str(run.data), str(run.cfg), None if options["resume"] else run.about.get("weights"), detector=True,
        at_end=lambda trainer: _report(run, trainer, options),
        resume_command=f"pydarknet train {run.folder} --resume", **{**options, "backup": str(run.folder)},
    )  # fmt: skip


def _report(run: RunFolder, trainer: Trainer, options: Options) -> None:
    """Write the report of the best weights. A failure is one line and no error: the run itself has succeeded."""
    weights = trainer.best.path if trainer.best.record() else trainer.checkpointer.last_saved
    try:
        report_of_run(str(run.data), str(run.cfg), str(weights), options, str(run.folder / "report"))
    except DarknetError as error:
        note(f"No report: {error}")


def _prepare(source: str, options: Options) -> RunFolder:
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
    run = RunFolder.open(folder)
    if not options["no_check"]:
        _check(run, found, lists, statistics, plan)
    note(f"{folder}: written. The same with darknet:")
    commands = (folder / "commands.txt").read_text(encoding="utf-8", errors="surrogateescape")
    note(*(f"  {line}" for line in commands.splitlines()))
    note(f"To continue this run if it is stopped: pydarknet train {folder} --resume")
    return run


def _print_found(source: str, found: Recognised) -> None:
    classes = f"{len(found.classes)} {'class' if len(found.classes) == 1 else 'classes'}"
    names = ", ".join([*found.classes[:8], *(["..."] if len(found.classes) > 8 else [])])
    note(f"{source}: {found.form}, {counted(len(found.pictures), 'picture')}, {classes}: {names}")
    note(*found.notes)
    if found.unlabelled:
        what = f"{counted(len(found.unlabelled), 'picture')} without a label file left out, e.g. {found.unlabelled[0]}"
        note(f"{what}; an empty label file marks a picture without objects")


def _plan(
    found: Recognised, lists: Lists, statistics: DatasetStatistics, options: Options, began: float
) -> Plan:  # fmt: skip
    # began: when the command did, for --minutes
    seed, batches, size = options["seed"] or 0, options["max_batches"], (options["width"], options["height"])
    choice = choose_model(options["model"], statistics)
    plan = make_plan(choice, statistics, seed, batches, size)
    if options["minutes"] and not batches:
        note(f"Timing the first iterations, to train for {options['minutes']:g} minutes")
        threads = options["threads"]
        batches, _ = iterations_in(options["minutes"], found, lists, plan, began, threads=threads, seed=seed)
        plan = make_plan(choice, statistics, seed, batches, size)
    note(f"Network: {choice.name} ({choice.reason})")
    anchors = f"{len(plan.anchors)} anchors from the labels, average IoU {plan.iou:.1%}"
    kept = "the cfg's anchors, because the labels have fewer different sizes than it has anchors"
    note(f"Input {plan.width}x{plan.height}; {anchors if plan.iou == plan.iou else kept}")
    note(f"max_batches {plan.max_batches}, {plan.batch} pictures each; the learning rate drops at 80 % and 90 %")
    return plan


def _initial_weights(name: str, source: str, options: Options) -> str | None:
    """The weights given, else the network's pretrained first layers if they are on the disk or downloaded, else
    None. Raises DataError, OptionError, DownloadError."""
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
        found = download(file, report=note)
    if found is None:
        note(f"No pretrained layers: --download fetches {file}, --init FILE names it; with it, less training is needed")
        return None
    note(f"Pretrained layers: {found}")
    return os.path.abspath(found)  # noqa: PTH100 - as above


def _check(run: RunFolder, found: Recognised, lists: Lists, statistics: DatasetStatistics, plan: Plan) -> None:
    with bar(sum(map(len, lists.values()))) as count:
        report = check_dataset(ImageLists.open(run.data), len(found.classes), each=count)
    note(*report_lines(report, found.classes, SHOWN))
    note(*(f"Advice: {line}" for line in advice(statistics, plan, report, found.classes, lists)))


def run_rnn_train(cfg: str, weights: str | None, **options: Any) -> None:
    check_precision(options)
    named = ("tokenized", "clear", "seed", "threads", "max_batches", "dialect", "backup", "resume", "save_every")
    trainer = TextTrainer(
        options["file"], network_file(cfg), weights, allow_partial=options["allow_partial"],
        chart=not options["no_chart"], **{name: options[name] for name in named},
    )  # fmt: skip
    print_start(trainer, weights, options)
    _print_opening(trainer)
    with first_interrupt_stops(trainer):
        for record in trainer.run():
            note(_iteration_line(record, len(trainer.dataset)))
    print_end(trainer)
    fail_if(trainer.interrupted, 130)


def _print_opening(trainer: TextTrainer) -> None:
    batch, line = trainer.model.batch, rates_line(trainer.learner)
    if trainer.setup.alexeyab:
        say(f"mini_batch = {batch}, batch = {trainer.setup.imgs}, time_steps = {trainer.steps}, train = 1 ")
    note(trainer.setup.base)
    if not trainer.setup.alexeyab:
        note(f"{line}, Inputs: {trainer.model.input.outputs} {batch} {trainer.steps}")
        return
    note(line)
    subdivisions, size = trainer.learner.subdivisions, len(trainer.dataset)
    counts = f"streams = {trainer.streams}, subdivisions = {subdivisions}, text_size = {size}"
    say(f"\n batch = {batch}, steps = {trainer.steps}, {counts} ")
    say(f" global_batch = {trainer.setup.imgs} ")


def _iteration_line(record: IterationRecord, size: int) -> str:
    numbers = f"{record.loss:f}, {record.average:f} avg, {record.rate:f} rate"
    return f"{record.iteration}: {numbers}, {record.seconds:f} seconds, {record.images / size:f} epochs"
