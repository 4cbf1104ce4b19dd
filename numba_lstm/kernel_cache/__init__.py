"""Compiled kernels on disk: the folder, its files, its trust rules, and the hook into numba."""
