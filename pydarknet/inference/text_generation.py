"""Recurrent networks on text: generate a continuation, measure perplexity, compute vectors."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DataError, OptionError
from ..layers.losses import Softmax
from ..network.network import Network
from ..utils.arrays import Array
from .finite import require_finite

NEGLIGIBLE = np.float32(0.0001)  # symbols with a lower probability are never drawn
BLANKS = frozenset(b" \n\t")  # symbols that end a word
STRIPPED = b" \t\n\r"  # symbols that are removed from a line before its vector is computed
END = ord(" ")  # the symbol read after a line


class SymbolPredictor:
    """A network that reads one symbol after another and predicts the next. Raises OptionError unless the network
    has as many outputs as inputs."""

    def __init__(self, network: Network) -> None:
        self.network, self.alphabet = network, network.input.outputs
        given = network.layers[network.output_index].shape.outputs
        if given != self.alphabet:
            raise OptionError(
                f"{network.path}: found {given} outputs and {self.alphabet} inputs; expected as many, to predict text"
            )
        self._x = np.zeros((1, self.alphabet), np.float32)
        self.reset()

    def reset(self) -> None:
        """Reset the recurrent state."""
        self.network.reset_state()

    def read(self, symbol: int) -> Array:
        """The probabilities (alphabet,) of the next symbol. Raises DataError, DivergedError."""
        (probabilities,) = self.network.forward(self._input(symbol))
        require_finite(self.network, self._x, [probabilities])
        return probabilities.reshape(-1)

    def first_output(self, symbol: int) -> Array:
        """Read another symbol. Returns the output (outputs,) of the first layer. Raises DataError as `read`."""
        output = self.network.layer_outputs(self._input(symbol))[0]
        assert output is not None  # only costs have none, and they are not first
        return output.reshape(-1)

    def _input(self, symbol: int) -> Array:
        self.check(symbol)
        self._x.fill(0)
        self._x[0, symbol] = 1
        return self._x

    def check(self, symbol: int) -> None:
        """Raise DataError for a symbol for which the network has no input."""
        if not 0 <= symbol < self.alphabet:
            raise DataError(f"Out of range character {symbol}; the network takes 0 to {self.alphabet - 1}")

    def read_all(self, symbols: Iterable[int]) -> None:
        """Read one symbol after another."""
        for symbol in symbols:
            self.read(symbol)


def generate(
    network: Network, seed: Sequence[int], count: int, temperature: float, rng: np.random.Generator
) -> Iterator[int]:
    """`count` symbols that follow the seed, each drawn from the network's probabilities.

    temperature: that of the softmax layers; below 1, probable symbols become more probable. An empty seed counts
    as symbol 0. Raises OptionError and DataError.
    """
    if not temperature > 0:
        raise OptionError(f"temperature {temperature}: expected a number above 0")
    predictor = SymbolPredictor(network)
    for layer in network.layers:
        if isinstance(layer, Softmax):
            layer.temperature = temperature
    *former, symbol = seed or [0]
    predictor.read_all(former)
    for _ in range(count):
        symbol = draw(predictor.read(symbol), rng)
        yield symbol


def draw(probabilities: Array, rng: np.random.Generator) -> int:
    """A random index with these probabilities, where negligible ones count as 0; the last one if all are."""
    kept = np.where(probabilities < NEGLIGIBLE, np.float32(0), probabilities)
    total = np.cumsum(kept, dtype=np.float64)
    return min(int(np.searchsorted(total, rng.random() * total[-1], side="right")), len(kept) - 1)


@dataclass(frozen=True)
class Score:
    """The score of the prediction of a text so far."""

    count: int  # symbols
    words: int
    bits: float  # per symbol, on average

    @property
    def perplexity(self) -> float:
        return _power(self.bits)

    @property
    def word_perplexity(self) -> float:
        return _power(self.bits * self.count / self.words)


def _power(bits: float) -> float:
    return 2.0**bits if bits < 1024 else math.inf


def scores(network: Network, seed: Sequence[int], text: Iterable[int]) -> Iterator[Score]:
    """The score after each symbol of a text but the first.

    The seed is read first and not scored. Sums are float32, as in darknet. Raises OptionError and DataError.
    """
    predictor = SymbolPredictor(network)
    predictor.read_all(seed)
    symbols = iter(text)
    symbol = next(symbols, None)
    if symbol is None:
        return
    total, words = np.float32(0), 1
    for count, following in enumerate(symbols, start=1):
        probabilities = predictor.read(symbol)
        predictor.check(following)
        chance = float(probabilities[following])
        total = np.float32(total + (math.log(chance) if chance > 0 else -math.inf) / np.float32(math.log(2)))
        words += following in BLANKS
        yield Score(count, words, -float(total) / count)
        symbol = following


def vectors(network: Network, seed: Sequence[int], lines: Iterable[bytes]) -> Iterator[tuple[bytes, Array]]:
    """Each line without spaces, and the first layer's output (outputs,) after the seed, the line and a space."""
    predictor = SymbolPredictor(network)
    for line in lines:
        stripped = line.translate(None, STRIPPED)
        predictor.reset()
        predictor.read_all([*seed, *stripped])
        yield stripped, predictor.first_output(END)
