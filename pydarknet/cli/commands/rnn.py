"""`rnn train`, `rnn generate`, `rnn valid`, `rnn vec`: recurrent networks and text."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import click
import numpy as np

from ...errors import DataError
from ...inference.text_generation import generate, scores, vectors
from ...model import Model
from ...training.checkpoint import base_name
from ...training.hooks import IterationRecord
from ...training.text_trainer import TextTrainer
from ...utils.files import read_bytes, read_text
from ...utils.resources import network_file
from ..console import note, say
from ..loading import Options, load_model

BLOCK = 1 << 16  # bytes read at a time


def run_train(cfg: str, weights: str | None, **options: Any) -> None:
    from .train import check_precision, first_interrupt_stops, print_end, print_start  # late: only to train

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


def run_generate(cfg: str, weights: str, **options: Any) -> None:
    model = _load(cfg, weights, options)
    show = _symbol_names(options["tokens"])
    seed = _symbols(options["seed"])
    for symbol in seed:
        say(show(symbol), newline=False)
    for symbol in generate(model, seed, options["count"], options["temp"], np.random.default_rng(options["srand"])):
        say(show(symbol), newline=False)
    say("")


def run_valid(cfg: str, weights: str, file: str | None, **options: Any) -> None:
    model = _load(cfg, weights, options)
    prints_bits = model.dialect.rnn_prints_bits
    score = None
    for score in scores(model, _symbols(options["seed"]), (byte for block in _blocks(file) for byte in block)):
        bits = f"BPC: {score.bits:4.4f}   " if prints_bits else ""
        say(f"{score.count} {bits}Perplexity: {score.perplexity:4.4f}    Word Perplexity: {score.word_perplexity:4.4f}")
    if score is None:
        raise DataError(f"{file or 'standard input'}: found fewer than 2 symbols; expected at least one to predict")


def run_vec(cfg: str, weights: str, file: str | None, **options: Any) -> None:
    model = _load(cfg, weights, options)
    for line, vector in vectors(model, _symbols(options["seed"]), _lines(file)):
        say(_text(line) + "".join(f",{value:g}" for value in vector))


def _load(cfg: str, weights: str, options: Options) -> Model:
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
    names = ["\n" if line == "<NEWLINE>" else line for line in read_text(tokens, DataError).split("\n")]

    def name(symbol: int) -> str:
        if symbol >= len(names):
            raise DataError(f"{tokens}: {len(names)} names; there is none for symbol {symbol}")
        return f"{names[symbol]} "

    return name


def _blocks(path: str | None) -> Iterator[bytes]:
    """The bytes of a file, or of standard input as they come."""
    if path is not None:
        yield read_bytes(path, DataError)
    elif sys.stdin is not None:
        while block := sys.stdin.buffer.readline(BLOCK):
            yield block


def _lines(path: str | None) -> Iterator[bytes]:
    if path is None:
        yield from sys.stdin.buffer if sys.stdin is not None else ()
    else:
        yield from b"".join(_blocks(path)).splitlines()
