"""How what a function holds is reached from it, and which names the code on the way uses and binds."""

import dis
import sys
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType, FunctionType, MemberDescriptorType, ModuleType
from typing import Any, NamedTuple

from torch import Tensor

from captum_xdnn.recording.places import codes_of, names_in_code

_OPEN = ("_thread", "argparse", "collections", "functools", "queue", "types", "weakref")
"""Of the standard library's objects only these are state: others stand for threads, files, processes."""
OWN = ("captum", "captum_xdnn")
_LOADING = ("LOAD_ATTR", "LOAD_METHOD", "IMPORT_FROM")


class Way(NamedTuple):
    """How something is reached: by attributes of these names, from these objects and functions."""

    names: tuple[str, ...] = ()
    owners: tuple[Any, ...] = ()

    def by(self, name: str, owner: Any) -> "Way":
        """The way to an attribute of what this is the way to."""
        return Way((*self.names, name), self._with(owner))

    def through(self, owner: Any) -> "Way":
        """The way to what a function holds that this is the way to."""
        return Way(self.names, self._with(owner))

    def _with(self, owner: Any) -> tuple[Any, ...]:
        last = self.owners[-1] if self.owners else None
        return self.owners if last is owner else (*self.owners, owner)

    def used_and_bound(self) -> tuple[set[str], set[str]]:
        """The names that the code of those owners uses, and those of attributes that it may bind."""
        used, bound = set[str](), set[str]()
        for owner in self.owners:
            whole = type(owner) is FunctionType
            found = names_in_code(owner, ()) if whole else names_in_code(None, (owner,))
            used |= found[0]
            bound |= found[1]
        return used, bound


class Nested(NamedTuple):
    """A container, a namespace, a cell, an array or a name, with what it holds.

    The last owner on the way is whose namespace, or cell of that name, it is.
    """

    held: Any
    base: Any
    before: Any
    is_space: bool
    way: Way
    name: str

    def is_bound(self) -> bool:
        """Whether the function that has this cell binds it."""
        owner = self.way.owners[-1]
        return type(owner) is FunctionType and self.name in names_of(owner.__code__).cells


class CodeNames(NamedTuple):
    """Names in a function's code, and in that of functions which it makes."""

    used: tuple[str, ...]  # of globals
    globals: tuple[str, ...]  # those that it binds
    cells: frozenset[str]  # that it binds
    attributes: frozenset[str]  # that it binds, of whatever object
    loaded: tuple[str, ...]  # attributes that it uses
    modules: tuple[str, ...]  # that it imports itself


@lru_cache(maxsize=4096)
def names_of(code: CodeType) -> CodeNames:
    """The names that a function's code uses and binds."""
    by: dict[str, dict[str, None]] = {}
    for operation, name in _names_by_operation(code):
        by.setdefault(operation, {})[name] = None
    bound = {**by.get("STORE_GLOBAL", {}), **by.get("DELETE_GLOBAL", {})}
    sets = "setattr" in by.get("LOAD_GLOBAL", ())
    return CodeNames(
        tuple({**by.get("LOAD_GLOBAL", {}), **by.get("LOAD_NAME", {}), **bound}),
        tuple(bound),
        frozenset((*by.get("STORE_DEREF", ()), *by.get("DELETE_DEREF", ()))),
        frozenset((*by.get("STORE_ATTR", ()), *(by.get("LOAD_CONST", ()) if sets else ()))),
        tuple({n: None for o in _LOADING for n in by.get(o, ())}),
        tuple(by.get("IMPORT_NAME", ())),
    )


def _names_by_operation(code: CodeType) -> Iterator[tuple[str, str]]:
    for part in codes_of(code):
        for instruction in dis.get_instructions(part):
            if isinstance(instruction.argval, str):
                yield instruction.opname, instruction.argval


def slots_of(kind: type) -> Iterator[Any]:
    """The places for attributes that a class declares, if it does."""
    for part in kind.__mro__:
        if "__slots__" in part.__dict__:
            yield from (v for v in part.__dict__.values() if type(v) is MemberDescriptorType)


def is_state(kind: type) -> bool:
    """Whether the attributes of a class's objects are state of the user's."""
    if issubclass(kind, type | ModuleType | Tensor):
        return False
    homes = [home_of(part) for part in kind.__mro__]
    first, _, rest = homes[0].partition(".")
    if first in sys.stdlib_module_names and first not in _OPEN:
        return False
    if first == "torch" and rest.startswith(("_", "fx")):
        return False  # graphs, and what compilers hold
    return not any(home.partition(".")[0] in OWN for home in homes)


def home_of(kind: type) -> str:
    """The module of Python's that a class says it is of."""
    return str(type.__getattribute__(kind, "__module__"))


def is_foreign(home: str) -> bool:
    """Whether a module of Python's is none of the user's."""
    first = home.partition(".")[0]
    return first in ("torch", *OWN) or first in sys.stdlib_module_names


def is_installed(home: str) -> bool:
    """Whether a module of Python's is of an installed package.

    What such a one keeps in globals and classes is none of the user's state: a registration that was made
    once must not be made twice.
    """
    file = str(getattr(sys.modules.get(home), "__file__", None))
    return "site-packages" in file or "dist-packages" in file
