"""Shards written by Ray's tasks, so that a task which Ray repeats writes the same file again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ray.data import Datasink
from ray.data.block import BlockAccessor

from captum_xdnn.dataset.ids import id_array, type_of_array
from captum_xdnn.dataset.records import Records, Reject
from captum_xdnn.dataset.shards import write_shard
from captum_xdnn.ray.attributor import ERROR


class ShardSink(Datasink[int]):
    """Writes what an ``Attributor`` returns as shards, each whole or absent.

    The name of a shard is made of the ids in it: whoever writes them again replaces the file.

    Args:
        folder: A folder that all nodes see.
        shard_size: How many samples a shard should have at least, where as many are at hand.
        id_type: Of the column of ids: ``"int64"``, ``"uint64"`` or ``"string"``; None for that of
            the blocks.
    """

    def __init__(
        self, folder: str | Path, shard_size: int = 1024, id_type: str | None = None
    ) -> None:
        self._folder = Path(folder)
        self._shard_size = shard_size
        self._id_type = id_type

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
        parts = [BlockAccessor.for_block(block).to_numpy() for block in blocks]
        parts = [part for part in parts if len(part.get("id", ()))]
        if not parts:
            return 0
        columns = Records.joined([Records(part) for part in parts]).columns
        # NumPy's own types again, whatever Ray's blocks made of them.
        errors = columns.pop(ERROR).astype(str)
        given = columns["id"]
        id_type = self._id_type or type_of_array(given)
        columns["id"] = id_array(given.tolist(), id_type)
        columns["route"] = columns["route"].astype(str)
        fine = errors == ""
        records = Records({name: column[fine] for name, column in columns.items()})
        ids = columns["id"][~fine].tolist()
        rejects = [Reject(i, str(e)) for i, e in zip(ids, errors[~fine], strict=True)]
        named = sorted(map(repr, records.ids)) + sorted(map(repr, ids))
        digest = hashlib.sha256("\n".join(named).encode()).hexdigest()[:16]
        kept = records if fine.any() else None
        write_shard(self._folder, f"of-{digest}", kept, rejects, id_type)
        return len(named)
