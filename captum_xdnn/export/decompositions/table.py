"""The table: ours for what torch has no decomposition of, torch's own for the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from captum_xdnn._torch import OpOverload, decomposition_table
from captum_xdnn.export.decompositions import by_dimension, choosing, convolutions

OURS: dict[OpOverload, Callable[..., Any]] = {
    **convolutions.DECOMPOSITIONS,
    **by_dimension.DECOMPOSITIONS,
    **choosing.DECOMPOSITIONS,
}
TORCHS: dict[OpOverload, Callable[..., Any]] = {
    op: how
    for op, how in decomposition_table.items()
    if isinstance(op, OpOverload)
    and "_backward" in op._schema.name
    and not str(op).endswith(".out")
}
TABLE = {**TORCHS, **OURS}
