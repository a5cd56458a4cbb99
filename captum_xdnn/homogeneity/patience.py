"""When to stop tracing: a function that was refused in several shapes will be in the next."""

from __future__ import annotations

from captum_xdnn.homogeneity.blocker import Blocker
from captum_xdnn.homogeneity.certificate import Certificate

SHAPES = 4
"""So many new shapes in a row are traced in vain before most others are left to Captum."""


class Patience:
    """Whether one more new shape of a function is worth tracing.

    Texts have a new shape at almost every call, and tracing a transformer may take as long as
    explaining it. A verdict rarely hangs on the shape, so after ``SHAPES`` that were refused only
    the 8th, the 16th, the 32nd and so on are traced: the price of ``n`` shapes is that of
    ``log n``, and a function that is refused in some shapes only is found out in the end.
    """

    def __init__(self) -> None:
        self._in_vain = 0
        self._verdict: Certificate | None = None

    def is_left(self) -> bool:
        """Whether to trace; each new shape is to be asked about once."""
        if self._in_vain < SHAPES:
            return True
        self._in_vain += 1
        return self._in_vain & (self._in_vain - 1) == 0

    def learn(self, certificate: Certificate) -> None:
        """Note what came of tracing a new shape."""
        if certificate.homogeneous or certificate.speed_up > 1:
            self._in_vain = 0
            return
        if self._in_vain < SHAPES:
            self._in_vain += 1
        last = certificate.blockers[0]
        reason = (
            f"calls of {SHAPES} other shapes were refused, the last because of "
            f"{last.where}: {last.reason}; this shape has not been looked at"
        )
        remedy = "certify() and strategy='single_pass' look at every shape"
        self._verdict = Certificate.refused(Blocker("input", "", "", "", reason, remedy))

    def is_verdict(self, certificate: Certificate) -> bool:
        """Whether a certificate is that of the shapes that are not traced."""
        return certificate is self._verdict

    def verdict(self) -> Certificate:
        """The certificate of the shapes that are not traced."""
        if self._verdict is None:
            message = "every shape is traced until some were refused"
            raise RuntimeError(message)
        return self._verdict
