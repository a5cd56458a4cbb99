"""Tables of subjects with a yes-or-no outcome, for the experiment on sparsity.

Each is read into numbers with gaps; what is filled in and how the columns are scaled is decided on
the training subjects of a repetition, in ``sparse_training``.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

Numbers = npt.NDArray[np.float64]

NHANES_FILES = {
    "NHANESI_subset_X.csv": "cef5336deb83640da63adb3a36ddd436da49f685480c87a37c8b2959602bcb99",
    "NHANESI_subset_y.csv": "a26b0d295c0bbad0aa8034be8598274e35bd43c98e5a25cfcb407453cae4d7aa",
}
"""The two files in the folder ``data/`` of the repository shap/shap, and their SHA-256."""
NHANES_ADDRESS = "https://raw.githubusercontent.com/shap/shap/master/data/"
YEARS = 15.0
"""Whether a subject of NHANES I died within so many years is what is predicted."""


@dataclass(frozen=True)
class Table:
    """Subjects in rows.

    Attributes:
        title: What the table is called in results.
        names: Names of the ``D`` columns.
        features: Shape ``(N, D)``; NaN where a number is missing.
        outcomes: Shape ``(N,)``, 0 or 1.
    """

    title: str
    names: tuple[str, ...]
    features: Numbers
    outcomes: Numbers


def breast_cancer() -> Table:
    """The Wisconsin data that scikit-learn bundles: 569 tumours, 30 features, malignant or not."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    names = tuple(str(name) for name in data.feature_names)
    return Table("breast cancer", names, data.data, 1.0 - data.target)  # scikit-learn's 1: benign


def nhanes(folder: Path, years: float = YEARS) -> Table:
    """NHANES I with 18 features: who died within some years of the examination.

    The outcome file holds years until death, negative for who was alive when last heard of. Those
    who were lost before the years were over are left out, and so are those without a number.

    Args:
        folder: Holds the two files.
        years: Length of the follow-up.

    Raises:
        FileNotFoundError: If a file is missing.
    """
    for name in NHANES_FILES:
        if not (folder / name).is_file():
            message = f"{folder / name} is missing; --download fetches it from {NHANES_ADDRESS}"
            raise FileNotFoundError(message)
    names, rows = _read(folder / "NHANESI_subset_X.csv")
    _, survival = _read(folder / "NHANESI_subset_y.csv")
    followed = survival[:, 1]
    died = (followed > 0) & (followed <= years)
    known = died | (np.abs(followed) > years)  # a NaN is neither
    # The first column numbers the rows.
    title = f"NHANES I, death within {years:g} years"
    return Table(title, names[1:], rows[known, 1:], died[known].astype(np.float64))


def download_nhanes(folder: Path) -> None:
    """Fetch the two files that are missing; a file of another content is refused.

    Args:
        folder: Where they are put; made if it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, digest in NHANES_FILES.items():
        if not (folder / name).is_file():
            torch.hub.download_url_to_file(
                NHANES_ADDRESS + name, str(folder / name), hash_prefix=digest
            )


def with_shuffled_columns(table: Table, count: int) -> Table:
    """A table with further columns that say nothing: its own ones, the subjects in another order.

    Args:
        table: The table.
        count: How many are added; each is drawn from the table's columns.
    """
    generator = np.random.default_rng(0)
    drawn = generator.integers(len(table.names), size=count)
    shuffled = [generator.permutation(table.features[:, column]) for column in drawn]
    return Table(
        f"{table.title}, with {count} shuffled columns",
        (*table.names, *(f"{table.names[column]}, shuffled" for column in drawn)),
        np.column_stack([table.features, *shuffled]),
        table.outcomes,
    )


def from_csv(path: Path, target: str) -> Table:
    """A table of one's own: numbers with a header, one column of which is the outcome, 0 or 1.

    Args:
        path: The file; an empty cell is a gap.
        target: Name of the outcome's column.

    Raises:
        ValueError: If there is no such column, or it holds something else than 0 and 1.
    """
    names, rows = _read(path)
    if target not in names:
        message = f"{path} has no column {target!r}; it has {', '.join(names)}"
        raise ValueError(message)
    column = names.index(target)
    outcomes = rows[:, column]
    if set(np.unique(outcomes)) != {0.0, 1.0}:
        message = f"column {target!r} of {path} must hold both 0 and 1, and nothing else"
        raise ValueError(message)
    others = tuple(name for name in names if name != target)
    return Table(path.stem, others, np.delete(rows, column, axis=1), outcomes)


def _read(path: Path) -> tuple[tuple[str, ...], Numbers]:
    """Header and numbers of a file; text in place of a number is an error."""
    with path.open(newline="", encoding="utf-8") as lines:
        reader = csv.reader(lines)
        names = tuple(next(reader))
        rows = [[float(cell) if cell else np.nan for cell in row] for row in reader]
    return names, np.array(rows, dtype=np.float64)
