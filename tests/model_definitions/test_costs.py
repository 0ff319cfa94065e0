"""The cost matrix: what is refused, what is warned of, what is left alone."""

import warnings

import pytest
import torch

from repmet.model_definitions.costs import check_costs, counted_pairs


@pytest.mark.parametrize(
    ("costs", "message"),
    [
        (torch.ones(2, 3), r"must be square, \(K, K\) with K >= 2, not \(2, 3\)"),
        (torch.ones(4), r"not \(4,\)"),
        (torch.ones(1, 1), r"not \(1, 1\)"),
        (torch.tensor([[0.0, -1.0], [1.0, 0.0]]), r"D\[0, 1\] is -1.0; a cost must be finite and not negative"),
        (torch.tensor([[0.0, 1.0], [torch.nan, 0.0]]), r"D\[1, 0\] is nan"),
        (torch.tensor([[0.0, torch.inf], [1.0, 0.0]]), r"D\[0, 1\] is inf"),
    ],
)
def test_what_is_no_matrix_of_costs(costs, message):
    with pytest.raises(ValueError, match=message):
        check_costs(costs)


def test_the_diagonal_is_ignored_and_the_callers_matrix_stays():
    matrix = torch.tensor([[-5, 2], [2, torch.nan]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        costs = check_costs(matrix)
    assert costs.tolist() == [[0, 2], [2, 0]] and matrix[0, 0] == -5
    assert check_costs(torch.tensor([[0, 3], [3, 0]])).dtype == torch.float32


def test_warnings():
    with pytest.warns(UserWarning, match="not symmetric"):
        check_costs(torch.tensor([[0.0, 1.0], [2.0, 0.0]]))
    costs = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    with pytest.warns(UserWarning, match="0 for 2 ordered pairs of classes"):
        counted = counted_pairs(check_costs(costs))
    assert counted.tolist() == [[False, False, True], [False, False, True], [True, True, False]]
    with pytest.raises(ValueError, match="no positive value"):
        counted_pairs(torch.zeros(3, 3))
