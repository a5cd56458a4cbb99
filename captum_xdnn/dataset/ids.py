"""Ids of samples: each comes back as it went in, or is refused by name before the work begins."""

import operator
import reprlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

from captum_xdnn.errors import first_line

Id: TypeAlias = int | str

LEAST, BOUND = {"int64": -(2**63), "uint64": 0}, {"int64": 2**63, "uint64": 2**64}
TYPES = {"int64": np.int64, "uint64": np.uint64, "string": object}
"""What a column of ids may be, in Arrow's words, and in NumPy's, whose own strings lose NULs."""
_SHOWN = 3


@dataclass(frozen=True)
class Plan:
    """The samples of a run, named before any is loaded; of each batch the ids and the indices."""

    index_of: dict[Id, Any]
    batches: list[tuple[list[Id], list[Any]]]

    def without(self, done: Collection[Id]) -> Iterator[tuple[list[Id], list[Any]]]:
        """The batches that are left."""
        for ids, indices in self.batches:
            left = [place for place, name in enumerate(ids) if name not in done]
            if left:
                yield [ids[place] for place in left], [indices[place] for place in left]


def planned(batches: Iterable[Iterable[Any]], names: Any, size: int | None = None) -> Plan:
    """Name the samples of batches of indices; a sample that is drawn again is left out.

    ``names`` are the ids by index, None for the indices; ``size`` that of the data set, if known.
    """
    if names is not None and size is not None and hasattr(names, "__len__") and len(names) != size:
        raise ValueError(f"ids= names {len(names)} samples, the data set has {size}")
    plan = Plan({}, [])
    wrong: list[str] = []
    twice: list[str] = []
    for batch in batches:
        ids: list[Id] = []
        indices: list[Any] = []
        for index in batch:
            given = index if names is None else _name_at(names, index)
            name = id_of(given)
            if name is None:
                wrong.append(_refused(given, index))
            elif name not in plan.index_of:
                plan.index_of[name] = index
                ids.append(name)
                indices.append(index)
            elif names is not None and plan.index_of[name] != index:
                twice.append(f"{name!r} at index {plan.index_of[name]} and {index}")
        if ids:
            plan.batches.append((ids, indices))
    _raise_of(wrong)
    if twice:
        raise ValueError(f"{len(twice)} ids are given to another sample, too: {_some(twice)}")
    type_of(plan.index_of)
    return plan


def _name_at(names: Any, index: Any) -> Any:
    try:
        return names[index]
    except (LookupError, TypeError) as error:
        raise ValueError(f"ids= gives none for index {index}: {first_line(error)}") from error


def id_of(value: Any) -> Id | None:
    """The integer or string of Python's that a value is; None where it is neither, or too large."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return None
        return str.__str__(value)
    if isinstance(value, Tensor) and not value.dim():
        value = value.item()  # its __index__ takes a bool, and no large unsigned number
    dimensions: Any = getattr(value, "ndim", 0)
    if isinstance(value, bool) or dimensions:
        return None
    try:
        number = operator.index(value)
    except TypeError:
        return None
    return number if LEAST["int64"] <= number < BOUND["uint64"] else None


def ids_of(values: Sequence[Any]) -> list[Id]:
    """The ids that values are; a ValueError names those that are none."""
    found = [id_of(value) for value in values]
    _raise_of([_refused(values[place], place) for place, i in enumerate(found) if i is None])
    return [i for i in found if i is not None]


def _refused(value: Any, index: Any) -> str:
    kind = type(value).__name__
    if isinstance(value, str):
        kind = "a string that is no Unicode"
    elif isinstance(value, int) and not isinstance(value, bool):
        kind = "out of range"
    return f"{reprlib.repr(value)} at index {index} ({kind})"


def _raise_of(refused: list[str]) -> None:
    if refused:
        raise ValueError(
            f"{len(refused)} ids cannot be kept: {_some(refused)}; an id is an integer from -2**63 "
            "to 2**64 - 1 or a string: give ids= str(...) of others, and of a file name that is no "
            "Unicode os.fsencode(name).hex()"
        )


def _some(said: list[str]) -> str:
    return ", ".join(said[:_SHOWN]) + (", ..." if len(said) > _SHOWN else "")


def type_of(ids: Collection[Id]) -> str:
    """The type of a column that holds all; a dictionary's values say where each id comes from."""
    for each in TYPES:
        if misfit(ids, each) is None:
            return each
    low, high = misfit(ids, "uint64"), misfit(ids, "int64")  # strings fit neither
    if low == high:
        low = misfit(ids, "string")

    def named(i: Id | None) -> str:
        return f"{i!r} at index {ids[i]}" if isinstance(ids, dict) else repr(i)

    raise ValueError(
        f"{named(low)} and {named(high)} do not go into one column: ids are all strings, or all "
        "integers below 2**63, or all integers from 0 to 2**64 - 1"
    )


def misfit(ids: Iterable[Id], kind: str) -> Id | None:
    """The first id that a column of this type does not hold; None where there is none."""
    if kind == "string":
        return next((i for i in ids if not isinstance(i, str)), None)
    least, bound = LEAST[kind], BOUND[kind]
    return next((i for i in ids if isinstance(i, str) or not least <= i < bound), None)


def type_of_array(ids: npt.NDArray[Any]) -> str:
    """The type of a column that holds these and what else an array of their dtype may hold."""
    return "uint64" if ids.dtype == np.uint64 else type_of(ids.tolist())


def id_array(ids: Collection[Id], kind: str | None = None) -> npt.NDArray[Any]:
    """Ids as an array that loses nothing of them."""
    return np.array(list(ids), TYPES[kind or type_of(ids)])
