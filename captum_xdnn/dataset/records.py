"""What is written for a sample: a row of columns, or a reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from captum_xdnn.dataset.ids import Id, id_array

Columns: TypeAlias = dict[str, npt.NDArray[Any]]
Form: TypeAlias = tuple[tuple[str, tuple[int, ...], str], ...]
"""Names, shapes of one row and dtypes of the columns that differ from run to run."""

NONE = -1
"""In integer columns: there is none. No target or class is negative."""
SCALARS = ("id", "target", "prediction", "output", "route", "completeness_gap")


@dataclass(frozen=True)
class Reject:
    """A sample that was set aside.

    Attributes:
        id: Its id.
        reason: Why, in one line.

    Example:
        >>> from captum_xdnn.dataset import Reject
        >>> Reject(7, "input is not finite: 1 NaN").id
        7
    """

    id: Id
    reason: str


@dataclass(frozen=True)
class Records:
    """Rows of the same columns.

    Attributes:
        columns: One array for each column, dimension 0 the rows: ``id``; ``target``, the index of
            the explained output, and ``prediction``, the largest one's (-1 where there is none, or
            where it is not one number, as in outputs of more than two dimensions);
            ``output``, the value explained; ``route``; ``completeness_gap``, the sum of the
            attributions minus ``F(x) - F(b)`` (NaN where a method promises none); and those of the
            attributions.

    Example:
        >>> import numpy as np
        >>> from captum_xdnn.dataset import Records
        >>> records = Records({"id": np.array([4, 9]), "attribution": np.zeros((2, 3, 8, 8))})
        >>> len(records), records.ids
        (2, [4, 9])
    """

    columns: Columns

    def __len__(self) -> int:
        return len(self.columns["id"])

    @property
    def ids(self) -> list[Id]:
        """The rows' ids."""
        found: list[Id] = self.columns["id"].tolist()
        return found

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(array.nbytes for array in self.columns.values())

    @property
    def form(self) -> Form:
        """What all rows of one run have in common."""
        return tuple(
            (name, array.shape[1:], array.dtype.str)
            for name, array in self.columns.items()
            if name not in SCALARS
        )

    @staticmethod
    def joined(parts: Sequence[Records]) -> Records:
        """The rows of several, at least one and all of one form, in their order."""
        columns = {n: np.concatenate([p.columns[n] for p in parts]) for n in parts[0].columns}
        # NumPy would make float64 of integers of two types.
        return Records({**columns, "id": id_array([i for part in parts for i in part.ids])})


Outcome: TypeAlias = tuple[list[Records], list[Reject]]
"""What became of some samples: each is once in the one or the other."""


def of_form(parts: Sequence[Records], form: Form | None) -> Outcome:
    """Those of a form, and a reject for each row of the others."""

    def read(form: Form | None) -> str:
        return ", ".join(f"{name} of shape {shape}" for name, shape, _ in form or ())

    rejects = [
        Reject(i, f"it has {read(part.form)}, others {read(form)}")
        for part in parts
        if part.form != form
        for i in part.ids
    ]
    return [part for part in parts if part.form == form], rejects
