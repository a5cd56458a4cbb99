"""Explains all functions by Captum's classes and by ours, and writes the table of what was seen.

``python -m tests.field.two_hundred_functions --page docs/field.md`` from the root of the repository.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import torch

from .judging import Found
from .page import page
from .sections import SECTIONS, examined, functions_of, missing


def main(arguments: list[str] | None = None) -> int:
    """Run the command; gives the number of functions with a fault, at most 100."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.field.two_hundred_functions", description=__doc__
    )
    parser.add_argument("names", nargs="*", help="parts of the names of functions; all without any")
    parser.add_argument(
        "--section", action="append", choices=[*SECTIONS], help="this section, again for others"
    )
    parser.add_argument("--list", action="store_true", help="name the functions, and run nothing")
    parser.add_argument("--page", type=Path, help="the Markdown page to write")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    logging.getLogger("captum_xdnn").setLevel("ERROR")  # the notice of Captum's route
    found: dict[str, list[Found]] = {}
    for section in options.section or SECTIONS:
        without = missing(section)
        if without:
            print(f"{section}: skipped, there is no {without} here")
            continue
        for name, make in functions_of(section).items():
            if options.names and not any(part in name for part in options.names):
                continue
            if options.list:
                print(f"{section}: {name}")
                continue
            one = examined(section, name, make)
            found.setdefault(section, []).append(one)
            print(section, line(one), sep=": ", flush=True)
            for fault in one.faults:
                print(f"    FAULT {fault}", flush=True)
    if options.page:
        options.page.write_text(page(found), encoding="utf-8")
    faulty = [one.name for each in found.values() for one in each if one.faults]
    print(f"{sum(map(len, found.values()))} functions, {len(faulty)} with faults")
    return min(len(faulty), 100)


def line(one: Found) -> str:
    """What was seen of a function, in one line."""
    how = one.raised or " ".join(filter(None, (", ".join(dict.fromkeys(one.routes)), one.detail)))
    return f"{one.name}: {how}, gap {one.gap:.1e}, {one.ours:.3f} s, Captum {one.captums:.3f} s"


if __name__ == "__main__":
    sys.exit(main())
