#!/usr/bin/env bash
# Everything about GPUs in one go, in under eight minutes: tests, bits, times beside torch's cuDNN, whole commands.
# Writes benchmarks/results/gpu/DATE-CARD.json; goes on to its end where parts fail, and says which.
#   PYTHON=.venv/bin/python bash benchmarks/gpu_check.sh [--tiny] [--seconds N] [-o FILE]
# That Python wants: pip install -e '.[test,cuda]', and for all parts torch, 'cuda-toolkit==13.0.*' 'nvidia-cuda-nvcc==13.0.*'.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
exec "${PYTHON:-python3}" -m benchmarks.gpu "$@"
