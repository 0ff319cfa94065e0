"""The log-normalisers of a von Mises-Fisher distribution by name: the exact one, and the fits of the nivMF repository.

    exact         `model_definitions.vmf`
    released      127 - 0.01909 k - 0.003355 k^2 for D = 128, else 868 - 0.0002662 k - 0.0009685 k^2, a fit for D = 512
    released_512  the latter for any D, as its nivMF of points and its KL divergence have it

The fits are there to compare with. Their slopes fall below -1, which no normaliser's does: at D = 128, kappa = 200 the slope
is -1.36 where -0.73 is right, and the value 41 nats too low. They penalise who is certain.
"""

from torch import Tensor

from repmet.errors import UserError
from repmet.model_definitions.vmf import log_normaliser_at_zero, log_normaliser_ratio

NORMALISERS = ("exact", "released", "released_512")
_FITS = {128: (127.0, 0.01909, 0.003355), 512: (868.0, 0.0002662, 0.0009685)}  # constant, and minus those of k and k^2


def normaliser_ratio(kappa: Tensor, dim: int, name: str = "exact") -> Tensor:
    """`log C(kappa) - log C(0)` of a name; shape and type of `kappa`.

    Raises:
        ValueError: an unknown name, `dim` below 2.
    """
    _check(name)
    if name == "exact":
        return log_normaliser_ratio(kappa, dim)
    _, linear, square = _fit(dim, name)
    return -linear * kappa - square * kappa.square()


def normaliser_at_zero(dim: int, name: str = "exact") -> float:
    """`log C(0)` of a name.

    Raises:
        ValueError: an unknown name, `dim` below 2.
    """
    _check(name)
    return log_normaliser_at_zero(dim) if name == "exact" else _fit(dim, name)[0]


def _fit(dim: int, name: str) -> tuple[float, float, float]:
    return _FITS[128 if dim == 128 and name == "released" else 512]


def _check(name: str) -> None:
    if name not in NORMALISERS:
        raise UserError(f"the normaliser of a vMF is {', '.join(NORMALISERS)}, not {name!r}")
