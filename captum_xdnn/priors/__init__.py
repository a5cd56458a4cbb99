"""Losses on attributions: what an explanation should look like, as a term of training.

Each is a pure function of attributions that were computed with ``create_graph=True``; lower is what
the prior wants; the value does not depend on the size of the batch.
"""

from captum_xdnn.priors.expected_gradients import expected_gradients
from captum_xdnn.priors.losses import (
    energy_guidance,
    gini_sparsity,
    l1,
    right_for_the_right_reasons,
    total_variation,
)

__all__ = [
    "energy_guidance",
    "expected_gradients",
    "gini_sparsity",
    "l1",
    "right_for_the_right_reasons",
    "total_variation",
]
