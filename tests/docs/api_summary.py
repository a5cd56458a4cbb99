"""Write docs/llms.txt, the public names with their signatures, for those who read by program.

    python tests/docs/api_summary.py [FILE]

Which modules are public: those that have a page in docs/api.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"
FILE = DOCS / "llms.txt"
NOT_IMPORTED = {"index", "captum_xdnn", "ray"}
"""Pages that are not of a module of that name, and the module that needs Ray, which is large."""

HEAD = """\
# captum-xdnn

> Exact Integrated Gradients in one forward and one backward pass, as a drop-in for Captum: a plain list of the public
> names. Attributions are of the inputs' shapes, as Captum's; `last_route` and `certificate` say how they were made.

Install by `pip install captum-xdnn`; the shell command is `captum-xdnn`, or `python -m captum_xdnn`. To move from
Captum: `from captum_xdnn import XIntegratedGradients` where it was `from captum.attr import IntegratedGradients`.

## Pages
"""


def pages() -> Iterator[str]:
    """A line for each page of the documentation, by its title."""
    for page in sorted(DOCS.glob("*.md")):
        title = page.read_text(encoding="utf-8").partition("\n")[0]
        if title.startswith("# ") and page.stem != "index":
            yield f"- [{title[2:]}]({page.stem}.html)"


def modules() -> list[str]:
    """The package, and its public modules."""
    names = {page.stem for page in (DOCS / "api").glob("*.md")} - NOT_IMPORTED
    return ["captum_xdnn", *(f"captum_xdnn.{name}" for name in sorted(names))]


def first_line(thing: Any) -> str:
    """What a docstring says first, in one line."""
    return " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())


def signature(thing: Any) -> str:
    """Names and defaults alone: annotations are written otherwise by each release of Python."""
    whole = inspect.signature(thing)
    bare = [p.replace(annotation=p.empty) for p in whole.parameters.values() if p.name != "self"]
    text = str(whole.replace(parameters=bare, return_annotation=whole.empty))
    return re.sub(r"<function (\w+) at \w+>", r"\1", text)


def described(name: str, thing: Any) -> Iterator[str]:
    """The lines of one name; a class has those of its own public methods and properties."""
    if not callable(thing):
        yield f"- `{name}`"
        return
    if isinstance(thing, type) and issubclass(thing, Exception):
        yield f"- `{name}`: {first_line(thing)}"
        return
    if isinstance(thing, type) and issubclass(thing, Enum):
        yield f"- `{': '.join(filter(None, [name, ', '.join(thing.__members__)]))}`: {first_line(thing)}"
        return
    yield f"- `{name}{signature(thing)}`: {first_line(thing)}"
    if not isinstance(thing, type):
        return
    for member in sorted(n for n in dir(thing) if not n.startswith("_")):
        value = inspect.getattr_static(thing, member)
        owner = next(kind for kind in thing.__mro__ if member in kind.__dict__)
        if not owner.__module__.startswith("captum_xdnn"):
            continue
        if isinstance(value, property):
            yield f"  - `.{member}`: {first_line(value)}"
        elif inspect.isfunction(value):
            yield f"  - `.{member}{signature(value)}`: {first_line(value)}"


def summary() -> str:
    """The whole file."""
    lines = [*HEAD.splitlines(), "", *pages()]
    told: set[int] = set()
    for name in modules():
        module = importlib.import_module(name)
        lines += ["", f"## `{name}`", "", first_line(module), ""]
        for public in sorted(module.__all__):
            thing = getattr(module, public)
            if public == "__version__":
                continue
            again = callable(thing) and id(thing) in told
            told.add(id(thing))
            lines += [f"- `{public}`: see above"] if again else described(public, thing)
    return "\n".join(line.rstrip() for line in lines) + "\n"


if __name__ == "__main__":
    Path(*sys.argv[1:] or [FILE]).write_text(summary(), encoding="utf-8")
