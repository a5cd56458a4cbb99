"""From a loader to batches with ids, without what is done already; what cannot be used is set aside.

A map-style data set names its samples: an index is an id, whatever the order and the batch size.
So its loader is made anew around the same data set, sampler and collation; what fails, fails
sample by sample, in the workers. Of every other iterable the samples are counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from captum_xdnn._torch import pytree
from captum_xdnn.dataset.ids import Id, Plan, planned
from captum_xdnn.dataset.records import Reject
from captum_xdnn.errors import first_line

Collate = Callable[[list[Any]], Any]


@dataclass(frozen=True)
class Batch:
    """Samples that were put together: their ids, and what collation made of them."""

    ids: tuple[Id, ...]
    data: Any

    def rows(self, places: list[int]) -> Batch:
        """Some of them: these rows of each tensor that has one for each sample."""
        size = len(self.ids)
        if len(places) == size:
            return self

        def rows(leaf: Tensor) -> Tensor:
            return leaf[places] if leaf.dim() and len(leaf) == size else leaf

        data = pytree.tree_map_only(Tensor, rows, self.data)
        return Batch(tuple(self.ids[place] for place in places), data)


@dataclass(frozen=True)
class Fetched:
    """What became of one batch of the loader: usually one batch, and nothing set aside."""

    batches: tuple[Batch, ...]
    rejects: tuple[Reject, ...] = ()

    def pin_memory(self) -> Fetched:
        """The same in pinned memory; loaders call it where they were asked to pin."""
        pinned = partial(pytree.tree_map_only, Tensor, Tensor.pin_memory)
        return Fetched(tuple(Batch(b.ids, pinned(b.data)) for b in self.batches), self.rejects)


@dataclass(frozen=True)
class Sample:
    """A sample that was loaded."""

    id: Id
    content: Any


def plan_of(loader: Any, names: Any) -> Plan | None:
    """Name the samples of a loader, by index where there are names; None where they are counted."""
    indexed = isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset)
    if not indexed or loader.batch_sampler is None:
        if names is None:
            return None
        message = "ids need a DataLoader over a map-style data set, in which a sample has an index"
        raise ValueError(message)
    if getattr(loader.batch_sampler, "drop_last", False):
        raise ValueError("the loader leaves out its last samples: make it with drop_last=False")
    return planned(loader.batch_sampler, names, length_of(loader.dataset))


def fetched(loader: Any, plan: Plan | None, done: Collection[Id]) -> Iterator[Fetched]:
    """Run through a loader, of which there is a plan, without the ids that are done."""
    if plan is None:
        return _counted(loader, done)
    of_workers = ("prefetch_factor", "multiprocessing_context", "worker_init_fn", "timeout")
    loader_of_fetched = DataLoader(
        _Loading(loader.dataset),
        batch_sampler=plan.without(done),  # type: ignore[arg-type]  # of pairs of lists
        collate_fn=partial(_together, loader.collate_fn),
        num_workers=loader.num_workers,
        pin_memory=loader.pin_memory,
        generator=loader.generator,
        **{name: getattr(loader, name) for name in of_workers if loader.num_workers},
    )
    return iter(loader_of_fetched)


def length_of(data: Any) -> int | None:
    """The length of what may have none."""
    try:
        return len(data)
    except (TypeError, NotImplementedError):
        return None


def description_of(data: Any, plan: Plan | None, names: Any) -> dict[str, Any]:
    """What is seen of a loader or a data set, and has to be the same where a run goes on."""
    if isinstance(data, DataLoader):
        data = data.dataset
    return {
        "data": type(data).__qualname__,
        "samples": None if plan is None else length_of(data),
        "ids": "indices" if names is None else "given",
    }


def _counted(loader: Iterable[Any], done: Collection[Id]) -> Iterator[Fetched]:
    count = 0
    for data in loader:
        tensors = (leaf for leaf in pytree.tree_leaves(data) if isinstance(leaf, Tensor))
        size = next((len(tensor) for tensor in tensors if tensor.dim()), None)
        if size is None:
            kind = type(data).__name__
            raise TypeError(f"a batch must hold tensors with a batch dimension, found {kind}")
        ids = tuple(range(count, count + size))
        count += size
        places = [place for place, i in enumerate(ids) if i not in done]
        if places:
            yield Fetched((Batch(ids, data).rows(places),))


def fetch(
    dataset: Any, indices: Sequence[Any], collate: Collate, names: Sequence[Id] | None = None
) -> Fetched:
    """Some samples of a map-style data set, as a loader's workers fetch them."""
    ids = indices if names is None else [names[index] for index in indices]
    return _together(collate, _Loading(dataset).__getitems__((ids, indices)))


class _Loading(Dataset[Sample | Reject]):
    """A data set whose samples know their id, or are set aside for what loading them raised."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __getitems__(self, batch: tuple[Sequence[Id], Sequence[Any]]) -> list[Sample | Reject]:
        ids, indices = batch
        if hasattr(self._dataset, "__getitems__"):
            with suppress(Exception):  # each says below what is wrong with it
                contents = self._dataset.__getitems__(list(indices))
                return [Sample(i, content) for i, content in zip(ids, contents, strict=True)]
        return [self._loaded(i, index) for i, index in zip(ids, indices, strict=True)]

    def _loaded(self, name: Id, index: Any) -> Sample | Reject:
        try:
            return Sample(name, self._dataset[index])
        except Exception as error:  # a broken file raises what its reader likes
            return Reject(name, f"cannot be loaded: {first_line(error)}")


def _together(collate: Collate, samples: Sequence[Sample | Reject]) -> Fetched:
    """Put samples together; those that cannot be are set aside, those of another form apart."""
    rejects = [s for s in samples if isinstance(s, Reject)]
    good = [s for s in samples if isinstance(s, Sample)]
    if not good:
        return Fetched((), tuple(rejects))
    with suppress(Exception):  # whichever it is: each is tried alone
        batch = _batch(collate, good)
        if collate is not default_collate or not _mixed(batch, good):
            return Fetched((batch,), tuple(rejects))
    groups: dict[Any, list[Sample]] = defaultdict(list)
    for sample in good:
        form = _form_alone(collate, sample)
        if isinstance(form, Reject):
            rejects.append(form)
        else:
            groups[form].append(sample)
    largest_first = sorted(groups.values(), key=len, reverse=True)
    return Fetched(tuple(_batch(collate, group) for group in largest_first), tuple(rejects))


def _batch(collate: Collate, samples: list[Sample]) -> Batch:
    return Batch(tuple(s.id for s in samples), collate([s.content for s in samples]))


def _mixed(batch: Batch, samples: list[Sample]) -> bool:
    """Whether torch's collation put samples of several kinds together.

    Where the first label is a string it gives a list of whatever the labels are.
    """
    if all(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves(batch.data)):
        return False
    kinds = {tuple(map(type, pytree.tree_leaves(sample.content))) for sample in samples}
    return len(kinds) > 1


def _form_alone(collate: Collate, sample: Sample) -> Any:
    """The form of a batch of one sample, or why there is none."""
    try:
        leaves, structure = pytree.tree_flatten(_batch(collate, [sample]).data)
        forms = ((x.shape[1:], x.dtype) if isinstance(x, Tensor) else type(x) for x in leaves)
        return (str(structure), *forms)
    except Exception as error:
        reason = f"cannot be put into a batch: {first_line(error)}"
        if any(leaf is None for leaf in pytree.tree_leaves(sample.content)):
            reason = "a part of the sample is missing (None): no label?"
        return Reject(sample.id, reason)
