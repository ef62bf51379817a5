"""How a release is made: compiled kernels of all levels of processors, and the wheel that holds them."""
