"""What a person wants to know of the tables, in a minute; made of their own figures.

    python tests/benchmarks/summary.py docs/benchmarks.md

writes it anew into a page, from the tables below it. ``--report`` writes it with each report.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

BEGIN, END = "<!-- summary -->", "<!-- end of the summary -->"
Rows = Iterable[tuple[str, str]]
"""Subject and measured figure."""

ROWS = "Every model: rows of a table"
IMAGES = "Every model: images at their usual size"
LINES = (
    (
        "no biases, ReLU-like",
        "one pass, exact",
        "Against Integrated Gradients with 50 steps",
        "speed-up$",
    ),
    (
        "the same under a softmax or sigmoid",
        "hoisted, Captum's numbers",
        "Hoisting, over Captum at 50 steps",
        "^(softmax|sigmoid) on",
    ),
    *(
        (f"perceptron with biases, {n} row{'s' * (n > 1)}", "Captum's numbers", ROWS, f"^MLP .* {n} rows$")
        for n in (1, 16, 256, 1000)
    ),
    ("LSTM, 500 rows", "Captum's numbers", ROWS, "^LSTM"),
    ("transformer encoder, 500 rows", "Captum's numbers", ROWS, "^transformer"),
    ("ResNet and other image networks with biases or batch norms", "Captum's numbers", IMAGES, "batch 1$"),
    (
        "BERT, layer Integrated Gradients of its embeddings",
        "Captum's numbers",
        "Every model: layer Integrated Gradients of BERT's embeddings",
        "tokens$",
    ),
)  # fmt: skip
"""Your model, what you get, and the section and subjects whose figures say how fast."""

FIRST = "First call in a fresh process, over Captum's at 50 steps"
STEP = "A training step with a prior, over one without"


def rows_of(page: str) -> dict[str, list[tuple[str, str]]]:
    """The tables of a page by their sections."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for section in page.split("\n## ")[1:]:
        title, _, text = section.partition("\n")
        lines = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("|")]
        sections[title] = [(subject.strip(), figure.strip()) for subject, figure in lines[2:]]
    return sections


def ratios(rows: Rows, subjects: str) -> str:
    """The least and the largest ratio of these subjects, as the tables write them."""
    found = [
        match[1]
        for subject, figure in rows
        if re.search(subjects, subject) and (match := re.match(r"([\d.,]+)x", figure))
    ]
    if not found:
        return ""
    low, high = (choose(found, key=lambda f: float(f.replace(",", ""))) for choose in (min, max))
    return f"{low}x" if low == high else f"{low}x to {high}x"


def summary(sections: Mapping[str, Rows]) -> Iterator[str]:
    """The lines of the summary; what was not measured is left out."""
    yield BEGIN
    yield "In a minute, from the tables below:"
    yield ""
    yield "| your model | what you get | as fast as Captum's 50 steps |"
    yield "|---|---|---|"
    for model, got, section, subjects in LINES:
        if times := ratios(sections.get(section, ()), subjects):
            yield f"| {model} | {got} | {times} |"
    if times := ratios(sections.get(FIRST, ()), "^(?!X-DNN|softmax)"):
        yield ""
        yield f"The first call of a network with biases, in a fresh process, takes {times} of Captum's time."
    if times := ratios(sections.get(STEP, ()), "`last_outputs`"):
        yield f"A training step with a prior on a single pass takes {times} of a step without one."
    yield END


def with_summary(page: str) -> str:
    """The page with the summary of its own tables where the marks are."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + "\n".join(summary(rows_of(after))) + after


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(with_summary(file.read_text(encoding="utf-8")), encoding="utf-8")
