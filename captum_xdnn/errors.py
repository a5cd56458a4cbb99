"""The errors and the warning of this package."""

from __future__ import annotations


class XDNNError(Exception):
    """Base class of every error that only this package raises."""


class NotHomogeneousError(XDNNError):
    """A single pass was demanded, and the certificate does not allow it.

    The message is the certificate's report and names every blocker.
    """


class TraceError(XDNNError):
    """A function could not be traced into one functional graph."""


class HomogeneityWarning(UserWarning):
    """What was hoped to be homogeneous is not.

    A call contradicted a certificate, which is dropped, and Captum's answer was returned; or
    ``to_xdnn`` returns a network that is not certified.
    """
