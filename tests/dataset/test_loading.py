"""From loaders to batches: each sample once, by its index, whatever is wrong with others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from small_data import BAD, Rows, bad_rows, rows
from torch.testing import assert_close
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    Sampler,
    TensorDataset,
    WeightedRandomSampler,
)

from captum_xdnn.dataset.loading import Fetched, plan_of
from captum_xdnn.dataset.loading import fetched as fetched_as_planned


def fetched(loader: Any, done: set[Any], names: Any) -> Iterator[Fetched]:
    return fetched_as_planned(loader, plan_of(loader, names), done)


def ids_of(found: list[Fetched]) -> list[Any]:
    return [i for each in found for batch in each.batches for i in batch.ids]


def test_an_index_is_an_id_in_any_order() -> None:
    data = Rows(23)
    for loader in (DataLoader(data, 5), DataLoader(data, 4, shuffle=True)):
        found = list(fetched(loader, set(), None))
        assert sorted(ids_of(found)) == list(range(23))
        for each in found:
            for batch in each.batches:
                assert_close(batch.data[0], data.rows[list(batch.ids)])


def test_workers_give_the_same() -> None:
    data = bad_rows()
    alone = list(fetched(DataLoader(data, 6), set(), None))
    helped = list(fetched(DataLoader(data, 6, num_workers=2, prefetch_factor=1), set(), None))
    assert ids_of(alone) == ids_of(helped)
    assert [each.rejects for each in alone] == [each.rejects for each in helped]


def test_what_is_done_is_not_loaded() -> None:
    class Counted(Rows):
        loaded: list[int] = []  # noqa: RUF012

        def __getitem__(self, index: int) -> Any:
            self.loaded.append(index)
            return super().__getitem__(index)

    data, done = Counted(10), {0, 1, 2, 3, 7}
    found = list(fetched(DataLoader(data, 4), done, None))
    assert [batch.ids for each in found for batch in each.batches] == [(4, 5, 6), (8, 9)]
    assert data.loaded == [4, 5, 6, 8, 9]


def test_a_sample_that_is_drawn_twice_comes_once() -> None:
    sampler = WeightedRandomSampler([1.0] * 5, 40, replacement=True)
    found = ids_of(list(fetched(DataLoader(Rows(5), 8, sampler=sampler), set(), None)))
    assert len(found) == len(set(found))


def test_names_of_samples() -> None:
    names = [f"image-{i}.png" for i in range(7)]
    found = list(fetched(DataLoader(Rows(7), 3), {"image-4.png"}, names))
    assert ids_of(found) == [n for n in names if n != "image-4.png"]
    with pytest.raises(ValueError, match="map-style"):
        fetched([rows(3)], set(), names)


class Pairs(Sampler[list[int]]):
    def __iter__(self) -> Iterator[list[int]]:
        return iter([[3, 1], [0, 2]])


def test_a_batch_sampler_of_ones_own() -> None:
    loader = DataLoader(Rows(4), batch_sampler=Pairs())
    assert ids_of(list(fetched(loader, set(), None))) == [3, 1, 0, 2]


def test_samples_that_would_be_left_out_are_not() -> None:
    sampler = BatchSampler(range(7), 3, drop_last=True)
    for loader in (
        DataLoader(Rows(7), 3, drop_last=True),
        DataLoader(Rows(7), batch_sampler=sampler),
    ):
        with pytest.raises(ValueError, match="drop_last=False"):
            fetched(loader, set(), None)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter([(row, 0) for row in rows(9)])


@pytest.mark.parametrize(
    "loader",
    [
        DataLoader(Stream(), 4),
        [(rows(9)[:4], torch.zeros(4)), (rows(9)[4:8], torch.zeros(4)), (rows(9)[8:], torch.zeros(1))],
        DataLoader(TensorDataset(rows(9).reshape(3, 3, -1), torch.zeros(3, 3)), batch_size=None),
    ],
    ids=["IterableDataset", "list of batches", "batches in the data set"],
)  # fmt: skip
def test_samples_without_an_index_are_counted(loader: Any) -> None:
    assert ids_of(list(fetched(loader, set(), None))) == list(range(9))
    found = list(fetched(loader, {0, 1, 5}, None))
    assert ids_of(found) == [2, 3, 4, 6, 7, 8]
    for each in found:
        for batch in each.batches:
            assert_close(batch.data[0], rows(9)[list(batch.ids)])


def test_batches_without_rows_are_refused() -> None:
    with pytest.raises(TypeError, match="tensors with a batch dimension"):
        list(fetched(["text"], set(), None))


def test_what_cannot_be_loaded_or_put_together_is_set_aside() -> None:
    found = list(fetched(DataLoader(bad_rows(), 8), set(), None))
    rejects = {r.id: r.reason for each in found for r in each.rejects}
    assert sorted(rejects) == [8, 9, 15]
    for index, reason in rejects.items():
        assert BAD[index][1] in reason
    assert sorted([*ids_of(found), *rejects]) == list(range(20))
    forms = [{batch.data[0].shape[1:] for batch in each.batches} for each in found]
    assert forms[0] == {(6,), (7,)}  # of another shape: put into a batch of its own


def test_a_string_where_others_have_numbers_is_put_apart_wherever_it_comes() -> None:
    for place in range(4):
        data = Rows(4, {place: (torch.ones(6), "shoe")})
        (each,) = fetched(DataLoader(data, 4), set(), None)
        assert [batch.ids for batch in each.batches] == [
            tuple(i for i in range(4) if i != place), (place,),
        ]  # fmt: skip
        assert each.batches[0].data[1].tolist() == [i % 3 for i in range(4) if i != place]


def test_strings_that_all_have_stay_together() -> None:
    data = Rows(4, {i: (torch.ones(6), i, f"{i}.png") for i in range(4)})
    (each,) = fetched(DataLoader(data, 4), set(), None)
    assert [batch.ids for batch in each.batches] == [(0, 1, 2, 3)]


def test_a_collation_of_ones_own() -> None:
    def doubled(samples: list[Any]) -> Any:
        return torch.stack([x for x, _ in samples]) * 2, torch.tensor([y for _, y in samples])

    data = Rows(5)
    (each,) = fetched(DataLoader(data, 5, collate_fn=doubled), set(), None)
    assert_close(each.batches[0].data[0], data.rows * 2)


def test_a_collation_of_ones_own_that_takes_several_kinds_is_left_alone() -> None:
    def texts(samples: list[Any]) -> Any:
        return torch.stack([x for x, _ in samples]), [str(y) for _, y in samples]

    data = Rows(4, {2: (torch.ones(6), "shoe")})
    (each,) = fetched(DataLoader(data, 4, collate_fn=texts), set(), None)
    assert [batch.data[1] for batch in each.batches] == [["0", "1", "shoe", "0"]]


def test_data_sets_that_load_several_at_once() -> None:
    class Several(Rows):
        def __getitems__(self, indices: list[int]) -> list[Any]:
            return [super(Several, self).__getitem__(i) for i in indices]

    plain = list(fetched(DataLoader(bad_rows(), 8), set(), None))
    several = Several(20, bad_rows().replaced)
    found = list(fetched(DataLoader(several, 8), set(), None))
    assert ids_of(found) == ids_of(plain)
    assert [each.rejects for each in found] == [each.rejects for each in plain]
