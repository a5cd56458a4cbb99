"""The search for what a file reaches for of torch's and Captum's private names."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import captum_xdnn
from captum_xdnn import _captum, _torch

PACKAGE = Path(captum_xdnn.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
PLACES = {PACKAGE / "_torch.py": _torch, PACKAGE / "_captum.py": _captum}
LIBRARIES = ("torch", "captum", "torchvision")
LISTED = {
    *(name for place in PLACES.values() for name in place.ATTRIBUTES),
    *(name for place in PLACES.values() for name in place.OVERRIDDEN),
}
OF_TUPLES = {"_replace", "_fields", "_asdict"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name != "_"


def private_names_of(*values: Any) -> set[str]:
    return {name for value in values for name in dir(value) if is_private(name)}


THEIRS = private_names_of(
    *(Tensor, torch.UntypedStorage, torch.Generator, nn.Module(), TorchDispatchMode),
    *(torch.ops.aten.relu, torch.ops.aten.relu.default, torch.ops.aten.relu.default._schema),
    torch.ones((), requires_grad=True).exp().grad_fn,
    *(_captum.IntegratedGradients(len), _captum.LayerIntegratedGradients),
)
"""Private names that objects of torch and Captum have, whoever else has one of the same name."""


def own_attributes(trees: list[ast.Module]) -> set[str]:
    """The attributes that classes of the package have by its own code."""
    found: set[str] = set()
    for node in (n for tree in trees for n in ast.walk(tree)):
        if isinstance(node, ast.ClassDef):
            for part in node.body:
                if isinstance(part, ast.FunctionDef):
                    found.add(part.name)
                elif isinstance(part, ast.AnnAssign | ast.Assign):
                    found.update(n.id for n in ast.walk(part) if isinstance(n, ast.Name))
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self":
            found.update({node.attr} if isinstance(node.ctx, ast.Store) else ())
    return found - THEIRS


class Search(ast.NodeVisitor):
    """Finds where a file reaches for what is private of torch or Captum."""

    def __init__(self, own: set[str]) -> None:
        self.own = own
        self.found: list[str] = []
        self.imported: dict[str, bool] = {}
        """For each imported name whether it is of torch or Captum."""
        self.operators: set[str] = set()
        """Names of `torch.ops` and what is in it: names of operators are public, `_softmax` too."""
        self.extends_theirs = False

    def note(self, node: ast.AST, what: str) -> None:
        self.found.append(f"line {node.lineno}: {what}")  # type: ignore[attr-defined]

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._enter(node, alias.name, alias.asname or alias.name.partition(".")[0])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            self._enter(node, f"{node.module}.{alias.name}", alias.asname or alias.name)

    def _enter(self, node: ast.AST, path: str, name: str) -> None:
        root, *inner = path.split(".")
        theirs = root in LIBRARIES
        if theirs and any(map(is_private, inner)):
            self.note(node, f"import of {path}")
        if root != "captum_xdnn" or inner[:1] in (["_torch"], ["_captum"]):
            self.imported[name] = theirs or root == "captum_xdnn"

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        before, self.extends_theirs = self.extends_theirs, any(map(self._is_theirs, node.bases))
        self.generic_visit(node)
        self.extends_theirs = before

    def _is_theirs(self, node: ast.AST) -> bool | None:
        """Whether a name or a chain of attributes is of torch or Captum; None for no import."""
        while isinstance(node, ast.Attribute):
            node = node.value
        return self.imported.get(node.id) if isinstance(node, ast.Name) else None

    def visit_Assign(self, node: ast.Assign) -> None:
        if self._is_operator(node.value):
            self.operators.update(t.id for t in node.targets if isinstance(t, ast.Name))
        self.generic_visit(node)

    def _is_operator(self, node: ast.AST) -> bool:
        return f"{ast.unparse(node)}.".startswith(
            ("torch.ops.", *(f"{name}." for name in self.operators))
        )

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.generic_visit(node)
        if not is_private(node.attr) or node.attr in LISTED or self._is_operator(node):
            return
        theirs = self._is_theirs(node)
        own = node.attr in self.own | OF_TUPLES
        own |= ast.unparse(node.value) == "self" and not self.extends_theirs
        if theirs or (theirs is None and not own):
            self.note(node, ast.unparse(node))

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # no docstring
            self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if not isinstance(node.value, str) or node.value in LISTED:
            return
        if node.value in THEIRS or re.match(r"(torch|captum)(\.\w+)*\._[a-zA-Z]", node.value):
            self.note(node, repr(node.value))


def reached_past(source: str, own: set[str]) -> list[str]:
    search = Search(own)
    search.visit(ast.parse(source))
    return search.found
