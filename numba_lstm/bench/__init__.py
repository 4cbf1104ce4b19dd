"""This project beside other libraries, on any machine: what `numba-lstm bench` runs, and benchmarks/ builds on."""
