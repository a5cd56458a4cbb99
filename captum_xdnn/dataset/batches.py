"""From a loader to batches with ids, without what is done already and what cannot be loaded.

A map-style data set names its samples: an index is an id, whatever the order and the batch size.
So its loader is made anew around the same data set, sampler and collation; what fails, fails
sample by sample, in the workers. Of every other iterable the samples are counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset

from captum_xdnn.dataset.records import Id, Reject
from captum_xdnn.errors import first_line

Collate = Callable[[list[Any]], Any]


@dataclass(frozen=True)
class Batch:
    """Samples that were put together.

    Attributes:
        ids: Their ids.
        data: What the loader's collation made of them.
    """

    ids: tuple[Id, ...]
    data: Any


@dataclass(frozen=True)
class Fetched:
    """What became of one batch of the loader: usually one batch, and nothing set aside."""

    batches: tuple[Batch, ...]
    rejects: tuple[Reject, ...] = ()

    def pin_memory(self) -> Fetched:
        """The same in pinned memory; loaders call it where they were asked to pin."""
        pinned = (
            Batch(b.ids, pytree.tree_map_only(Tensor, Tensor.pin_memory, b.data))
            for b in self.batches
        )
        return Fetched(tuple(pinned), self.rejects)


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
    """Whether a loader's samples have indices: a ``DataLoader`` that batches a map-style data set.

    Args:
        loader: A loader.
    """
    return (
        isinstance(loader, DataLoader)
        and not isinstance(loader.dataset, IterableDataset)
        and loader.batch_sampler is not None
    )


def samples_of(loader: Iterable[Any]) -> int | None:
    """How many samples a loader gives; None where it does not say.

    Args:
        loader: A loader.
    """
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
        _Numbered(loader.dataset),
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


@dataclass(frozen=True)
class _Sample:
    index: Any
    content: Any = None
    error: str = ""


class _Numbered(Dataset[_Sample]):
    """A data set whose samples know their index, or what went wrong when they were loaded."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __getitem__(self, index: Any) -> _Sample:
        try:
            return _Sample(index, self._dataset[index])
        except Exception as error:  # a broken file raises what its reader likes
            return _Sample(index, error=f"cannot be loaded: {first_line(error)}")

    def __getitems__(self, indices: list[Any]) -> list[_Sample]:
        if hasattr(self._dataset, "__getitems__"):
            try:
                contents = self._dataset.__getitems__(indices)
                return [_Sample(i, c) for i, c in zip(indices, contents, strict=True)]
            except Exception:
                return [self[index] for index in indices]  # each says what is wrong with it
        return [self[index] for index in indices]


class Together:
    """A collation that survives samples which do not go together.

    Args:
        collate: The loader's own.
        names: Ids by index; None for the indices.
    """

    def __init__(self, collate: Collate, names: Sequence[Id] | None = None) -> None:
        self._collate = collate
        self._names = names

    def __call__(self, samples: list[_Sample]) -> Fetched:
        """Put samples together; those that cannot be are set aside, those of another form apart.

        Args:
            samples: What was loaded.
        """
        rejects = [Reject(self._name(s), s.error) for s in samples if s.error]
        good = [s for s in samples if not s.error]
        if not good:
            return Fetched((), tuple(rejects))
        try:
            return Fetched((self._batch(good),), tuple(rejects))
        except Exception:  # whichever it is: each is tried alone
            groups: dict[Any, list[_Sample]] = defaultdict(list)
        for sample in good:
            form, flaw = self._tried(sample)
            if flaw:
                rejects.append(Reject(self._name(sample), flaw))
            else:
                groups[form].append(sample)
        largest_first = sorted(groups.values(), key=len, reverse=True)
        return Fetched(tuple(map(self._batch, largest_first)), tuple(rejects))

    def _tried(self, sample: _Sample) -> tuple[Any, str]:
        """The form of a batch of one sample, or what is wrong with it."""
        try:
            return _form_of(self._batch([sample]).data), ""
        except Exception as error:
            return None, _why(sample, error)

    def _batch(self, samples: list[_Sample]) -> Batch:
        data = self._collate([sample.content for sample in samples])
        return Batch(tuple(map(self._name, samples)), data)

    def _name(self, sample: _Sample) -> Id:
        name: Id = sample.index if self._names is None else self._names[sample.index]
        return name


def loaded(dataset: Any, indices: Sequence[Any]) -> list[Any]:
    """Samples of a map-style data set as ``Together`` takes them, those that fail with the error.

    Args:
        dataset: The data set.
        indices: Which.
    """
    return _Numbered(dataset).__getitems__(list(indices))


def _why(sample: _Sample, error: Exception) -> str:
    if any(leaf is None for leaf in pytree.tree_leaves(sample.content)):
        return "a part of the sample is missing (None): no label?"
    return f"cannot be put into a batch: {first_line(error)}"


def _form_of(data: Any) -> Any:
    leaves, structure = pytree.tree_flatten(data)
    forms = ((x.shape[1:], x.dtype) if isinstance(x, Tensor) else type(x) for x in leaves)
    return (str(structure), *forms)
