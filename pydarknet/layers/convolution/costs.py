"""What the parts of Winograd's method cost on this kind of machine, for the cut of its work."""

from __future__ import annotations

from dataclasses import dataclass

from ...kernels.convolution.microkernel import ROWS


@dataclass(frozen=True)
class Costs:
    """Costs are in multiply-adds of one SIMD vector, amounts in floats. They were fitted to the times of all cuts of
    some forty layers, whose filters came from memory as they do in a network.

    patch, product: of a vector of a patch, and of one of a product. shared_filter, memory_filter: of a float of filters
    from the cache of all cores, which keeps `shared` of them while tasks read them again and again, and from memory.
    far: of a float of patches, where patches and products in flight are more than `near`. largest: patches of a worker,
    unless they fit one product. at_once: groups of filters to choose from; fewer read the patches of a point more
    often, more write further products. uneven: of a task, how long the other workers wait for the last one.
    compact: the most tiles for which `kernels/convolution/int24.py` pays, where filters are larger than LARGE; more
    need a filter for longer than memory needs to give it.
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
    compact: int


# Measured on Zen 3; for NEON too.
AVX2 = Costs(
    patch=7.0, product=7.0, shared_filter=0.05, memory_filter=0.6, far=0.1, near=96 << 10, shared=2 << 20,
    largest=1 << 20, at_once=(2, 4), uneven=0.3, compact=0,
)  # fmt: skip

# Measured on Zen 5, where products take half the time and the rest does not.
AVX512 = Costs(
    patch=8.7, product=1.8, shared_filter=0.27, memory_filter=1.6, far=0.145, near=160 << 10, shared=1760 << 10,
    largest=464 << 10, at_once=(1, 2), uneven=0.5, compact=16,
)  # fmt: skip

LARGE = 1 << 20  # floats of filters that no cache holds until the next pass

COSTS = AVX512 if ROWS == 2 else AVX2
