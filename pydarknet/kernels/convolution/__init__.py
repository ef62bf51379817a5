"""Convolutions: direct, Winograd, bf16, NCHW input, inverted bottlenecks, and their micro-kernels."""
