"""Building blocks of networks that are nonnegatively homogeneous."""

from captum_xdnn.nn.homogenized import Homogenized
from captum_xdnn.nn.uncentered_batch_norm import (
    ChannelScale,
    UncenteredBatchNorm,
    UncenteredBatchNorm1d,
    UncenteredBatchNorm2d,
    UncenteredBatchNorm3d,
)

__all__ = [
    "ChannelScale",
    "Homogenized",
    "UncenteredBatchNorm",
    "UncenteredBatchNorm1d",
    "UncenteredBatchNorm2d",
    "UncenteredBatchNorm3d",
]
