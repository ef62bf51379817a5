"""Run random networks between guard pages: python -m support.guarded_run FIRST COUNT [AT ...]

Each network computes forward with and without the memory of its layers shared, forward with all outputs kept, and some
steps of training; `AT` is where arrays touch their guard page, "end" and "start" by default. Outputs must be those of
an unguarded pass, bit by bit. The last line on stdout names the network at work, so that whoever starts this process
knows the seed when the process dies of a fault.
"""

import faulthandler
import logging
import sys

import numpy as np

from pydarknet.config.dialect import DIALECTS
from pydarknet.config.sections import parse_config
from pydarknet.errors import DarknetError
from pydarknet.network.network import Network
from pydarknet.training.learner import Learner

from .guard import guarded
from .networks import randomise
from .random_networks import RandomNetwork, random_network


def built(case: RandomNetwork) -> Network:
    """The network of a case, with random parameters."""
    config = parse_config("net.cfg", case.text)
    network = Network(config, DIALECTS[case.dialect], batch=case.batch)
    randomise(network)
    return network


def passes(case: RandomNetwork, seed: int) -> list[np.ndarray | None]:
    """All outputs of inference passes, at the batch of the case and for one picture."""
    network, found = built(case), list[np.ndarray | None]()
    for batch in dict.fromkeys((case.batch, 1)):
        x = case.input(seed, batch)
        network.reset_state()
        found += network.forward(x)
        network.reset_state()
        found += network.layer_outputs(x)
    return found


def steps(case: RandomNetwork, seed: int) -> list[float]:
    """The losses of two steps of training, the second at the parameters that the first left."""
    network = built(case)
    learner = Learner(network)
    outputs = network.layers[-1].inputs[0].outputs
    truth = case.targets(seed, outputs, case.batch)
    return [learner.step(case.input(seed), truth) for _ in range(2)]


def run(seed: int, places: list[str]) -> str:
    """What happened to the network of a seed: "ok", or the one line in which it was refused."""
    case, trained = random_network(seed), True
    with np.errstate(all="ignore"):
        try:
            expected = passes(case, seed)
        except DarknetError as error:
            return str(error)
        try:
            losses = steps(case, seed)
        except DarknetError as error:
            print(f"{seed} is not trained: {error}", file=sys.stderr)
            trained = False
        for at in places:
            with guarded(at):
                for index, (a, b) in enumerate(zip(passes(case, seed), expected, strict=True)):
                    same = a is b or (a is not None and b is not None and np.array_equal(a, b, equal_nan=True))
                    assert same, f"seed {seed}, {at}: output {index} differs"
                if trained:
                    found = steps(case, seed)
                    assert np.array_equal(found, losses, equal_nan=True), f"seed {seed}, {at}: {found}, not {losses}"
    return "ok"


def main() -> None:
    faulthandler.enable()
    logging.disable(logging.WARNING)
    first, count, *places = sys.argv[1:]
    refused = 0
    for seed in range(int(first), int(first) + int(count)):
        print(seed, flush=True)
        outcome = run(seed, places or ["end", "start"])
        if outcome != "ok":
            refused += 1
            print(f"{seed} refused: {outcome}", file=sys.stderr)
    print(f"done {count} refused {refused}", flush=True)


if __name__ == "__main__":
    main()
