"""What torch and Captum keep private is reached for in ``_torch.py`` and ``_captum.py`` alone."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import runpy
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import captum.attr
import pytest
import torch
from private_names import (
    FILES,
    LIBRARIES,
    LISTED,
    PACKAGE,
    PLACES,
    own_attributes,
    private_names_of,
    reached_past,
)
from torch import Tensor, nn

from captum_xdnn import HomogeneityWarning, XIntegratedGradients, _captum, _torch
from captum_xdnn.recording import following, watch
from captum_xdnn.recording.tensors import custom_nodes_of


def test_no_other_file_reaches_past_them() -> None:
    sources = {path: path.read_text() for path in FILES if path not in PLACES}
    own = own_attributes([ast.parse(source) for source in sources.values()])
    found = {str(path): reached_past(source, own) for path, source in sources.items()}
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_each_of_the_two_knows_one_library_alone() -> None:
    for path, other in zip(PLACES, ("captum", "torch"), strict=True):
        imports = [
            n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom)
        ]
        assert not [n.module for n in imports if (n.module or "").partition(".")[0] == other]


@pytest.mark.parametrize(
    "snippet",
    [
        "import torch._dynamo",
        "import torch.utils._pytree as pytree",
        "from torch.utils import _pytree",
        "from torch._ops import OpOverload",
        "from captum._utils.common import format_tensor",
        "from captum.attr import _core",
        "def later():\n    from torch._decomp import decomposition_table",
        "import torch\nfast = torch._C._get_tracing_state",
        "from torch import nn\nkinds = (nn.modules.conv._ConvNd,)",
        "from captum_xdnn._torch import pytree\npytree._register_pytree_node",
        "def of(tensor):\n    return tensor._base",
        "def of(tensor):\n    return tensor.detach()._backward_hooks_of_mine",
        "from torch import nn\nclass Net(nn.Module):\n    def of(self):\n        return self._state_dict_hooks",
        "def of(tensor):\n    return getattr(tensor, '_base', None)",
        "def of(module):\n    return vars(module)['_state_dict_hooks']",
        "import sys\nloaded = 'torch._inductor' in sys.modules",
    ],
)
def test_the_search_finds(snippet: str) -> None:
    assert reached_past(snippet, {"_state"})


@pytest.mark.parametrize(
    "snippet",
    [
        '"""A word on `torch._dynamo` in a docstring."""',
        "import torch\npad = torch.ops.aten._pad_circular.default",
        "import torch\naten = torch.ops.aten\nsoftmax = aten._softmax",
        "import sys\nframe = sys._getframe(1)",
        "def of(tensor):\n    return tensor._version",
        "class Mine:\n    def of(self):\n        return self._values",
        "def of(mine):\n    return mine._state._replace(after=None)",
        "names = ('_softmax', 'aten._softmax.default')",
    ],
)
def test_the_search_leaves_alone(snippet: str) -> None:
    assert not reached_past(snippet, {"_state"})


def modules() -> Iterator[Any]:
    for path in FILES:
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        if path.stem != "__main__":
            with suppress(ImportError):  # of what an extra brings
                yield importlib.import_module(name.removesuffix(".__init__"))


def test_private_methods_that_are_replaced_are_listed() -> None:
    found = set()
    for module in modules():
        for kind in vars(module).values():
            if inspect.isclass(kind) and kind.__module__.startswith("captum_xdnn"):
                theirs = [k for k in kind.__mro__ if k.__module__.partition(".")[0] in LIBRARIES]
                found.update(n for n in vars(kind) if any(n in private_names_of(k) for k in theirs))
    expected = _torch.OVERRIDDEN | _captum.OVERRIDDEN
    assert found <= expected
    assert found >= _captum.OVERRIDDEN


def entries_of(path: Path) -> set[str]:
    """What one of the two files gives to others."""
    found = {*PLACES[path].ATTRIBUTES, *PLACES[path].OVERRIDDEN}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name != "unfit":
            found.add(node.name)
        for part in node.body if isinstance(node, ast.Try) else (node,):
            if isinstance(part, ast.ImportFrom) and part is not node:
                found.update(alias.asname or alias.name for alias in part.names)
            elif isinstance(part, ast.Assign | ast.AnnAssign):
                names = (n for n in ast.walk(part) if isinstance(n, ast.Name))
                found.update(n.id for n in names if isinstance(n.ctx, ast.Store))
    found -= {"MESSAGE", "ATTRIBUTES", "OVERRIDDEN", "F"}
    return {name for name in found if name in LISTED or not name.startswith("_")}


@pytest.mark.parametrize("path", PLACES, ids=lambda path: path.name)
def test_every_entry_is_used(path: Path) -> None:
    words = {w for p in FILES if p not in PLACES for w in re.findall(r"\w+", p.read_text())}
    assert entries_of(path) - words == set()


@pytest.mark.parametrize(
    ("holder", "name"),
    [
        (torch._C, "_len_torch_dispatch_stack"),
        (torch.library, "_impls"),
        (torch.utils._python_dispatch, "TorchDispatchMode"),
        (nn.Module, "_call_impl"),
    ],
)
def test_a_name_that_torch_has_not_ends_the_import(holder, name, monkeypatch) -> None:
    monkeypatch.delattr(holder, name)
    with pytest.raises(ImportError, match=f"torch {re.escape(torch.__version__)} .*{name}"):
        runpy.run_path(str(PACKAGE / "_torch.py"))


@pytest.mark.parametrize(
    ("holder", "name", "other"),
    [
        (torch.library, "_impls", {"aten::relu"}),
        (torch._C._autograd, "_unsafe_set_version_counter", lambda tensor: None),
        (torch._C._autograd, "_top_saved_tensors_default_hooks", lambda: None),
        (torch._C, "_disabled_torch_dispatch_impl", object()),
        (torch.autograd.forward_ad, "_current_level", None),
        (torch._C._functions, "AccumulateGrad", object),
        (torch.ops.aten.relu, "_qualified_op_name", "relu"),
    ],
)
def test_so_does_one_of_another_form(holder, name, other, monkeypatch) -> None:
    monkeypatch.setattr(holder, name, other)
    with pytest.raises(ImportError, match=f"torch {re.escape(torch.__version__)} .*{name}"):
        runpy.run_path(str(PACKAGE / "_torch.py"))


def test_torch_before_2_8_takes_every_run_for_one_with_hooks_on_saved_tensors(monkeypatch) -> None:
    monkeypatch.delattr(torch._C._autograd, "_top_saved_tensors_default_hooks")
    older = runpy.run_path(str(PACKAGE / "_torch.py"))["top_hooks"]
    for module in (following, watch):
        monkeypatch.setattr(module, "top_hooks", older)
    net = nn.Sequential(nn.Linear(4, 5, bias=False), nn.ReLU(), nn.Linear(5, 2, bias=False))
    x, xig = torch.randn(3, 4), XIntegratedGradients(net)
    for _ in range(3):
        expected = captum.attr.IntegratedGradients(net).attribute(x, target=1, n_steps=500)
        torch.testing.assert_close(xig.attribute(x, target=1), expected, rtol=1e-4, atol=1e-4)
        assert xig.last_route == "single_pass"

    def doubled(x: Tensor) -> Tensor:
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t * (1 + t)):
            return torch.nn.functional.linear(x, weight).relu() @ weight.new_ones(4, 1)

    weight = torch.randn(4, 4, requires_grad=True)
    ours, theirs = XIntegratedGradients(doubled), captum.attr.IntegratedGradients(doubled)
    with pytest.warns(HomogeneityWarning):
        torch.testing.assert_close(ours.attribute(x), theirs.attribute(x))


def test_torch_before_2_7_takes_one_count_of_writes(monkeypatch) -> None:
    put = torch._C._autograd._unsafe_set_version_counter
    monkeypatch.setattr(
        torch._C._autograd,
        "_unsafe_set_version_counter",
        lambda tensor, version: put(
            (tensor + 0 if isinstance(tensor, tuple) else tensor,), (version,)
        ),
    )
    tensor = torch.zeros(2)
    _torch.set_version_counter(tensor, 7)
    assert tensor._version == 7


def test_an_attribute_that_torch_has_not_is_named(monkeypatch) -> None:
    assert _torch.unfit() == []
    monkeypatch.setitem(_torch.ATTRIBUTES, "_gone", Tensor)
    assert _torch.unfit() == ["Tensor._gone"]


def test_captum_without_one_of_its_names(monkeypatch) -> None:
    assert _captum.unfit() == []
    monkeypatch.delattr(captum.attr.IntegratedGradients, "_attribute")
    with pytest.raises(ImportError, match=f"Captum {re.escape(captum.__version__)} .*_attribute"):
        runpy.run_path(str(PACKAGE / "_captum.py"))


def test_what_cannot_be_tried_at_import() -> None:
    def double(x: Tensor) -> Tensor:
        return 2 * x

    compiled: Any = torch.compile(double, backend="eager")
    assert _torch.compiled_from(compiled) is double
    assert _torch.compiled_from(torch.compiler.disable(double)) is double
    assert _torch.compiled_from(double) is None
    assert _torch.compiler() is torch._dynamo
    layer = nn.Linear(2, 1)
    whole: Any = torch.compile(layer, backend="eager")
    assert dict(whole.named_children()) == {_torch.ORIGINAL_MODULE: layer}


@pytest.mark.filterwarnings(
    "ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning"
)
def test_a_scripted_derivative_is_told() -> None:
    scripted: Any = torch.jit.script(_scripted)
    x = torch.ones(3, requires_grad=True)
    for _ in range(4):  # it is optimised when it is warm
        output = scripted(x)
    assert custom_nodes_of(output) == [""]


def _scripted(x: Tensor) -> Tensor:
    return torch.tanh(x) * x.sigmoid()
