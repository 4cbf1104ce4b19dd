"""The maths and the loops, compiled by numba: see cpu.py for the kernels and equations.py for what they compute."""
