"""Few-shot detection and classification by learned representatives (RepMet).

The trees `classification`, `detection`, `model_definitions`, `experiments`, `data` and `benchmarks` are sub-packages of this
one. In a checkout they lie beside this folder, and the path below leads there; a wheel holds them inside.
"""

from pathlib import Path

_checkout = Path(__file__).resolve().parent.parent
if (_checkout / "setup.py").is_file() and (_checkout / "csrc").is_dir():
    __path__.append(str(_checkout))
