"""A folder of Parquet shards: each is whole or absent, and says which samples it is for.

The shards are the only truth: which samples are done, and which were set aside, is read from
them, so there is no second file that could disagree after a crash. ``rejects.csv`` is a view.
"""

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from statistics import mode
from typing import Any

from filelock import FileLock, Timeout

from captum_xdnn.dataset.ids import Id, misfit, type_of
from captum_xdnn.dataset.parquet import SET_ASIDE, SHARDS, pyarrow, read_ids, sealed, write_table
from captum_xdnn.dataset.records import Form, Records, Reject, of_form
from captum_xdnn.errors import first_line

RUN, REJECTS, LOCK = "run.json", "rejects.csv", ".lock"
NOTED_LATER = ("data", "samples", "ids", "code", "unpack")
"""What the ``run.json`` of earlier versions does not tell."""


class ParquetShards:
    """Where a run writes its records, a shard at a time.

    A shard is written under a temporary name, synchronised with the disk and renamed, so a file
    ``shard-*.parquet`` is always whole. Memory holds the records of one shard. Where all of a
    shard's samples were set aside it is called ``rejects-*.parquet``: it has no attributions.

    Args:
        folder: The folder; it is made where there is none. A run that was stopped goes on in it.
        shard_size: A shard is written when so many samples have come ...
        shard_mebibytes: ... or so many MiB of records.

    Raises:
        ImportError: If pyarrow is not installed.
        ValueError: If a size is not positive.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from captum_xdnn.dataset import ParquetShards, Records, read_shards
        >>> folder = tempfile.mkdtemp()
        >>> sink = ParquetShards(folder)
        >>> sink.open({"what": "an example"})
        set()
        >>> sink.add([Records({"id": np.array([3, 4]), "attribution": np.ones((2, 5))})], [])
        >>> sink.close()
        >>> read_shards(folder)["id"].tolist()
        [3, 4]
    """

    def __init__(
        self, folder: str | Path, *, shard_size: int = 1024, shard_mebibytes: float = 64
    ) -> None:
        if shard_size < 1 or shard_mebibytes <= 0:
            message = f"shards need a positive size, found {shard_size} and {shard_mebibytes} MiB"
            raise ValueError(message)
        pyarrow()  # before the work
        self.folder = Path(folder)
        self.shard_size = shard_size
        self.shard_bytes = int(shard_mebibytes * 2**20)
        #: Samples that are attributed, as far as they are written.
        self.attributed = 0
        #: The type of the column of ids in all shards; None while that is open.
        self.id_type: str | None = None
        self._made: list[Path] = []
        self._found: list[Path] = []
        self._held = ExitStack()  # the lock
        self._form: Form | None = None
        self._next = 0
        self._records: list[Records] = []
        self._rejects: list[Reject] = []
        self._rejected: dict[Id, str] = {}

    def open(
        self, run: dict[str, Any], *, retry_rejected: bool = False, ids: Collection[Id] = ()
    ) -> set[Id]:
        """Take the folder, and see what is in it.

        Args:
            run: What decides the records; a folder holds those of one run only.
            retry_rejected: Whether samples that were set aside are to be tried again.
            ids: All that are to come, where they are known: their column has one type in all
                shards, which is otherwise that of the first that are written.

        Returns:
            The ids that are done.

        Raises:
            RuntimeError: If another process writes to the folder.
            ValueError: If the folder holds another run, the same sample twice, ids of another type,
                a shard that is damaged, or what no run has written.
        """
        type_of(ids)  # raises before there is a folder
        path = self.folder / RUN
        parts = (self.folder / LOCK, self.folder, *self.folder.parents)
        made = [part for part in parts if not part.exists()]
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = FileLock(self.folder / LOCK).acquire(timeout=0)
        except Timeout:
            raise RuntimeError(f"another process is writing to {self.folder}") from None
        self._made = made if path.exists() else [path, *made]
        self._found = shards_in(self.folder)
        with ExitStack() as stack:
            stack.enter_context(lock)
            stack.push(lambda error, *_: self._unmake() if error else None)
            self._check(run)
            for left in self.folder.glob(".*.tmp"):  # what a killed run was writing
                left.unlink()
            done = self._survey()
            if ids:
                self._type_for(ids)
            if not path.exists():
                write_whole(path, json.dumps(run, indent=1).encode())
            self._write_rejects()
            self._held = stack.pop_all()
        return done if retry_rejected else done | self._rejected.keys()

    def _survey(self) -> set[Id]:
        """See what the shards hold; the ids that are attributed."""
        times: Counter[Id] = Counter()
        self._rejected, self._form, self.id_type = {}, None, None
        for path in self._found:
            ids, rejects, form, id_type = read_ids(path)
            times.update(ids)
            self._rejected.update((r.id, r.reason) for r in rejects)
            self._form, self.id_type = self._form or form, self.id_type or id_type
            if id_type not in (None, self.id_type):
                raise ValueError(f"{path} has ids of type {id_type}, others of type {self.id_type}")
        twice = [i for i, count in times.items() if count > 1]
        if twice:
            message = f"{len(twice)} samples are in {self.folder} twice, {twice[0]!r} is the first"
            raise ValueError(message)
        self._rejected = {i: why for i, why in self._rejected.items() if i not in times}
        self._next = 1 + max(map(_number_of, self._found), default=-1)
        self.attributed = len(times)
        return set(times)

    def _check(self, run: dict[str, Any]) -> None:
        """Compare with the run that the folder was made for."""
        path = self.folder / RUN
        wanted = json.loads(json.dumps(run))
        if not path.exists():
            others = sorted(p.name for p in self.folder.iterdir() if p.name[0] != ".")
            if others and not self._found:
                message = f"{self.folder} holds {others[0]} and no {RUN}: give a folder of its own"
                raise ValueError(message)
            return
        try:
            found = dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{path} cannot be read ({first_line(error)}): give another folder, or delete it "
                "if you know that the shards beside it are of this run"
            ) from error
        # What earlier versions did not note is not compared.
        noted = {n for n in wanted if n in found or n not in NOTED_LATER}
        names = sorted(n for n in {*found, *noted} if found.get(n) != wanted.get(n))
        grown = names == ["samples"] and (wanted["samples"] or 0) > (found["samples"] or 0)
        if names and not grown:
            differing = "; ".join(f"{n}: {found.get(n)!r}, now {wanted.get(n)!r}" for n in names)
            raise ValueError(f"{self.folder} holds another run ({differing}): give another folder")

    def _type_for(self, ids: Collection[Id]) -> str:
        """The type of the column of ids, which the first decide; an error where it holds not these."""
        self.id_type = self.id_type or type_of(ids)
        strange = misfit(ids, self.id_type)
        if strange is not None:
            raise ValueError(
                f"{self.folder} holds ids of type {self.id_type}, which {strange!r} is none of: "
                "give another folder"
            )
        return self.id_type

    def _unmake(self) -> None:
        """Leave nothing of a start after which nothing was written."""
        if len(shards_in(self.folder)) == len(self._found):
            for path in self._made:
                with suppress(OSError):  # another has put something there
                    path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)

    def add(self, records: Sequence[Records], rejects: Sequence[Reject]) -> None:
        """Take what became of a batch; write a shard if that fills one.

        What is added in one call goes into one shard, so a run that goes on meets whole batches.
        """
        self._records += [r for r in records if len(r)]
        self._rejects += rejects
        samples = len(self._rejects) + sum(map(len, self._records))
        size = sum(records.nbytes for records in self._records)
        if samples >= self.shard_size or size >= self.shard_bytes:
            self.flush()

    def flush(self) -> None:
        """Write what has come as a shard, though it is not full."""
        # Taken out first: what is interrupted is not written a second time.
        records, rejects = self._records, self._rejects
        self._records, self._rejects = [], []
        if not (records or rejects):
            return
        if self._form is None and records:
            self._form = mode(r.form for r in records for _ in range(len(r)))
        kept, of_other_form = of_form(records, self._form)
        rejects += of_other_form
        number, self._next = self._next, self._next + 1
        joined = Records.joined(kept) if kept else None
        ids = [i for r in kept for i in r.ids]
        id_type = self._type_for(ids + [r.id for r in rejects])
        write_shard(self.folder, f"{number:06d}", joined, rejects, id_type)
        self.attributed += len(ids)
        self._rejected.update((r.id, r.reason) for r in rejects)
        if self._rejected:
            for each in ids:
                self._rejected.pop(each, None)
            self._write_rejects()

    def close(self, *, failed: bool = False) -> None:
        """Write what is left, give the folder back, and if ``failed`` leave none without a sample."""
        with self._held:
            if failed and not (self.attributed or self._records or self._found):
                self._rejects = []  # whatever failed may be why they were set aside
            self.flush()
            if failed:
                self._unmake()

    @property
    def rejects(self) -> tuple[Reject, ...]:
        """All samples that are set aside, those of earlier runs among them."""
        found = {**self._rejected, **{r.id: r.reason for r in self._rejects}}
        return tuple(Reject(i, reason) for i, reason in found.items())

    def _write_rejects(self) -> None:
        path = self.folder / REJECTS
        if not self._rejected:
            path.unlink(missing_ok=True)
            return
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(("id", "reason"))
        writer.writerows(self._rejected.items())
        # A reason may name a file whose name is no Unicode.
        write_whole(path, text.getvalue().encode(errors="backslashreplace"))


def shards_in(folder: Path) -> list[Path]:
    """A folder's shards as they were written one after another, those of Ray's tasks first."""
    return sorted([*folder.glob(SHARDS), *folder.glob(SET_ASIDE)], key=_number_of)


def write_shard(
    folder: Path, name: str, records: Records | None, rejects: Sequence[Reject], id_type: str
) -> None:
    """Write a shard, whose name tells it from the others; at every moment it is whole or absent."""
    buffer = io.BytesIO()
    write_table(buffer, records, rejects, id_type)
    pattern = SET_ASIDE if records is None else SHARDS
    write_whole(folder / pattern.replace("*", name), *sealed(buffer.getbuffer()))


def _number_of(shard: Path) -> int:
    """The number in a shard's name; -1 where it is named otherwise, as Ray's tasks do."""
    number = shard.stem.partition("-")[2]
    return int(number) if number.isdigit() else -1


def write_whole(path: Path, *content: bytes | memoryview) -> None:
    """Write a file under a temporary name, wait for the disk, and rename it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.writelines(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    if os.name != "nt":  # a folder's own entries reach the disk by themselves there
        number = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
