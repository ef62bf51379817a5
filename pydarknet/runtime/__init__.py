"""How compiled kernels are cached, loaded without Numba, spread over threads, and run one after another."""
