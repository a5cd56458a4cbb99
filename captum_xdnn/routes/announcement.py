"""Which route a call took, told once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from captum_xdnn.routes.known_functions import Memory, root_of
from captum_xdnn.routes.request import SLOWER, Outcome

logger = logging.getLogger("captum_xdnn")

NOTICE = (
    "%s: %s. print(captum_xdnn.certify(function, inputs)) says where and what to do about it; "
    'logging.getLogger("captum_xdnn").setLevel("ERROR") silences this notice'
)
_noticed: dict[str, object] = {}
"""Names of the kinds of functions of which a notice was given."""


def announce(function: Callable[..., Any], memory: Memory, outcome: Outcome) -> None:
    """Say which route is taken: once per function, and again when the verdict turns.

    That it is Captum's is a notice (WARNING) at the first call of each kind of function: nobody asked for it.
    """
    certificate = outcome.certificate
    slow = outcome.route == "captum" and outcome.refusal != SLOWER
    told = slow or logger.isEnabledFor(logging.INFO)
    if certificate is None or outcome.timed is not None or not told:
        return
    if outcome.route == "single_pass":
        said = f"single pass, exact (degree {certificate.degree})"
    elif outcome.route == "hoisted":
        said = f"hoisted, {certificate.trunk_share:.1%} of the operations run once"
    else:
        first = certificate.blockers[0] if certificate.blockers else None
        why = outcome.refusal or (f"{first.where}: {first.reason}" if first else "what was found")
        said = f"Captum's Integrated Gradients, because of {why}"
    if said == memory.announced:
        return
    memory.announced = said
    root = root_of(function)
    name = str(getattr(root, "__qualname__", "") or type(root).__name__)
    mine = object()
    if slow and outcome.ran and _noticed.setdefault(name, mine) is mine:
        logger.warning(NOTICE, name, said)
    else:
        logger.info("%s: %s", name, said)
