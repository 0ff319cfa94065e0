"""Compiled RoI layers: `setup.py` puts `_cpu.so` (and `_cuda.so`) here; `model_definitions.roi_layers` loads them."""

if __name__ == "csrc":  # `python -m csrc...` in a checkout
    from repmet.one_name import unify

    unify(__name__)
