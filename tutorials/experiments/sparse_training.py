r"""Training with a prior for sparse attributions: the protocol of Hesse et al. (2021), Sec. 4.3.

One repetition draws 100 training and 100 validation subjects, the rest is for testing; trains a
perceptron for 100 epochs on all training subjects at once, with the loss

.. math:: L = \mathrm{BCE} + \alpha \, \mathrm{gini\_sparsity}(A),

and keeps the epoch with the best validation AUROC. ``A`` are the attributions of the training
subjects by one of ``METHODS``. For all methods of a repetition the subjects are the same.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from sklearn.impute import SimpleImputer
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from subject_tables import Numbers, Table
from torch import Tensor, nn

from captum_xdnn import XIntegratedGradients
from captum_xdnn.priors import expected_gradients, gini_sparsity

EPOCHS = 100
SUBJECTS = 100
"""For training, and as many for validation."""
LEARNING_RATE = 1e-3
ALPHAS = (1e-2, 1e-1, 1.0, 1e1, 1e2)
Attribute = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Method:
    """How the network is regularised.

    Attributes:
        title: As in the paper's figure.
        bias: Whether the layers have biases.
        attributing: Makes the attribution method of a network, whose result can be trained
            through; None for no prior.
    """

    title: str
    bias: bool
    attributing: Callable[[nn.Module, Tensor], Attribute] | None = None


def _x_gradient(net: nn.Module, _: Tensor) -> Attribute:
    xig = XIntegratedGradients(net, strategy="single_pass")
    return partial(xig.attribute, create_graph=True)


def _gradient(net: nn.Module, _: Tensor) -> Attribute:
    return partial(_gradient_of, net)


def _log_gradient(net: nn.Module, _: Tensor) -> Attribute:
    """Of the summed log probabilities of both classes, as in right for the right reasons."""

    def logarithms(x: Tensor) -> Tensor:
        logits = net(x)
        return nn.functional.logsigmoid(logits) + nn.functional.logsigmoid(-logits)

    return partial(_gradient_of, logarithms)


def _gradient_of(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    leaf = x.detach().requires_grad_()
    return torch.autograd.grad(function(leaf).sum(), leaf, create_graph=True)[0]


def _expected(count: int) -> Callable[[nn.Module, Tensor], Attribute]:
    def attributing(net: nn.Module, references: Tensor) -> Attribute:
        return lambda x: expected_gradients(net, x, references, n_references=count)

    return attributing


METHODS = {
    "unregularised": Method("unregularised", bias=True),
    "unregularised_no_bias": Method("unregularised, no bias", bias=False),
    "gradient": Method("gradient", bias=True, attributing=_gradient),
    "log_gradient": Method("log-probability gradient", bias=True, attributing=_log_gradient),
    "eg_1": Method("Expected Gradients (1)", bias=True, attributing=_expected(1)),
    "eg_8": Method("Expected Gradients (8)", bias=True, attributing=_expected(8)),
    "eg_32": Method("Expected Gradients (32)", bias=True, attributing=_expected(32)),
    "x_gradient": Method("X-Gradient", bias=False, attributing=_x_gradient),
    # Beyond the paper: what of the difference is the attribution's, what the missing biases'?
    "gradient_no_bias": Method("gradient, no bias", bias=False, attributing=_gradient),
    "eg_1_no_bias": Method("Expected Gradients (1), no bias", bias=False, attributing=_expected(1)),
    "eg_32_no_bias": Method(
        "Expected Gradients (32), no bias", bias=False, attributing=_expected(32)
    ),
}
PAPERS = tuple(METHODS)[:8]
"""The paper's methods, in its order."""


@dataclass(frozen=True)
class Subjects:
    """Standardised subjects: features ``(N, D)`` and outcomes ``(N,)``."""

    features: Tensor
    outcomes: Tensor


@dataclass(frozen=True)
class Trained:
    """What one training gives.

    Attributes:
        validation: Area under the ROC curve on the validation subjects, of the best epoch.
        test: The same network's on the test subjects.
        epoch: The best epoch.
        seconds: What all steps took together, without the evaluations between them.
        milliseconds: The median step; that of ``x_gradient`` without the proof, made once.
    """

    validation: float
    test: float
    epoch: int
    seconds: float
    milliseconds: float


def split(table: Table, repetition: int) -> tuple[Subjects, Subjects, Subjects]:
    """Training, validation and test subjects; gaps and scale by the training subjects' means.

    Args:
        table: The subjects; more than 200.
        repetition: Seed of the draw.

    Raises:
        ValueError: If there are too few subjects, or a part has one outcome only.
    """
    count = len(table.outcomes)
    if count <= 2 * SUBJECTS:
        message = f"{table.title} has {count} subjects; more than {2 * SUBJECTS} are needed"
        raise ValueError(message)
    order = np.random.default_rng(repetition).permutation(count)
    parts = np.split(order, (SUBJECTS, 2 * SUBJECTS))
    for part in parts:
        if len(set(table.outcomes[part])) < 2:
            message = f"repetition {repetition} drew subjects of one outcome from {table.title}"
            raise ValueError(message)
    scale = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler())
    scale.fit(table.features[parts[0]])
    training, validation, test = (
        Subjects(_tensor(scale.transform(table.features[p])), _tensor(table.outcomes[p]))
        for p in parts
    )
    return training, validation, test


def _tensor(numbers: Numbers) -> Tensor:
    return torch.from_numpy(numbers).float()


def perceptron(features: int, *, bias: bool) -> nn.Sequential:
    """The paper's network: three hidden layers, one output."""
    widths = (features, 512, 128, 32)
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after, bias=bias), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], 1, bias=bias))


def train(
    method: Method,
    net: nn.Sequential,
    parts: tuple[Subjects, Subjects, Subjects],
    *,
    alpha: float,
    seed: int,
    epochs: int = EPOCHS,
) -> Trained:
    """Train a network from the start.

    Args:
        method: How it is regularised.
        net: The network; its weights are drawn anew.
        parts: Training, validation and test subjects.
        alpha: Weight of the prior.
        seed: Seed of the weights and of the draws.
        epochs: Steps, each on all training subjects.
    """
    training, validation, test = parts
    torch.manual_seed(seed)
    for layer in net:
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()
    optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE)
    attribute = None
    if method.attributing is not None:
        attribute = method.attributing(net, training.features)
    best, state, best_epoch, taken = -1.0, net.state_dict(), 0, []
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        logits = net(training.features)[:, 0]
        loss = nn.functional.binary_cross_entropy_with_logits(logits, training.outcomes)
        if attribute is not None:
            loss = loss + alpha * gini_sparsity(attribute(training.features))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        taken.append(time.perf_counter() - start)
        score = auroc(net, validation)
        if score > best:
            best, state, best_epoch = score, copy.deepcopy(net.state_dict()), epoch
    net.load_state_dict(state)
    return Trained(best, auroc(net, test), best_epoch, sum(taken), 1000 * statistics.median(taken))


@torch.no_grad()
def auroc(net: nn.Module, subjects: Subjects) -> float:
    """Area under the ROC curve."""
    return float(roc_auc_score(subjects.outcomes.numpy(), net(subjects.features)[:, 0].numpy()))
