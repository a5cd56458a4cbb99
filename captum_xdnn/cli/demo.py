"""``python -m captum_xdnn``: the main job on bundled networks and images, without a download."""

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import captum
import torch
from captum.attr import IntegratedGradients
from matplotlib.figure import Figure
from torch import Tensor, nn

from captum_xdnn._version import __version__
from captum_xdnn._waiting import importing, waiting
from captum_xdnn.cli.console import expecting, say, writable
from captum_xdnn.compare import Comparison, compare
from captum_xdnn.compare.figures import COLOURS
from captum_xdnn.data import load_fashion_mnist_samples
from captum_xdnn.figures import new_figure
from captum_xdnn.homogeneity import certify
from captum_xdnn.metrics import attribution_difference

PICTURE = "captum_xdnn_demo.png"
OURS = "XIntegratedGradients"
_TITLES = {"FASHION_MNIST": "X-DNN (no biases)", "FASHION_MNIST_BIAS": "twin (with biases)"}
SHOWN = (0, 5, 7, 9)
"""A T-shirt, a sandal, a sneaker, an ankle boot."""
ENLARGED = 20
HELP = "compare with Captum on bundled networks and images (what runs without a command)"
DESCRIPTION = f"""\
Attribute four Fashion-MNIST test images with Captum's IntegratedGradients and with
XIntegratedGradients, on a network without biases and on its twin with biases; print certificates and
measurements, and write heat maps, times and differences to {PICTURE}. Networks and images
are bundled: nothing is downloaded."""
EXAMPLES = ""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    option = parser.add_argument
    number = partial(option, type=_positive, metavar="N")
    option(
        "--out", type=Path, default=Path(), metavar="DIR", help="the picture's folder (default: .)"
    )
    number("--repeat", default=3, help="rounds of timed calls (default: 3)")
    number("--steps", default=50, help="steps of Integrated Gradients (default: 50)")
    number(
        "--reference-steps",
        default=300,
        help="steps of the Integrated Gradients to compare with (default: 300)",
    )


def run(options: argparse.Namespace) -> int:
    """Run the demo."""
    if importing is not None:
        importing.end()
    say(
        f"captum-xdnn {__version__}, captum {captum.__version__}, torch {torch.__version__}, "
        f"CPU with {torch.get_num_threads()} thread(s)"
    )
    picture = writable(options.out) / PICTURE
    # They bring torchvision, which takes as long to import as torch: not for the other commands.
    with waiting("importing torchvision"):
        from captum_xdnn.models import X_CNN_Small_Weights, x_cnn_small

    images, labels, names = load_fashion_mnist_samples()
    images, labels = images[[*SHOWN]], labels[[*SHOWN]]
    say(f"{len(images)} Fashion-MNIST test images; baseline: black; target: the true class")
    found: dict[str, Found] = {}
    for name, title in _TITLES.items():
        weights = X_CNN_Small_Weights[name]
        accuracy = weights.meta["_metrics"]["Fashion-MNIST"]
        say(
            f"\n== {title}: {weights.meta['num_params']:,} parameters, "
            f"{accuracy['acc@1']:.2f} % of the test images right, "
            f"{accuracy['acc@1, inputs x 0.1']:.2f} % at a tenth of the contrast\n"
        )
        model = x_cnn_small(weights=weights, bias=weights.meta["bias"]).eval()
        found[name] = _shown(model, images, labels, options)
    say("\nDrawing ...")
    _draw(images, [names[label] for label in labels], found).savefig(picture, dpi=120)
    say(f"Wrote the heat maps to {picture.resolve()}")
    return 0


@dataclass(frozen=True)
class Found:
    """What came of one network."""

    comparison: Comparison
    many: Tensor
    """Attributions by Captum with the steps to compare with."""
    off: float
    """How far Captum's are from these, of fewer steps."""


def _shown(model: nn.Module, images: Tensor, labels: Tensor, options: argparse.Namespace) -> Found:
    """Print what there is to say of a network."""
    certificate = certify(model, images)
    say(str(certificate))
    # The report groups blockers of a kind and shows the first; here there are few: show all.
    if certificate.blockers:
        say(f"  in: {', '.join(blocker.where for blocker in certificate.blockers)}")
    short, long = f"IG({options.steps})", options.reference_steps
    say(f"\nCaptum's {options.steps} steps beside {OURS}, {options.repeat} times each ...")
    methods = {short: short, OURS: f"{OURS}({options.steps})"}
    more: Any = {"rounds": options.repeat, "perturbations": 0, "progress": True}
    comparison = compare(model, images, labels, methods=methods, reference=short, **more)
    say(f"\n{comparison}\n")
    say(f"Captum's {long} steps, to see what {options.steps} miss ...")
    ig = IntegratedGradients(model)
    together = options.steps * len(images)
    with waiting(f"Captum's {long} steps"):
        many = ig.attribute(images, None, labels, n_steps=long, internal_batch_size=together)
        many = many.detach()
    few = comparison.attributions[short][0]
    off = float(attribution_difference(few, many).mean())
    say(
        f"Captum's {options.steps} steps differ by {off:.2g} of the whole from Captum's {long} steps."
    )
    return Found(comparison, many, off)


def _draw(images: Tensor, names: list[str], found: dict[str, Found]) -> Figure:
    """The image; without biases both methods and their difference; with biases what steps miss."""
    exact, twin = (found[name] for name in _TITLES)
    (short, ours), (theirs, _) = exact.comparison.rows, twin.comparison.rows
    one, many = (exact.comparison.attributions[row.method][0] for row in (ours, short))
    few = twin.comparison.attributions[theirs.method][0]
    steps = short.method.removeprefix("IG(").removesuffix(")")
    columns = [
        ("no biases:", f"Captum, {steps} steps", f"{short.seconds:.2g} s", many),
        ("no biases:", "one pass", f"{ours.seconds:.2g} s, {ours.speed_up:.0f} times as fast", one),
        (
            f"their difference, {ENLARGED} x",
            f"{ours.difference:.0e} of the whole",
            "",
            ENLARGED * (one - many),
        ),
        (
            "with biases:",
            f"Captum, {steps} steps",
            f"{theirs.seconds:.2g} s; ours are the same",
            few,
        ),
        (
            f"what {steps} steps miss, {ENLARGED} x",
            f"{twin.off:.1%} of the whole",
            "",
            ENLARGED * (few - twin.many),
        ),
    ]
    figure = new_figure(12, 1.9 * len(images) + 1.1)
    table = figure.subplots(len(images), 1 + len(columns))
    for line, image, name in zip(table, images, names, strict=True):
        line[0].imshow(image[0].numpy(), cmap="gray")
        line[0].set_ylabel(name, fontsize="large")
    for place, (*title, maps) in enumerate(columns, 1):
        table[0, place].set_title("\n".join(title), fontsize="medium")
        scales = few if place > 3 else many
        for axes, heat, scale in zip(table[:, place], maps[:, 0], scales[:, 0], strict=True):
            limit = float(
                scale.abs().quantile(0.99)
            )  # one colour, one value, in all of a network's maps
            drawn = axes.imshow(heat.numpy(), cmap=COLOURS, vmin=-limit, vmax=limit)
    for axes in table.flat:
        axes.set(xticks=[], yticks=[])
    bar = figure.colorbar(
        drawn, ax=table[:, 1:], location="bottom", fraction=0.02, pad=0.02, aspect=60, shrink=0.6
    )
    bar.set_ticks([-limit, 0, limit], labels=["against the class", "0", "for it"])
    figure.suptitle("Integrated Gradients of the true class, from black", fontsize="large")
    return figure


@expecting("a positive integer")
def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise ValueError
    return int(text)
