"""Texts of small networks, and parameters for them."""

import numpy as np


def net(channels=3, height=8, width=8):
    """The [net] section of a network for pictures of that size."""
    return f"[net]\nchannels={channels}\nheight={height}\nwidth={width}\n"


def randomise(network, seed=1):
    """Give every parameter a value with which no layer's output vanishes or explodes."""
    rng = np.random.default_rng(seed)
    for layer in network.layers:
        for record in layer.named_parameters():
            shape, kind = record.array.shape, record.name.rpartition(".")[2]
            if kind in ("scales", "rolling_variance"):
                numbers = rng.uniform(0.5, 1.5, shape)
            elif kind == "weights" and len(shape) > 1:
                numbers = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
            else:
                numbers = rng.standard_normal(shape)
            record.array[:] = numbers
    network.parameters_changed()
