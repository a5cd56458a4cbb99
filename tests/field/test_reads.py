"""What Python reads: of a tensor that moves it ends the proof, of a weight it harms nothing.

Each function multiplies a layer by something made of the layer's own values where autograd does not
see it. Taken for a constant that would be of degree 1, and would pass the check of completeness.
"""

from __future__ import annotations

import copy
import ctypes
import io
import math
import pickle

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients
from comparing import compare, inputs, linear
from torch import Tensor, nn
from torch.nn import functional

from captum_xdnn import XIntegratedGradients

pytestmark = [
    # NumPy's own remarks on how torch hands it arrays, and ours where completeness finds a detached part.
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::captum_xdnn.errors.HomogeneityWarning"),
]
WHOLE = 10


def _saved(z: Tensor) -> Tensor:
    file = io.BytesIO()
    torch.save(z, file)
    file.seek(0)
    return torch.load(file)


def _by_address(z: Tensor) -> Tensor:
    numbers = (ctypes.c_double * z.numel()).from_address(z.contiguous().data_ptr())
    return torch.tensor(list(numbers), dtype=z.dtype).reshape(z.shape)


def _by_bytes(z: Tensor) -> Tensor:
    held = torch.tensor(z.untyped_storage().tolist(), dtype=torch.uint8)
    return held.view(torch.float64).reshape(z.shape)


def _written_numpy(z: Tensor) -> Tensor:
    result = np.empty(tuple(z.shape))
    np.multiply(z, 1.0, out=result)
    return torch.from_numpy(result)


def _numpy_view_first(z: Tensor) -> Tensor:
    held = torch.zeros(z.shape, dtype=z.dtype)
    view = held.numpy()
    held.copy_(z)
    return torch.from_numpy(view.copy())


_MEMORY = np.zeros((150, 4))
_SHARED = torch.from_numpy(_MEMORY)


def _shared_from_outside(z: Tensor) -> Tensor:
    _SHARED[: len(z)].copy_(z)
    return torch.from_numpy(_MEMORY[: len(z)].copy())


def _whole(z: Tensor) -> Tensor:
    return (z.abs().sum() * WHOLE).long()


VALUES = {
    "item": lambda z: z.sum().item(),
    "float": lambda z: float(z.sum()),
    "int": lambda z: 1.0 + int(_whole(z)),
    "complex": lambda z: complex(z.sum()).real,
    "bool": lambda z: 2.0 if z.sum() > 1.3 else 1.0,
    "tolist": lambda z: torch.tensor(z.tolist(), dtype=z.dtype),
    "iteration": lambda z: torch.stack(
        [torch.tensor([float(v) for v in r], dtype=z.dtype) for r in z]
    ),
    "sorted": lambda z: sorted(z.flatten().tolist())[-1],
    "python_max": lambda z: max(z.flatten()),
    "format": lambda z: float(f"{z.flatten()[0]:.6f}"),
    "text": lambda z: float(len(str(z * 1000))) + float(str(z.sum()).split("(")[1].split(",")[0]),
    "representation": lambda z: float(repr(z.sum()).split("(")[1].split(",")[0]),
    "f_string": lambda z: float(f"{z.sum().reshape(1)}".split("[")[1].split("]")[0]),
    "percent": lambda z: float("%.4f" % z.sum()),  # noqa: UP031
    "square_root": lambda z: math.sqrt(z.square().sum()),
    "divmod": lambda z: divmod(float(z.abs().sum()), 1)[0] + 1,
    "numpy": lambda z: torch.from_numpy(z.numpy() * 1),
    "numpy_forced": lambda z: torch.from_numpy(z.numpy(force=True) * 1),
    "asarray": lambda z: torch.from_numpy(np.asarray(z).copy()),
    "array": lambda z: torch.tensor(np.array(z)),
    "ufunc": lambda z: torch.as_tensor(np.tanh(z)),
    "numpy_norm": lambda z: float(np.linalg.norm(z)),
    "numpy_stack": lambda z: torch.from_numpy(np.stack(list(z))),
    "numpy_out": _written_numpy,
    "numpy_view_first": _numpy_view_first,
    "numpy_from_outside": _shared_from_outside,
    "from_dlpack": lambda z: torch.from_dlpack(z) * 1,
    "to_dlpack": lambda z: torch.from_dlpack(torch.utils.dlpack.to_dlpack(z)) * 1,
    "numpy_dlpack": lambda z: torch.tensor(np.from_dlpack(z)),
    "address": _by_address,
    "bytes": _by_bytes,
    "storage": lambda z: (
        torch.tensor(list(z.untyped_storage()), dtype=torch.uint8).view(z.dtype).sum()
    ),
    "deepcopy": copy.deepcopy,
    "copy": lambda z: copy.copy(z) * 1,
    "pickle": lambda z: pickle.loads(pickle.dumps(z)),
    "save": _saved,
    "list_of_tensors": lambda z: torch.tensor([z.sum(), z.sum()], dtype=z.dtype)[0],
    "as_tensor_of_list": lambda z: torch.as_tensor([z.sum(), z.mean()], dtype=z.dtype)[0],
    "new_tensor_of_list": lambda z: z.new_tensor([z.sum(), z.mean()])[0],
    "equal": lambda z: 2.0 if torch.equal(z, z.round()) else 1.0,
    "allclose": lambda z: 2.0 if torch.allclose(z, z.new_zeros(()), atol=0.7) else 1.0,
    "contains": lambda z: 2.0 if 0.0 in z.round() else 1.0,
    "argmax_item": lambda z: 1.0 + z.sum(0).argmax().item(),
    "apply_": lambda z: z.clone().apply_(lambda a: a),
    "map_": lambda z: z.clone().map_(z, lambda a, b: a),
    "set_": lambda z: z.new_empty(0).set_(z.untyped_storage(), 0, z.shape, z.stride()),
    "parameter": nn.Parameter,
    "parameter_used": lambda z: nn.Parameter(z) * 1,
    "as_subclass": lambda z: z.as_subclass(Tensor) * 1,
    "made_subclass": lambda z: Tensor._make_subclass(Tensor, z) * 1,
    "data": lambda z: z.data * 1,
}

SIZES = {
    "nonzero": lambda z: (z > 0.2).nonzero().shape[0],
    "nonzero_of_it": lambda z: (z - 0.2).relu().nonzero().shape[0],
    "boolean_mask": lambda z: z[z > 0.2].numel(),
    "masked_select": lambda z: torch.masked_select(z, z > 0.2).numel(),
    "where": lambda z: torch.where(z > 0.2)[0].numel(),
    "argwhere": lambda z: len(torch.argwhere(z > 0.2)),
    "unique": lambda z: torch.unique((z * 2).round()).numel(),
    "unique_consecutive": lambda z: torch.unique_consecutive((z.flatten() * 4).round()).numel(),
    "repeat_interleave": lambda z: (
        torch.ones(8).repeat_interleave((z.flatten()[:8] * 10).long()).numel()
    ),
    "bincount": lambda z: torch.bincount((z * 10).long().flatten()).numel(),
    "one_hot": lambda z: functional.one_hot((z * 10).long()).shape[-1],
    "range": lambda z: len(range(_whole(z))),
    "index_of_list": lambda z: [1, 2, 3, 4][_whole(z) % 4],
    "slice": lambda z: torch.ones(1000)[: _whole(z)].numel(),
    "zeros": lambda z: torch.zeros(_whole(z)).numel(),
    "arange": lambda z: torch.arange(float(z.abs().sum() * 10)).numel(),
    "sparse": lambda z: (z - 0.2).relu().to_sparse().indices().shape[1],
}


def _multiplied(part):
    first, last = linear(), linear(2, seed=1)

    def function(x: Tensor) -> Tensor:
        z = first(x).relu()
        return last(z * part(z.detach()))

    return function


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("kind", VALUES)
def test_a_value_that_is_read_is_no_constant(kind, rows):
    function = _multiplied(VALUES[kind])
    explainer, x = XIntegratedGradients(function), inputs(rows)
    for factor in (1.0, 1.0, 1.7):
        compare(explainer, function, factor * x)


@pytest.mark.parametrize("kind", SIZES)
def test_a_size_that_values_decide_is_no_constant(kind):
    function = _multiplied(lambda z: 1.0 + SIZES[kind](z))
    explainer, x = XIntegratedGradients(function), inputs(3)
    for factor in (1.0, 1.0, 1.7):
        compare(explainer, function, factor * x)


OF_A_WEIGHT = {
    "item": lambda w: w[0, 0].item(),
    "float": lambda w: float(w.detach().abs().sum()),
    "bool": lambda w: 2.0 if w.sum() > 0 else 1.0,
    "tolist": lambda w: max(w[0].tolist()),
    "numpy": lambda w: float(w.detach().numpy().max()),
    "asarray": lambda w: torch.from_numpy(np.asarray(w.detach()).copy()).abs().sum(),
    "f_string": lambda w: float(f"{w[0, 0]:.4f}"),
    "format_of_norm": lambda w: float(f"{w.norm().item():.3f}"),
    "nonzero": lambda w: float((w > 0.1).nonzero().shape[0]),
    "boolean_mask": lambda w: w[w > 0].sum(),
    "unique": lambda w: float(torch.unique(w.detach()).numel()),
    "equal": lambda w: 2.0 if torch.equal(w, w.abs()) else 1.0,
    "data_ptr": lambda w: 1.0 if w.data_ptr() else 2.0,
}


@pytest.mark.parametrize("kind", OF_A_WEIGHT)
def test_a_weight_may_be_read_and_the_single_pass_stays(kind):
    first, last = linear(), linear(2, seed=1)

    def function(x: Tensor) -> Tensor:
        return last(first(x).relu() * OF_A_WEIGHT[kind](first.weight))

    explainer, x = XIntegratedGradients(function, strategy="single_pass"), inputs()
    compare(explainer, function, x)
    with torch.no_grad():
        first.weight.mul_(-1.5)
    compare(explainer, function, x)
    assert explainer.last_route == "single_pass"


def test_a_value_read_before_the_part_that_moves_is_no_reading():
    first = linear(2)
    function = lambda x: first(x) * x.shape[1] * x.dim() * float(x.dtype == torch.float64)  # noqa: E731
    explainer = XIntegratedGradients(function, strategy="single_pass")
    compare(explainer, function, inputs())


@pytest.mark.parametrize(
    "write",
    [
        lambda x: x.detach().numpy().__setitem__((slice(None), 0), 1.0),
        lambda x: x.data.__setitem__((slice(None), 0), 1.0),
        lambda x: x.detach()[:, 0].fill_(1.0),
        lambda x: torch.from_dlpack(x.detach())[:, 0].fill_(1.0),
        lambda x: torch.from_dlpack(torch.utils.dlpack.to_dlpack(x.detach()))[:, 0].fill_(1.0),
        lambda x: np.asarray(x.detach()).__setitem__((slice(None), 0), 1.0),
    ],
    ids=["numpy", "data", "detach", "from_dlpack", "to_dlpack", "asarray"],
)
def test_what_a_function_writes_into_its_input_does_not_reach_the_caller(write):
    first = linear(2)

    def function(x: Tensor) -> Tensor:
        write(x)
        return first(x)

    x = inputs()
    before = x.clone()
    ours = XIntegratedGradients(function).attribute(x, target=1)
    assert torch.equal(x, before)
    theirs = IntegratedGradients(function).attribute(before.clone(), target=1)
    assert torch.allclose(ours, theirs, rtol=1e-7)
