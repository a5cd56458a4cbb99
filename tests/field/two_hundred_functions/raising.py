"""Calls that Captum refuses, and functions that cannot be explained: the exception has to be Captum's."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .explained import Apply, Explained, Maker, perceptron
from .perceptrons import COLUMNS, mlp, rows


def refused(
    *,
    bias: bool = True,
    inputs: Any = None,
    by: str = "IntegratedGradients",
    layer: Any = None,
    **call: Any,
) -> Explained:
    """An ordinary network, called in a way that is wrong."""
    net = mlp(bias=bias)
    given = rows() if inputs is None else inputs
    chosen = None if layer is None else net[layer]
    return Explained(net, given, {"target": 1, **call}, by, chosen)


def of(compute: Any, *, bias: bool = True, inputs: Any = None, **call: Any) -> Explained:
    """A function of inputs and an ordinary network, that cannot be explained so."""
    return Explained(Apply(compute, mlp(bias=bias)), rows() if inputs is None else inputs, call)


def without_gradients() -> Explained:
    def compute(x: Tensor, f: Any) -> Tensor:
        with torch.no_grad():
            return f(x)

    return of(compute, target=1)


def in_inference_mode() -> Explained:
    def compute(x: Tensor, f: Any) -> Tensor:
        with torch.inference_mode():
            return f(x)

    return of(compute, target=1)


class RaisingAt(nn.Module):
    """Raises in its n-th call, and counts them."""

    def __init__(self, call: int, *, bias: bool) -> None:
        super().__init__()
        # An LSTM's cell is refused, so Captum's code makes every pass.
        self.body = nn.LSTMCell(COLUMNS, 3) if bias else mlp(bias=False)
        self.last, self.calls = call, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls >= self.last:
            message = f"no data behind call {self.last}"
            raise StopIteration(message)
        found = self.body(x)
        return found[0] if isinstance(found, tuple) else found


def raising_at(call: int, *, bias: bool = True) -> Explained:
    """A call of Captum's is the n-th of the function, one pass after the other."""
    arguments = {"target": 1, "internal_batch_size": 6, "n_steps": 12}
    return Explained(RaisingAt(call, bias=bias), rows(), arguments)


def of_hook(kind: str) -> Explained:
    """A hook of the user's raises."""

    def broken(*_: Any) -> None:
        message = "the logger is closed"
        raise OSError(message)

    net = mlp()
    {"forward": net[2].register_forward_hook, "backward": net[2].register_full_backward_hook}[kind](
        broken
    )
    return Explained(net, rows(), {"target": 1})


def layer_that_never_runs(method: str, **call: Any) -> Explained:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.idle = perceptron(COLUMNS, 8, 2), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x)

    net = Idle()
    return Explained(net, rows(), call, method, net.idle)


def too_wide() -> Explained:
    return refused(inputs=rows(columns=COLUMNS + 1))


def in_place_on_a_leaf() -> Explained:
    def compute(x: Tensor, f: Any) -> Tensor:
        f[0].weight.mul_(2)
        return f(x)

    return of(compute, target=1)


FUNCTIONS: dict[str, Maker] = {
    "a class that does not exist": lambda: refused(target=3),
    "a class that does not exist, without biases": lambda: refused(bias=False, target=3),
    "a class that does not exist, for one row": lambda: refused(
        target=torch.tensor([0, 1, 2, 3, 0, 0])
    ),
    "no class": lambda: refused(target=None),
    "no class, without biases": lambda: refused(bias=False, target=None),
    "a class of text": lambda: refused(target="cat"),
    "too few classes": lambda: refused(target=[0, 1]),
    "a class for three dimensions": lambda: refused(target=(0, 1, 1)),
    "classes of fractions": lambda: refused(target=torch.full((6,), 1.5)),
    "too many columns": too_wide,
    "too many columns, without biases": lambda: refused(
        bias=False, inputs=rows(columns=COLUMNS + 1)
    ),
    "a list": lambda: refused(inputs=[rows()]),
    "an array of NumPy's": lambda: refused(inputs=np.zeros((6, COLUMNS))),
    "no rows": lambda: refused(inputs=rows(0)),
    "a table of Python's": lambda: refused(inputs=[[0.5] * COLUMNS] * 6),
    "truth values": lambda: refused(inputs=rows() > 0),
    "another dtype": lambda: refused(inputs=rows().half()),
    "a baseline of another batch": lambda: refused(baselines=rows(3)),
    "a baseline of other columns": lambda: refused(bias=False, baselines=rows(6, 4)),
    "two baselines for one input": lambda: refused(baselines=(0, 0)),
    "a baseline of text": lambda: refused(baselines="zero"),
    "no steps": lambda: refused(n_steps=0),
    "steps of text": lambda: refused(bias=False, n_steps="many"),
    "an unknown rule": lambda: refused(method="simpson"),
    "one input too many": lambda: refused(inputs=(rows(), rows())),
    "an input that is not used": lambda: Explained(
        Apply(lambda a, b, f: f(a), mlp()), (rows(), rows()), {"target": 1}
    ),
    "one argument too many": lambda: refused(additional_forward_args=(3,)),
    "an argument of another batch": lambda: of(
        lambda x, w, f: f(x) * w, target=1, additional_forward_args=torch.rand(4, 3)
    ),
    "an unknown keyword": lambda: refused(steps=20),
    "one number for all rows": lambda: of(lambda x, f: f(x).sum()),
    "one number for all rows, without biases": lambda: of(lambda x, f: f(x).sum(), bias=False),
    "the name of a class": lambda: of(lambda x, f: ["cat", "dog"][int(f(x)[0, 0] > 0)]),
    "the index of a class": lambda: of(lambda x, f: f(x).argmax(1)),
    "a detached output": lambda: of(lambda x, f: f(x).detach(), target=1),
    "an output of NumPy's": lambda: of(lambda x, f: f(x).detach().numpy(), target=1),
    "a dictionary": lambda: of(lambda x, f: {"logits": f(x)}, target=1),
    "nothing": lambda: of(lambda x, f: None),
    "a complex output": lambda: of(lambda x, f: torch.complex(f(x), f(x)), target=1),
    "without gradients": without_gradients,
    "in inference mode": in_inference_mode,
    "rounded": lambda: of(lambda x, f: f(x).long(), target=1),
    "a write into a weight": in_place_on_a_leaf,
    "raises in the first pass": lambda: raising_at(1),
    "raises in the fourth pass": lambda: raising_at(4),
    "raises in the first pass, without biases": lambda: raising_at(1, bias=False),
    "a hook that raises": lambda: of_hook("forward"),
    "a hook on gradients that raises": lambda: of_hook("backward"),
    "a name that is not there": lambda: of(lambda x, f: f(x) + missing_name, target=1),  # noqa: F821
    "an assertion of the user's": lambda: of(_asserting, target=1),
    "layer IG of a layer that does not run": lambda: layer_that_never_runs(
        "LayerIntegratedGradients", target=1
    ),
    "layer conductance of a layer that does not run": lambda: layer_that_never_runs(
        "LayerConductance", target=1
    ),
    "internal influence of a layer that does not run": lambda: layer_that_never_runs(
        "InternalInfluence", target=1
    ),
    "neuron IG of a layer that does not run": lambda: layer_that_never_runs(
        "NeuronIntegratedGradients", neuron_selector=0
    ),
    "neuron IG of a neuron that does not exist": lambda: Explained(
        net := mlp(), rows(), {"neuron_selector": 99}, "NeuronIntegratedGradients", net[1]
    ),
    "neuron conductance of a neuron that does not exist": lambda: Explained(
        net := mlp(bias=False),
        rows(),
        {"neuron_selector": (99,), "target": 1},
        "NeuronConductance",
        net[1],
    ),
    "layer IG, a class that does not exist": lambda: refused(
        by="LayerIntegratedGradients", layer=1, target=7
    ),
}
"""In every one Captum raises; each stands for a group of calls in ``tests/attr/wrong_calls.py``."""


def _asserting(x: Tensor, f: Any) -> Tensor:
    assert x.shape[1] == 3, f"three channels, not {x.shape[1]}"
    return f(x)
