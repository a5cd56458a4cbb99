"""What importing the package does, and what it leaves until it is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

LATER = (
    "torchvision", "matplotlib.pyplot", "torch.export._trace", "torch._dynamo", "sympy.core.expr",
)  # fmt: skip


def _loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True
    )
    assert done.stderr == ""
    return set(done.stdout.split())


def test_the_package_loads_nothing_heavy_beyond_captum() -> None:
    beyond = _loaded_by("import captum_xdnn") - _loaded_by("import captum.attr")
    assert not beyond & set(LATER)


@pytest.mark.parametrize("module", ["captum_xdnn.data", "captum_xdnn.cli"])
def test_its_parts_load_neither_torchvision_nor_pyplot(module: str) -> None:
    loaded = _loaded_by(f"import captum_xdnn, {module}")
    beyond = loaded - _loaded_by("import captum.attr")
    assert not beyond & {"torchvision", "matplotlib.pyplot"}


def test_the_models_bring_torchvision_and_no_more() -> None:
    both = _loaded_by("import captum.attr, torchvision.models")
    beyond = _loaded_by("import captum_xdnn.models") - both
    assert not beyond & set(LATER)


CALLS = """
import sys, torch, captum_xdnn
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from captum_xdnn import (
    XIntegratedGradients, XLayerConductance, XLayerIntegratedGradients, XNeuronIntegratedGradients, certify
)
free = nn.Sequential(nn.Linear(20, 64, bias=False), nn.ReLU(), nn.Linear(64, 3, bias=False))
layers = [nn.Conv2d(3, 32, 3, bias=False), nn.ReLU(), nn.Conv2d(32, 32, 3, bias=False), nn.ReLU()]
late = nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 28 * 28, 3, bias=False), nn.Softmax(1))
biased = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 3))
scores = {
    "distances": lambda h: F.pairwise_distance(h, 2 * h) - F.cosine_similarity(h, h.roll(1, 1)) + torch.dist(h, 2 * h),
    "norms": lambda h: h.norm(dim=1) + h.renorm(2, 0, 1.0).norm(3) + torch.std_mean(h, 1)[0],
    "gates": lambda h: F.glu(h).sum(1) + torch.special.entr(h).sum(1) + torch.sinc(h).sum(1),
    "losses": lambda h: sum(loss(h, h.detach() / 2) for loss in LOSSES) + h.logsumexp(1),
    "entries": lambda h: h.rot90(1, (0, 1)).sum() + h.index_fill(1, torch.tensor([0]), 0.0).sum(1),
    "quotients": lambda h: torch.addcdiv(h, h, h + 1).sum(1) + torch.xlogy(h, h + 1).sum(1),
}
LOSSES = (F.mse_loss, F.huber_loss, F.smooth_l1_loss, F.binary_cross_entropy_with_logits, F.soft_margin_loss)
rows, images = torch.randn(8, 20), torch.randn(2, 3, 32, 32)

def of(net, x, **options):
    xig = XIntegratedGradients(net)
    xig.attribute(x, target=1, **options)
    return xig.last_route

def layer(kind, *args):
    method = kind(free, free[0])
    method.attribute(rows, *args, **({} if args else {"target": 1}))
    return method.last_route

def scored(score):
    xig = XIntegratedGradients(lambda x: score(biased[:2](x)))
    xig.attribute(rows)
    return xig.last_route

class Image(torch.Tensor):
    pass

class Mode(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))

def under(mode, call):
    with mode:
        return call()

def with_options(**options):
    method = XLayerIntegratedGradients(biased, biased[0])
    method.attribute(rows, target=1, grad_kwargs=options)
    return method.last_route

DIFFERENTIATING = {
    "single_pass": lambda: of(free, rows),
    "hoisted": lambda: of(late, images),
    "captum": lambda: of(biased, rows),
    "captum to a tolerance": lambda: of(biased, rows, tolerance=1e-3),
    "single_pass trained": lambda: of(free, rows, create_graph=True),
    "captum trained": lambda: of(biased, rows, create_graph=True),
}

def raising(function):
    try:
        XIntegratedGradients(function).attribute(rows)
    except (RuntimeError, IndexError, ValueError):
        return "raises"

WRONG = {
    "a linear layer": lambda x: nn.Linear(9, 3)(x),
    "a sum": lambda x: x + torch.ones(7),
    "a convolution": lambda x: F.conv1d(x[:, None], torch.ones(2, 5, 3)),
    "an index": lambda x: x.gather(1, torch.full((8, 1), 77)),
    "a scatter": lambda x: torch.zeros(2, 5).scatter(1, torch.full((8, 1), 77), x),
    "a loss": lambda x: F.cross_entropy(x, torch.tensor([99] * 8)),
}

for name, call in {
    "single_pass": lambda: of(free, rows),
    "hoisted": lambda: of(late, images),
    "captum": lambda: of(biased, rows),
    "single_pass trained": lambda: of(free, rows, create_graph=True),
    "captum trained": lambda: of(biased, rows, create_graph=True),
    "captum by rows": lambda: of(biased, rows, internal_batch_size=8),
    "captum to a tolerance": lambda: of(biased, rows, tolerance=1e-3),
    "hoisted to a tolerance": lambda: of(late, images, tolerance=1e-3),
    "single_pass of a layer": lambda: layer(XLayerIntegratedGradients),
    "single_pass of a conductance": lambda: layer(XLayerConductance),
    "single_pass of a neuron": lambda: layer(XNeuronIntegratedGradients, 1),
    "None": lambda: certify(biased, rows) and None,
    **{f"{name} on a device": lambda c=call: under(torch.device("cpu"), c) for name, call in DIFFERENTIATING.items()},
    **{f"{name} in a mode": lambda c=call: under(Mode(), c) for name, call in DIFFERENTIATING.items()},
    "captum, a class of tensors": lambda: of(biased, rows.as_subclass(Image)),
    "captum, a class of tensors without biases": lambda: of(free, rows.as_subclass(Image)),
    "captum of a layer with options": lambda: with_options(materialize_grads=True),
    **{f"captum, {name}": lambda score=score: scored(score) for name, score in scores.items()},
    **{f"raises: {name}": lambda wrong=wrong: raising(wrong) for name, wrong in WRONG.items()},
}.items():
    route = call()
    assert name.startswith(str(route)), (name, route)
    loaded = {"sympy", "triton", "torch._dynamo", "torch.utils.flop_counter"} & set(sys.modules)
    assert not loaded, (name, loaded)
"""


def test_first_calls_load_nothing_heavy() -> None:
    """Torch's own gradients import sympy where they are given a seed, its counter of operations triton."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", CALLS], check=True)
