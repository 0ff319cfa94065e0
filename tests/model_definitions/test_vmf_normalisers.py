"""The fits of the nivMF repository: their errors and slopes against the exact normaliser, as they are known."""

import pytest
import torch

from repmet.model_definitions.vmf import log_normaliser, mean_resultant_length
from repmet.model_definitions.vmf_normalisers import NORMALISERS, normaliser_at_zero, normaliser_ratio


@pytest.mark.parametrize(
    ("dim", "kappa", "error", "slope"),
    (
        (128, 10, -0.19, -0.0862),
        (128, 100, -3.5, -0.690),
        (128, 200, -40.6, -1.361),
        (128, 400, -286, -2.703),
        (512, 10, 0.03, -0.0196),
        (512, 200, -2.2, -0.388),
        (512, 400, -27, -0.775),
    ),
)
def test_errors_and_slopes_of_the_fits(dim, kappa, error, slope):
    k = torch.tensor(float(kappa), dtype=torch.float64, requires_grad=True)
    fit = normaliser_ratio(k, dim, "released") + normaliser_at_zero(dim, "released")
    assert (fit - log_normaliser(k, dim)).item() == pytest.approx(error, rel=0.02, abs=0.006)
    assert torch.autograd.grad(fit, k)[0].item() == pytest.approx(slope, abs=6e-4)
    exact = torch.autograd.grad(normaliser_ratio(k, dim), k)[0]
    assert exact.item() == pytest.approx(-mean_resultant_length(k.detach(), dim).item()) and -1 < exact < 0


def test_names():
    k = torch.linspace(0, 300, 7, dtype=torch.float64)
    torch.testing.assert_close(normaliser_ratio(k, 64) + normaliser_at_zero(64), log_normaliser(k, 64))
    for dim in (64, 256, 512):  # one fit for all but 128
        assert torch.equal(normaliser_ratio(k, dim, "released"), normaliser_ratio(k, 512, "released_512"))
    assert not torch.equal(normaliser_ratio(k, 128, "released"), normaliser_ratio(k, 128, "released_512"))
    assert all(normaliser_ratio(k, 128, name)[0] == 0 for name in NORMALISERS)
    for function in (lambda name: normaliser_ratio(k, 8, name), lambda name: normaliser_at_zero(8, name)):
        with pytest.raises(ValueError, match="exact, released, released_512, not 'url'"):
            function("url")
