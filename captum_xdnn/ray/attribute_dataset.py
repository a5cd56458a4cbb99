"""``attribute_dataset`` on a cluster: the same folder, the same records, the work done by Ray."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from torch.utils.data import default_collate

from captum_xdnn.dataset.attribute_dataset import Run, run_into
from captum_xdnn.dataset.ids import Id, planned
from captum_xdnn.dataset.loading import Collate, description_of, fetch
from captum_xdnn.dataset.settings import Settings
from captum_xdnn.dataset.shards import ParquetShards
from captum_xdnn.ray.attributor import Attributor, ShardSink

SETTINGS = ("target", "baselines", "reduce", "autocast", "unpack")
MOST_DEATHS = 3
"""So many actors may die one after the other while they are made."""
MOST_TRIED = 64
"""So many samples are tried for an example that can be attributed."""


def attribute_dataset(
    method: Any,
    dataset: Any,
    sink: str | Path | ParquetShards,
    /,
    *,
    batch_size: int = 128,
    concurrency: int | tuple[int, int] = 2,
    num_cpus: float | None = None,
    num_gpus: float = 0,
    device: str | None = None,
    collate: Collate = default_collate,
    ids: Sequence[Id] | None = None,
    retry_rejected: bool = False,
    attribute: dict[str, Any] | None = None,
    **settings: Any,
) -> Run:
    """Attribute a map-style data set on Ray and write what was found as shards.

    The folder and the records are those of :func:`captum_xdnn.dataset.attribute_dataset`; a run
    that was stopped goes on, and either may go on where the other stopped. Each actor loads the
    samples that it attributes. Workers that die are replaced by Ray and their batches repeated.

    Args:
        method: Object of any of Captum's ``Attribution`` classes; it and its model are pickled.
        dataset: A map-style data set; it is pickled. An index is a sample's id.
        sink: A folder that all nodes see, or ``ParquetShards``.
        batch_size: How many samples an actor takes at a time.
        concurrency: How many actors, or least and most.
        num_cpus: How many processors each actor has; None for Ray's default, one. Ray gives torch
            as many threads, unless ``OMP_NUM_THREADS`` is set.
        num_gpus: How many GPUs each actor has, parts allowed.
        device: Where an actor computes, ``"cuda"`` with GPUs; None for where the model is.
        collate: How samples are put together.
        ids: The samples' ids by index, as there; None for the indices.
        retry_rejected: Whether samples that an earlier run set aside are tried again.
        attribute: Further arguments of ``method.attribute``.
        settings: ``target``, ``baselines``, ``reduce``, ``autocast`` and ``unpack``, as there.

    Returns:
        How many samples were attributed, and which were set aside.

    Raises:
        TypeError: If a setting is not known, or ``method`` is no method of Captum's kind.
        ValueError: If the folder holds another run, an id cannot be kept or is another sample's
            too, or none of some samples from all over the data set can be attributed.

    Example:
        With a method ``xig``, a data set ``data`` and a folder that all nodes see,
        ``attribute_dataset(xig, data, folder, concurrency=8, num_gpus=1, device="cuda")``.

        >>> from captum_xdnn.ray import attribute_dataset
        >>> attribute_dataset(None, [], "folder", n_steps=20)
        Traceback (most recent call last):
        TypeError: unknown arguments: n_steps; those of attribute() go to attribute=
    """
    unknown = sorted(settings.keys() - set(SETTINGS))
    if unknown:
        message = f"unknown arguments: {', '.join(unknown)}; those of attribute() go to attribute="
        raise TypeError(message)
    least, most = (concurrency, concurrency) if isinstance(concurrency, int) else concurrency
    description = Settings(method, arguments=attribute, **settings).described()
    size = len(dataset)
    # The batches of a run from the start.
    starts = range(0, size, batch_size)
    plan = planned((range(i, min(i + batch_size, size)) for i in starts), ids, size)
    description |= description_of(dataset, plan, ids)

    def work(shards: ParquetShards, done: set[Id]) -> None:
        batches = [np.array(indices, np.int64) for _, indices in plan.without(done)]
        if not batches:
            return
        arguments = Attributor.arguments(
            method,
            _example(dataset, collate),
            attribute=attribute,
            dataset=dataset,
            collate=collate,
            names=None if ids is None else list(plan.index_of),
            device=device,
            **settings,
        )
        data = ray.data.from_arrow([pa.table({"index": indices}) for indices in batches])
        # Ray replaces actors that die while they are made, too; this is known since 2.60.
        if getattr(data.context, "max_consecutive_actor_init_deaths", None) == 0:
            data.context.max_consecutive_actor_init_deaths = MOST_DEATHS
        data.map_batches(
            Attributor,
            fn_constructor_kwargs=arguments,
            batch_size=None,  # a block is a batch: the same samples together in every run
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(min_size=least, max_size=most),
            num_cpus=num_cpus,
            num_gpus=num_gpus,
        ).write_datasink(
            ShardSink(shards.folder, shards.shard_size, shards.id_type),
            concurrency=most,
            ray_remote_args={"num_cpus": 0},  # else it waits for actors that hold all of them
        )
        shards.close()
        shards.open(description, ids=plan.index_of)  # what Ray's tasks have written

    return run_into(sink, description, plan.index_of, work, retry_rejected=retry_rejected)


def _example(dataset: Any, collate: Collate) -> Any:
    """The most samples that go together, of some from all over the data set.

    Not of those that are left: a run that goes on may have only bad ones left.
    """
    size = len(dataset)
    count = min(size, MOST_TRIED)
    fetched = fetch(dataset, [i * size // count for i in range(count)], collate)
    if not fetched.batches:
        message = f"none of the {count} samples tried can be used: {fetched.rejects[0].reason}"
        raise ValueError(message)
    return max(fetched.batches, key=lambda batch: len(batch.ids)).data
