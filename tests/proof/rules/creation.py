"""Tensors made from a shape or from nothing."""

from __future__ import annotations

from rules.case import case, real

STILL = {"1": "F", "A": "F", "2": "F"}

CASES = [
    case("aten.full_like.default", real(), 2.0, table=STILL),
    case("aten.zeros_like.default", real(), table=STILL),
    case("aten.ones_like.default", real(), table=STILL),
    case("aten.zero.default", real(), table=STILL),
    case("aten.new_full.default", real(), [2, 2], 3.0, table=STILL),
    case("aten.new_zeros.default", real(), [2, 2], table=STILL),
    case("aten.new_ones.default", real(), [2, 2], table=STILL),
    case("aten.full.default", [2, 2], 3.0, table={"": "F"}),
    case("aten.arange.start_step", 0, 4, 1, table={"": "F"}),
    case("aten.scalar_tensor.default", 2.0, table={"": "F"}),
]
