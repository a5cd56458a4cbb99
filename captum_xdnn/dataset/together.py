"""Samples into batches, whatever is wrong with some: what cannot be loaded, what does not go together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset, default_collate

from captum_xdnn._torch import pytree
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


@dataclass(frozen=True)
class Sample:
    """A sample that was loaded, or why it could not be."""

    index: Any
    content: Any = None
    error: str = ""


class Numbered(Dataset[Sample]):
    """A data set whose samples know their index, or what went wrong when they were loaded."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __getitem__(self, index: Any) -> Sample:
        try:
            return Sample(index, self._dataset[index])
        except Exception as error:  # a broken file raises what its reader likes
            return Sample(index, error=f"cannot be loaded: {first_line(error)}")

    def __getitems__(self, indices: list[Any]) -> list[Sample]:
        if hasattr(self._dataset, "__getitems__"):
            try:
                contents = self._dataset.__getitems__(indices)
                return [Sample(i, c) for i, c in zip(indices, contents, strict=True)]
            except Exception:
                return [self[index] for index in indices]  # each says what is wrong with it
        return [self[index] for index in indices]


class Together:
    """A collation that survives samples which do not go together."""

    def __init__(self, collate: Collate, names: Sequence[Id] | None = None) -> None:
        self._collate = collate
        self._names = names

    def __call__(self, samples: list[Sample]) -> Fetched:
        """Put samples together; those that cannot be are set aside, those of another form apart."""
        rejects = [Reject(self._name(s), s.error) for s in samples if s.error]
        good = [s for s in samples if not s.error]
        if not good:
            return Fetched((), tuple(rejects))
        with suppress(Exception):  # whichever it is: each is tried alone
            batch = self._batch(good)
            if self._collate is not default_collate or not _mixed(batch, good):
                return Fetched((batch,), tuple(rejects))
        groups: dict[Any, list[Sample]] = defaultdict(list)
        for sample in good:
            form, flaw = self._tried(sample)
            if flaw:
                rejects.append(Reject(self._name(sample), flaw))
            else:
                groups[form].append(sample)
        largest_first = sorted(groups.values(), key=len, reverse=True)
        return Fetched(tuple(map(self._batch, largest_first)), tuple(rejects))

    def _tried(self, sample: Sample) -> tuple[Any, str]:
        """The form of a batch of one sample, or what is wrong with it."""
        try:
            return _form_of(self._batch([sample]).data), ""
        except Exception as error:
            return None, _why(sample, error)

    def _batch(self, samples: list[Sample]) -> Batch:
        data = self._collate([sample.content for sample in samples])
        return Batch(tuple(map(self._name, samples)), data)

    def _name(self, sample: Sample) -> Id:
        name: Id = sample.index if self._names is None else self._names[sample.index]
        return name


def loaded(dataset: Any, indices: Sequence[Any]) -> list[Any]:
    """Samples of a map-style data set as ``Together`` takes them, those that fail with the error."""
    return Numbered(dataset).__getitems__(list(indices))


def _why(sample: Sample, error: Exception) -> str:
    if any(leaf is None for leaf in pytree.tree_leaves(sample.content)):
        return "a part of the sample is missing (None): no label?"
    return f"cannot be put into a batch: {first_line(error)}"


def _mixed(batch: Batch, samples: list[Sample]) -> bool:
    """Whether torch's collation put samples of several kinds together.

    Where the first label is a string it gives a list of whatever the labels are.
    """
    if all(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves(batch.data)):
        return False
    kinds = {tuple(map(type, pytree.tree_leaves(sample.content))) for sample in samples}
    return len(kinds) > 1


def _form_of(data: Any) -> Any:
    leaves, structure = pytree.tree_flatten(data)
    forms = ((x.shape[1:], x.dtype) if isinstance(x, Tensor) else type(x) for x in leaves)
    return (str(structure), *forms)
