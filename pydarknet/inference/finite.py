"""A timed pass; outputs that are not finite: a cheap check after each pass, a slow search for the cause, once."""

import math
from collections.abc import Sequence
from weakref import WeakSet

import numpy as np

from ..errors import DivergedError
from ..network.network import Network
from ..runtime.compile_time import clock
from ..utils.arrays import Array
from ..utils.files import log

_warned: WeakSet[Network] = WeakSet()


def timed_forward(network: Network, x: Array) -> tuple[list[Array], float]:
    """`network.forward(x)` and its seconds, without those of preparing the network for another size of input."""
    network.prepare(x.shape)
    start = clock()
    outputs = network.forward(x)
    return outputs, clock() - start


def all_finite(outputs: Sequence[Array]) -> bool:
    """Whether no value is NaN or infinite.

    The sum of an array is finite only if all its values are, and takes one pass over memory; the exact check is
    needed only if the sum itself overflows.
    """
    with np.errstate(all="ignore"):
        return all(math.isfinite(float(array.sum())) or bool(np.isfinite(array).all()) for array in outputs)


def require_finite(network: Network, x: Array, outputs: Sequence[Array]) -> None:
    """Raise DivergedError, which names the first such layer, if the outputs of `network.forward(x)` are not finite."""
    if not all_finite(outputs):
        raise DivergedError(explain(network, x))


def warn_if_not_finite(network: Network, x: Array, outputs: Sequence[Array]) -> None:
    """Log a warning, once for each network, if the outputs of `network.forward(x)` are not finite."""
    if network not in _warned and not all_finite(outputs):
        _warned.add(network)
        log.warning("%s", explain(network, x))


def explain(network: Network, x: Array) -> str:
    """Run all layers again for the input `x` and name the first one whose output or parameters are not finite."""
    if not np.isfinite(x).all():
        return f"{network.path}: the input holds values that are not finite"
    for index, output in enumerate(network.layer_outputs(x)):
        if output is None or np.isfinite(output).all():
            continue
        layer = network.layers[index]
        wrong = np.count_nonzero(~np.isfinite(output))
        text = f"layer {index} [{layer.kind}] gives {wrong} of {output.size} values that are not finite"
        faulty = [each for each in layer.parameters() if not np.isfinite(each).all()]
        cause = "its own parameters are not finite: the weights file is damaged or its training diverged"
        return f"{network.path}: {text}; {cause if faulty else 'its parameters are finite, so a sum overflowed'}"
    return f"{network.path}: the output holds values that are not finite"
