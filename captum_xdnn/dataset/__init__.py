"""Attribution of a whole data set: resumable, to Parquet shards."""

from captum_xdnn.dataset.attribute_dataset import Run, attribute_dataset
from captum_xdnn.dataset.parquet import read_shards
from captum_xdnn.dataset.records import Records, Reject
from captum_xdnn.dataset.reductions import SumChannels, TopK
from captum_xdnn.dataset.shards import ParquetShards

__all__ = [
    "ParquetShards",
    "Records",
    "Reject",
    "Run",
    "SumChannels",
    "TopK",
    "attribute_dataset",
    "read_shards",
]
