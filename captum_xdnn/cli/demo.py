"""``python -m captum_xdnn``: the main job on bundled networks and images, without a download."""

import argparse
import time
from functools import partial
from pathlib import Path

import captum
import torch

from captum_xdnn._version import __version__
from captum_xdnn.cli.console import expecting, say, writable
from captum_xdnn.compare import compare
from captum_xdnn.compare.figures import heat_maps
from captum_xdnn.data import load_fashion_mnist_samples
from captum_xdnn.figures import new_figure
from captum_xdnn.homogeneity import certify

PICTURE = "captum_xdnn_demo.png"
_TITLES = {"FASHION_MNIST": "X-DNN (no biases)", "FASHION_MNIST_BIAS": "twin (with biases)"}
HELP = "compare with Captum on bundled networks and images (what runs without a command)"
DESCRIPTION = f"""\
Attribute ten Fashion-MNIST test images with Captum's IntegratedGradients and with
XIntegratedGradients, on a network without biases and on its twin with biases; print certificates and
measurements, and write the heat maps to {PICTURE}. Networks and images are bundled:
nothing is downloaded."""
EXAMPLES = ""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    option = parser.add_argument
    number = partial(option, type=_positive, metavar="N")
    option(
        "--out", type=Path, default=Path(), metavar="DIR", help="the picture's folder (default: .)"
    )
    number("--repeat", default=5, help="rounds of timed calls (default: 5)")
    number("--steps", default=50, help="steps of Integrated Gradients (default: 50)")
    number(
        "--reference-steps",
        default=300,
        help="steps of the Integrated Gradients to compare with (default: 300)",
    )


def run(options: argparse.Namespace) -> int:
    """Run the demo."""
    # They bring torchvision, which takes as long to import as torch: not for the other commands.
    from captum_xdnn.models import X_CNN_Small_Weights, x_cnn_small

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

    ours = "XIntegratedGradients"
    short, long = f"IG({options.steps})", f"IG({options.reference_steps})"
    methods = {short: short, long: long, ours: f"{ours}({options.steps})"}
    maps = {}
    for name, title in _TITLES.items():
        weights = X_CNN_Small_Weights[name]
        accuracy = weights.meta["_metrics"]["Fashion-MNIST"]
        say(
            f"\n== {title}: {weights.meta['num_params']:,} parameters, "
            f"{accuracy['acc@1']:.2f} % of the test images right, "
            f"{accuracy['acc@1, inputs x 0.1']:.2f} % at a tenth of the contrast\n"
        )
        model = x_cnn_small(weights=weights, bias=weights.meta["bias"]).eval()
        start = time.perf_counter()
        certificate = certify(model, images)
        seconds = time.perf_counter() - start
        say(str(certificate))
        # The report groups blockers of a kind and shows the first; here there are few: show all.
        if certificate.blockers:
            say(f"  in: {', '.join(blocker.where for blocker in certificate.blockers)}")
        say(f"(analysed in {seconds:.2f} s)\n")
        found = compare(
            model,
            images,
            labels,
            methods=methods,
            reference=long,
            speed_up_over=short,
            rounds=options.repeat,
            perturbations=0,
        )
        say(found.to_markdown())
        for name in (short, ours):
            route = found[name].route or "captum"
            maps[f"{title}\n{name}\nroute: {route}"] = found.attributions[name][0]

    figure = new_figure(1.75 * (1 + len(maps)), 1.3 * len(images) + 1.4)
    heat_maps(figure, images, maps, [names[label] for label in labels])
    figure.suptitle("Integrated Gradients of the true class, from black", fontsize="medium")
    figure.savefig(picture, dpi=120)
    say(f"\nWrote the heat maps to {picture.resolve()}")
    return 0


@expecting("a positive integer")
def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise ValueError
    return int(text)
