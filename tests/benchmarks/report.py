"""The measured figures as Markdown, with the environment they were measured in."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field

import captum
import torch

COMMAND = "pytest tests/benchmarks --report docs/benchmarks.md"


@dataclass(frozen=True)
class Row:
    """One measured figure and its bound; an empty bound for a figure that has none."""

    subject: str
    figure: str
    bound: str
    held: bool


@dataclass
class Report:
    """Figures by section, in the order of measurement."""

    sections: dict[str, list[Row]] = field(default_factory=dict)

    def add(self, section: str, subject: str, figure: str, bound: str, *, held: bool) -> None:
        """Note a figure; a second one for the same subject replaces the first."""
        rows = self.sections.setdefault(section, [])
        rows[:] = [row for row in rows if row.subject != subject]
        rows.append(Row(subject, figure, bound, held))

    def markdown(self) -> str:
        """The page of the documentation."""
        lines = [
            "# Benchmarks",
            "",
            "Every figure is a ratio of two things measured in turn in one process, the median "
            "over the rounds. Made by",
            "",
            "```",
            COMMAND,
            "```",
            "",
            f"on {environment()}.",
        ]
        for section, rows in self.sections.items():
            lines += ["", f"## {section}", "", "| | measured | bound | |", "|---|---|---|---|"]
            for row in rows:
                mark = "held" if row.held else "**not held**"
                mark = mark if row.bound else ""
                lines.append(f"| {row.subject} | {row.figure} | {row.bound} | {mark} |")
        return "\n".join([*lines, ""])


def environment() -> str:
    """Versions, processor and threads in one line."""
    cuda = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ", no GPU"
    return (
        f"Python {platform.python_version()}, torch {torch.__version__}, captum "
        f"{captum.__version__}, {_processor()}, {torch.get_num_threads()} "
        f"thread{'s' if torch.get_num_threads() > 1 else ''}{cuda}"
    )


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123
            names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
