"""`rnn generate`, `rnn valid`, `rnn vec`: recurrent networks and text."""

import io
import sys
from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from ...errors import DataError
from ...inference.text_generation import generate, scores, vectors
from ...model import Model
from ...training.checkpoint import base_name
from ...utils.files import read_bytes, read_text
from ..console import note, say
from ..loading import Options, load_model

BLOCK = 1 << 16  # bytes read at a time


def run_generate(cfg: str, weights: str, **options: Any) -> None:
    model = _load(cfg, weights, options)
    show = _symbol_names(options["tokens"])
    seed, rng = _symbols(options["seed"]), np.random.default_rng(options["srand"])
    for symbol in chain(seed, generate(model, seed, options["count"], options["temp"], rng)):
        say(show(symbol), newline=False)
    say("")


def run_valid(cfg: str, weights: str, file: str | None, **options: Any) -> None:
    model = _load(cfg, weights, options)
    prints_bits = model.dialect.rnn_prints_bits
    score = None
    for score in scores(model, _symbols(options["seed"]), chain.from_iterable(_lines(file, BLOCK))):
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
    return text.encode("utf-8", "surrogateescape")


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def _symbol_names(tokens: str | None) -> Callable[[int], str]:
    if tokens is None:
        return lambda symbol: _text(bytes([symbol]))
    names = ["\n" if line == "<NEWLINE>" else line for line in read_text(tokens, DataError).split("\n")]

    def name(symbol: int) -> str:
        if symbol >= len(names):
            raise DataError(f"{tokens}: {len(names)} names; there is none for symbol {symbol}")
        return f"{names[symbol]} "

    return name


def _lines(path: str | None, longest: int = -1) -> Iterable[bytes]:
    """Lines of a file, or of standard input, in pieces of at most `longest` bytes."""
    stream = io.BytesIO(read_bytes(path, DataError)) if path is not None else sys.stdin and sys.stdin.buffer
    return iter(partial(stream.readline, longest), b"") if stream else ()
