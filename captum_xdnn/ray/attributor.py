"""What runs in Ray: ``Attributor`` in its actors, ``ShardSink`` in the tasks that write.

A task that Ray repeats writes the same file again.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from ray.data import Datasink
from ray.data.block import BlockAccessor
from torch.utils.data import default_collate

from captum_xdnn.dataset.attributing import Attributing
from captum_xdnn.dataset.ids import Id, id_array, ids_of, planned, type_of, type_of_array
from captum_xdnn.dataset.loading import Batch, Collate, Fetched, fetch
from captum_xdnn.dataset.records import NONE, SCALARS, Columns, Form, Records, Reject, of_form
from captum_xdnn.dataset.reductions import Reduction
from captum_xdnn.dataset.settings import Settings, Target, Unpack, input_and_label, model_of
from captum_xdnn.dataset.shards import write_shard

ERROR = "error"
"""The column that says why a sample has no attribution; empty where it has one."""


class Attributor:
    """Attributes batches of a ``ray.data.Dataset``; Ray makes one in each of its actors.

    The function is proved in each actor by its own first call, which costs milliseconds.

    Args:
        method: Object of any of Captum's ``Attribution`` classes.
        form: Names, shapes and dtypes of the attributions' columns.
        shapes: The shapes of one sample's inputs.
        columns: Names of the input columns and of the label column; the latter None for none.
        dataset: A map-style data set to load samples from by the column ``index``; None where
            the columns hold the samples.
        collate: How its samples are put together.
        names: Its samples' ids by index; None for the indices.
        device: Where to compute; the model is moved there.
        settings: The arguments of ``attribute_dataset`` that decide an attribution.

    Example:
        See :meth:`arguments`.
    """

    def __init__(
        self,
        method: Any,
        form: Form,
        shapes: Sequence[tuple[int, ...]],
        *,
        columns: tuple[tuple[str, ...], str | None] = (("image",), "label"),
        dataset: Any = None,
        collate: Collate = default_collate,
        names: Sequence[Id] | None = None,
        device: str | None = None,
        **settings: Any,
    ) -> None:
        model = model_of(method.forward_func)
        if device is not None and model is not None:
            model.to(device)
        self._attributing = Attributing(Settings(method, device=device, **settings), shapes=shapes)
        self._form = form
        self._inputs, self._label = columns
        self._dataset, self._collate, self._names = dataset, collate, None
        self._id_type: str | None = None
        if names is not None:
            self._names = list(planned([range(len(names))], names).index_of)
            self._id_type = type_of(self._names)

    @staticmethod
    def arguments(
        method: Any,
        example: Any,
        *,
        target: Target = "label",
        baselines: Any = None,
        reduce: Reduction | None = None,
        autocast: torch.dtype | None = None,
        unpack: Unpack = input_and_label,
        attribute: dict[str, Any] | None = None,
        **others: Any,
    ) -> dict[str, Any]:
        """Attribute an example and say what an ``Attributor`` needs: ``fn_constructor_kwargs``.

        Args:
            method: Object of any of Captum's ``Attribution`` classes; it and its model are pickled.
            example: A batch of at least two samples as ``unpack`` takes it: ``(inputs, labels)``.
            target: As in ``attribute_dataset``.
            baselines: As in ``attribute_dataset``.
            reduce: As in ``attribute_dataset``.
            autocast: As in ``attribute_dataset``.
            unpack: As in ``attribute_dataset``.
            attribute: Further arguments of ``method.attribute``.
            others: Further arguments of :class:`Attributor`.

        Returns:
            The arguments.

        Raises:
            ValueError: If no sample of the example can be attributed; the message says why.

        Example:
            >>> import torch
            >>> from captum_xdnn import XIntegratedGradients
            >>> from captum_xdnn.ray import Attributor
            >>> xig = XIntegratedGradients(torch.nn.Linear(3, 2, bias=False))
            >>> given = Attributor.arguments(
            ...     xig, (torch.rand(4, 3), torch.zeros(4)), columns=(("x",), "y")
            ... )
            >>> attributor = Attributor(**given)  # as Ray does in an actor
            >>> found = attributor({"x": torch.ones(5, 3).numpy(), "y": torch.ones(5).numpy()})
            >>> found["attribution"].shape
            (5, 3)
        """
        chosen: dict[str, Any] = {
            "target": target,
            "baselines": baselines,
            "reduce": reduce,
            "autocast": autocast,
            "unpack": unpack,
            "arguments": attribute,
        }
        attributing = Attributing(Settings(method, **chosen))
        inputs, _ = unpack(example)
        first = inputs[0] if isinstance(inputs, list | tuple) else inputs
        batch = Batch(tuple(range(len(first))), example)
        records, rejects = attributing(Fetched((batch,)))
        if not records:
            raise ValueError(f"no sample of the example can be attributed: {rejects[0].reason}")
        learnt = {"form": records[0].form, "shapes": attributing.shapes}
        return {"method": method, **learnt, **chosen, **others}

    def __call__(self, batch: dict[str, npt.NDArray[Any]]) -> Columns:
        """Attribute the columns of a batch.

        Returns:
            The columns of :class:`captum_xdnn.dataset.Records`, and ``error``: why a sample has no
            attribution, empty where it has one. Each sample of the batch is in one row.
        """
        found, rejects = self._attributing(self._fetched(batch))
        records, of_other_form = of_form(found, self._form)
        rejects += of_other_form
        errors = [""] * sum(map(len, records)) + [reject.reason for reject in rejects]
        records += [_set_aside(rejects, self._form)] if rejects else []
        joined = Records.joined(records)
        # Of one type in all batches.
        id_type = type_of_array(batch["id"]) if "id" in batch else self._id_type
        return {**joined.columns, "id": id_array(joined.ids, id_type), ERROR: np.array(errors)}

    def _fetched(self, batch: dict[str, npt.NDArray[Any]]) -> Fetched:
        if self._dataset is not None:
            return fetch(self._dataset, batch["index"].tolist(), self._collate, self._names)
        rows = _Rows([batch[name] for name in self._inputs], batch.get(self._label or ""))
        ids = ids_of(list(batch["id"])) if "id" in batch else None
        return fetch(rows, range(len(batch[self._inputs[0]])), self._collate, ids)


class _Rows:
    """Columns of a batch as a data set, one row a sample."""

    def __init__(self, inputs: list[npt.NDArray[Any]], labels: npt.NDArray[Any] | None) -> None:
        self._inputs, self._labels = inputs, labels

    def __getitem__(self, place: int) -> Any:
        tensors = tuple(torch.as_tensor(np.array(column[place])) for column in self._inputs)
        inputs = tensors if len(tensors) > 1 else tensors[0]
        return inputs if self._labels is None else (inputs, self._labels[place])


def _set_aside(rejects: list[Reject], form: Form) -> Records:
    """Rows of samples that have no attribution."""
    size = len(rejects)
    blank = zip(SCALARS[1:], (NONE, NONE, np.nan, "", np.nan), strict=True)
    columns: Columns = {"id": id_array([r.id for r in rejects])}
    columns |= {name: np.full(size, value) for name, value in blank}
    columns |= {name: np.zeros((size, *shape), dtype) for name, shape, dtype in form}
    return Records(columns)


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
        """Write blocks as one shard; Ray calls this in a task."""
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
