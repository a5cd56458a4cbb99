"""Exact, certified and fast Integrated Gradients for Captum.

Importing this package registers ``captum.attr.XIntegratedGradients`` and its relatives; see
:func:`captum_xdnn.unregister`.
"""

from captum_xdnn import _waiting  # noqa: F401 - before torch, whose import it tells of
from captum_xdnn._version import __version__
from captum_xdnn.acceleration import accelerate_captum
from captum_xdnn.attr import (
    XIntegratedGradients,
    XInternalInfluence,
    XLayerConductance,
    XLayerIntegratedGradients,
    XNeuronConductance,
    XNeuronIntegratedGradients,
)
from captum_xdnn.errors import HomogeneityWarning, NotHomogeneousError, TraceError, XDNNError
from captum_xdnn.homogeneity import Certificate, certify, register_rule
from captum_xdnn.registration import register, unregister

__all__ = [
    "Certificate",
    "HomogeneityWarning",
    "NotHomogeneousError",
    "TraceError",
    "XDNNError",
    "XIntegratedGradients",
    "XInternalInfluence",
    "XLayerConductance",
    "XLayerIntegratedGradients",
    "XNeuronConductance",
    "XNeuronIntegratedGradients",
    "__version__",
    "accelerate_captum",
    "certify",
    "register",
    "register_rule",
    "unregister",
]

register()
