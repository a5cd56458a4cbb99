"""The table of what was seen, as a page of the documentation."""

from __future__ import annotations

import datetime
import importlib.metadata
import importlib.util
import platform
import statistics
from collections import Counter

from .judging import Found

COMMAND = "python -m tests.field.two_hundred_functions --page docs/field.md"
PACKAGES = ("torch", "captum", "torchvision", "torch_geometric", "transformers")
HEAD = """# Functions from the field

{count} functions of the kinds that people explain, each by one call of one of Captum's six classes and by the same call of ours. Made by

```
{command}
```

(`--section`, a part of a name, and `--list` choose among them) on {environment},
one thread, on the CPU, on {date}. A section whose package is missing is left out. The functions are declared in `tests/field/two_hundred_functions`; networks have weights at random, biases and norms as
after a training unless a name says "before training" or "without biases".

What is compared, of functions that are made anew for each side: the numbers of three calls, one after the other, also in float64 where a fast
route is taken; their form; type and message of exceptions; warnings; the modules with all their attributes, hooks and gradients, the inputs,
the random numbers and the flags of the process after the calls; what outlives the function; and the time of the first call, by the
processor's clock, the less of two, once before Captum's and once after it: at most 1.1 times Captum's and 0.3 s. {verdict}
Of {documented} functions the documentation says that they differ in what they leave or in a warning: a closure or a list of their own notes every
pass, and here there are other passes ([Architecture](architecture.md#state)), or a hook does not obey what was proved.

| section | functions | single pass | hoisted | Captum's route | raise, as with Captum | first call faster | later calls faster |
|---|---|---|---|---|---|---|---|
{summary}

**Where nothing is gained.** {captum} functions take Captum's route. Most are ordinary networks with biases and norms in every layer,
attention, recurrent layers, random numbers, or decisions in Python: of transformers' networks hardly one gains anything. What it costs them is a
watched pass and a proof, in the first call above all. Networks as small as these are slower in their first call on every route but the single
pass, by milliseconds: {slower} of the {hoisted} hoisted ones were slower than Captum in it. The largest ratio is that of *{worst}*, {worst_ours}
instead of {worst_captums}. In {returned} of the hoisted functions Captum's code runs in the third call, which is where its time is taken.
Later calls are {later_captum:.2f}x of Captum's time on Captum's route (the median), {later_hoisted:.2f}x hoisted and {later_single:.2f}x in a single pass.
Sizes and steps here are small (3 to 64 steps), so that all of it runs in minutes: what the routes are worth at the sizes of practice stands in
[Benchmarks](benchmarks.md).

What the columns say: **route** is that of the first call, with the degree of a single pass, or the share of the operations that run once of
a hoisted call. **Difference** is the largest one to Captum's number in parts of its largest attribution, in float32; for a single pass it holds
the error of Captum's rule, which shrinks with its steps. **First call** and **later** are our time over Captum's, that of the quicker of two
later calls. *Faster* counts those below 0.9.
"""
COLUMNS = "| function | inputs | route | difference | first call | later | |\n|---|---|---|---|---|---|---|"
CLASS = "IntegratedGradients"
FASTER = 0.9
"""Of Captum's time: what is nearer to it than that is noise of the machine."""


def page(found: dict[str, list[Found]]) -> str:
    """The page in Markdown."""
    everything = [one for each in found.values() for one in each]
    hoisted = [one for one in everything if _route(one) == "hoisted"]
    faulty = [one for one in everything if one.faults]
    worst = max(everything, key=_ratio)
    head = HEAD.format(
        worst=worst.name,
        worst_ours=_seconds(worst.ours),
        worst_captums=_seconds(worst.captums),
        count=len(everything),
        command=COMMAND,
        environment=_environment(),
        date=datetime.datetime.now(tz=datetime.timezone.utc).date(),
        verdict=_verdict(faulty),
        documented=sum(bool(one.documented) for one in everything),
        summary="\n".join(
            [*(_summed(n, each) for n, each in found.items()), _summed("all", everything)]
        ),
        captum=sum(_route(one) == "captum" for one in everything),
        hoisted=len(hoisted),
        slower=sum(one.ours > one.captums for one in hoisted),
        returned=sum(one.routes[-1] == "captum" for one in hoisted),
        later_captum=_median(everything, "captum"),
        later_hoisted=_median(everything, "hoisted"),
        later_single=_median(everything, "single_pass"),
    )
    parts = [head]
    for section, each in found.items():
        parts += [f"\n## {section[0].upper()}{section[1:]}\n", COLUMNS, *map(_row, each)]
    return "\n".join([*parts, ""])


def _route(one: Found) -> str:
    return "raises" if one.raised else next(iter(one.routes), "")


def _summed(name: str, each: list[Found]) -> str:
    routes = Counter(map(_route, each))
    ran = [one for one in each if not one.raised]
    faster = [sum(ratio(one) < FASTER for one in ran) for ratio in (_ratio, _later)]
    counts = (routes[r] for r in ("single_pass", "hoisted", "captum", "raises"))
    cells = map(str, (name, len(each), *counts, *faster))
    return f"| {' | '.join(cells)} |"


def _verdict(faulty: list[Found]) -> str:
    if not faulty:
        return "All of it held for every function."
    return f"It did not hold for {len(faulty)}, which say so in the last column."


def _row(one: Found) -> str:
    route = f"raises {one.raised}" if one.raised else f"{_route(one).replace('_', ' ')}"
    if one.detail:
        route += f", {one.detail}"
    difference = "" if one.raised else (f"{one.gap:.0e}" if one.gap else "0")
    time = (
        "" if one.raised else f"{_ratio(one):.2f}x ({_seconds(one.ours)}, {_seconds(one.captums)})"
    )
    later = "" if one.raised else f"{_later(one):.2f}x"
    cells = (one.name, one.shapes, route, difference, time, later, _note(one))
    return f"| {' | '.join(cells)} |"


def _ratio(one: Found) -> float:
    """Of the first calls; one where there was none to the end."""
    return one.ours / one.captums if one.captums and not one.raised else 1.0


def _later(one: Found) -> float:
    """Of the calls after the first."""
    return one.ours_later / one.captums_later if one.captums_later else 1.0


def _median(found: list[Found], route: str) -> float:
    """Of the later calls of the functions of a route."""
    return statistics.median([_later(one) for one in found if _route(one) == route] or [1.0])


def _seconds(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 0.1 else f"{seconds:.2f} s"


def _note(one: Found) -> str:
    notes = [] if one.method in ("", CLASS) else [f"`{one.method}`"]
    if "hoisted" in one.routes and "captum" in one.routes:
        notes.append(f"later: {', '.join(r.replace('_', ' ') for r in one.routes[1:])}")
    if one.documented:
        notes.append(f"documented: {one.documented}")
    notes += [f"**fault:** {fault[:150]}" for fault in one.faults]
    return "; ".join(notes)


def _environment() -> str:
    found = [f"Python {platform.python_version()}"]
    there = [name for name in PACKAGES if importlib.util.find_spec(name) is not None]
    return ", ".join(found + [f"{name} {importlib.metadata.version(name)}" for name in there])
