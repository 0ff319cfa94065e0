"""Compiled RoI layers: `setup.py` puts `_cpu.so` (and `_cuda.so`) here; `model_definitions.roi_layers` loads them."""
