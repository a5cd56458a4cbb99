"""``python -m captum_xdnn``: the main job on bundled networks and images, without a download."""

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path

import captum
import torch
from captum.attr import IntegratedGradients

from captum_xdnn._version import __version__
from captum_xdnn.attr import XIntegratedGradients
from captum_xdnn.cli.console import OneLineParser, UsageError, say
from captum_xdnn.cli.figure import Column, save_heat_maps
from captum_xdnn.cli.measure import Measurement, Method, Problem, format_table, measure
from captum_xdnn.data import load_fashion_mnist_samples
from captum_xdnn.homogeneity import certify
from captum_xdnn.models import X_CNN_Small_Weights, x_cnn_small

__all__ = ["add_parser", "run"]

PICTURE = "captum_xdnn_demo.png"
_TITLES = {
    X_CNN_Small_Weights.FASHION_MNIST: "X-DNN (no biases)",
    X_CNN_Small_Weights.FASHION_MNIST_BIAS: "twin (with biases)",
}


@dataclass(frozen=True)
class _Runs:
    """The measurements of one network that the picture shows."""

    title: str
    captum: Measurement
    ours: Measurement


def add_parser(commands: "argparse._SubParsersAction[OneLineParser]") -> None:
    """Add the command and its options.

    Args:
        commands: Collection of commands of the whole program.
    """
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

    Args:
        options: Parsed options of this command.

    Returns:
        Exit code 0.

    Raises:
        UsageError: If the folder for the picture cannot be written to.
    """
    picture = _writable(options.out) / PICTURE
    images, labels, names = load_fashion_mnist_samples()
    say(
        f"captum-xdnn {__version__}, captum {captum.__version__}, torch {torch.__version__}, "
        f"CPU with {torch.get_num_threads()} thread(s)"
    )
    say(
        f"{len(images)} Fashion-MNIST test images, the first of each class; "
        "baseline: black; target: the true class"
    )

    runs = []
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
        say(f"(analysed in {seconds:.2f} s, once for each network)\n")
        runs.append(_compare(Problem(model, images, labels), title, options))

    columns = [
        Column(f"{network.title}\n{row.method}\nroute: {row.route}", row.attributions)
        for network in runs
        for row in (network.captum, network.ours)
    ]
    save_heat_maps(picture, images, [names[label] for label in labels], columns)
    say(f"\nWrote the heat maps to {picture.resolve()}")
    return 0


def _compare(problem: Problem, title: str, options: argparse.Namespace) -> _Runs:
    images, target, steps = problem.images, problem.target, options.steps
    captum_ig = IntegratedGradients(problem.model)
    x_ig = XIntegratedGradients(problem.model)
    short = Method(
        f"IG({steps})",
        lambda: captum_ig.attribute(images, target=target, n_steps=steps),
        lambda: "captum",
    )
    reference = Method(
        f"IG({options.reference_steps})",
        lambda: captum_ig.attribute(
            images,
            target=target,
            n_steps=options.reference_steps,
            # In batches of the shorter run: more steps take more time, and not more memory.
            internal_batch_size=steps * len(images),
        ),
        lambda: "captum",
    )
    ours = Method(
        "XIntegratedGradients",
        lambda: x_ig.attribute(images, target=target, n_steps=steps),
        lambda: str(x_ig.last_route),
    )
    rows = measure(problem, (short, reference, ours), options.repeat)
    say(format_table(rows, reference=rows[1]))
    return _Runs(title, captum=rows[0], ours=rows[2])


def _percentages(accuracy: dict[str, float]) -> str:
    plain, low_contrast = accuracy["acc@1"], accuracy["acc@1, inputs x 0.1"]
    return (
        f"{plain:.2f} % of the test images right, {low_contrast:.2f} % at a tenth of the contrast"
    )


def _writable(folder: Path) -> Path:
    # Asked before the work rather than found out after it.
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {folder}: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise UsageError(f"cannot write to the folder {folder}")
    return folder


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a positive integer, got {text!r}")
    return int(text)
