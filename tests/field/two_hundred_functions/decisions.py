"""Agents, physics and geometry: value networks, policies, solvers, losses of differential equations."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .explained import Apply, Explained, Maker, perceptron

STATE = 8


def states(batch: int = 5, width: int = STATE) -> Tensor:
    """What an agent sees."""
    return torch.randn(batch, width)


def of_states(compute: Any, *parts: nn.Module, **call: Any) -> Explained:
    """A function of states and modules."""
    return Explained(Apply(compute, *parts).eval(), states(), call)


def dueling(*, bias: bool) -> Explained:
    """A value and advantages about their mean."""

    def compute(x: Tensor, body: Any, value: Any, advantage: Any) -> Tensor:
        h = body(x).relu()
        a = advantage(h)
        return value(h) + a - a.mean(1, keepdim=True)

    heads = nn.Linear(16, 1, bias=bias), nn.Linear(16, 4, bias=bias)
    return of_states(compute, nn.Linear(STATE, 16, bias=bias), *heads, target=2)


def pixels(*, bias: bool) -> Explained:
    """The convolutional network of the Atari agents, on small frames in bytes' range."""
    net = nn.Sequential(
        nn.Conv2d(4, 8, 8, 4, bias=bias), nn.ReLU(), nn.Conv2d(8, 8, 4, 2, bias=bias), nn.ReLU(),
        nn.Flatten(), nn.Linear(32, 16, bias=bias), nn.ReLU(), nn.Linear(16, 6, bias=bias),
    )  # fmt: skip
    frames = 255 * torch.rand(2, 4, 28, 28)
    return Explained(Apply(lambda x, f: f(x / 255), net), frames, {"target": 3})


def gaussian_policy() -> Explained:
    """The log probability of an action that was taken, squashed by tanh."""

    def compute(x: Tensor, action: Tensor, body: Any) -> Tensor:
        mean, log_spread = body(x).chunk(2, 1)
        law = torch.distributions.Normal(mean, log_spread.clamp(-5, 2).exp())
        return (law.log_prob(action) - torch.log1p(-(torch.tanh(action) ** 2) + 1e-6)).sum(1)

    return of_states(compute, perceptron(STATE, 16, 4), additional_forward_args=torch.randn(5, 2))


def sampling_policy() -> Explained:
    """The value of an action drawn by the reparametrisation trick: each call draws anew."""

    def compute(x: Tensor, body: Any, critic: Any) -> Tensor:
        mean, log_spread = body(x).chunk(2, 1)
        action = mean + log_spread.exp() * torch.randn_like(mean)
        return critic(torch.cat([x, action], 1))[:, 0]

    return of_states(compute, perceptron(STATE, 16, 4), perceptron(STATE + 2, 16, 1))


def gumbel() -> Explained:
    """A discrete choice by a Gumbel softmax."""

    def compute(x: Tensor, body: Any, table: Any) -> Tensor:
        return F.gumbel_softmax(body(x), tau=0.7) @ table.weight

    return of_states(compute, perceptron(STATE, 16, 4), nn.Linear(3, 4), target=0)


def categorical() -> Explained:
    """The mean of a distribution over returns (C51)."""
    support = torch.linspace(-5, 5, 11)

    def compute(x: Tensor, body: Any) -> Tensor:
        return (body(x).unflatten(1, (3, 11)).softmax(2) * support).sum(2)

    return of_states(compute, perceptron(STATE, 16, 33), target=1)


def twin_critics() -> Explained:
    """The smaller of two critics, of state and action, without biases."""
    critics = perceptron(STATE + 2, 16, 1, bias=False), perceptron(STATE + 2, 16, 1, bias=False)
    net = Apply(
        lambda s, a, f, g: torch.minimum(f(torch.cat([s, a], 1)), g(torch.cat([s, a], 1)))[:, 0],
        *critics,
    )
    return Explained(net, (states(), states(width=2)))


def best_action() -> Explained:
    """The value of the best action: a maximum over outputs."""
    return of_states(lambda x, f: f(x).amax(1), perceptron(STATE, 16, 4, bias=False))


def greedy() -> Explained:
    """Which action is best decides, in Python, which head answers."""

    def compute(x: Tensor, f: Any, g: Any) -> Tensor:
        return f(x)[:, 0] if bool(f(x).sum() > 0) else g(x)[:, 0]

    return of_states(compute, perceptron(STATE, 16, 4), perceptron(STATE, 16, 4))


def rollout() -> Explained:
    """The return of five steps in a learnt world."""

    def compute(x: Tensor, act: Any, world: Any, reward: Any) -> Tensor:
        total = 0.0
        for step in range(5):
            x = x + 0.1 * world(torch.cat([x, torch.tanh(act(x))], 1))
            total = total + 0.95**step * reward(x)[:, 0]
        return total

    parts = perceptron(STATE, 8, 2), perceptron(STATE + 2, 16, STATE), perceptron(STATE, 8, 1)
    return of_states(compute, *parts)


def pendulum() -> Explained:
    """Where a pendulum is after 30 steps, by its first state: no network at all."""

    def function(x: Tensor) -> Tensor:
        angle, speed = x.unbind(1)
        for _ in range(30):
            speed = speed - 0.05 * torch.sin(angle)
            angle = angle + 0.05 * speed
        return angle

    return Explained(function, torch.randn(4, 2))


def springs() -> Explained:
    """A chain of springs, linear: the matrix exponential of its motion."""
    motion = torch.randn(STATE, STATE) / 4
    return Explained(lambda x: x @ torch.matrix_exp(motion).T, states(), {"target": 3})


def energy() -> Explained:
    """The energy of particles that attract each other, degree -1."""

    def function(x: Tensor) -> Tensor:
        points = x.unflatten(1, (4, 2))
        distances = (points[:, :, None] - points[:, None]).square().sum(3)
        first, second = torch.triu_indices(4, 4, 1)
        return -distances[:, first, second].rsqrt().sum(1)

    return Explained(function, states() + 3 * torch.arange(8.0).to(torch.get_default_dtype()))


def drag() -> Explained:
    """A force that grows with the square of the speed: degree two."""
    return Explained(
        lambda v: -0.5 * v.norm(dim=1, keepdim=True) * v, states(width=3), {"target": 0}
    )


def hamiltonian() -> Explained:
    """The time derivative of a state, by the gradient of a learnt energy inside of the function."""
    net = perceptron(STATE, 16, 1, bend=nn.Tanh)

    def function(x: Tensor) -> Tensor:
        with torch.enable_grad():
            y = x if x.requires_grad else x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(net(y).sum(), y, create_graph=True)
        q, p = slope.chunk(2, 1)
        return torch.cat([p, -q], 1)

    return Explained(function, states(), {"target": 1})


def residual_of_burgers() -> Explained:
    """How far a network is from solving Burgers' equation, by derivatives of its own."""
    net = perceptron(2, 12, 1, bend=nn.Tanh)

    def function(points: Tensor) -> Tensor:
        def solution(point: Tensor) -> Tensor:
            return net(point)[0]

        slope = torch.vmap(torch.func.grad(solution))(points)
        bent = torch.vmap(torch.func.hessian(solution))(points)
        return slope[:, 1] + net(points)[:, 0] * slope[:, 0] - 0.1 * bent[:, 0, 0]

    return Explained(function, torch.rand(4, 2), {"n_steps": 12})


def neural_ode() -> Explained:
    """Runge and Kutta's rule through a learnt field."""

    def compute(x: Tensor, field: Any) -> Tensor:
        for _ in range(4):
            one = field(x)
            two = field(x + 0.125 * one)
            three = field(x + 0.125 * two)
            x = x + (one + 2 * two + 2 * three + field(x + 0.25 * three)) / 24
        return x

    return of_states(compute, perceptron(STATE, 12, STATE, bend=nn.Tanh), target=3)


def heat() -> Explained:
    """Diffusion on a grid, explicit steps: linear."""
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]).to(torch.get_default_dtype())

    def function(x: Tensor) -> Tensor:
        for _ in range(6):
            x = x + 0.1 * F.conv2d(F.pad(x, (1, 1, 1, 1), mode="circular"), kernel[None, None])
        return x.flatten(1)

    return Explained(function, torch.rand(3, 1, 8, 8), {"target": 27})


def equilibrium() -> Explained:
    """A fixed point, found by iteration without gradients and one step with them."""
    inner, outer = nn.Linear(STATE, STATE), nn.Linear(STATE, STATE)
    inner.weight.data.mul_(0.3)

    def function(x: Tensor) -> Tensor:
        with torch.no_grad():
            z = torch.zeros_like(x)
            for _ in range(20):
                z = torch.tanh(inner(z) + outer(x))
        return torch.tanh(inner(z) + outer(x))

    return Explained(function, states(), {"target": 2})


def radiance() -> Explained:
    """A network of positions by sines and cosines, and the light along a ray."""
    net, bands = perceptron(24, 16, 4), 2.0 ** torch.arange(4)

    def function(rays: Tensor) -> Tensor:
        origin, way = rays.chunk(2, 1)
        points = origin[:, None] + way[:, None] * torch.linspace(0, 1, 6)[:, None]
        angles = (points[..., None] * bands.to(points.dtype)).flatten(2)
        colour, density = net(torch.cat([angles.sin(), angles.cos()], 2)).split([3, 1], 2)
        alpha = 1 - (-F.softplus(density) / 6).exp()
        passed = torch.cumprod(torch.cat([torch.ones_like(alpha[:, :1]), 1 - alpha[:, :-1]], 1), 1)
        return (passed * alpha * colour.sigmoid()).sum(1)

    return Explained(function, torch.rand(3, 6), {"target": 0})


def rotated() -> Explained:
    """A rotation from six numbers by Gram and Schmidt, degree zero."""

    def function(x: Tensor) -> Tensor:
        a, b = x.chunk(2, 1)
        first = F.normalize(a, dim=1)
        second = F.normalize(b - (first * b).sum(1, keepdim=True) * first, dim=1)
        return torch.stack([first, second, torch.linalg.cross(first, second)], 1)

    return Explained(
        function, torch.randn(4, 6), {"target": (2, 0), "baselines": torch.randn(1, 6)}
    )


FUNCTIONS: dict[str, Maker] = {
    "dueling heads": lambda: dueling(bias=True),
    "dueling heads without biases": lambda: dueling(bias=False),
    "agent of pixels": lambda: pixels(bias=True),
    "agent of pixels without biases": lambda: pixels(bias=False),
    "log probability of an action": gaussian_policy,
    "value of a drawn action": sampling_policy,
    "Gumbel softmax": gumbel,
    "mean of a distribution of returns": categorical,
    "smaller of two critics without biases": twin_critics,
    "value of the best action without biases": best_action,
    "Python decides which head answers": greedy,
    "return in a learnt world": rollout,
    "pendulum": pendulum,
    "chain of springs": springs,
    "energy of particles": energy,
    "drag, square of the speed": drag,
    "Hamiltonian network": hamiltonian,
    "residual of Burgers' equation": residual_of_burgers,
    "neural ordinary differential equation": neural_ode,
    "diffusion on a grid": heat,
    "equilibrium network": equilibrium,
    "light along a ray": radiance,
    "rotation from six numbers": rotated,
}
