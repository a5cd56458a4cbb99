"""What is kept of attributions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from captum_xdnn.dataset import SumChannels, TopK
from captum_xdnn.dataset.reductions import Dense


def test_all_of_it() -> None:
    one, two = torch.randn(3, 4), torch.randn(3, 2, 5)
    np.testing.assert_array_equal(Dense()((one,))["attribution"], one.numpy())
    columns = Dense()((one, two))
    assert list(columns) == ["attribution_0", "attribution_1"]
    np.testing.assert_array_equal(columns["attribution_1"], two.numpy())
    half = Dense()((one.bfloat16(),))["attribution"]
    assert half.dtype == np.float32  # NumPy has no bfloat16


def test_the_sum_over_channels() -> None:
    maps = torch.randn(2, 3, 4, 5)
    columns = SumChannels()((maps,))
    np.testing.assert_allclose(columns["attribution"], maps.numpy().sum(1), rtol=1e-6)
    with pytest.raises(ValueError, match=r"found \(2, 3\)"):
        SumChannels()((maps[:, :, 0, 0],))


def test_the_largest_entries() -> None:
    maps = torch.randn(4, 2, 3, 3)
    columns = TopK(5)((maps,))
    flat = maps.reshape(4, -1).numpy()
    for row in range(4):
        order = np.argsort(-np.abs(flat[row]), kind="stable")[:5]
        np.testing.assert_array_equal(columns["place"][row], order)
        np.testing.assert_array_equal(columns["attribution"][row], flat[row][order])
    assert columns["place"].dtype == np.int32


def test_equal_entries_come_in_the_order_of_their_places() -> None:
    columns = TopK(3)((torch.tensor([[0.0, 1.0, -1.0, 1.0]]),))
    assert columns["place"].tolist() == [[1, 2, 3]]


def test_more_than_there_are() -> None:
    assert TopK(9)((torch.ones(2, 4),))["attribution"].shape == (2, 4)
    with pytest.raises(ValueError, match="positive"):
        TopK(0)
    assert repr(TopK(3)) == "TopK(k=3)"
    columns = TopK(1)((torch.ones(2, 4), torch.ones(2, 3)))
    assert list(columns) == ["attribution_0", "place_0", "attribution_1", "place_1"]
