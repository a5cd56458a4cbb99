"""One perceptron in many settings: bends, targets, baselines, rules, hooks, wrappers, layers."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn

from .explained import Apply, Explained, Maker, as_trained, perceptron

COLUMNS = 12


def rows(batch: int = 6, columns: int = COLUMNS) -> Tensor:
    """Standardised columns."""
    return torch.randn(batch, columns)


def of_rows(net: Any, batch: int = 6, columns: int = COLUMNS, **call: Any) -> Explained:
    """A network of rows, the second of its outputs."""
    return Explained(net, rows(batch, columns), {"target": 1, **call})


def mlp(*behind: nn.Module, bias: bool = True, bend: Any = nn.ReLU, out: int = 3) -> nn.Sequential:
    """An ordinary perceptron, with something behind it."""
    return nn.Sequential(*perceptron(COLUMNS, 32, 16, out, bias=bias, bend=bend), *behind).eval()


def of_layer(method: str, index: int, *, bias: bool = True, **call: Any) -> Explained:
    """A layer of the perceptron by one of the layer classes."""
    net = mlp(bias=bias)
    return Explained(net, rows(), {"target": 1, **call}, method, net[index])


def of_neuron(method: str, *, bias: bool = True, **call: Any) -> Explained:
    """A neuron of the first hidden layer."""
    net = mlp(bias=bias)
    return Explained(net, rows(), {"neuron_selector": 4, **call}, method, net[1])


def without_gradients(make: Maker) -> Explained:
    """The inputs require a gradient, and have one already."""
    explained = make()
    explained.inputs.requires_grad_().grad = torch.ones_like(explained.inputs)
    return explained


def trained_step() -> Explained:
    """A network in the middle of training: its parameters have gradients."""
    net = mlp()
    net(rows()).sum().backward()
    return of_rows(net)


def hooked() -> Explained:
    """Hooks of the user's that scale an activation and note shapes."""
    net, shapes = mlp(), []
    net[0].register_forward_hook(lambda _m, _i, output: output * 1.5)
    net[2].register_forward_pre_hook(lambda _m, given: shapes.append(given[0].dim()))
    return of_rows(net)


def gradient_hooked() -> Explained:
    """A hook that clips the gradient of a layer."""
    net = mlp(bias=False)
    net[2].register_full_backward_hook(lambda _m, g, _o: (g[0].clamp(-0.01, 0.01),))
    explained = of_rows(net)
    explained.documented = "a warning: the hook does not obey the law that was proved"
    return explained


def cached() -> Explained:
    """A function that keeps a number for each batch it has seen, in a closure."""
    net, known = mlp(), {}

    def function(x: Tensor) -> Tensor:
        key = (tuple(x.shape), float(x.detach().sum()))
        if key not in known:
            known[key] = len(known)
        return net(x)

    return of_rows(function)


def logged() -> Explained:
    """A function that keeps the shape of every output it gave."""
    net, seen = mlp(bias=False), []

    def function(x: Tensor) -> Tensor:
        y = net(x)
        seen.append(tuple(y.shape))
        return y

    explained = of_rows(function)
    explained.documented = "the closure has seen the batch itself, not 50 times the batch"
    return explained


FUNCTIONS: dict[str, Maker] = {
    "MLP, logit": lambda: of_rows(mlp()),
    "MLP, softmax": lambda: of_rows(mlp(nn.Softmax(1))),
    "MLP, log softmax, a target for each row": lambda: of_rows(
        mlp(nn.LogSoftmax(1)), target=torch.tensor([0, 1, 2, 2, 1, 0])
    ),
    "MLP without biases": lambda: of_rows(mlp(bias=False)),
    "MLP without biases, list of targets": lambda: of_rows(mlp(bias=False), target=[0, 1, 2] * 2),
    "MLP without biases, mean row as baseline": lambda: of_rows(mlp(bias=False), baselines=rows(1)),
    "MLP without biases, another row as baseline": lambda: of_rows(
        mlp(bias=False), baselines=rows(6)
    ),
    "MLP without biases, riemann_trapezoid": lambda: of_rows(
        mlp(bias=False), method="riemann_trapezoid", n_steps=64
    ),
    "MLP without biases, sigmoid": lambda: of_rows(mlp(nn.Sigmoid(), bias=False)),
    "MLP without biases, mean gradients": lambda: Explained(
        mlp(bias=False), rows(), {"target": 1}, options={"multiply_by_inputs": False}
    ),
    "MLP, mean gradients": lambda: Explained(
        mlp(), rows(), {"target": 1}, options={"multiply_by_inputs": False}
    ),
    "MLP, delta": lambda: of_rows(mlp(), return_convergence_delta=True),
    "MLP without biases, delta": lambda: of_rows(mlp(bias=False), return_convergence_delta=True),
    "MLP, internal_batch_size": lambda: of_rows(mlp(nn.Softmax(1)), internal_batch_size=16),
    "MLP without biases, internal_batch_size": lambda: of_rows(
        mlp(bias=False), internal_batch_size=3
    ),
    "MLP, riemann_left": lambda: of_rows(mlp(), method="riemann_left", n_steps=20),
    "MLP, riemann_right": lambda: of_rows(mlp(), method="riemann_right", n_steps=20),
    "MLP, riemann_middle, two steps": lambda: of_rows(mlp(), method="riemann_middle", n_steps=2),
    "MLP, wide, 256 rows": lambda: Explained(
        perceptron(100, 256, 64, 5), torch.randn(256, 100), {"target": 1, "n_steps": 20}
    ),
    "MLP, tanh": lambda: of_rows(mlp(bend=nn.Tanh)),
    "MLP, GELU": lambda: of_rows(mlp(bend=nn.GELU)),
    "MLP, SiLU, without biases": lambda: of_rows(mlp(bend=nn.SiLU, bias=False)),
    "MLP, leaky ReLU, without biases": lambda: of_rows(mlp(bend=nn.LeakyReLU, bias=False)),
    "MLP, PReLU, without biases": lambda: of_rows(mlp(bend=nn.PReLU, bias=False)),
    "MLP, ELU and batch norm": lambda: of_rows(
        as_trained(nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ELU(), nn.Linear(16, 2)))
    ),
    "MLP, batch norm in training mode": lambda: of_rows(
        nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2)).train()
    ),
    "MLP, dropout in training mode": lambda: of_rows(
        nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 2)).train()
    ),
    "MLP without biases, dropout in training mode": lambda: of_rows(
        nn.Sequential(
            nn.Linear(12, 16, bias=False), nn.ReLU(), nn.Dropout(), nn.Linear(16, 2)
        ).train()
    ),
    "MLP, random ReLU in training mode": lambda: of_rows(mlp(bend=nn.RReLU, bias=False).train()),
    "MLP, maxout": lambda: of_rows(
        Apply(
            lambda x, f, g: g(f(x).unflatten(1, (8, 4)).amax(2)), nn.Linear(12, 32), nn.Linear(8, 2)
        )
    ),
    "MLP, layer norm": lambda: of_rows(
        nn.Sequential(nn.LayerNorm(12), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 2))
    ),
    "MLP, weight norm": lambda: of_rows(
        nn.Sequential(
            nn.utils.parametrizations.weight_norm(nn.Linear(12, 16, bias=False)),
            nn.ReLU(),
            nn.Linear(16, 2),
        )
    ),
    "MLP, spectral norm in training mode": lambda: of_rows(
        nn.Sequential(
            nn.utils.parametrizations.spectral_norm(nn.Linear(12, 16)), nn.ReLU(), nn.Linear(16, 2)
        ).train()
    ),
    "MLP, residual blocks": lambda: of_rows(
        Apply(
            lambda x, f, g, h: h(x + f(x) + g(x + f(x))),
            *(perceptron(12, 8, 12) for _ in "12"),
            nn.Linear(12, 2),
        )
    ),
    "MLP, residual blocks without biases": lambda: of_rows(
        Apply(
            lambda x, f, g, h: h(x + f(x) + g(x + f(x))),
            *(perceptron(12, 8, 12, bias=False) for _ in "12"),
            nn.Linear(12, 2),
        )
    ),
    "MLP, one output for a row": lambda: Explained(
        Apply(lambda x, f: f(x)[:, 0], perceptron(12, 8, 1)), rows()
    ),
    "MLP, divided by nothing": lambda: of_rows(
        Apply(lambda x, f: f(x) / (len(x) - len(x)), mlp()), target=1
    ),
    "MLP without biases, batches of no size": lambda: of_rows(
        mlp(bias=False), internal_batch_size=0
    ),
    "MLP, one row": lambda: of_rows(mlp(nn.Softmax(1)), batch=1),
    "MLP, outputs of three dimensions": lambda: of_rows(
        Apply(lambda x, f: f(x).unflatten(1, (3, 2)), perceptron(12, 8, 6)), target=(2, 1)
    ),
    "MLP, a tuple for each row": lambda: of_rows(
        Apply(lambda x, f: f(x).unflatten(1, (3, 2)), perceptron(12, 8, 6, bias=False)),
        target=[(0, 1), (1, 0), (2, 1)] * 2,
    ),
    "MLP, inputs with a gradient": lambda: without_gradients(lambda: of_rows(mlp())),
    "MLP without biases, inputs with a gradient": lambda: without_gradients(
        lambda: of_rows(mlp(bias=False))
    ),
    "MLP in the middle of training": trained_step,
    "MLP in half precision": lambda: Explained(mlp().bfloat16(), rows().bfloat16(), {"target": 1}),
    "MLP of integers": lambda: Explained(
        Apply(lambda x, f: f(x.to(f[0].weight.dtype)), mlp()),
        torch.randint(0, 5, (6, 12)),
        {"target": 1},
    ),
    "MLP under autocast": lambda: of_rows(_autocast(mlp())),
    "MLP, traced": lambda: of_rows(torch.jit.trace(mlp(), rows(), check_trace=False)),
    "MLP, scripted, without biases": lambda: of_rows(torch.jit.script(mlp(bias=False))),
    "MLP, checkpointed": lambda: of_rows(_checkpointed(mlp())),
    "MLP, with hooks": hooked,
    "MLP without biases, a hook that clips gradients": gradient_hooked,
    "MLP that keeps keys of what it saw": cached,
    "MLP without biases that notes its outputs": logged,
    "MLP by functools.partial": lambda: of_rows(functools.partial(_scaled, net=mlp(), by=2.0)),
    "MLP by a bound method": lambda: of_rows(mlp().forward),
    "layer IG of a hidden layer": lambda: of_layer("LayerIntegratedGradients", 2),
    "layer IG of a hidden layer without biases": lambda: of_layer(
        "LayerIntegratedGradients", 2, bias=False
    ),
    "layer IG of a layer's inputs": lambda: of_layer(
        "LayerIntegratedGradients", 2, attribute_to_layer_input=True
    ),
    "layer conductance": lambda: of_layer("LayerConductance", 1),
    "layer conductance without biases": lambda: of_layer("LayerConductance", 1, bias=False),
    "internal influence": lambda: of_layer("InternalInfluence", 1),
    "internal influence without biases": lambda: of_layer("InternalInfluence", 1, bias=False),
    "neuron IG": lambda: of_neuron("NeuronIntegratedGradients"),
    "neuron IG without biases": lambda: of_neuron("NeuronIntegratedGradients", bias=False),
    "neuron conductance": lambda: of_neuron("NeuronConductance", target=1),
    "neuron conductance without biases": lambda: of_neuron(
        "NeuronConductance", bias=False, target=1
    ),
}


def _scaled(x: Tensor, *, net: Any, by: float) -> Tensor:
    return net(x) * by


def _autocast(net: nn.Module) -> Any:
    def function(x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return net(x)

    return function


def _checkpointed(net: nn.Module) -> Any:
    from torch.utils.checkpoint import checkpoint

    return lambda x: checkpoint(net, x, use_reentrant=False)
