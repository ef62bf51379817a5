"""Kernels that only training needs: gradients, batch statistics, updates."""
