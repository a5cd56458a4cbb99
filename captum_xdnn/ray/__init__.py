"""Attribution of a whole data set on Ray: ``pip install "captum-xdnn[ray]"``."""

try:
    import ray.data  # noqa: F401 - whether it is there
except ImportError as error:
    raise ImportError('captum_xdnn.ray needs Ray: pip install "captum-xdnn[ray]"') from error

from captum_xdnn.ray.attribute_dataset import attribute_dataset
from captum_xdnn.ray.attributor import Attributor, ShardSink

__all__ = ["Attributor", "ShardSink", "attribute_dataset"]
