"""Ordinary modules trained by programs written from their torch code, beside PyTorch and JAX; their CUDA kernels."""
