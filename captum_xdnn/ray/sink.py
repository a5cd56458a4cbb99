"""Shards written by Ray's tasks, so that a task which Ray repeats writes the same file again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np
from ray.data import Datasink
from ray.data.block import BlockAccessor

from captum_xdnn.dataset.records import Columns, Records, Reject
from captum_xdnn.dataset.shards import write_shard
from captum_xdnn.ray.attributor import parted


class ShardSink(Datasink[int]):
    """Writes what an ``Attributor`` returns as shards, each whole or absent.

    The name of a shard is made of the ids in it: whoever writes them again replaces the file.

    Args:
        folder: A folder that all nodes see.
        shard_size: How many samples a shard should have at least, where as many are at hand.
    """

    def __init__(self, folder: str | Path, shard_size: int = 1024) -> None:
        self._folder = Path(folder)
        self._shard_size = shard_size

    @property
    def min_rows_per_write(self) -> int | None:
        """How many rows Ray puts together for one task."""
        return self._shard_size

    def write(self, blocks: Iterable[Any], ctx: Any) -> int:
        """Write blocks as one shard; Ray calls this in a task.

        Args:
            blocks: The blocks.
            ctx: Ray's context of the task.
        """
        del ctx
        records: list[Records] = []
        rejects: list[Reject] = []
        for block in blocks:
            columns = cast("Columns", BlockAccessor.for_block(block).to_numpy())
            if len(columns.get("id", ())):
                found, set_aside = parted(columns)
                records += [found] if found is not None else []
                rejects += set_aside
        ids = sorted(str(i) for r in records for i in r.ids) + sorted(str(r.id) for r in rejects)
        if not ids:
            return 0
        digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]
        whole = Records.joined([_plain(r) for r in records]) if records else None
        write_shard(self._folder, f"of-{digest}", whole, rejects)
        return len(ids)


def _plain(records: Records) -> Records:
    """Ids as NumPy's own type, whatever Ray's blocks made of them."""
    return Records({**records.columns, "id": np.array(records.ids)})
