"""Random networks of all layer types: built, run and trained for two steps, as they are or with changed options."""

import json
import re
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from support.networks import randomise
from support.random_networks import ACTIVATIONS, RandomNetwork, random_network

from fuzz.mutate import mutated
from pydarknet.config.dialect import DIALECTS
from pydarknet.config.sections import parse_config
from pydarknet.network.network import Network
from pydarknet.training.learner import Learner

LONGEST = 14  # pixels of a side: small, for many cases
_VALUE = re.compile(r"(?<==)[^\n,]+")
NUMBERS = ["0", "1", "2", "3", "5", "7", "16", "17", "-1", "-2", ".5", "1e-30", "1e30", "40"]


def seeds() -> list[bytes]:
    """A network; `other` puts another one in its place."""
    return [_as_bytes(_marked(0))]


def other(content: bytes, rng: np.random.Generator) -> bytes:
    """Another random network, half of them with changed options, orders of sections, or damaged text."""
    network = _marked(int(rng.integers(1 << 40)))
    kind = int(rng.integers(8))
    if kind < 3:
        for _ in range(int(rng.integers(1, 4))):
            network = _with(network, _other_value(network.text, rng))
    elif kind == 3:
        head, *sections = network.text.split("\n[")
        rng.shuffle(sections)
        network = _with(network, "\n[".join([head, *sections]))
    elif kind == 4:
        text = mutated(network.text.encode(), rng, 1).decode("utf-8", "replace")
        network = _with(network, text)
    return _as_bytes(network)


def read(content: bytes) -> None:
    """Forward and backward; without changes of the text, outputs of finite numbers are finite."""
    network = _from_json(json.loads(content))
    with np.errstate(all="ignore"):  # absurd options make absurd numbers
        model = _built(network)
        shape = model.input_shape
        x = np.random.default_rng(1).random((network.batch, *shape), np.float32)
        outputs = model.forward(x)
        repeated = [a for a in model.layer_outputs(x) if a is not None]
        if network == _same(network):
            for output in [*outputs, *repeated]:
                assert np.isfinite(output).all(), "NaN out of finite numbers"
        learner = Learner(_built(network))
        last = learner.network.layers[-1]
        truth = network.targets(1, last.inputs[0].outputs, network.batch)
        for _ in range(2):
            learner.step(x, truth)


def _from_json(fields: dict[str, Any]) -> RandomNetwork:
    return RandomNetwork(**(fields | {"shape": tuple(fields["shape"])}))


def _built(network: RandomNetwork) -> Network:
    model = Network(parse_config("net.cfg", network.text), DIALECTS[network.dialect], batch=network.batch)
    randomise(model)
    return model


def _same(network: RandomNetwork) -> RandomNetwork:
    """The network as it was drawn from the seed in its first line."""
    return _marked(int(found[1])) if (found := re.match(r"# (\d{1,15})\n", network.text)) else _with(network, "")


def _marked(seed: int) -> RandomNetwork:
    network = random_network(seed, LONGEST)
    return _with(network, f"# {seed}\n{network.text}")


def _with(network: RandomNetwork, text: str) -> RandomNetwork:
    return replace(network, text=text)


def _other_value(text: str, rng: np.random.Generator) -> str:
    values = list(_VALUE.finditer(text))
    if not values:
        return text
    match = values[int(rng.integers(len(values)))]
    words = ACTIVATIONS if match[0] in ACTIVATIONS else NUMBERS
    return text[: match.start()] + words[int(rng.integers(len(words)))] + text[match.end() :]


def _as_bytes(network: RandomNetwork) -> bytes:
    return json.dumps(asdict(network)).encode()
