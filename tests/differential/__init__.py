"""Random models in the real Keras and here: `models` draws them, `keras_side` runs in Keras's own interpreter, `judge`
compares, and the module itself is the command: ``python -m differential --help``."""
