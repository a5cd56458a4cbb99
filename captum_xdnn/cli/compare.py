"""``python -m captum_xdnn compare MODULE:CALLABLE``: attribution methods on a user's own model."""

import argparse
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from captum_xdnn.cli.console import UsageError, blaming, expecting, kept_if_done, say
from captum_xdnn.cli.loading import add_keyword_arguments, load_model
from captum_xdnn.compare import DEFAULT_METHODS, compare

TABLE, PICTURE = "comparison.md", "comparison.png"
HELP = "run attribution methods on your model: seconds, passes, differences, heat maps"
DESCRIPTION = f"""\
Run attribution methods on a model and print what each costs and how far it is from Captum's
Integrated Gradients with the most steps. The table goes to {TABLE}, heat maps (of images) and the
scatter of quality and time to {PICTURE}, the attributions to one .npz file for each method.

FILE.npz holds the inputs, in the order of the file, one array for each argument of the model with the
batch dimension first; a file of baselines likewise. Both are taken to where the model's weights are,
and to their precision. MODULE:CALLABLE is as in the command certify.

The exit code is 0, or 2 if the command line is wrong."""
EXAMPLES = """\
examples, where my_model.py is yours and images.npz is of numpy.savez("images.npz", images):
  %(prog)s my_model:Net --inputs images.npz --target 3 --out comparison
  %(prog)s my_model:Net --inputs images.npz --target 3,1,4,1 --out comparison \\
      --method XIntegratedGradients --method "IG(50)" --method "IG(300)\""""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    option = parser.add_argument
    option("address", metavar="MODULE:CALLABLE", help="where the model is")
    option("--inputs", type=Path, required=True, metavar="FILE.npz", help="the inputs, as arrays")
    option(
        "--target",
        type=_target,
        metavar="N[,N...]",
        help="index of the explained output: one for all examples, or one for each",
    )
    option(
        "--baselines",
        type=_baselines,
        metavar="FILE.npz|NUMBER",
        help="an array for each input, of its shape or of batch size 1; or a number (default: 0)",
    )
    option("--out", type=Path, required=True, metavar="DIR", help="folder for table and pictures")
    option(
        "--method",
        action="append",
        dest="methods",
        metavar="NAME",
        help=f"a method; may be repeated (default: {', '.join(DEFAULT_METHODS)})",
    )
    option("--rounds", type=int, default=5, metavar="N", help="rounds of timed calls (default: 5)")
    option(
        "--perturbations",
        type=int,
        default=10,
        metavar="N",
        help="draws for infidelity and max-sensitivity, 0 to leave them out (default: 10)",
    )
    add_keyword_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Compare, print the table, write the files."""
    with kept_if_done(options.out) as folder:
        _compare(options, folder)
    return 0


def _compare(options: argparse.Namespace, folder: Path) -> None:
    arrays = _arrays(options.inputs)
    model = load_model(options.address, dict(options.kwargs)).eval()
    inputs = _like_weights(arrays, model)
    baselines = options.baselines
    if isinstance(baselines, Path):
        baselines = _like_weights(_arrays(baselines), model)
    elif baselines is not None:
        baselines = (baselines,) * len(inputs)
    target = options.target
    if isinstance(target, Tensor):
        target = target.to(inputs[0].device)
    given = ", ".join(f"{str(x.dtype).removeprefix('torch.')} {tuple(x.shape)}" for x in inputs)
    with blaming(f"cannot compare on {options.address}, given {given}"):
        found = compare(
            model,
            inputs,
            target,
            baselines,
            methods=options.methods or DEFAULT_METHODS,
            rounds=options.rounds,
            perturbations=options.perturbations,
            progress=True,
        )
    say(found.to_markdown())
    (folder / TABLE).write_text(found.to_markdown() + "\n", encoding="utf-8")
    found.plot().savefig(folder / PICTURE, dpi=120)
    for name, parts in found.attributions.items():
        # numpy has no bfloat16
        known = [part.float() if part.dtype == torch.bfloat16 else part for part in parts]
        saved: dict[str, Any] = {f"input_{i}": x.cpu().numpy() for i, x in enumerate(known)}
        np.savez(folder / f"{name}.npz", **saved)
    say(f"\nWrote {TABLE}, {PICTURE} and the attributions to {folder.resolve()}")


def _arrays(path: Path) -> tuple[Tensor, ...]:
    if path.is_file() and not zipfile.is_zipfile(path):
        # numpy would say something of pickles.
        raise UsageError(f"{path} is not an .npz file; numpy.savez(FILE, array) writes one")
    with blaming(f"cannot read arrays from {path}"), np.load(path) as arrays:
        tensors = tuple(torch.from_numpy(arrays[name]) for name in arrays.files)
    if not tensors:
        raise UsageError(f"{path} holds no arrays")
    return tensors


def _like_weights(tensors: tuple[Tensor, ...], model: nn.Module) -> tuple[Tensor, ...]:
    """The inputs as the model takes them: numpy makes float64 arrays, and knows no GPU."""
    weights = [p for p in model.parameters() if p.is_floating_point()]
    kinds, devices = {p.dtype for p in weights}, {p.device for p in weights}
    if len(kinds) != 1 or len(devices) != 1:
        return tensors
    (kind,), (device,) = kinds, devices
    return tuple(x.to(device, kind if x.is_floating_point() else x.dtype) for x in tensors)


@expecting("integers such as 3 or 3,1,4")
def _target(text: str) -> Any:
    numbers = [int(number) for number in text.split(",")]
    return numbers[0] if len(numbers) == 1 else torch.tensor(numbers)


def _baselines(text: str) -> float | Path:
    try:
        return float(text)
    except ValueError:
        return Path(text)
