"""The public address of the analysis: proves how every tensor of a network moves along the ray."""

from captum_xdnn.proof import laws as laws
from captum_xdnn.proof import rules  # noqa: F401 - importing them registers them
from captum_xdnn.proof.certificate import Certificate
from captum_xdnn.proof.domain import Affine, Fixed, Motion, Power, Unknown
from captum_xdnn.proof.findings import Blocker
from captum_xdnn.proof.operand import Operand
from captum_xdnn.proof.registry import register_rule, unregister_rule
from captum_xdnn.routes.certification import certify

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
