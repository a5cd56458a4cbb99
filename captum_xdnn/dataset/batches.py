"""From a loader to batches with ids, without what is done already and what cannot be loaded.

A map-style data set names its samples: an index is an id, whatever the order and the batch size.
So its loader is made anew around the same data set, sampler and collation; what fails, fails
sample by sample, in the workers. Of every other iterable the samples are counted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from captum_xdnn._torch import pytree
from captum_xdnn.dataset.records import Id
from captum_xdnn.dataset.together import Batch, Fetched, Numbered, Together


def fetched(
    loader: Iterable[Any], done: Collection[Id], names: Sequence[Id] | None
) -> Iterator[Fetched]:
    """Run through a loader.

    Args:
        loader: A ``DataLoader``, or any iterable of batches.
        done: Ids to leave out.
        names: The ids of a map-style data set's samples, by index; None for the indices.

    Raises:
        ValueError: If the loader leaves samples out, or ids are given for samples that have no
            index.
    """
    if is_indexed(loader):
        return iter(_indexed(loader, done, names))  # a DataLoader of what is fetched
    if names is not None:
        message = "ids need a DataLoader over a map-style data set, in which a sample has an index"
        raise ValueError(message)
    return _counted(loader, done)


def is_indexed(loader: Iterable[Any]) -> TypeGuard[DataLoader[Any]]:
    """Whether a loader's samples have indices: a ``DataLoader`` that batches a map-style data set."""
    return (
        isinstance(loader, DataLoader)
        and not isinstance(loader.dataset, IterableDataset)
        and loader.batch_sampler is not None
    )


def samples_of(loader: Iterable[Any]) -> int | None:
    """How many samples a loader gives; None where it does not say."""
    if not is_indexed(loader):
        return None
    if type(loader.batch_sampler) is not BatchSampler:
        return None
    try:
        return len(loader.batch_sampler.sampler)  # type: ignore[arg-type]
    except TypeError:
        return None


def _indexed(
    loader: DataLoader[Any], done: Collection[Id], names: Sequence[Id] | None
) -> DataLoader[Any]:
    sampler: Any = loader.batch_sampler
    if getattr(sampler, "drop_last", False):
        message = "the loader leaves out its last samples: make it with drop_last=False"
        raise ValueError(message)
    workers: dict[str, Any] = {}
    if loader.num_workers:
        workers = {
            "prefetch_factor": loader.prefetch_factor,
            "multiprocessing_context": loader.multiprocessing_context,
            "worker_init_fn": loader.worker_init_fn,
            "timeout": loader.timeout,
        }
    return DataLoader(
        Numbered(loader.dataset),
        batch_sampler=_Remaining(sampler, done, names),
        collate_fn=Together(loader.collate_fn, names),
        num_workers=loader.num_workers,
        pin_memory=loader.pin_memory,
        generator=loader.generator,
        **workers,
    )


def _counted(loader: Iterable[Any], done: Collection[Id]) -> Iterator[Fetched]:
    count = 0
    for data in loader:
        size = _size(data)
        ids = range(count, count + size)
        count += size
        missing = [i for i in ids if i not in done]
        if len(missing) == size:
            yield Fetched((Batch(tuple(ids), data),))
        elif missing:
            places = torch.tensor([i - ids.start for i in missing])
            yield Fetched((Batch(tuple(missing), rows_of(data, size, places)),))


def _size(data: Any) -> int:
    for leaf in pytree.tree_leaves(data):
        if isinstance(leaf, Tensor) and leaf.dim():
            return len(leaf)
    message = f"a batch must hold tensors with a batch dimension, found {type(data).__name__}"
    raise TypeError(message)


def rows_of(data: Any, size: int, places: Tensor) -> Any:
    """Some samples of a batch.

    Args:
        data: Tensors, those with ``size`` rows being of the batch, in containers.
        size: The batch size.
        places: Which rows, shape ``(n,)``.
    """

    def rows(leaf: Tensor) -> Tensor:
        batched = leaf.dim() > 0 and len(leaf) == size
        return leaf[places.to(leaf.device)] if batched else leaf

    return pytree.tree_map_only(Tensor, rows, data)


class _Remaining:
    """The batches of a sampler without the samples that are done or came before."""

    def __init__(
        self, sampler: Iterable[Sequence[Any]], done: Collection[Id], names: Sequence[Id] | None
    ) -> None:
        self._sampler = sampler
        self._done = done
        self._names = names

    def __iter__(self) -> Iterator[list[Any]]:
        seen: set[Id] = set()
        for batch in self._sampler:
            left = []
            for index in batch:
                name = index if self._names is None else self._names[index]
                if name not in seen and name not in self._done:
                    left.append(index)
                seen.add(name)
            if left:
                yield left
