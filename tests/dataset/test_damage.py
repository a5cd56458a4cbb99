"""Damage and what is of another kind: named with its file, and never read as good."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_data import Rows, network
from torch.utils.data import DataLoader

from captum_xdnn import XIntegratedGradients
from captum_xdnn.dataset import ParquetShards, Run, attribute_dataset, read_shards
from captum_xdnn.dataset.parquet import REJECTS_KEY, SEALED_KEY, read_ids
from captum_xdnn.dataset.shards import NOTED_LATER

COUNT = 10


def attribute(folder: Path) -> Run:
    data = Rows(COUNT, {3: OSError("broken")})
    sink = ParquetShards(folder, shard_size=5)
    return attribute_dataset(
        XIntegratedGradients(network()), DataLoader(data, 5), sink, progress=False
    )


def shard(folder: Path) -> Path:
    return folder / "shard-000000.parquet"


@pytest.mark.parametrize("bits", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_single_flipped_bit_is_never_read_as_good(bits: int, tmp_path: Path) -> None:
    attribute(tmp_path)
    path = shard(tmp_path)
    good = path.read_bytes()
    for place in random.Random(bits).sample(range(8 * len(good)), bits):
        damaged = bytearray(good)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        for read in (lambda: read_ids(path), lambda: read_shards(tmp_path)):
            with pytest.raises(ValueError, match=r"shard-000000\.parquet is (damaged|no shard)"):
                read()
    path.write_bytes(good)
    assert attribute(tmp_path).attributed == 0


def test_what_is_damaged_is_attributed_again_once_it_is_deleted(tmp_path: Path) -> None:
    attribute(tmp_path)
    whole = read_shards(tmp_path)["attribution"]
    path = shard(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(
        ValueError, match=r"000000\.parquet is damaged \(.*\): delete it, and a run"
    ):
        attribute(tmp_path)
    path.unlink()
    assert attribute(tmp_path).attributed == 4
    assert (read_shards(tmp_path)["attribution"] == whole).all()


def test_pages_have_checksums_that_others_can_check(tmp_path: Path) -> None:
    attribute(tmp_path)
    path = shard(tmp_path)
    table = pq.read_table(path, page_checksum_verification=True)
    assert table.num_rows == 4
    column = pq.read_metadata(path).row_group(0).column(6)
    content = bytearray(path.read_bytes())
    content[column.data_page_offset + column.total_compressed_size - 1] ^= 1
    path.write_bytes(content)
    with pytest.raises(OSError, match="CRC checksum"):
        pq.read_table(path, page_checksum_verification=True)


def test_a_folder_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    attribute(tmp_path)
    run = json.loads((tmp_path / "run.json").read_text())
    for key in NOTED_LATER:
        del run[key]
    (tmp_path / "run.json").write_text(json.dumps(run))
    table = pq.read_table(shard(tmp_path))
    known = {k: v for k, v in table.schema.metadata.items() if k == REJECTS_KEY}
    pq.write_table(table.replace_schema_metadata(known), shard(tmp_path))
    last = tmp_path / "shard-000001.parquet"
    last.unlink()
    run_on = attribute(tmp_path)
    assert (run_on.before, run_on.attributed) == (4, 5)
    assert read_shards(tmp_path)["id"].tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert SEALED_KEY in pq.read_schema(last).metadata


@pytest.mark.parametrize("content", [b"", b'{"method": "XInt', b"\xff\xfe", b"[1, 2]", b"3"])
def test_a_torn_run_json_is_named(content: bytes, tmp_path: Path) -> None:
    attribute(tmp_path)
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"run\.json cannot be read .*: give another folder, or"):
        attribute(tmp_path)
    (tmp_path / "run.json").unlink()
    assert attribute(tmp_path).attributed == 0
    assert (tmp_path / "run.json").exists()


FOREIGN = {
    "Parquet": lambda path: pq.write_table(pa.table({"id": [1, 2]}), path),
    "no Parquet": lambda path: path.write_bytes(b"something"),
    "empty": lambda path: path.write_bytes(b""),
    "without ids": lambda path: pq.write_table(
        pa.table({"x": [1]}).replace_schema_metadata({REJECTS_KEY: b"[]"}), path
    ),
    "ids that were rounded": lambda path: pq.write_table(
        pa.table({"id": [1e19]}).replace_schema_metadata({REJECTS_KEY: b"[]"}), path
    ),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_shard_is_named(kind: str, tmp_path: Path) -> None:
    FOREIGN[kind](tmp_path / "shard-0001.parquet")
    said = r"shard-0001\.parquet (is no shard of|is damaged|has ids of type double)"
    with pytest.raises(ValueError, match=said):
        attribute(tmp_path)
    with pytest.raises(ValueError, match=said):
        read_shards(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["shard-0001.parquet"]


def test_a_shard_of_another_run_is_named(tmp_path: Path) -> None:
    attribute(tmp_path)
    other = pq.read_table(shard(tmp_path)).drop_columns("attribution")
    pq.write_table(other, tmp_path / "shard-other.parquet")
    with pytest.raises(ValueError, match=r"is damaged \(.*its checksum is gone"):
        read_shards(tmp_path)
    other = other.replace_schema_metadata({REJECTS_KEY: b"[]"})
    pq.write_table(other, tmp_path / "shard-other.parquet")
    with pytest.raises(ValueError, match=r"shard-other\.parquet has other columns than .*000000"):
        read_shards(tmp_path)


def test_shards_with_ids_of_two_types_are_named(tmp_path: Path) -> None:
    attribute(tmp_path)
    table = pq.read_table(shard(tmp_path)).replace_schema_metadata({REJECTS_KEY: b"[]"})
    text = table.set_column(0, "id", pa.array(["a", "b", "c", "d"]))
    pq.write_table(text, tmp_path / "shard-000009.parquet")
    with pytest.raises(ValueError, match=r"000009\.parquet has ids of type string, others of type"):
        attribute(tmp_path)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"of the user")
    with pytest.raises(ValueError, match=r"holds photo\.jpg and no run\.json: give a folder of"):
        attribute(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]
    (tmp_path / "photo.jpg").rename(tmp_path / ".hidden")
    assert attribute(tmp_path).attributed == COUNT - 1
