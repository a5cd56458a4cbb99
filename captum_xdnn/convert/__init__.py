"""Making a network nonnegatively homogeneous, so that one pass explains it exactly."""

from captum_xdnn.convert.conversion import Change, Conversion
from captum_xdnn.convert.initialisation import kaiming_normal_
from captum_xdnn.convert.to_xdnn import to_xdnn

__all__ = ["Change", "Conversion", "kaiming_normal_", "to_xdnn"]
