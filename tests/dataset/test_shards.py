"""Shards: whole or absent, of one run, read back as they were."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from captum_xdnn.dataset import ParquetShards, Records, Reject, read_shards
from captum_xdnn.dataset import shards as shards_module

RUN = {"method": "IG", "arguments": {"n_steps": 3}}


def records(*ids: Any, shape: tuple[int, ...] = (2, 3)) -> Records:
    size = len(ids)
    numbers = np.arange(size, dtype=np.float64)
    return Records(
        {
            "id": np.array(ids),
            "target": np.where(numbers == 0, -1, numbers).astype(np.int64),
            "prediction": np.full(size, 4),
            "output": numbers / 3,
            "route": np.full(size, "single_pass"),
            "completeness_gap": np.where(numbers == 1, np.nan, numbers),
            "attribution": np.random.default_rng(0).normal(size=(size, *shape)).astype(np.float32),
        }
    )


def opened(folder: Path, **sizes: Any) -> ParquetShards:
    sink = ParquetShards(folder, **sizes)
    sink.open(RUN)
    return sink


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    sink, given = opened(tmp_path), records(7, 2, 5)
    sink.add([given], [])
    sink.close()
    found = read_shards(tmp_path)
    order = [1, 2, 0]
    for name, column in given.columns.items():
        np.testing.assert_array_equal(found[name], column[order])
        assert found[name].dtype == column.dtype or name == "route"
    assert list(read_shards(tmp_path, ["output"])) == ["output"]
    with pytest.raises(KeyError, match="no column 'outputs', but id, target"):
        read_shards(tmp_path, ["outputs"])


def test_others_read_it_too(tmp_path: Path) -> None:
    sink, given = opened(tmp_path, shard_size=2), records(0, 1, 2, 3)
    sink.add([given], [])
    sink.add([records(4)], [])
    sink.close()
    table = pyarrow.dataset.dataset(list(tmp_path.glob("*.parquet")), format="parquet").to_table()
    assert table.num_rows == 5
    assert table.column("target").null_count == 2
    assert table.column("attribution").type.shape == [2, 3]
    one = pq.read_table(tmp_path / "shard-000000.parquet").column("attribution")
    np.testing.assert_array_equal(
        one.combine_chunks().to_numpy_ndarray(), given.columns["attribution"]
    )


def test_a_shard_is_written_when_it_is_full(tmp_path: Path) -> None:
    sink = opened(tmp_path, shard_size=5)
    sink.add([records(0, 1, 2)], [])
    assert names(tmp_path) == ["run.json"]
    sink.add([records(3, 4, 5)], [])  # not divided: a batch is done or not
    assert names(tmp_path) == ["run.json", "shard-000000.parquet"]
    sink.add([], [Reject(i, "bad") for i in range(6, 11)])  # these count, too
    sink.close()
    assert names(tmp_path)[:2] == ["rejects-000001.parquet", "rejects.csv"]
    assert len(names(tmp_path)) == 4
    small = opened(tmp_path / "small", shard_mebibytes=1e-4)
    small.add([records(*range(9))], [])
    assert names(tmp_path / "small") == ["run.json", "shard-000000.parquet"]
    small.close()


def test_a_run_goes_on(tmp_path: Path) -> None:
    sink = opened(tmp_path)
    sink.add([records(0, 1)], [Reject(2, "bad")])
    sink.close()
    again = ParquetShards(tmp_path)
    assert again.open(RUN) == {0, 1, 2}
    assert again.attributed == 2
    again.add([records(3)], [])
    again.close()
    assert [n for n in names(tmp_path) if "shard" in n] == [
        "shard-000000.parquet",
        "shard-000001.parquet",
    ]
    assert read_shards(tmp_path)["id"].tolist() == [0, 1, 3]


def test_a_shard_of_samples_set_aside_does_not_hide_the_columns_of_others(tmp_path: Path) -> None:
    sink = opened(tmp_path, shard_size=2)
    sink.add([], [Reject(0, "bad"), Reject(1, "worse")])
    sink.add([records(2)], [Reject(3, "bad")])
    sink.add([], [Reject(4, "bad"), Reject(5, "bad")])
    sink.close()
    shards = [n for n in names(tmp_path) if n.endswith(".parquet")]
    assert shards == ["rejects-000000.parquet", "rejects-000002.parquet", "shard-000001.parquet"]
    files = sorted(tmp_path.glob("shard-*.parquet"))
    assert "attribution" in pyarrow.dataset.dataset(files, format="parquet").schema.names
    again = ParquetShards(tmp_path)
    assert again.open(RUN, retry_rejected=True) == {2}
    again.add([records(0)], [Reject(1, "still")])
    again.add([], [Reject(3, "still")])
    again.close()
    last = ParquetShards(tmp_path)
    assert last.open(RUN) == set(range(6))
    last.close()
    assert {r.id: r.reason for r in last.rejects} == {1: "still", 3: "still", 4: "bad", 5: "bad"}
    assert read_shards(tmp_path)["id"].tolist() == [0, 2]


def test_rejects_are_a_view_of_the_shards(tmp_path: Path) -> None:
    sink = opened(tmp_path)
    sink.add([], [Reject(2, 'bad, "quoted"'), Reject(9, "worse")])
    sink.close()
    path = tmp_path / "rejects.csv"
    with path.open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["id", "reason"], ["2", 'bad, "quoted"'], ["9", "worse"],
        ]  # fmt: skip
    text = path.read_text()
    path.unlink()
    again = ParquetShards(tmp_path)
    assert again.open(RUN, retry_rejected=True) == set()
    assert path.read_text() == text
    again.add([records(2)], [Reject(9, "worse still")])
    assert again.rejects == (Reject(2, 'bad, "quoted"'), Reject(9, "worse still"))
    again.close()
    assert again.rejects == (Reject(9, "worse still"),)
    assert read_shards(tmp_path)["id"].tolist() == [2]
    last = ParquetShards(tmp_path)
    assert last.open(RUN) == {2, 9}
    last.close()


def test_rows_of_another_form_are_set_aside(tmp_path: Path) -> None:
    sink = opened(tmp_path)
    sink.add([records(0, shape=(9,)), records(1, 2)], [])
    sink.close()
    assert [(r.id, r.reason) for r in sink.rejects] == [
        (0, "it has attribution of shape (9,), others attribution of shape (2, 3)")
    ]
    again = opened(tmp_path)  # the form is that of the folder from now on
    again.add([records(3, 4, 5, shape=(9,))], [])
    again.close()
    assert [r.id for r in again.rejects] == [0, 3, 4, 5]
    assert read_shards(tmp_path)["id"].tolist() == [1, 2]


def test_another_run_needs_another_folder(tmp_path: Path) -> None:
    opened(tmp_path).close()
    other = ParquetShards(tmp_path)
    with pytest.raises(ValueError, match="another run") as raised:
        other.open({**RUN, "method": "Saliency"})
    assert "method: 'IG', now 'Saliency'" in str(raised.value)
    opened(tmp_path).close()  # the folder was given back


def test_one_process_at_a_time(tmp_path: Path) -> None:
    sink = opened(tmp_path)
    with pytest.raises(RuntimeError, match="another process"):
        ParquetShards(tmp_path).open(RUN)
    script = (
        "from captum_xdnn.dataset import ParquetShards\n"
        f"ParquetShards({str(tmp_path)!r}).open({RUN!r})\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "another process is writing" in done.stderr
    sink.close()
    assert subprocess.run(command, check=False).returncode == 0


def test_the_same_sample_twice_is_told(tmp_path: Path) -> None:
    sink = opened(tmp_path)
    sink.add([records(0, 1)], [])
    sink.close()
    shard = tmp_path / "shard-000000.parquet"
    (tmp_path / "shard-000007.parquet").write_bytes(shard.read_bytes())
    with pytest.raises(ValueError, match=r"2 samples are in .* twice, 0 is the first"):
        ParquetShards(tmp_path).open(RUN)


class Stop(BaseException):
    pass


@pytest.mark.parametrize("step", ["write", "fsync", "rename"])
def test_whatever_stops_it_a_shard_is_whole_or_absent(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = opened(tmp_path)
    sink.add([records(0, 1)], [])

    def stop(*_: Any, **__: Any) -> Any:
        raise Stop

    if step == "write":
        monkeypatch.setattr(shards_module, "write_table", stop)
    elif step == "fsync":
        monkeypatch.setattr(os, "fsync", stop)
    else:
        monkeypatch.setattr(Path, "replace", stop)
    with pytest.raises(Stop):
        sink.flush()
    monkeypatch.undo()
    assert not list(tmp_path.glob("shard-*"))
    sink.close()  # writes nothing twice
    again = ParquetShards(tmp_path)
    assert again.open(RUN) == set()
    assert not list(tmp_path.glob(".*.tmp"))
    again.add([records(0, 1)], [])
    again.close()
    assert read_shards(tmp_path)["id"].tolist() == [0, 1]


def test_strings_as_ids(tmp_path: Path) -> None:
    sink = opened(tmp_path)
    sink.add([records("b.png", "a.png")], [Reject("c.png", "bad")])
    sink.close()
    again = ParquetShards(tmp_path)
    assert again.open(RUN) == {"a.png", "b.png", "c.png"}
    again.close()
    assert read_shards(tmp_path)["id"].tolist() == ["a.png", "b.png"]


def test_only_rejects(tmp_path: Path) -> None:
    sink = opened(tmp_path)
    sink.add([], [Reject(0, "bad")])
    sink.close()
    assert read_shards(tmp_path)["id"].tolist() == []
    assert read_shards(tmp_path, ["output"])["output"].tolist() == []
    with pytest.raises(FileNotFoundError):
        read_shards(tmp_path / "nowhere")


@pytest.mark.parametrize("sizes", [{"shard_size": 0}, {"shard_mebibytes": 0}])
def test_wrong_sizes(sizes: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="positive"):
        ParquetShards(tmp_path, **sizes)


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"captum-xdnn\[dataset\]"):
        opened(tmp_path / "out")
    assert not (tmp_path / "out").exists()
