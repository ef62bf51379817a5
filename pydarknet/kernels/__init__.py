"""Numba kernels: plain arrays in, the caller's arrays out, no objects.

Activations are float32 in blocked layout, (batch, blocks, height + 2 halo, width + 2 halo, 16): the innermost
axis
is one SIMD vector of 16 channels, lanes past the last channel are zero, and the halo round each plane is zero,
so that a convolution reads its border without a copy. Kernels see these arrays flat, as offsets in floats;
`pydarknet.tensor` knows how to lay them out.
"""

from ..runtime import numba_libraries, object_loader

numba_libraries.most_threads()  # refuses a number of threads that makes no sense, before Numba reads it
object_loader.install()
