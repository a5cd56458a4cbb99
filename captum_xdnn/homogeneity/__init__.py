"""The homogeneity engine: proves how every tensor of a network moves along the ray.

It knows nothing of Captum.
"""

from captum_xdnn.homogeneity import rules  # noqa: F401 - importing them registers them
from captum_xdnn.homogeneity.blocker import Blocker
from captum_xdnn.homogeneity.certificate import Certificate
from captum_xdnn.homogeneity.certification import certify
from captum_xdnn.homogeneity.motion import Affine, Fixed, Motion, Power, Unknown
from captum_xdnn.homogeneity.operand import Operand
from captum_xdnn.homogeneity.registry import register_rule, unregister_rule

__all__ = [
    "Affine",
    "Blocker",
    "Certificate",
    "Fixed",
    "Motion",
    "Operand",
    "Power",
    "Unknown",
    "certify",
    "register_rule",
    "unregister_rule",
]
