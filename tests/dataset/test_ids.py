"""Ids: each comes back as it went in, or is refused by name before anything is done."""

from __future__ import annotations

import datetime
import json
import os
import uuid
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from small_data import Rows, network
from torch.utils.data import DataLoader

from captum_xdnn import XIntegratedGradients
from captum_xdnn.dataset import ParquetShards, Reject, attribute_dataset, read_shards
from captum_xdnn.dataset.ids import planned
from captum_xdnn.dataset.shards import shards_in

SIZE = 4
LARGE, HUGE = 2**63, 2**64 - 1


class Number(IntEnum):
    ONE = 1


class Word(str, Enum):
    A = "a"


KEPT: dict[str, tuple[Any, list[int | str]]] = {
    "integers": ([3, 1, 2, 0], [3, 1, 2, 0]),
    "negative": ([-1, -(2**63), 2**63 - 1, 0], [-1, -(2**63), 2**63 - 1, 0]),
    "hashes": ([HUGE, LARGE, 0, 2**53 + 1], [HUGE, LARGE, 0, 2**53 + 1]),
    "one large": ([1, 2, 3, LARGE], [1, 2, 3, LARGE]),
    "numpy.int64": (list(np.arange(SIZE) - 1), [-1, 0, 1, 2]),
    "numpy.int32": (list(np.arange(SIZE, dtype=np.int32)), [0, 1, 2, 3]),
    "numpy.uint64": ([np.uint64(HUGE - i) for i in range(SIZE)], [HUGE - i for i in range(SIZE)]),
    "array of int64": (np.arange(SIZE) + 2**53, [2**53 + i for i in range(SIZE)]),
    "array of uint8": (np.arange(SIZE, dtype=np.uint8), [0, 1, 2, 3]),
    "array of uint64": (np.array([HUGE, 1, 2, 3], np.uint64), [HUGE, 1, 2, 3]),
    "array of strings": (np.array(["a", "bb", "", "d"]), ["a", "bb", "", "d"]),
    "array of objects": (np.array([HUGE, 1, 2, 3], object), [HUGE, 1, 2, 3]),
    "arrays of no dimension": ([np.array(i) for i in range(SIZE)], [0, 1, 2, 3]),
    "tensor": (torch.arange(SIZE) * 5, [0, 5, 10, 15]),
    "tensor of int16": (torch.arange(SIZE, dtype=torch.int16), [0, 1, 2, 3]),
    "tensor of uint64": (torch.tensor([HUGE, 1, 2, 3], dtype=torch.uint64), [HUGE, 1, 2, 3]),
    "tensors": (list(torch.arange(SIZE)), [0, 1, 2, 3]),
    "range": (range(10, 10 + SIZE), [10, 11, 12, 13]),
    "tuple": ((4, 5, 6, 7), [4, 5, 6, 7]),
    "dictionary": ({0: "a", 1: "b", 2: "c", 3: "d"}, ["a", "b", "c", "d"]),
    "several kinds of integers": ([0, np.int8(1), torch.tensor(2), Number.ONE + 2], [0, 1, 2, 3]),
    "an enumeration": ([0, Number.ONE, 2, 3], [0, 1, 2, 3]),
    "strings": (["c.png", "a.png", "b", "d"], ["c.png", "a.png", "b", "d"]),
    "an enumeration of strings": ([Word.A, "b", "c", "d"], ["a", "b", "c", "d"]),
    "numpy.str_": ([np.str_(c) for c in "abcd"], ["a", "b", "c", "d"]),
    "Unicode": (["é", "e\u0301", "\U0001f600", "\u202eb"], ["é", "e\u0301", "\U0001f600", "\u202eb"]),
    "empty": (["", " ", "  ", "a"], ["", " ", "  ", "a"]),
    "NUL": (["a", "a\0", "\0", "a\0b"], ["a", "a\0", "\0", "a\0b"]),
    "lines": (["a\nb", "a", "b", "\r"], ["a\nb", "a", "b", "\r"]),
    "digits": (["1", "01", "1.0", "-1"], ["1", "01", "1.0", "-1"]),
    "long": (["x" * 10_000, "y", "z", "x" * 9_999], ["x" * 10_000, "y", "z", "x" * 9_999]),
}  # fmt: skip

REFUSED: dict[str, tuple[Any, str]] = {
    "None": ([0, 1, None, 3], r"None at index 2 \(NoneType\)"),
    "float": ([0, 1.0, 2, 3], r"1\.0 at index 1 \(float\)"),
    "NaN": ([0, 1, 2, float("nan")], r"nan at index 3 \(float\)"),
    "bool": ([True, 1, 2, 3], r"True at index 0 \(bool\)"),
    "numpy.bool": (np.array([True, False, True, False]), r"4 ids cannot be kept.*at index 0"),
    "tensor of bool": (torch.ones(SIZE, dtype=torch.bool), "at index 0"),
    "tensor of floats": (torch.arange(4.0), r"at index 0"),
    "array of floats": (np.arange(4.0), r"at index 0 \(float64\)"),
    "bytes": ([b"a", b"b", b"c", b"d"], r"4 ids .*: b'a' at index 0 \(bytes\), .*, \.\.\.; an id is"),
    "array of bytes": (np.array([b"a", b"b", b"c", b"d"]), r"at index 0 \(bytes_\)"),
    "pairs": ([(0, 1), 1, 2, 3], r"\(0, 1\) at index 0 \(tuple\)"),
    "rows of an array": (np.arange(8).reshape(4, 2), r"at index 0 \(ndarray\)"),
    "tensors of a dimension": (torch.arange(4)[:, None], r"at index 0 \(Tensor\)"),
    "paths": ([Path("a"), "b", "c", "d"], r"Path\('a'\) at index 0 .*ids= str\(\.\.\.\)"),
    "UUID": ([uuid.UUID(int=5), "b", "c", "d"], r"at index 0 \(UUID\)"),
    "date": ([datetime.date(2020, 1, 1), 1, 2, 3], r"at index 0 \(date\)"),
    "datetime64": (np.arange(4).astype("datetime64[ns]"), r"at index 0 \(datetime64\)"),
    "Decimal": ([Decimal(1), 1, 2, 3], r"at index 0 \(Decimal\)"),
    "complex": ([1j, 1, 2, 3], r"at index 0 \(complex\)"),
    "masked": (np.ma.masked_equal(np.arange(4), 1), "masked at index 1"),
    "too large": ([0, 1, 2, 2**64], r"18446744073709551616 at index 3 \(out of range\)"),
    "too small": ([0, -(2**63) - 1, 2, 3], r"at index 1 \(out of range\)"),
    "undecodable": (
        ["a", os.fsdecode(b"\xff.png"), "c", "d"],
        r"'\\udcff\.png' at index 1 \(a string that is no Unicode\).*fsencode\(name\)\.hex\(\)",
    ),
    "integers and strings": ([0, "1", 2, 3], "0 at index 0 and '1' at index 1 do not go into one"),
    "negative and huge": ([0, -1, LARGE, 3], f"-1 at index 1 and {LARGE} at index 2 do not"),
    "twice": ([5, 6, 5, 5], "2 ids are given .*: 5 at index 0 and 2, 5 at index 0 and 3"),
    "twice, of two types": ([1, np.uint8(1), 2, 3], "1 at index 0 and 1"),
    "strings twice": (["a.png", "b", "c", "a.png"], r"'a\.png' at index 0 and 3"),
    "too few": ([0, 1, 2], "ids= names 3 samples, the data set has 4"),
    "too many": (range(5), "ids= names 5 samples, the data set has 4"),
    "no sequence": ((i for i in range(4)), "ids= gives none for index 0"),
    "a dictionary of others": ({1: 0, 2: 1, 3: 2, 4: 3}, "ids= gives none for index 0"),
}  # fmt: skip


def attribute(folder: Path, ids: Any, data: Rows | None = None, **more: Any) -> Any:
    loader = DataLoader(data or Rows(SIZE), 1)
    sink = ParquetShards(folder, shard_size=1)
    xig = XIntegratedGradients(network())
    return attribute_dataset(xig, loader, sink, progress=False, ids=ids, **more)


@pytest.mark.parametrize("name", KEPT)
def test_an_id_comes_back_as_it_went_in(name: str, tmp_path: Path) -> None:
    given, expected = KEPT[name]
    bad = Rows(SIZE, {2: OSError("broken")})
    first = attribute(tmp_path, given, bad)
    assert [(type(r.id), r.id) for r in first.rejects] == [(type(expected[2]), expected[2])]
    again = attribute(tmp_path, given, retry_rejected=True)
    assert (again.before, again.attributed, again.rejects) == (SIZE - 1, 1, ())
    assert attribute(tmp_path, given).attributed == 0
    found = read_shards(tmp_path)
    ids = found["id"].tolist()
    assert ids == sorted(expected)  # type: ignore[type-var]
    assert {type(i) for i in ids} == {type(expected[0])}
    assert len({pq.read_schema(path).field("id").type for path in shards_in(tmp_path)}) == 1
    order = [expected.index(i) for i in ids]
    labels = torch.arange(SIZE) % 3
    attributions = XIntegratedGradients(network()).attribute(Rows(SIZE).rows, target=labels)
    torch.testing.assert_close(torch.from_numpy(found["attribution"]), attributions[order])


@pytest.mark.parametrize("name", REFUSED)
def test_or_is_refused_by_name_before_anything_is_done(name: str, tmp_path: Path) -> None:
    given, said = REFUSED[name]
    data = Rows(SIZE, dict.fromkeys(range(SIZE), AssertionError("was loaded")))
    with pytest.raises(ValueError, match=said):
        attribute(tmp_path / "a" / "b", given, data)
    assert not (tmp_path / "a").exists()


class Indices:
    """A sampler that gives what it is told."""

    def __init__(self, *indices: Any) -> None:
        self.indices = indices

    def __iter__(self) -> Any:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)


@pytest.mark.parametrize("kind", [int, np.int64, torch.tensor])
def test_indices_of_a_sampler_are_ids(kind: Any, tmp_path: Path) -> None:
    loader = DataLoader(Rows(SIZE), 2, sampler=Indices(*map(kind, (2, 0, 2, 3))))  # type: ignore[arg-type]
    xig = XIntegratedGradients(network())
    assert attribute_dataset(xig, loader, tmp_path, progress=False).attributed == 3
    assert attribute_dataset(xig, loader, tmp_path, progress=False).attributed == 0
    assert read_shards(tmp_path)["id"].tolist() == [0, 2, 3]


def test_an_index_that_is_no_id_is_refused(tmp_path: Path) -> None:
    loader = DataLoader(Rows(SIZE), 2, sampler=Indices(0, (1, 224)))  # type: ignore[arg-type]
    xig = XIntegratedGradients(network())
    with pytest.raises(ValueError, match=r"\(1, 224\) at index \(1, 224\) \(tuple\)"):
        attribute_dataset(xig, loader, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_a_folder_has_ids_of_one_type(tmp_path: Path) -> None:
    attribute(tmp_path / "large", [0, 1, 2, LARGE])
    sink = ParquetShards(tmp_path / "large")
    run = json.loads((tmp_path / "large" / "run.json").read_text())
    with pytest.raises(ValueError, match="holds ids of type uint64, which -5 is none of"):
        sink.open(run, ids=[-5])
    with pytest.raises(ValueError, match="holds ids of type uint64, which 'a' is none of"):
        sink.open(run, ids=["a"])
    assert len(sink.open(run, ids=[7])) == SIZE
    assert sink.id_type == "uint64"
    sink.add([], [Reject(-1, "bad")])
    with pytest.raises(ValueError, match="which -1 is none of"):
        sink.close()


def test_a_reason_that_is_no_unicode(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.png")
    run = attribute(tmp_path, None, Rows(SIZE, {1: OSError(f"cannot read {name}")}))
    assert name in run.rejects[0].reason
    assert "\\udcff.png" in (tmp_path / "rejects.csv").read_text()


def test_a_plan() -> None:
    plan = planned([[0, 1], [2], [1, 3]], ["a", "b", "c", "d"])
    assert plan.batches == [(["a", "b"], [0, 1]), (["c"], [2]), (["d"], [3])]
    assert list(plan.without({"a", "c"})) == [(["b"], [1]), (["d"], [3])]
