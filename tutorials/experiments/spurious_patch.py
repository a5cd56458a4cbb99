"""A network that reads the label off a patch, and a prior that forbids it. About twenty minutes.

    python tutorials/experiments/spurious_patch.py --data ROOT --out DIR

``ROOT/FashionMNIST/raw`` holds the four idx files of Fashion-MNIST. Every *training* image carries a
white square at one of ten places, its class's: a network that looks there need not look at the
clothes. The prior ``right_for_the_right_reasons`` asks for attributions of zero at all ten places,
of a class drawn anew for each image and step: of the label's alone, the patch could still speak
against the others. Trained at equal wall-clock time, all of them X-DNNs of the same architecture:

- ``none``: no prior; ``clean``: no prior and no patches, what could be reached;
- ``x_gradient``: the prior on ``XIntegratedGradients``, one pass;
- ``expected_gradients``: the prior on Expected Gradients with 1 reference a step.

The time is that of ``--steps`` steps of ``x_gradient``; how many steps the others can take in it is
measured first. The prior's weight is chosen for each method on 5,000 training images without a
patch, which are not trained on. Measured on the 10,000 test images: accuracy without a patch and
with one of a random class, and with the latter the share of the absolute attributions (Integrated
Gradients of the predicted class, exact) that lies on the patch. What was measured is kept in
``DIR``; a run that was broken off goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from train_x_cnn_small import LEARNING_RATE, Split, accuracy, load_split

from captum_xdnn import XIntegratedGradients
from captum_xdnn.models import x_cnn_small
from captum_xdnn.priors import expected_gradients, right_for_the_right_reasons

CLASSES, SIDE, BATCH = 10, 3, 128
HELD_OUT = 5000
WEIGHTS = (1.0, 10.0, 100.0, 1000.0)
CHOOSING_SEED = 100
"""Seed of the runs by which the weights are chosen; none of those whose results are reported."""
PLACES = tuple((row, column) for row in (0, 25) for column in (0, 6, 12, 18, 25))
Result = dict[str, Any]
Attribute = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]


def x_gradient(model: nn.Module, x: Tensor, target: Tensor, _: Tensor) -> Tensor:
    """Integrated Gradients in one pass."""
    xig = XIntegratedGradients(model, strategy="single_pass")
    attributions: Tensor = xig.attribute(x, target=target, create_graph=True)
    return attributions


def one_reference(model: nn.Module, x: Tensor, target: Tensor, pool: Tensor) -> Tensor:
    """Expected Gradients; the reference of each image is a training image drawn anew."""
    return expected_gradients(model, x, pool, target=target, n_references=1)


PRIORS: dict[str, Attribute] = {
    "x_gradient": x_gradient,
    "expected_gradients": one_reference,
}
METHODS = ("clean", "none", *PRIORS)


@dataclass(frozen=True)
class Data:
    """Training, held-out and test images; only those for training are marked."""

    training: Split
    marked: Tensor
    held_out: Split
    test: Split

    @staticmethod
    def read(root: Path, held_out: int) -> Data:
        """Read Fashion-MNIST; the last training images are held out."""
        full, test = load_split(root, train=True), load_split(root, train=False)
        count = len(full.labels) - held_out
        parts = [
            Split(full.images[part], full.labels[part], full.categories)
            for part in (slice(0, count), slice(count, None))
        ]
        return Data(parts[0], marked(parts[0].images, parts[0].labels), parts[1], test)


def patches() -> Tensor:
    """The place of each class's patch, shape ``(10, 1, 28, 28)``, 1 on the patch."""
    masks = torch.zeros(CLASSES, 1, 28, 28)
    for mask, (row, column) in zip(masks, PLACES, strict=True):
        mask[:, row : row + SIDE, column : column + SIDE] = 1
    return masks


def marked(images: Tensor, classes: Tensor) -> Tensor:
    """The images with the white squares of these classes."""
    return torch.maximum(images, patches()[classes])


def steps(method: str, data: Data, *, seed: int, total: int, weight: float) -> Iterator[nn.Module]:
    """Train, a step at each ``next``, with Adam and a one-cycle schedule.

    Args:
        method: One of ``METHODS``.
        data: The images.
        seed: Seed of the weights and of all draws.
        total: How many steps the schedule is made for.
        weight: Weight of the prior.

    Yields:
        The network, the same object at each step.
    """
    torch.manual_seed(seed)
    model = x_cnn_small()
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=total)
    images = data.training.images if method == "clean" else data.marked
    forbidden = patches().amax(0)
    for index in range(total):
        if index % (len(images) // BATCH) == 0:
            order = torch.randperm(len(images)).split(BATCH)
        batch = order[index % (len(images) // BATCH)]
        x, labels = images[batch], data.training.labels[batch]
        loss = nn.functional.cross_entropy(model(x), labels)
        if method in PRIORS:
            attributions = PRIORS[method](model, x, torch.randint(CLASSES, labels.shape), images)
            loss = loss + weight * right_for_the_right_reasons(attributions, forbidden)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        yield model


def seconds_a_step(data: Data, *, rounds: int = 7, together: int = 10) -> dict[str, float]:
    """What a step of each method takes: medians, the methods in turn, the first steps not counted."""
    running = {
        m: steps(m, data, seed=0, total=(rounds + 1) * together, weight=1.0) for m in METHODS
    }
    taken: dict[str, list[float]] = {method: [] for method in METHODS}
    for _ in range(rounds + 1):
        for method, run in running.items():
            start = time.perf_counter()
            list(islice(run, together))
            taken[method].append((time.perf_counter() - start) / together)
    return {method: statistics.median(values[1:]) for method, values in taken.items()}


def trained(method: str, data: Data, *, seed: int, total: int, weight: float) -> nn.Module:
    """Train to the end."""
    *_, model = steps(method, data, seed=seed, total=total, weight=weight)
    return model.eval()


def on_the_patch(model: nn.Module, images: Tensor, classes: Tensor) -> float:
    """The mean share, in percent, of the absolute attributions that lies on the image's patch."""
    xig, masks, shares = XIntegratedGradients(model, strategy="single_pass"), patches(), []
    for x, places in zip(images.split(500), classes.split(500), strict=True):
        with torch.no_grad():
            predicted = model(x).argmax(1)
        sizes = xig.attribute(x, target=predicted).abs()
        shares.append((sizes * masks[places]).flatten(1).sum(1) / sizes.flatten(1).sum(1))
    return 100 * float(torch.cat(shares).mean())


def measured(model: nn.Module, test: Split, *, seed: int) -> Result:
    """What is reported of a network."""
    drawn = torch.randint(CLASSES, test.labels.shape, generator=torch.Generator().manual_seed(seed))
    misleading = Split(marked(test.images, drawn), test.labels, test.categories)
    return {
        "without": accuracy(model, test),
        "misleading": accuracy(model, misleading),
        "mass": on_the_patch(model, misleading.images, drawn),
    }


class Notes:
    """What was measured before, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: Result = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def known(self, key: str, measure: Callable[[], Any]) -> Any:
        """The value of a key; measured and written if it is not there."""
        if key not in self._known:
            self._known[key] = measure()
            text = json.dumps(self._known, indent=2) + "\n"
            self._path.write_text(text, encoding="utf-8")
            print(f"{key}: {self._known[key]}", flush=True)
        return self._known[key]


def run(data: Data, notes: Notes, *, seeds: Sequence[int], total: int) -> str:
    """Run what is missing; the table as Markdown."""
    taken = notes.known("seconds a step", lambda: seconds_a_step(data))
    budget = {m: round(total * taken["x_gradient"] / taken[m]) for m in METHODS}
    chosen = {}
    for method in PRIORS:
        scores = {
            weight: notes.known(
                f"{method}, weight {weight:g}, held out",
                lambda m=method, w=weight: accuracy(
                    trained(m, data, seed=CHOOSING_SEED, total=budget[m], weight=w), data.held_out
                ),
            )
            for weight in WEIGHTS
        }
        chosen[method] = max(scores, key=scores.__getitem__)
    lines = [
        "| | weight | time of a step | steps | accuracy without patch | with a misleading patch | attribution on the patch |",
        "|---|---|---|---|---|---|---|",
    ]
    for method in METHODS:
        found = [
            notes.known(
                f"{method}, weight {chosen.get(method, 0):g}, seed {seed}",
                lambda m=method, s=seed: measured(
                    trained(m, data, seed=s, total=budget[m], weight=chosen.get(m, 0.0)),
                    data.test,
                    seed=s,
                ),
            )
            for seed in seeds
        ]
        cells = [
            f"`{method}`",
            f"{chosen[method]:g}" if method in chosen else "",
            f"{taken[method] / taken['none']:.1f}x",
            str(budget[method]),
            *(_cell([f[key] for f in found]) for key in ("without", "misleading", "mass")),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(values: Sequence[float]) -> str:
    """Mean, and the range over the seeds."""
    return f"{statistics.mean(values):.1f} % ({min(values):.1f} to {max(values):.1f})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description="Train against a spurious patch.")
    parser.add_argument("--data", type=Path, required=True, help="holds FashionMNIST/raw")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=300, help="of x_gradient (default: 300)")
    parser.add_argument("--held-out", type=int, default=HELD_OUT, help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    notes = Notes(options.out / f"steps_{options.steps}.json")
    data = Data.read(options.data, options.held_out)
    print(run(data, notes, seeds=options.seeds, total=options.steps))
    return 0


if __name__ == "__main__":
    sys.exit(main())
