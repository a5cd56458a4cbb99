"""Records as Parquet, and back."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from captum_xdnn.dataset.ids import TYPES, Id
from captum_xdnn.dataset.records import NONE, SCALARS, Columns, Form, Records, Reject
from captum_xdnn.errors import first_line

SHARDS, SET_ASIDE = "shard-*.parquet", "rejects-*.parquet"
"""Names of files with rows, and of those that only say which samples were set aside.

Apart, since readers of many files take the columns of the first for those of all.
"""
REJECTS_KEY = b"captum_xdnn.rejects"
SEALED_KEY, SEAL = b"captum_xdnn.sealed", b"captum_xdnn.sha256:"
"""A shard says in its footer that it is sealed, and in the seal what it is.

So one wrong byte does not make it look like those of earlier versions, which have no seal.
"""
ROWS_IN_GROUP = 64
"""So many rows are read where one is wanted."""


def pyarrow() -> tuple[Any, Any]:
    """Both modules; an ImportError that says what to install."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError('shards are Parquet: pip install "captum-xdnn[dataset]"') from error
    return pyarrow, parquet


def write_table(
    file: IO[bytes], records: Records | None, rejects: Sequence[Reject], id_type: str
) -> None:
    """Write records as a Parquet file, samples set aside in its metadata.

    Zstandard over the bytes of numbers apart (byte stream split): the smallest of what was
    measured, see the documentation, *A whole data set*.
    """
    pa, pq = pyarrow()
    given = {} if records is None else records.columns
    columns = {name: _column(name, values) for name, values in given.items()}
    columns["id"] = pa.array(records.ids if records else [], pa.type_for_alias(id_type))
    said = json.dumps([[r.id, r.reason] for r in rejects])
    table = pa.table(columns).replace_schema_metadata(
        {REJECTS_KEY: said.encode(), SEALED_KEY: b"1"}
    )
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
        write_page_checksum=True,
    )


def sealed(content: memoryview) -> tuple[memoryview, bytes, memoryview]:
    """A Parquet file in three parts: before its footer, where no reader looks, a digest of all.

    The checksums of pages leave out the footer and the pages' headers.
    """
    footer = _footer(content)
    return content[:footer], SEAL + hashlib.sha256(content).digest(), content[footer:]


def _footer(content: memoryview) -> int:
    """Where the footer of a Parquet file begins, by the length that stands at the end."""
    return max(len(content) - 8 - int.from_bytes(content[-8:-4], "little"), 0)


def _column(name: str, values: Any) -> Any:
    pa, _ = pyarrow()
    if values.ndim > 1:
        return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(values))
    if name in ("target", "prediction"):
        return pa.array(values, mask=values == NONE)
    if name == "completeness_gap":
        return pa.array(values, mask=np.isnan(values))
    return pa.array(values)


class Shard(NamedTuple):
    """Which samples a shard is for, and the form of its rows and the type of their ids."""

    ids: list[Id]
    rejects: list[Reject]
    form: Form | None
    id_type: str | None


def read_ids(path: Path) -> Shard:
    """What a shard is for."""
    table, schema = _read(path, ["id"])
    rejects = [Reject(i, reason) for i, reason in json.loads(schema.metadata[REJECTS_KEY])]
    if not table.num_rows:  # its type says nothing
        return Shard([], rejects, None, None)
    column = table.column("id")
    return Shard(column.to_pylist(), rejects, _form(schema), str(column.type))


def _read(path: Path, columns: Sequence[str] | None) -> tuple[Any, Any]:
    """Columns of a shard, and the schema of all, where every byte is as it was written."""
    pa, pq = pyarrow()
    content = memoryview(path.read_bytes())
    try:
        is_sealed = _check_seal(content)
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=not is_sealed)
        schema, table = file.schema_arrow, file.read(columns=columns)
        known = schema.metadata or {}
        if SEALED_KEY in known and not is_sealed:
            raise OSError("its checksum is gone")
    except (OSError, pa.ArrowException) as error:
        raise ValueError(
            f"{path} is damaged ({first_line(error)}): delete it, and a run that goes on "
            "attributes its samples again"
        ) from error
    if REJECTS_KEY not in known or "id" not in schema.names:
        raise ValueError(f"{path} is no shard of captum_xdnn: move it out of the folder")
    kind = str(schema.field("id").type)
    if kind not in TYPES:
        message = f"{path} has ids of type {kind}, which are not as they were: give another folder"
        raise ValueError(message)
    return table, schema


def _check_seal(content: memoryview) -> bool:
    """Whether a file has a seal; an OSError where it is not that of the file."""
    end = _footer(content)
    start = max(end - len(SEAL) - hashlib.sha256().digest_size, 0)
    seal = bytes(content[start:end])
    if not seal.startswith(SEAL):
        return False
    total = hashlib.sha256(content[:start])
    total.update(content[end:])
    if seal != SEAL + total.digest():
        raise OSError("its checksum is another")
    return True


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
        columns: A list of columns; None for all.

    Returns:
        An array for each column, dimension 0 the samples. Targets and predictions that are none
        are -1, a gap that is none is NaN.

    Raises:
        FileNotFoundError: If the folder holds no shard.
        KeyError: If there is no such column.
        ValueError: If a shard is damaged, no shard of this package, or of other columns.

    Example:
        >>> from captum_xdnn.dataset import read_shards
        >>> read_shards("no such folder")
        Traceback (most recent call last):
        FileNotFoundError: no shards in no such folder
    """
    pa, _ = pyarrow()
    paths = sorted(Path(folder).glob(SHARDS))
    if not paths:
        if any(Path(folder).glob(SET_ASIDE)):
            return {name: np.array([], np.int64) for name in columns or ("id",)}
        raise FileNotFoundError(f"no shards in {folder}")
    wanted = None if columns is None else list(dict.fromkeys(("id", *columns)))
    read = [_read(path, wanted) for path in paths]
    held = read[0][1].names
    missing = [name for name in columns or () if name not in held]
    if missing:
        raise KeyError(f"{folder} has no column {missing[0]!r}, but {', '.join(held)}")
    tables = [table.replace_schema_metadata() for table, _ in read]
    for path, each in zip(paths, tables, strict=True):
        if each.schema != tables[0].schema:
            message = f"{path} has other columns than {paths[0]}: they are of different runs"
            raise ValueError(message)
    table = pa.concat_tables(tables)
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
