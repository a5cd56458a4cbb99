"""What ``check.sh`` asks of Python: the environment, and the report of its steps as Markdown."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

PACKAGES = ("torch", "torchvision", "numpy", "captum", "pytest", "pyarrow")
LONGEST = 40
"""So many lines of a failure, or of the output of a step that wrote no results, are shown."""


def environment(device: str) -> int:
    """Print what the run is made on; whether that is what was asked for is the exit code."""
    import torch

    asked = "--query-gpu=name,driver_version,memory.total,compute_mode"
    command = ["nvidia-smi", asked, "--format=csv,noheader"]
    try:
        card = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
        print("card, driver, memory, mode:", card.stdout.strip() or card.stderr.strip())
    except (OSError, subprocess.TimeoutExpired) as error:
        print("card:", error)
    print("python", platform.python_version(), "on", platform.platform())
    print("cores:", len(os.sched_getaffinity(0)))
    known = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
    for name in PACKAGES:
        print(name, known.get(name, "is not installed"))
    print("CUDA", torch.version.cuda, "cuDNN", torch.backends.cudnn.version())
    if device == "cpu":
        print("a dry run on the CPU")
        return 0
    if not torch.cuda.is_available():
        print("torch sees no CUDA device: every test marked gpu is skipped")
        return 1
    free, total = torch.cuda.mem_get_info()
    print(
        f"{torch.cuda.device_count()} device(s), {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
    )
    return 0


def report(folder: Path) -> int:
    """Print the report."""
    steps = [
        (file, *file.read_text(encoding="utf-8").splitlines())
        for file in sorted(folder.glob("*.step"))
    ]
    print("# CUDA\n\n| step | exit | seconds | passed | failed | errors | skipped |")
    print("|---|---|---|---|---|---|---|")
    for file, name, status, seconds in steps:
        counts = " | ".join(map(str, _counts(file.with_suffix(".xml"))))
        note = " (did not end in time)" if status in ("124", "137") else ""
        print(f"| {name} | {status}{note} | {seconds} | {counts} |")
    for file, name, status, _ in steps:
        print(f"\n## {name}")
        xml, tables = file.with_suffix(".xml"), file.with_suffix(".md")
        if status != "0" or not xml.exists():
            log = file.with_suffix(".log").read_text(encoding="utf-8", errors="replace")
            _block(log.splitlines()[-LONGEST:])
        if tables.exists():
            text = tables.read_text(encoding="utf-8")
            print("\n### " + text.partition("\n## ")[2].replace("\n## ", "\n### ").strip())
        if xml.exists():
            _results(xml)
    return 0


def _counts(xml: Path) -> list[int | str]:
    cases = _cases(xml)
    kinds = [next((child.tag for child in case if child.tag in KINDS), "passed") for case in cases]
    return [kinds.count(k) for k in ("passed", *KINDS)] if cases else ["", "", "", ""]


KINDS = ("failure", "error", "skipped")


def _cases(xml: Path) -> list[ElementTree.Element]:
    try:
        return list(ElementTree.parse(xml).iter("testcase"))
    except (OSError, ElementTree.ParseError):  # a run that was killed wrote none, or a part of it
        return []


def _results(xml: Path) -> None:
    """Each test that did not pass: the lines of its report that say why."""
    skipped: dict[str, int] = {}
    for case in _cases(xml):
        for child in case:
            if child.tag == "skipped":
                why = child.get("message", "")
                skipped[why] = skipped.get(why, 0) + 1
            elif child.tag in KINDS:
                print(f"\n**{child.tag}**: `{case.get('classname')}::{case.get('name')}`")
                lines = (child.text or child.get("message", "")).splitlines()
                said = [line for line in lines if line.startswith(("E ", ">"))]
                _block((said or lines)[:LONGEST] + lines[-1:])
    for why, count in skipped.items():
        print(f"\nskipped {count}: {why}")


def _block(lines: list[str]) -> None:
    print("\n```")
    print("\n".join(line[:300] for line in lines))
    print("```")


if __name__ == "__main__":
    wanted, given = sys.argv[1:3]
    sys.exit(environment(given) if wanted == "environment" else report(Path(given)))
