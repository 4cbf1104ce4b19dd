"""This project beside other libraries, on any machine: the basis of `numba-lstm bench` and of benchmarks/."""
