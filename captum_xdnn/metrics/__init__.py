"""Measures of attributions and of what they explain; none needs more than the function.

``infidelity`` and ``sensitivity_max`` are Captum's, in ``captum.metrics``.
"""

from captum_xdnn.metrics.contrast import ContrastInvariance, contrast_invariance
from captum_xdnn.metrics.convergence import Convergence, convergence
from captum_xdnn.metrics.deletion import single_deletion_score
from captum_xdnn.metrics.difference import attribution_difference, rank_correlation
from captum_xdnn.metrics.masking import MaskingCurve, masking_curve, masking_figure

__all__ = [
    "ContrastInvariance",
    "Convergence",
    "MaskingCurve",
    "attribution_difference",
    "contrast_invariance",
    "convergence",
    "masking_curve",
    "masking_figure",
    "rank_correlation",
    "single_deletion_score",
]
