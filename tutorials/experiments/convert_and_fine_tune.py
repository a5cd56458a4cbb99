"""From a trained network to an X-DNN: convert, then fine-tune. About ten minutes a seed.

    python tutorials/experiments/convert_and_fine_tune.py --data ROOT --out DIR

``ROOT/FashionMNIST/raw`` holds the four idx files of Fashion-MNIST. For each seed an ordinary
network with biases and batch norm is trained; it is converted with each choice for batch norm; each
result is fine-tuned for one epoch and, from the start again, for three. Measured on the 10,000 test
images: the accuracy of each, and of the original and the X-DNNs at lower contrasts. No choice was
made on the test images: the settings are those of the training, the learning rate a third of it.
What has been measured is kept in ``DIR``; a run that was broken off goes on where it stopped.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from train_x_cnn_small import LEARNING_RATE, Split, accuracy, load_split, train

from captum_xdnn import HomogeneityWarning
from captum_xdnn.convert import to_xdnn

CHOICES = ("uncentered", "fold", "strip")
FINE_TUNING = (1, 3)
CONTRASTS = tuple(tenths / 10 for tenths in range(10, 0, -1))
Result = dict[str, Any]


def ordinary_network() -> nn.Sequential:
    """Three convolutions with biases and batch norm, and a linear layer."""
    widths, layers = (1, 32, 64, 72), []
    for before, after, size in zip(widths, widths[1:], (5, 3, 3), strict=False):
        layers += [
            nn.Conv2d(before, after, size, padding=size // 2),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    return nn.Sequential(*layers[:-1], nn.Flatten(), nn.Linear(72 * 7 * 7, 10))


def last(losses: Iterable[float]) -> float:
    """Train to the end; the last epoch's mean loss."""
    return list(losses)[-1]


def one_seed(seed: int, training: Split, test: Split, epochs: int) -> Result:
    """Everything that is measured with one seed."""
    torch.manual_seed(seed)
    original = ordinary_network()
    last(train(original, training, epochs=epochs, seed=seed))
    result: Result = {"seed": seed, "original": contrasts(original, test), "converted": {}}
    say(f"seed {seed}: original {result['original'][0]:.2f} %")
    for choice in CHOICES:
        with warnings.catch_warnings():
            warnings.simplefilter("error", HomogeneityWarning)  # it must be certified
            start, _ = to_xdnn(original, inputs=test.images[:2], batch_norm=choice)
        found: Result = {"0": accuracy(start, test)}
        for fine_tuning in FINE_TUNING:
            model = copy.deepcopy(start)
            last(
                train(
                    model,
                    training,
                    epochs=fine_tuning,
                    seed=seed + 1,
                    learning_rate=LEARNING_RATE / 3,
                )
            )
            found[str(fine_tuning)] = accuracy(model, test)
        found["contrasts"] = contrasts(model, test)
        result["converted"][choice] = found
        say(f"seed {seed}, {choice}: " + ", ".join(f"{found[k]:.2f}" for k in ("0", "1", "3")))
    return result


def contrasts(model: nn.Module, test: Split) -> list[float]:
    """Accuracy at each of the contrasts."""
    return [accuracy(model, test, contrast=contrast) for contrast in CONTRASTS]


def tables(results: Sequence[Result]) -> str:
    """Both tables as Markdown: mean over the seeds and, behind it, lowest to highest."""
    lines = ["| | right after | 1 epoch | 3 epochs |", "|---|---|---|---|"]
    originals = cell([r["original"][0] for r in results])
    lines.append(f"| original, with biases and batch norm | {originals} | | |")
    for choice in CHOICES:
        cells = [cell([r["converted"][choice][k] for r in results]) for k in ("0", "1", "3")]
        lines.append(f'| `batch_norm="{choice}"` | {" | ".join(cells)} |')
    heads = " | ".join(f"{contrast:g}" for contrast in CONTRASTS)
    lines += ["", f"| contrast | {heads} |", "|---" * (1 + len(CONTRASTS)) + "|"]
    rows = {"original": [r["original"] for r in results]}
    rows |= {f'`"{c}"`': [r["converted"][c]["contrasts"] for r in results] for c in CHOICES}
    for name, values in rows.items():
        means = [f"{statistics.mean(column):.2f}" for column in zip(*values, strict=True)]
        lines.append(f"| {name} | {' | '.join(means)} |")
    return "\n".join(lines)


def cell(values: Sequence[float]) -> str:
    """Mean, and the range over the seeds."""
    return f"{statistics.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def say(text: str) -> None:
    """Print at once."""
    print(text, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description="Convert a network to an X-DNN and fine-tune it.")
    parser.add_argument("--data", type=Path, required=True, help="holds FashionMNIST/raw")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=5, help="of the original (default: 5)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    training = load_split(options.data, train=True)
    test = load_split(options.data, train=False)
    options.out.mkdir(parents=True, exist_ok=True)
    results = []
    for seed in options.seeds:
        path = options.out / f"seed_{seed}_epochs_{options.epochs}.json"
        if not path.exists():
            result = one_seed(seed, training, test, options.epochs)
            path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        results.append(json.loads(path.read_text(encoding="utf-8")))
    say(tables(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
