"""The rules of Keras: dialects, configuration, serialization, initializers, regularizers, constraints, dropout masks.

Nothing here computes a layer; nothing here imports numba.
"""
