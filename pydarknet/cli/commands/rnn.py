"""`rnn train`, `rnn generate`, `rnn valid`, `rnn vec`: recurrent networks and text."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from ...errors import DataError
from ...utils.resources import network_file
from ..console import note, say
from ..loading import Options, load_model
from ..options import FILE, FiniteFloat, FlagsFirst, command, flag

if TYPE_CHECKING:
    from ...model import Model
    from ...training.hooks import IterationRecord
    from ...training.text_trainer import TextTrainer

SEED = flag("seed TEXT", default="\n\n", show_default=False, help="The text that the network reads first. Default: two "
            "newlines.")  # fmt: skip
INPUT = flag("file FILE", type=FILE, help="Read this file instead of standard input.")
BLOCK = 1 << 16  # bytes read at a time


@click.group("rnn", cls=FlagsFirst)
def rnn_command() -> None:
    """Train a recurrent network on text, generate text, measure how well it predicts a text."""


@command(
    "train", "cfg [weights]",
    flag("file FILE", type=FILE, required=True, help="The text to train on."),
    flag("tokenized", help="The file holds numbers, one per symbol, instead of text."),
    "clear",
    flag("seed N", "-srand", "--srand", "-rseed", "--rseed", type=click.IntRange(min=0), help="Seed of all random "
         "numbers; the same seed gives the same weights. Default: 0."),
    "max_batches",
    flag("backup DIR", type=FILE, default="backup", help="The folder for weights."),
    "resume save_every no_chart network",
    group=rnn_command,
)  # fmt: skip
def train_command(cfg: str, weights: str | None, **options: Any) -> None:
    """Train a network to predict each symbol of a text from those before it.

    \b
    Examples:
      pydarknet rnn train cfg/rnn.train.cfg -file tales.txt
      pydarknet rnn train cfg/rnn.train.cfg -file tales.txt --resume
    """
    from ...training.text_trainer import TextTrainer
    from .train import check_precision, first_interrupt_stops, print_end, print_start

    check_precision(options)
    named = ("tokenized", "clear", "seed", "threads", "max_batches", "dialect", "backup", "resume", "save_every")
    trainer = TextTrainer(
        options["file"],
        network_file(cfg),
        weights,
        allow_partial=options["allow_partial"],
        chart=not options["no_chart"],
        **{name: options[name] for name in named},
    )
    print_start(trainer, weights, options)
    _print_opening(trainer)
    with first_interrupt_stops(trainer):
        for record in trainer.run():
            note(_iteration_line(record, len(trainer.dataset)))
    print_end(trainer)
    if trainer.interrupted:
        raise click.exceptions.Exit(130)


def _print_opening(trainer: TextTrainer) -> None:
    """Print darknet's first lines; some of AlexeyAB's go to standard output."""
    training, optimizer, batch = trainer.learner, trainer.learner.optimizer, trainer.model.batch
    if trainer.setup.alexeyab:
        say(f"mini_batch = {batch}, batch = {trainer.setup.imgs}, time_steps = {trainer.steps}, train = 1 ")
    note(trainer.setup.base)
    rates = f"Momentum: {optimizer.momentum:g}, Decay: {optimizer.decay:g}"
    line = f"Learning Rate: {training.schedule.learning_rate:g}, {rates}"
    if not trainer.setup.alexeyab:
        note(f"{line}, Inputs: {trainer.model.input.outputs} {batch} {trainer.steps}")
        return
    note(line)
    counts = f"streams = {trainer.streams}, subdivisions = {training.subdivisions}, text_size = {len(trainer.dataset)}"
    say(f"\n batch = {batch}, steps = {trainer.steps}, {counts} ")
    say(f" global_batch = {trainer.setup.imgs} ")


def _iteration_line(record: IterationRecord, size: int) -> str:
    numbers = f"{record.loss:f}, {record.average:f} avg, {record.rate:f} rate"
    return f"{record.iteration}: {numbers}, {record.seconds:f} seconds, {record.images / size:f} epochs"


@command(
    "generate",
    flag("len N", "count", type=click.IntRange(min=0), default=1000, help="Symbols to generate."),
    flag("temp T", type=FiniteFloat(min=0, min_open=True), default=0.7, help="Temperature of the softmax: below 1, "
         "probable symbols become more probable."),
    flag("srand N", "-rseed", "--rseed", type=click.IntRange(min=0), help="Seed of the random numbers; the same seed "
         "gives the same text. Default: a random one."),
    flag("tokens FILE", type=FILE, help="Print the names of symbols in FILE, one per line, instead of characters."),
    "cfg weights", SEED, "network",
    group=rnn_command,
)  # fmt: skip
def generate_command(cfg: str, weights: str, **options: Any) -> None:
    """Continue a text, symbol by symbol.

    \b
    Example:
      pydarknet rnn generate cfg/rnn.cfg backup/rnn_final.weights -seed 'Once upon ' -len 200 -temp .5 -srand 1
    """
    import numpy as np

    from ...inference.text_generation import generate

    model = _load(cfg, weights, options)
    show = _symbol_names(options["tokens"])
    seed = _symbols(options["seed"])
    for symbol in seed:
        say(show(symbol), newline=False)
    for symbol in generate(model, seed, options["count"], options["temp"], np.random.default_rng(options["srand"])):
        say(show(symbol), newline=False)
    say("")


@command("valid", INPUT, "cfg weights", SEED, "network", group=rnn_command)
def valid_command(cfg: str, weights: str, file: str | None, **options: Any) -> None:
    """Measure how well the network predicts a text from standard input. The last line is for the whole text.

    \b
    Example:
      pydarknet rnn valid cfg/rnn.cfg backup/rnn_final.weights < held_out.txt | tail -n 1
    """
    from ...inference.text_generation import scores

    model = _load(cfg, weights, options)
    prints_bits = model.dialect.rnn_prints_bits
    score = None
    for score in scores(model, _symbols(options["seed"]), (byte for block in _blocks(file) for byte in block)):
        bits = f"BPC: {score.bits:4.4f}   " if prints_bits else ""
        say(f"{score.count} {bits}Perplexity: {score.perplexity:4.4f}    Word Perplexity: {score.word_perplexity:4.4f}")
    if score is None:
        raise DataError(f"{file or 'standard input'}: found fewer than 2 symbols; expected at least one to predict")


@command("vec", INPUT, "cfg weights", SEED, "network", group=rnn_command)
def vec_command(cfg: str, weights: str, file: str | None, **options: Any) -> None:
    """Print each line of standard input without spaces, followed by the first layer's output.

    \b
    Example:
      pydarknet rnn vec cfg/rnn.cfg backup/rnn_final.weights < words.txt > vectors.csv
    """
    from ...inference.text_generation import vectors

    model = _load(cfg, weights, options)
    for line, vector in vectors(model, _symbols(options["seed"]), _lines(file)):
        say(_text(line) + "".join(f",{value:g}" for value in vector))


def _load(cfg: str, weights: str, options: Options) -> Model:
    from ...training.checkpoint import base_name

    model = load_model(cfg, weights, options)
    note(base_name(cfg, backslashes=model.dialect.name == "alexeyab"))
    return model


def _symbols(text: str) -> bytes:
    """The bytes of an argument of the command line."""
    return text.encode("utf-8", "surrogateescape")


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def _symbol_names(tokens: str | None) -> Callable[[int], str]:
    """A function from a symbol to its text: its byte, or its name and a space."""
    if tokens is None:
        return lambda symbol: _text(bytes([symbol]))
    from ...utils.files import read_text

    names = ["\n" if line == "<NEWLINE>" else line for line in read_text(tokens, DataError).split("\n")]

    def name(symbol: int) -> str:
        if symbol >= len(names):
            raise DataError(f"{tokens}: {len(names)} names; there is none for symbol {symbol}")
        return f"{names[symbol]} "

    return name


def _blocks(path: str | None) -> Iterator[bytes]:
    """The bytes of a file, or of standard input as they come."""
    if path is not None:
        from ...utils.files import read_bytes

        yield read_bytes(path, DataError)
    elif sys.stdin is not None:
        while block := sys.stdin.buffer.readline(BLOCK):
            yield block


def _lines(path: str | None) -> Iterator[bytes]:
    if path is None:
        yield from sys.stdin.buffer if sys.stdin is not None else ()
    else:
        yield from b"".join(_blocks(path)).splitlines()
