"""The experiment on sparsity, run small on real subjects; and the tables that it reads."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
Imported = Callable[[str], ModuleType]
METHODS = ["unregularised", "gradient", "log_gradient", "eg_1", "x_gradient"]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def test_a_small_run_is_resumed(
    imported: Imported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = imported("sparsity_prior")
    command = ["--out", str(tmp_path), "--epochs", "8", "--methods", *METHODS]
    assert experiment.main([*command, "--repetitions", "1"]) == 0
    first = rows_of(tmp_path / "results.csv")
    # Once for each weight of the prior.
    assert len(first) == 1 + 4 * 5
    assert {row["method"] for row in first} == set(METHODS)
    for row in first:
        assert 0 <= float(row["test"]) <= 1
        assert 1 <= int(row["epoch"]) <= 8
        assert 0 < float(row["milliseconds"]) <= 1000 * float(row["seconds"])
    gentle = [float(row["test"]) for row in first if row["alpha"] == "0.01"]
    assert min(gentle) > 0.85  # tumours are told apart after eight steps
    assert experiment.main([*command, "--repetitions", "2"]) == 0
    both = rows_of(tmp_path / "results.csv")
    assert both[: len(first)] == first  # what was measured is not measured again
    assert len(both) == 2 * len(first)
    table = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[1] for line in table if "| X-Gradient |" in line] == ["1", "2"]
    picture = (tmp_path / "sparsity_prior.png").read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_weight_is_chosen_by_validation_alone(imported: Imported) -> None:
    rows = [
        {"method": "eg_1", "repetition": r, "alpha": a, "validation": v, "test": t}
        for r, a, v, t in (
            ("0", "0.1", "0.7", "0.9"),
            ("0", "1.0", "0.8", "0.6"),
            ("1", "0.1", "0.9", "0.5"),
        )
    ]
    kept = imported("sparsity_prior").chosen(rows)
    assert [(row["alpha"], row["test"]) for row in kept["eg_1"]] == [("1.0", "0.6"), ("0.1", "0.5")]


def test_every_method_of_a_repetition_has_the_same_subjects(imported: Imported) -> None:
    training, tables = imported("sparse_training"), imported("subject_tables")
    table = tables.breast_cancer()
    parts = training.split(table, 3)
    assert [len(part.outcomes) for part in parts] == [100, 100, 369]
    again = training.split(table, 3)
    other = training.split(table, 4)
    for mine, twin, different in zip(parts, again, other, strict=True):
        assert mine.features.equal(twin.features)
        assert not mine.outcomes.equal(different.outcomes)
    assert parts[0].features.mean(0).abs().max() < 1e-5
    assert (parts[0].features.std(0, correction=0) - 1).abs().max() < 1e-5


def test_malignant_is_the_outcome(imported: Imported) -> None:
    table = imported("subject_tables").breast_cancer()
    radius = table.features[:, table.names.index("mean radius")]
    assert table.features.shape == (569, 30)
    assert radius[table.outcomes == 1].mean() > radius[table.outcomes == 0].mean()


FOLLOWED = ("3", "15", "15.5", "-14", "-16", "", "0.5")


def test_nhanes(imported: Imported, tmp_path: Path) -> None:
    tables = imported("subject_tables")
    lines = [",Age,BMI", *(f"{i},{40 + i},{'' if i == 4 else 20 + i}" for i in range(7))]
    (tmp_path / "NHANESI_subset_X.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(FileNotFoundError, match="--download"):
        tables.nhanes(tmp_path)
    years = [",y", *(f"{i},{value}" for i, value in enumerate(FOLLOWED))]
    (tmp_path / "NHANESI_subset_y.csv").write_text("\n".join(years) + "\n")
    table = tables.nhanes(tmp_path)
    # Who was lost after 14 years is unknown, and so is who has no number.
    assert table.names == ("Age", "BMI")
    assert table.features[:, 0].tolist() == [40, 41, 42, 44, 46]
    assert table.outcomes.tolist() == [1, 1, 0, 0, 1]
    assert np.isnan(table.features[3, 1])
    assert tables.nhanes(tmp_path, years=2).outcomes.tolist() == [0, 0, 0, 0, 0, 1]


def test_shuffled_columns_say_nothing(imported: Imported) -> None:
    tables = imported("subject_tables")
    table = tables.breast_cancer()
    wide = tables.with_shuffled_columns(table, 40)
    assert wide.features.shape == (569, 70)
    assert len(wide.names) == 70
    np.testing.assert_array_equal(wide.features[:, :30], table.features)
    informed = [abs(np.corrcoef(c, wide.outcomes)[0, 1]) for c in wide.features.T]
    assert max(informed[30:]) < 0.2 < np.mean(informed[:30])
    for name, column in zip(wide.names[30:], wide.features.T[30:], strict=True):
        origin = table.features[:, table.names.index(name.removesuffix(", shuffled"))]
        np.testing.assert_array_equal(np.sort(column), np.sort(origin))


def test_a_table_of_ones_own(imported: Imported, tmp_path: Path) -> None:
    tables, path = imported("subject_tables"), tmp_path / "mine.csv"
    path.write_text("a,died,b\n1,0,\n2.5,1,4\n")
    table = tables.from_csv(path, "died")
    assert (table.title, table.names) == ("mine", ("a", "b"))
    assert table.outcomes.tolist() == [0, 1]
    np.testing.assert_array_equal(table.features, [[1, np.nan], [2.5, 4]])
    with pytest.raises(ValueError, match="no column 'age'; it has a, died, b"):
        tables.from_csv(path, "age")
    with pytest.raises(ValueError, match="both 0 and 1"):
        tables.from_csv(path, "a")


WRONG: dict[str, tuple[Callable[[Any], Any], str]] = {
    "too few": (lambda t: t(np.ones((200, 2)), np.arange(200) % 2), "more than 200"),
    "one outcome": (lambda t: t(np.ones((300, 2)), np.arange(300) == 0), "one outcome"),
}


@pytest.mark.parametrize("name", WRONG)
def test_subjects_that_cannot_be_split(name: str, imported: Imported) -> None:
    build, said = WRONG[name]
    tables = imported("subject_tables")
    table = build(lambda x, y: tables.Table("few", ("a", "b"), x, y.astype(float)))
    with pytest.raises(ValueError, match=said):
        imported("sparse_training").split(table, 0)


def test_a_table_needs_its_target(imported: Imported, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        imported("sparsity_prior").main(["--out", str(tmp_path), "--table", "x.csv"])
