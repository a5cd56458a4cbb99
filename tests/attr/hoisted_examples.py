"""The table of functions that are hoisted in part; each entry makes its example in the default dtype."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from captum_parity import default_dtype
from hoisted_networks import (
    WIDE,
    Chain,
    Example,
    Parts,
    attended,
    bias_free,
    biased,
    convolutions,
    encoded,
    images,
    masked_attention,
    mixed,
    normalised,
    of_power,
    of_rows,
    of_words,
    recurrent,
    rows,
    squeezed,
    text_convolutions,
)
from torch import Tensor, nn

LABELS = torch.tensor([0, 2, 1])


def several_cuts() -> Example:
    def compute(x: Tensor, first: nn.Module, second: nn.Module) -> Tensor:
        return F.softmax(first(x), 1) * torch.sigmoid(second(x)) + torch.tanh(first(x) * second(x))

    return Example(Parts(compute, bias_free(6, 8, 5), bias_free(6, 9, 5)), rows())


def several_degrees() -> Example:
    def compute(x: Tensor, net: nn.Module) -> Tensor:
        h = net(x)
        return torch.tanh(h) + torch.sigmoid(h * h) + torch.cos((h * h * h).abs().sqrt())

    return Example(Parts(compute, bias_free(6, 8, 5)), rows())


def inside_as_well() -> Example:
    """A frontier tensor of which the trunk goes on to compute another."""

    def compute(x: Tensor, first: nn.Module, second: nn.Module) -> Tensor:
        h = first(x)
        return torch.sigmoid(h) * torch.tanh(second(h))

    return Example(Parts(compute, bias_free(6, 8, 5), bias_free(5, 7, 5)), rows())


def skipped() -> Example:
    def compute(x: Tensor, net: nn.Module) -> Tensor:
        return x + torch.tanh(net(x))

    return Example(Parts(compute, bias_free(6, 8, 6)), rows())


def skipped_behind_the_bend() -> Example:
    def compute(x: Tensor, net: nn.Module) -> Tensor:
        return torch.tanh(x + F.gelu(net(x))).cumsum(1)

    return Example(Parts(compute, bias_free(6, 8, 6)), rows())


def two_inputs() -> Example:
    def compute(x: Tensor, y: Tensor, first: nn.Module, second: nn.Module) -> Tensor:
        return F.softmax(first(x) + second(y).flatten(1), 1)

    parts = Parts(compute, bias_free(6, 10), bias_free(4, 5))
    return Example(parts, (*rows(), torch.randn(3, 2, 4)))


def one_input_behind_the_cut() -> Example:
    def compute(x: Tensor, y: Tensor, first: nn.Module, second: nn.Module) -> Tensor:
        return torch.tanh(first(x)) * second(y) + torch.sigmoid(y).sum(1, keepdim=True)

    parts = Parts(compute, bias_free(6, 8, 5), bias_free(4, 5))
    return Example(parts, (*rows(), torch.randn(3, 4)))


def weighted() -> Example:
    def head(h: Tensor, weight: Tensor, scale: float) -> Tensor:
        return torch.tanh(h * weight) * scale + weight

    arguments = (torch.rand(3, WIDE), 2.5)
    return of_rows(head, target=1, additional_forward_args=arguments)


def weighted_trunk() -> Example:
    def compute(x: Tensor, weight: Tensor, scale: float, net: nn.Module) -> Tensor:
        return F.softmax(net(x * weight) * scale, 1)

    call = {"target": 1, "additional_forward_args": (torch.rand(3, 6), 0.5)}
    return Example(Parts(compute, bias_free(6, 8, 5)), rows(), call)


def closure() -> Example:
    net, shift, scale = bias_free(6, 8, 5), torch.randn(5), 1.5

    def function(x: Tensor) -> Tensor:
        return torch.sigmoid(scale * net(x) + shift)

    return Example(function, rows())


def nested_closure() -> Example:
    inner = closure()
    return Example(lambda x: inner.function(x).log(), rows())


def unit_length() -> Example:
    """Degree 0 at the cut: a direction."""

    def head(h: Tensor, last: nn.Module) -> Tensor:
        return torch.tanh(h) * (h / h.norm(dim=1, keepdim=True)) + last(h).sigmoid()

    return of_rows(head, nn.Linear(WIDE, WIDE))


def labelled() -> Example:
    def head(h: Tensor, labels: Tensor, last: nn.Module) -> Tensor:
        return F.cross_entropy(last(h), labels, reduction="none")

    return of_rows(head, nn.Linear(WIDE, 3), target=None, additional_forward_args=LABELS)


def picked() -> Example:
    def head(h: Tensor, labels: Tensor) -> Tensor:
        return h.log_softmax(1).gather(1, labels[:, None])[:, 0]

    return of_rows(head, target=None, additional_forward_args=LABELS)


def soft_arg_max() -> Example:
    def head(h: Tensor) -> Tensor:
        weights = h.flatten(2).softmax(2)
        return (weights * torch.arange(weights.shape[2]).to(h)).sum(2)

    return Example(Chain(nn.Conv2d(3, 4, 3, bias=False), head), images())


def pooled_by_attention() -> Example:
    def head(h: Tensor, query: nn.Module) -> Tensor:
        return (query(h).softmax(1) * h).sum(1)

    return of_words(head, nn.Linear(WIDE, 1))


def distances() -> Example:
    """No rule says that these keep rows apart: one pass for each step."""
    centres = torch.randn(4, WIDE)
    return of_rows(lambda h: torch.cdist(h, centres.to(h)).neg().exp())


def against_labels(loss: Callable[..., Tensor]) -> Example:
    def head(h: Tensor, wanted: Tensor) -> Tensor:
        return loss(h, wanted, reduction="none").sum(1)

    return of_rows(head, target=None, additional_forward_args=torch.rand(3, WIDE))


def from_the_mean() -> Example:
    net = nn.Sequential(bias_free(6, 16), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3))
    mean = torch.linspace(-0.5, 0.7, 6)
    call = {"target": 1, "baselines": mean[None]}
    return Example(Parts(lambda x, net: net(x - mean.to(x)), net), rows(), call)


EXAMPLES: dict[str, Callable[[], Example]] = {
    **{
        f"biased, {bend.__name__}": lambda bend=bend: biased(bend())
        for bend in (nn.ReLU, nn.LeakyReLU, nn.GELU, nn.Tanh, nn.SiLU, nn.PReLU)
    },
    "softmax": lambda: of_rows(lambda h: h.softmax(1)),
    "log_softmax": lambda: of_rows(lambda h: h.log_softmax(1)),
    "sigmoid": lambda: of_rows(torch.sigmoid),
    "softplus": lambda: of_rows(F.softplus),
    "hardswish": lambda: of_rows(F.hardswish),
    "relu6": lambda: of_rows(lambda h: F.relu6(4 * h + 3)),
    "erf": lambda: of_rows(torch.erf),
    "rational": lambda: of_rows(lambda h: h / (1 + h * h)),
    "gate": lambda: of_rows(lambda h: h * h.sigmoid()),
    "logsumexp": lambda: of_rows(lambda h: h.logsumexp(1), target=None),
    "sorted": lambda: of_rows(lambda h: h.tanh().sort(1)[0].cumsum(1)),
    "topk": lambda: of_rows(lambda h: h.exp().topk(3, 1)[0]),
    "cross_entropy": labelled,
    "gathered log_softmax": picked,
    "bce_with_logits": lambda: against_labels(F.binary_cross_entropy_with_logits),
    "huber": lambda: against_labels(F.huber_loss),
    "attention": lambda: attended(batch_first=True),
    "attention, batch second": lambda: attended(batch_first=False),
    "attention with a mask": masked_attention,
    "encoder": lambda: encoded(batch_first=True),
    "encoder, batch second": lambda: encoded(batch_first=False),
    "encoder, norm first": lambda: encoded(batch_first=True, norm_first=True),
    "pooled by attention": pooled_by_attention,
    "mixer": mixed,
    "degree 2, softmax": lambda: of_power(2, lambda h: h.softmax(1)),
    "degree 2, tanh": lambda: of_power(2, torch.tanh),
    "degree 1/2, softmax": lambda: of_power(0.5, lambda h: h.softmax(1)),
    "degree 1/2, tanh": lambda: of_power(0.5, torch.tanh),
    "unit length": unit_length,
    "several cuts": several_cuts,
    "several degrees": several_degrees,
    "inside as well": inside_as_well,
    "skipped": skipped,
    "skipped behind the bend": skipped_behind_the_bend,
    "two inputs": two_inputs,
    "one input behind the cut": one_input_behind_the_cut,
    "arguments in the head": weighted,
    "arguments in the trunk": weighted_trunk,
    "closure": closure,
    "nested closure": nested_closure,
    "distances": distances,
    "from the mean": from_the_mean,
    "soft arg max": soft_arg_max,
    "squeezed": squeezed,
    "text convolutions": text_convolutions,
    "batch norm": lambda: normalised(nn.BatchNorm2d(8)),
    "group norm": lambda: normalised(nn.GroupNorm(2, 8)),
    "instance norm": lambda: normalised(nn.InstanceNorm2d(8, affine=True)),
    "layer norm": lambda: of_words(
        lambda h, *parts: parts[1](parts[0](h)).mean(1), nn.LayerNorm(WIDE), nn.Linear(WIDE, 3)
    ),
    "rms norm": lambda: of_words(lambda h, norm: norm(h).mean(1), nn.RMSNorm(WIDE)),
    "pixel shuffle": lambda: convolutions(nn.Conv2d(8, 8, 3), nn.PixelShuffle(2), nn.Tanh()),
    "upsampled": lambda: convolutions(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Sigmoid()),
    "pooled": lambda: convolutions(nn.Conv2d(8, 8, 3), nn.MaxPool2d(2), nn.GELU()),
    "transposed": lambda: convolutions(nn.ConvTranspose2d(8, 2, 3), nn.ELU(), nn.AvgPool2d(2)),
    "local response": lambda: convolutions(nn.LocalResponseNorm(2)),
}


def example_of(name: str) -> Example:
    """An entry of the table, in float64."""
    with default_dtype(torch.float64):
        return EXAMPLES[name]()


RECURRENT = {
    "lstm": lambda: recurrent(nn.LSTM),
    "lstm, both ways": lambda: recurrent(nn.LSTM, both_ways=True),
    "gru": lambda: recurrent(nn.GRU),
    "rnn": lambda: recurrent(nn.RNN),
}
"""Heads of which torch.vmap can run one step after the other only: Captum's code runs."""
