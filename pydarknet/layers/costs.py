"""What the parts of Winograd's method cost on this kind of machine, for the cut of its work."""

from __future__ import annotations

from dataclasses import dataclass

from ..kernels.tile import ROWS


@dataclass(frozen=True)
class Costs:
    """Costs are in multiply-adds of one SIMD vector, amounts in floats. They were fitted to the times of all cuts of
    some forty layers, whose filters came from memory as they do in a network.

    patch, product: of a vector of a patch, and of one of a product. shared_filter, memory_filter: of a float of filters
    from the cache of all cores, which keeps `shared` of them while tasks read them again and again, and from memory.
    far: of a float of patches, where patches and products in flight are more than `near`. largest: patches of a worker,
    unless they fit one product. at_once: groups of filters to choose from; fewer read the patches of a point more
    often, more write further products. uneven: of a task, how long the other workers wait for the last one.
    """

    patch: float
    product: float
    shared_filter: float
    memory_filter: float
    far: float
    near: int
    shared: int
    largest: int
    at_once: tuple[int, ...]
    uneven: float


# Measured on Zen 3, with AVX2.
NARROW = Costs(7.0, 7.0, 0.05, 0.6, 0.1, 96 << 10, 2 << 20, 1 << 20, (2, 4), 0.3)

# Measured on Zen 5, with AVX-512, where products take half the time and the rest does not.
WIDE = Costs(8.7, 1.8, 0.27, 1.6, 0.145, 160 << 10, 1760 << 10, 464 << 10, (1, 2), 0.5)

COSTS = WIDE if ROWS == 2 else NARROW
