"""The comparisons of Hesse et al. (2021) with Integrated Gradients, on Fashion-MNIST.

    python tutorials/experiments/paper_tables.py --data ROOT --out DIR

``ROOT/FashionMNIST/raw`` holds the four idx files of Fashion-MNIST. Written to ``DIR``:

- ``difference.md``, Sections 4.1 and 4.4: for two X-DNNs and their twins with biases the accuracy,
  that at a tenth of the contrast, and how far input x gradient (on an X-DNN the X-Gradient) is from
  Integrated Gradients with 128 steps: mean of ``sum |A - R| / sum |R|`` over the images, for the
  logit of the true class from the black image.
- ``masking.md`` and ``masking.png``, Section 4.2: the six masking metrics of five attributions.

The two ResNets are trained first, for ``--epochs``, and kept in ``DIR``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from captum.attr import InputXGradient, IntegratedGradients, Saliency
from paper_networks import Network, networks
from torch import Tensor, nn
from tqdm import tqdm
from train_x_cnn_small import Split, load_split

from captum_xdnn import XIntegratedGradients
from captum_xdnn.metrics import (
    MaskingCurve,
    attribution_difference,
    contrast_invariance,
    masking_curve,
    masking_figure,
)
from captum_xdnn.metrics.masking import METRICS
from captum_xdnn.priors import expected_gradients

STEPS = 128
BATCH = 50
BETTER = {"KPM": "up", "KNM": "down", "KAM": "up", "RPM": "down", "RNM": "up", "RAM": "down"}
Attribute = Callable[[nn.Module, Tensor, Tensor], Tensor]


def integrated_gradients(model: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """Captum's, with 128 steps."""
    found: Tensor = IntegratedGradients(model).attribute(
        x, target=target, n_steps=STEPS, internal_batch_size=BATCH * 16
    )
    return found


def x_gradient(model: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """One pass, refused where that is not Integrated Gradients."""
    found: Tensor = XIntegratedGradients(model, strategy="single_pass").attribute(x, target=target)
    return found


def input_x_gradient(model: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """One pass on any network."""
    found: Tensor = InputXGradient(model).attribute(x.requires_grad_(), target=target)
    return found.detach()


def gradient(model: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """The gradient with its sign."""
    found: Tensor = Saliency(model).attribute(x.requires_grad_(), target=target, abs=False)
    return found


def methods(training: Split) -> dict[str, Attribute]:
    """The attributions of the masking table, in the paper's order."""
    return {
        f"IG ({STEPS} steps)": integrated_gradients,
        "random": lambda _, x, __: torch.randn_like(x),
        "gradient": gradient,
        "Expected Gradients (1)": lambda model, x, target: expected_gradients(
            model, x, training.images, target=target, n_references=1, create_graph=False
        ),
        "X-Gradient (1 pass)": x_gradient,
    }


def in_batches(method: Attribute, model: nn.Module, split: Split, name: str) -> Tensor:
    """The attributions of all images, for the logits of their classes."""
    pairs = list(zip(split.images.split(BATCH), split.labels.split(BATCH), strict=True))
    bar = tqdm(pairs, desc=name, unit="batch")
    return torch.cat([method(model, x.clone(), labels).detach() for x, labels in bar])


def difference_row(network: Network, test: Split, few: Split, reference: Tensor) -> str:
    """A row of the table of Sections 4.1 and 4.4; ``reference`` are the Integrated Gradients."""
    contrast = contrast_invariance(
        network.model, test.images, test.labels, (1.0, 0.1), batch_size=1000
    )
    full, tenth = (100 * float(a) for a in contrast.accuracy)
    if network.bias:
        one_pass = in_batches(input_x_gradient, network.model, few, "input x gradient")
    else:
        one_pass = in_batches(x_gradient, network.model, few, "X-Gradient")
    gaps = 100 * attribution_difference(one_pass, reference)
    error = float(gaps.std()) / len(gaps) ** 0.5
    kind = "with biases" if network.bias else "X-DNN"
    digits = 2 if float(gaps.mean()) < 10 else 1
    figure = f"{float(gaps.mean()):.{digits}f} ± {error:.{digits}f} %"
    return f"| {network.name}, {kind} | {full:.2f} % | {tenth:.2f} % | {figure} |"


def curves(
    network: Network, training: Split, few: Split, reference: Tensor, blur: str
) -> Iterator[tuple[str, list[MaskingCurve]]]:
    """The masking curves of each method on an X-DNN."""
    for name, method in methods(training).items():
        torch.manual_seed(0)
        found = reference
        if method is not integrated_gradients:
            found = in_batches(method, network.model, few, f"{network.name}, {name}")
        yield (
            name,
            [
                masking_curve(
                    network.model,
                    few.images,
                    found,
                    few.labels,
                    metric,
                    blur=blur,
                    batch_size=500,
                )
                for metric in METRICS
            ],
        )


def masking_table(name: str, found: dict[str, list[MaskingCurve]]) -> str:
    """The areas, a row for each method."""
    heads = " | ".join(f"{metric} {BETTER[metric]}" for metric in METRICS)
    lines = [f"| {name} | {heads} |", "|---" * (len(METRICS) + 1) + "|"]
    for method, of_method in found.items():
        lines.append(f"| {method} | {' | '.join(f'{curve.area:.2f}' for curve in of_method)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing, measure, write the tables and the figure."""
    parser = argparse.ArgumentParser(description="The paper's comparisons on Fashion-MNIST.")
    parser.add_argument("--data", type=Path, required=True, help="holds FashionMNIST/raw")
    parser.add_argument("--out", type=Path, required=True, help="folder for weights and tables")
    parser.add_argument("--epochs", type=int, default=4, help="of the ResNets (default: 4)")
    parser.add_argument(
        "--images", type=int, default=1000, help="the first test images (default: 1000)"
    )
    parser.add_argument("--blur", choices=("intended", "original"), default="intended")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    training, test = (load_split(options.data, train=train) for train in (True, False))
    few = Split(test.images[: options.images], test.labels[: options.images], test.categories)

    rows = [
        "| network | accuracy | at a tenth of the contrast | difference to IG |",
        "|---|---|---|---|",
    ]
    tables = []
    for network in networks(training, options.out, epochs=options.epochs):
        reference = in_batches(integrated_gradients, network.model, few, f"{network.name}, IG")
        rows.append(difference_row(network, test, few, reference))
        if not network.bias:
            found = dict(curves(network, training, few, reference, options.blur))
            tables.append(masking_table(network.name, found))
            if len(tables) == 1:
                masking_figure(found).savefig(options.out / "masking.png", dpi=110)
    for name, text in (("difference.md", "\n".join(rows)), ("masking.md", "\n\n".join(tables))):
        (options.out / name).write_text(text + "\n", encoding="utf-8")
        print(f"{text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
