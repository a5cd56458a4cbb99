"""The measured figures as Markdown, with the environment they were measured in."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from pathlib import Path

import captum
import torch
from matplotlib.figure import Figure

from .summary import summary

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
    """Figures by section, in the order of measurement, and a plot of some sections."""

    sections: dict[str, list[Row]] = field(default_factory=dict)
    plots: dict[str, Figure] = field(default_factory=dict)

    def add(self, section: str, subject: str, figure: str, bound: str, *, held: bool) -> None:
        """Note a figure; a second one for the same subject replaces the first."""
        rows = self.sections.setdefault(section, [])
        rows[:] = [row for row in rows if row.subject != subject]
        rows.append(Row(subject, figure, bound, held))

    def write(self, path: Path, device: torch.device, *, data: bool = False) -> None:
        """Write the page, and its plots into the folder ``figures`` beside it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.markdown(device, data=data), encoding="utf-8")
        for section, figure in self.plots.items():
            file = path.parent / _file(section)
            file.parent.mkdir(exist_ok=True)
            figure.savefig(file, dpi=110)

    def markdown(self, device: torch.device, *, data: bool = False) -> str:
        """The page of the documentation; ``data`` says whether Fashion-MNIST was at hand."""
        command = COMMAND if device.type == "cpu" else f"{COMMAND} --device {device.type}"
        command += " --data ROOT" if data else ""
        lines = [
            "# Benchmarks",
            "",
            *summary(
                {s: [(r.subject, r.figure) for r in rows] for s, rows in self.sections.items()}
            ),
            "",
            "Every figure is a ratio of two things measured in turn in one process, the median "
            "over the rounds. Made by",
            "",
            "```",
            command,
            "```",
            "",
            *(["where `ROOT` holds `FashionMNIST/raw`,"] if data else []),
            f"on {environment(device)}.",
        ]
        for section, rows in self.sections.items():
            lines += ["", f"## {section}", "", "| | measured | bound | |", "|---|---|---|---|"]
            for row in rows:
                mark = "held" if row.held else "**not held**"
                mark = mark if row.bound else ""
                lines.append(f"| {row.subject} | {row.figure} | {row.bound} | {mark} |")
            if section in self.plots:
                lines += ["", f"![{section}]({_file(section)})"]
        return "\n".join([*lines, ""])


def _file(section: str) -> str:
    words = "".join(c if c.isalnum() else " " for c in section.lower()).split()
    return f"figures/benchmarks_{'_'.join(words)}.png"


def environment(device: torch.device) -> str:
    """Versions, processor and threads in one line."""
    cuda = ", on the CPU" if device.type == "cpu" else f", on {torch.cuda.get_device_name(device)}"
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
