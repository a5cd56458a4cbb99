"""Does a prior for sparse attributions help where subjects are few? The paper's Section 4.3.

    pip install "captum-xdnn[tutorials]"
    python tutorials/experiments/sparsity_prior.py --out DIR
    python tutorials/experiments/sparsity_prior.py --out DIR --nhanes FOLDER [--download]
    python tutorials/experiments/sparsity_prior.py --out DIR --table FILE.csv --target COLUMN

By default on scikit-learn's breast cancer data; ``--nhanes`` takes NHANES I (18 features; the public
copy of the repository shap/shap, which ``--download`` fetches); ``--table`` any table of numbers
with a header and a column of 0 and 1, such as the paper's own with 118 features.

Each repetition draws 100 training and 100 validation subjects; every method is trained on them once
for each weight ``alpha`` of the prior, and the weight with the best validation AUROC is kept. Every
training is a row of ``DIR/results.csv``; a run that was broken off goes on where it stopped. At the
end: a table, and a figure like the paper's, ``DIR/sparsity_prior.png``. Fifty repetitions with the
paper's methods take about an hour on one core, half of it for 32 references.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import torch
from sparse_training import ALPHAS, EPOCHS, METHODS, PAPERS, perceptron, split, train
from sparsity_figure import draw
from subject_tables import (
    YEARS,
    Table,
    breast_cancer,
    download_nhanes,
    from_csv,
    nhanes,
    with_shuffled_columns,
)
from tqdm import tqdm

COLUMNS = (
    "table",
    "epochs",
    "method",
    "repetition",
    "alpha",
    "validation",
    "test",
    "epoch",
    "seconds",
    "milliseconds",
)
Row = dict[str, str]


def rows_of(table: Table, name: str, repetition: int, epochs: int) -> list[Row]:
    """Train a method once for each weight of the prior."""
    torch.set_num_threads(1)
    method, parts = METHODS[name], split(table, repetition)
    net = perceptron(parts[0].features.shape[1], bias=method.bias)
    rows = []
    for alpha in ALPHAS if method.attributing else (0.0,):
        found = train(method, net, parts, alpha=alpha, seed=repetition, epochs=epochs)
        values = (table.title, epochs, name, repetition, alpha, *vars(found).values())
        rows.append(dict(zip(COLUMNS, map(str, values), strict=True)))
    return rows


def read(path: Path) -> list[Row]:
    """The rows that are there."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def append(path: Path, rows: Sequence[Row]) -> None:
    """Add the rows of one method and repetition, all at once."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerows(rows)


def chosen(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """For each method and repetition the row with the best validation AUROC, in order."""
    best: dict[tuple[str, int], Row] = {}
    for row in rows:
        key = (row["method"], int(row["repetition"]))
        if key not in best or float(row["validation"]) > float(best[key]["validation"]):
            best[key] = row
    kept: dict[str, list[Row]] = {}
    for (name, _), row in sorted(best.items(), key=lambda item: item[0][1]):
        kept.setdefault(name, []).append(row)
    return kept


def summary(kept: dict[str, list[Row]]) -> str:
    """A table in Markdown: test AUROC, its distance from X-Gradient's, and what a training takes."""
    lines = [
        "| method | repetitions | test AUROC | minus X-Gradient, paired | ms a step | over unregularised "
        "| s a training |",
        "|---|---|---|---|---|---|---|",
    ]
    plain = _milliseconds(kept["unregularised"]) if "unregularised" in kept else float("nan")
    ours = {row["repetition"]: float(row["test"]) for row in kept.get("x_gradient", [])}
    for name, method in METHODS.items():
        if name not in kept:
            continue
        tests = [float(row["test"]) for row in kept[name]]
        gaps = [
            float(row["test"]) - ours[row["repetition"]]
            for row in kept[name]
            if row["repetition"] in ours and name != "x_gradient"
        ]
        taken = _milliseconds(kept[name])
        cells = [
            method.title,
            str(len(tests)),
            mean_and_error(tests),
            mean_and_error(gaps, signed=True) if gaps else "",
            f"{taken:.2f}",
            f"{taken / plain:.1f}x",
            f"{statistics.median(float(row['seconds']) for row in kept[name]):.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def mean_and_error(values: Sequence[float], *, signed: bool = False) -> str:
    """The mean with its standard error."""
    mean = f"{statistics.mean(values):+.4f}" if signed else f"{statistics.mean(values):.4f}"
    if len(values) < 2:
        return mean
    return f"{mean} ± {statistics.stdev(values) / len(values) ** 0.5:.4f}"


def _milliseconds(rows: Sequence[Row]) -> float:
    """Median over the trainings of the milliseconds a step took."""
    return statistics.median(float(row["milliseconds"]) for row in rows)


def table_of(options: argparse.Namespace) -> Table:
    """The table that the command line asks for."""
    if options.table is not None:
        return from_csv(options.table, options.target)
    if options.nhanes is None:
        return breast_cancer()
    if options.download:
        download_nhanes(options.nhanes)
    return nhanes(options.nhanes, options.years)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, print the table, draw the figure."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if (options.table is None) != (options.target is None):
        parser.error("--table and --target belong together")
    table = table_of(options)
    if options.shuffled:
        table = with_shuffled_columns(table, options.shuffled)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "results.csv"

    def ours(row: Row) -> bool:
        return row["table"] == table.title and row["epochs"] == str(options.epochs)

    done = {(row["method"], int(row["repetition"])) for row in filter(ours, read(path))}
    asked = [(name, r) for r in range(options.repetitions) for name in options.methods]
    missing = [job for job in asked if job not in done]
    pool = ProcessPoolExecutor(options.workers, mp_context=get_context("spawn"))
    with pool, tqdm(total=len(asked), initial=len(asked) - len(missing), unit="training") as bar:
        jobs = [pool.submit(rows_of, table, *job, options.epochs) for job in missing]
        try:
            for job in as_completed(jobs):
                append(path, job.result())
                bar.update()
        finally:  # what has not begun is not waited for
            pool.shutdown(cancel_futures=True)
    kept = chosen(row for row in filter(ours, read(path)) if row["method"] in options.methods)
    print(summary(kept))
    titles = {name: METHODS[name].title for name in METHODS if name in kept}
    draw(options.out / "sparsity_prior.png", table.title, titles, kept)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Train with a prior for sparse attributions.")
    parser.add_argument("--out", type=Path, required=True, help="folder for results and figure")
    parser.add_argument("--nhanes", type=Path, help="folder with the two files of NHANES I")
    parser.add_argument("--download", action="store_true", help="fetch them into that folder")
    parser.add_argument(
        "--years", type=float, default=YEARS, help="follow-up in NHANES I (default: %(default)s)"
    )
    parser.add_argument("--table", type=Path, help="a table of your own, as CSV")
    parser.add_argument("--target", help="the column of that table that holds the outcome")
    parser.add_argument(
        "--shuffled", type=int, default=0, metavar="N", help="add N columns that say nothing"
    )
    parser.add_argument("--repetitions", type=int, default=50, help="(default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="(default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: %(default)s)")
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=list(METHODS),
        default=list(PAPERS),
        metavar="METHOD",
        help=f"any of {', '.join(METHODS)} (default: the paper's)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
