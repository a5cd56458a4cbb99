"""Which operations the networks of other packages dispatch, and what is known of each.

``python tests/third_party/dispatched_operations.py docs/operations.md`` runs each network once, watched, and
writes its table into that page; with names of packages in place of the page it prints what it finds of these.
What cannot be built or run is listed on standard output.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from layers_of_graphs import graph_networks
from networks_of_packages import (
    Network,
    timm_networks,
    torchvision_networks,
    transformers_networks,
)

from captum_xdnn.proof import registry
from captum_xdnn.proof.nodes import is_operation
from captum_xdnn.proof.taken_apart import how, parts_of
from captum_xdnn.proof.watching import watch
from captum_xdnn.recording import steps
from captum_xdnn.recording.node import Node

PACKAGES = {
    "torch_geometric": graph_networks,
    "torchvision": torchvision_networks,
    "timm": timm_networks,
    "transformers": transformers_networks,
}
BEGIN, END = "<!-- table -->", "<!-- end of the table -->"
DEEPEST = 4

_SPARSE = "a sparse tensor is made or looked into; how many entries it has, values decide"
WITHOUT_RULE = {
    **dict.fromkeys(
        (
            f"aten.{name}"
            for name in [
                "_convert_indices_from_coo_to_csr.default",
                "_sparse_coo_tensor_with_dims_and_tensors.default",
                "_to_sparse.default",
                "_to_sparse_csr.default",
                "col_indices.default",
                "crow_indices.default",
                "indices.default",
                "values.default",
                "sparse_compressed_tensor.comp_plain_value_size",
            ]
        ),
        f"no rule: {_SPARSE}",
    ),
    "aten._assert_async.msg": "no rule: it raises or not, by a value: that is Python reading it",
}
"""Operations that pass constants alone, and why nobody has written more."""


def known_of(name: str) -> str | None:
    """What is known of an operation, in words; None if there is neither a rule nor a reason."""
    if name in registry.RULES:
        return (registry.RULES[name].__doc__ or "").strip().splitlines()[0].rstrip(".")
    if name in registry.REFUSED:
        return f"refused: {registry.REFUSED[name].reason}"
    if name in WITHOUT_RULE:
        return WITHOUT_RULE[name]
    overload: Any = reduce(getattr, name.split("."), torch.ops)
    if not any("Tensor" in str(argument.type) for argument in overload._schema.arguments):
        return "takes no tensor"
    return None if how(overload) is None else "made of other operations"


def dispatched(network: Network) -> set[str]:
    """The operations of one forward pass, as the watch shows them, and what those without a rule are made of."""
    torch.manual_seed(0)
    function, tensors = network.make()
    leaves = tuple(t.clone().requires_grad_() for t in tensors)
    steps.forget()
    watched = watch(function, leaves, (0,) * len(leaves), placed=False)
    watched.put_back()
    if watched.verdict is None:
        raise watched.error or ValueError("it was not watched to its end")
    return {name for node in watched.verdict.graph.nodes for name in _with_parts(node)}


def _with_parts(node: Node, depth: int = 0) -> Iterator[str]:
    if not is_operation(node.target):
        return
    name = registry.name_of(node.target)
    yield name
    whole = registry.is_known(name) or depth > DEEPEST or not node.all_input_nodes
    apart = None if whole else parts_of(node)
    for part in () if apart is None else apart.nodes:
        yield from _with_parts(part, depth + 1)


def found(packages: list[str]) -> tuple[Counter[str], dict[str, Counter[str]]]:
    """How many networks of each package ran, and how many of them dispatch each operation."""
    ran: Counter[str] = Counter()
    used: dict[str, Counter[str]] = {}
    for package in packages:
        for network in PACKAGES[package]():
            start = time.time()
            try:
                names = dispatched(network)
            except Exception as error:  # whatever a package's own code says
                said = next(iter(str(error).splitlines()), "")
                print(
                    f"{package} {network.name}: not run, {type(error).__name__} {said}", flush=True
                )
                continue
            print(f"{package} {network.name}: {time.time() - start:.0f} s", flush=True)
            ran[package] += 1
            for name in names:
                used.setdefault(name, Counter())[package] += 1
    return ran, used


def table(ran: Counter[str], used: dict[str, Counter[str]]) -> Iterator[str]:
    """The rows of the page."""
    versions = ", ".join(f"{p} ({ran[p]} networks)" for p in PACKAGES)
    yield f"{len(used)} operations of {ran.total()} networks: {versions}; torch {torch.__version__}."
    yield ""
    yield f"| operation | {' | '.join(PACKAGES)} | what is known |"
    yield "|---|" + "---|" * len(PACKAGES) + "---|"
    for name in sorted(used):
        counts = " | ".join(str(used[name][p] or "") for p in PACKAGES)
        yield f"| `{name}` | {counts} | {(known_of(name) or 'NOTHING').replace('|', '/')} |"


def rows_of(page: str) -> dict[str, str]:
    """Operation and what is said of it, for each row of the page."""
    cells = [line.split(" | ") for line in page.splitlines() if line.startswith("| `")]
    return {row[0].strip("| `"): row[-1].removesuffix(" |") for row in cells}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if sys.argv[1:] and sys.argv[1].endswith(".md"):
        page = Path(sys.argv[1])
        before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        lines = "\n".join(table(*found(list(PACKAGES))))
        after = rest.partition(END)[2]
        page.write_text(f"{before}{BEGIN}\n\n{lines}\n\n{END}{after}", encoding="utf-8")
    else:
        print(*table(*found(sys.argv[1:] or list(PACKAGES))), sep="\n")
