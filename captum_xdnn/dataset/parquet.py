"""Records as Parquet, and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from captum_xdnn.dataset.records import NONE, SCALARS, Columns, Form, Id, Records, Reject

SHARDS, SET_ASIDE = "shard-*.parquet", "rejects-*.parquet"
"""Names of files with rows, and of those that only say which samples were set aside.

Apart, since readers of many files take the columns of the first for those of all.
"""
REJECTS_KEY = b"captum_xdnn.rejects"
ROWS_IN_GROUP = 64
"""So many rows are read where one is wanted."""


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        message = 'shards are Parquet: pip install "captum-xdnn[dataset]"'
        raise ImportError(message) from error
    return pyarrow, parquet


def write_table(file: IO[bytes] | Path, records: Records | None, rejects: Sequence[Reject]) -> None:
    """Write records as a Parquet file, samples set aside in its metadata.

    Zstandard over the bytes of numbers apart (byte stream split): the smallest of what was
    measured, see the documentation, *A whole data set*.
    """
    pa, pq = _pyarrow()
    given = {} if records is None else records.columns
    columns = {name: _column(name, values) for name, values in given.items()}
    table = pa.table(columns) if columns else pa.table({"id": pa.array([], pa.int64())})
    said = json.dumps([[r.id, r.reason] for r in rejects])
    table = table.replace_schema_metadata({REJECTS_KEY: said.encode()})
    paths = {n: f"{n}.list.element" if c.ndim > 1 else n for n, c in given.items()}
    numbers = [paths[n] for n, c in given.items() if c.dtype.kind == "f"]
    pq.write_table(
        table,
        file,
        row_group_size=ROWS_IN_GROUP,
        compression="zstd",
        compression_level=1,
        use_dictionary=[n for n in ("route",) if n in columns],
        column_encoding=dict.fromkeys(numbers, "BYTE_STREAM_SPLIT"),
    )


def _column(name: str, values: Any) -> Any:
    pa, _ = _pyarrow()
    if values.ndim > 1:
        return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(values))
    if name in ("target", "prediction"):
        return pa.array(values, mask=values == NONE)
    if name == "completeness_gap":
        return pa.array(values, mask=np.isnan(values))
    return pa.array(values)


def read_ids(path: Path) -> tuple[list[Id], list[Reject], Form | None]:
    """The ids of a shard's rows, the samples set aside, and the form of its rows."""
    _, pq = _pyarrow()
    with pq.ParquetFile(path) as file:
        ids: list[Id] = file.read(columns=["id"]).column("id").to_pylist()
        said = json.loads(file.schema_arrow.metadata[REJECTS_KEY])
        form = _form(file.schema_arrow) if ids else None
    return ids, [Reject(i, reason) for i, reason in said], form


def _form(schema: Any) -> Form:
    found = []
    for each in schema:
        if each.name not in SCALARS:
            kind = getattr(each.type, "value_type", each.type)
            shape = tuple(getattr(each.type, "shape", ()))
            found.append((each.name, shape, np.dtype(kind.to_pandas_dtype()).str))
    return tuple(found)


def read_shards(folder: str | Path, columns: Sequence[str] | None = None) -> Columns:
    """All that a run has written, in the order of the ids.

    ``pyarrow.dataset``, pandas, Polars or DuckDB read the shards as well; this is for what fits
    into memory.

    Args:
        folder: The folder of the run.
        columns: Which columns; None for all.

    Returns:
        An array for each column, dimension 0 the samples. Targets and predictions that are none
        are -1, a gap that is none is NaN.

    Raises:
        FileNotFoundError: If the folder holds no shard.

    Example:
        >>> from captum_xdnn.dataset import read_shards
        >>> read_shards("no such folder")
        Traceback (most recent call last):
        FileNotFoundError: no shards in no such folder
    """
    pa, pq = _pyarrow()
    paths = sorted(Path(folder).glob(SHARDS))
    if not paths:
        if any(Path(folder).glob(SET_ASIDE)):
            return {"id": np.array([], np.int64)}
        message = f"no shards in {folder}"
        raise FileNotFoundError(message)
    wanted = None if columns is None else list(dict.fromkeys(("id", *columns)))
    tables = [pq.read_table(path, columns=wanted) for path in paths]
    table = pa.concat_tables([t.replace_schema_metadata() for t in tables])
    arrays = {name: _array(name, table.column(name)) for name in table.column_names}
    order = np.argsort(arrays["id"], kind="stable")
    found = {name: array[order] for name, array in arrays.items()}
    return found if columns is None else {name: found[name] for name in columns}


def _array(name: str, column: Any) -> Any:
    if hasattr(column.type, "shape"):
        return column.combine_chunks().to_numpy_ndarray()
    if name in ("target", "prediction"):
        column = column.fill_null(NONE)
    return np.asarray(column.to_numpy())
