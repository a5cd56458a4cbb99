"""``python -m captum_xdnn``: the main job on bundled networks and images, without a download."""

import argparse
import time
from pathlib import Path

import captum
import torch
from torch import Tensor, nn

from captum_xdnn._version import __version__
from captum_xdnn.cli.console import OneLineParser, say
from captum_xdnn.cli.files import writable
from captum_xdnn.compare import Comparison, compare
from captum_xdnn.compare.figures import heat_maps
from captum_xdnn.data import load_fashion_mnist_samples
from captum_xdnn.figures import new_figure
from captum_xdnn.homogeneity import certify
from captum_xdnn.models import X_CNN_Small_Weights, x_cnn_small

__all__ = ["add_parser", "run"]

PICTURE = "captum_xdnn_demo.png"
_TITLES = {
    X_CNN_Small_Weights.FASHION_MNIST: "X-DNN (no biases)",
    X_CNN_Small_Weights.FASHION_MNIST_BIAS: "twin (with biases)",
}


def add_parser(commands: "argparse._SubParsersAction[OneLineParser]") -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "demo",
        help="compare with Captum on bundled networks and images (what runs without a command)",
        description=(
            "Attribute ten Fashion-MNIST test images with Captum's IntegratedGradients and with "
            "XIntegratedGradients, on a network without biases and on its twin with biases; print "
            f"certificates and measurements, and write the heat maps to {PICTURE}. "
            "Networks and images are bundled: nothing is downloaded."
        ),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--out", type=Path, default=Path(), metavar="DIR", help="folder for the picture"
    )
    parser.add_argument(
        "--repeat", type=_positive, default=5, metavar="N", help="rounds of timed calls"
    )
    parser.add_argument(
        "--steps", type=_positive, default=50, metavar="N", help="steps of Integrated Gradients"
    )
    parser.add_argument(
        "--reference-steps",
        type=_positive,
        default=300,
        metavar="N",
        help="steps of the Integrated Gradients to compare with",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the demo.

    Returns:
        Exit code 0.

    Raises:
        UsageError: If the folder for the picture cannot be written to.
    """
    picture = writable(options.out) / PICTURE
    images, labels, names = load_fashion_mnist_samples()
    say(
        f"captum-xdnn {__version__}, captum {captum.__version__}, torch {torch.__version__}, "
        f"CPU with {torch.get_num_threads()} thread(s)"
    )
    say(
        f"{len(images)} Fashion-MNIST test images, the first of each class; "
        "baseline: black; target: the true class"
    )

    runs = {}
    for weights, title in _TITLES.items():
        accuracy = weights.meta["_metrics"]["Fashion-MNIST"]
        say(f"\n== {title}: {weights.meta['num_params']:,} parameters, {_percentages(accuracy)}\n")
        model = x_cnn_small(weights=weights, bias=weights.meta["bias"]).eval()
        start = time.perf_counter()
        certificate = certify(model, images)
        seconds = time.perf_counter() - start
        say(str(certificate))
        # The report groups blockers of a kind and shows the first; here there are few: show all.
        if certificate.blockers:
            say(f"  in: {', '.join(blocker.where for blocker in certificate.blockers)}")
        say(f"(analysed in {seconds:.2f} s)\n")
        runs[title] = _compare(model, images, labels, options)

    maps = {
        f"{title}\n{name}\nroute: {found[name].route or 'captum'}": found.attributions[name][0]
        for title, found in runs.items()
        for name in (f"IG({options.steps})", "XIntegratedGradients")
    }
    _draw(picture, images, [names[label] for label in labels], maps)
    say(f"\nWrote the heat maps to {picture.resolve()}")
    return 0


def _draw(path: Path, images: Tensor, names: list[str], maps: dict[str, Tensor]) -> None:
    figure = new_figure(1.75 * (1 + len(maps)), 1.3 * len(names) + 1.4)
    heat_maps(figure, images, maps, names)
    figure.suptitle("Integrated Gradients of the true class, from black", fontsize="medium")
    figure.savefig(path, dpi=120)


def _compare(
    model: nn.Module, images: Tensor, labels: Tensor, options: argparse.Namespace
) -> Comparison:
    short, long = f"IG({options.steps})", f"IG({options.reference_steps})"
    names = {name: name for name in (short, long)}
    comparison = compare(
        model,
        images,
        labels,
        methods={**names, "XIntegratedGradients": f"XIntegratedGradients({options.steps})"},
        reference=long,
        speed_up_over=short,
        rounds=options.repeat,
        perturbations=0,
    )
    say(comparison.to_markdown())
    return comparison


def _percentages(accuracy: dict[str, float]) -> str:
    plain, low_contrast = accuracy["acc@1"], accuracy["acc@1, inputs x 0.1"]
    return (
        f"{plain:.2f} % of the test images right, {low_contrast:.2f} % at a tenth of the contrast"
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a positive integer, got {text!r}")
    return int(text)
