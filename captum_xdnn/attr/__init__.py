"""Attribution methods with Captum's interface and faster routes."""

from captum_xdnn.attr.integrated_gradients import XIntegratedGradients

__all__ = ["XIntegratedGradients"]
