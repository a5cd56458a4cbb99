"""Attribution methods side by side: what each costs, and how far it is from a reference."""

from captum_xdnn.compare.comparing import compare
from captum_xdnn.compare.comparison import Comparison, Row
from captum_xdnn.compare.methods import DEFAULT_METHODS, LAYER_METHODS

__all__ = ["DEFAULT_METHODS", "LAYER_METHODS", "Comparison", "Row", "compare"]
