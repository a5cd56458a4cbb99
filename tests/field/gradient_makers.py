"""Functions in whose gradient code of the user's has a part."""

from __future__ import annotations

from typing import Any

import torch
from comparing import linear
from torch import Tensor, nn
from torch.autograd.graph import (
    get_gradient_edge,
    register_multi_grad_hook,
    save_on_cpu,
    saved_tensors_hooks,
)
from torch.nn import functional
from torch.utils.checkpoint import checkpoint as checkpointed

NETWORKS: dict[str, Any] = {}


def case(make: Any) -> Any:
    NETWORKS[make.__name__] = make
    return make


def net() -> nn.Sequential:
    sizes = [(8, 4), (8, 8), (2, 8)]
    layers = [linear(out, seed=i, width=width) for i, (out, width) in enumerate(sizes)]
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])


def divided(share: Tensor, by: Tensor) -> Tensor:
    return torch.where(
        by != 0, share / by.where(by != 0, torch.ones_like(by)), torch.zeros_like(share)
    )


def custom(forward: Any, backward: Any) -> Any:
    """An autograd function of one input that keeps it."""

    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, z: Tensor) -> Tensor:
            ctx.save_for_backward(z)
            return forward(z)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            return backward(ctx.saved_tensors[0], g)

    return Own.apply


def conserving(share: Any) -> Any:
    """A sum whose backward pass gives each part its share of the whole: the sum is kept."""

    def make() -> Any:
        n = net()
        kept = lambda z, g: divided(g * z.sum(1, keepdim=True) * share(z), z)  # noqa: E731
        rule = custom(lambda z: z.sum(1, keepdim=True), kept)
        return lambda x: torch.cat([rule(x)] * 2, 1) + 0 * n(x)

    return make


def _thresholded(z: Tensor) -> Tensor:
    large = z.abs().amax(1, keepdim=True) > 0.1
    return torch.where(large, z / z.sum(1, keepdim=True), torch.full_like(z, 1 / z.shape[1]))


NETWORKS["conserving_by_squares"] = conserving(
    lambda z: z.square() / z.square().sum(1, keepdim=True)
)
NETWORKS["conserving_by_softmax"] = conserving(lambda z: z.softmax(1))
NETWORKS["conserving_evenly_when_small"] = conserving(_thresholded)
NETWORKS["conserving_with_a_stabiliser"] = conserving(
    lambda z: (z + 0.1) / (z + 0.1).sum(1, keepdim=True)
)


def middle(part: Any) -> Any:
    """A network with something of one's own after its first layer."""

    def make() -> Any:
        n = net()
        return lambda x: n[2:](part(n[:2](x)))

    return make


NETWORKS["reversed"] = middle(custom(lambda z: z * 1, lambda z, g: -g))
NETWORKS["cut_off_below"] = middle(custom(lambda z: z * 1, lambda z, g: g * (z.abs() > 0.05)))
NETWORKS["cut_off_above"] = middle(custom(lambda z: z * 1, lambda z, g: g * (z.abs() < 0.3)))
NETWORKS["positive_only"] = middle(custom(lambda z: z * 1, lambda z, g: g.clamp(min=0)))
NETWORKS["rounded_gradient"] = middle(custom(lambda z: z * 1, lambda z, g: (g * 8).round() / 8))
NETWORKS["normalised_gradient"] = middle(
    custom(lambda z: z * 1, lambda z, g: g / (g.norm() + 1e-3))
)
NETWORKS["straight_through_sign"] = middle(
    custom(lambda z: z.sign() * z.abs().mean(), lambda z, g: g)
)
NETWORKS["straight_through_round"] = middle(custom(torch.round, lambda z, g: g))
NETWORKS["straight_through_detach"] = middle(lambda z: z + (z.round() - z).detach())
NETWORKS["straight_through_size"] = middle(
    lambda z: z + (z.sign() * z.abs().mean(1, keepdim=True) - z).detach()
)
NETWORKS["detached_product"] = middle(lambda z: z * z.detach())
NETWORKS["detached_gate"] = middle(lambda z: z * (z > 0).detach())
NETWORKS["detached_shares"] = middle(lambda z: z * (z / z.sum(1, keepdim=True)).detach())
NETWORKS["detached_softmax"] = middle(lambda z: z * z.softmax(1).detach())
NETWORKS["detached_size"] = middle(lambda z: z / z.detach().norm(dim=1, keepdim=True))


@case
def straight_through_weights():
    n = net()
    weight = n[2].weight
    return lambda x: n[4](
        functional.linear(n[:2](x), weight + (weight.sign() - weight).detach()).relu()
    )


@case
def reversals_that_cancel():
    n, reverse = net(), custom(lambda z: z * 1, lambda z, g: -g)
    return lambda x: n(x) + reverse(n[:4](x))[:, :2] - reverse(n[:4](x))[:, :2]


def hooked(hook: Any) -> Any:
    return middle(
        lambda z: (z.register_hook(lambda g: hook(z.detach(), g)) if z.requires_grad else None, z)[
            1
        ]
    )


NETWORKS["hook_doubles"] = hooked(lambda z, g: g * 2)
NETWORKS["hook_permutes"] = hooked(lambda z, g: g.flip(1))
NETWORKS["hook_clamps"] = hooked(lambda z, g: g.clamp(min=0))
NETWORKS["hook_conserves"] = hooked(
    lambda z, g: divided((g * z).sum(1, keepdim=True) * z.softmax(1) * (z > 0), z)
)
NETWORKS["hook_that_watches"] = hooked(lambda z, g: None)


def of_node(register: Any) -> Any:
    return middle(lambda z: (register(z) if z.requires_grad else None, z)[1])


def flipped(gradients: Any, _: Any = None) -> Any:
    return tuple(None if g is None else g.flip(1) for g in gradients)


NETWORKS["node_hook"] = of_node(lambda z: z.grad_fn.register_hook(flipped))
NETWORKS["node_prehook"] = of_node(lambda z: z.grad_fn.register_prehook(flipped))
NETWORKS["edge_hook"] = of_node(lambda z: get_gradient_edge(z).node.register_hook(flipped))
NETWORKS["next_node_hook"] = of_node(
    lambda z: (z * 1).grad_fn.next_functions[0][0].register_hook(flipped)
)
NETWORKS["multi_hook"] = of_node(lambda z: register_multi_grad_hook([z], lambda grads: None))


def on_module(register: Any) -> Any:
    def make() -> Any:
        n = net()
        register(n)
        return n

    return make


NETWORKS["full_hook"] = on_module(
    lambda n: n[2].register_full_backward_hook(lambda m, i, o: (i[0] / 2,))
)
NETWORKS["full_prehook"] = on_module(
    lambda n: n[2].register_full_backward_pre_hook(lambda m, o: (o[0].flip(1),))
)
NETWORKS["guided_backprop"] = on_module(
    lambda n: [
        n[i].register_full_backward_hook(lambda m, i, o: (i[0].clamp(min=0),)) for i in (1, 3)
    ]
)
NETWORKS["partial_hook"] = on_module(
    lambda n: n[1].register_backward_hook(lambda m, i, o: tuple(g.flip(1) for g in i))
)
NETWORKS["hook_on_a_parameter"] = on_module(lambda n: n[2].weight.register_hook(lambda g: g * 100))


def of_leaf(hook: Any) -> Any:
    def make() -> Any:
        n = net()
        return lambda x: (
            x.register_hook(lambda g: hook(x.detach(), g)) if x.requires_grad else None,
            n(x),
        )[1]

    return make


NETWORKS["leaf_hook"] = of_leaf(lambda x, g: g.flip(1))
NETWORKS["leaf_hook_conserves"] = of_leaf(
    lambda x, g: divided((g * x).sum(1, keepdim=True) * x.softmax(1), x)
)


def within(context: Any, part: Any = None) -> Any:
    def make() -> Any:
        n = net()

        def function(x: Tensor) -> Tensor:
            with context():
                z = (part or (lambda n, x: n[:2](x)))(n, x)
            return n[2:](z)

        return function

    return make


def _coarse() -> Any:
    return saved_tensors_hooks(
        lambda t: (t * 4).round() / 4 if t.is_floating_point() else t, lambda t: t
    )


NETWORKS["saved_coarsely"] = within(_coarse)
NETWORKS["saved_coarse_squares"] = within(_coarse, lambda n, x: n[:2](x).square())
NETWORKS["saved_coarse_product"] = within(_coarse, lambda n, x: n[:2](x) * n[0](x))
NETWORKS["saved_on_cpu"] = within(save_on_cpu)
NETWORKS["checkpoint"] = within(
    torch.enable_grad, lambda n, x: checkpointed(n[:2], x, use_reentrant=False)
)


def beside(context: Any) -> Any:
    def make() -> Any:
        n = net()

        def function(x: Tensor) -> Tensor:
            with context():
                gate = n[:2](x)
            return n[2:](n[:2](x) * gate.clone())

        return function

    return make


NETWORKS["without_gradient"] = beside(torch.no_grad)
NETWORKS["in_inference_mode"] = beside(torch.inference_mode)
NETWORKS["gradient_switched_off"] = beside(lambda: torch.set_grad_enabled(False))


@case
def inference_of_the_whole():
    n = net()

    def function(x: Tensor) -> Tensor:
        with torch.inference_mode():
            y = n(x)
        return y.clone() + 0.5 * n(x)

    return function


@case
def gradient_inside():
    n = net()

    def function(x: Tensor) -> Tensor:
        z = n[0](x)
        z = z if z.requires_grad else z.requires_grad_()
        with torch.enable_grad():
            (g,) = torch.autograd.grad(n[1:](z).sum(), z, create_graph=True)
        return n[2:](z * g)

    return function
