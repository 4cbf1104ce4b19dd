"""Compiled kernels on disk: the folder, the files in it, whom it is trusted from, and numba's way to it."""
