"""How calls of kernels are made on a device: one folder a device, of the same shape."""
