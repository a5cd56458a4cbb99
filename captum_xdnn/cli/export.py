"""``python -m captum_xdnn export MODULE:CALLABLE``: the attribution of a user's model as a file."""

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import nn

from captum_xdnn.cli.certify import add_model_and_inputs, baselines_of, inputs_of, run_once
from captum_xdnn.cli.console import UsageError, blaming, expecting, say, writable
from captum_xdnn.cli.loading import load_model
from captum_xdnn.errors import XDNNError

HELP = "write the attribution of your model as a graph (.onnx, .pt2)"
DESCRIPTION = """\
Write a file that gives the outputs of a model, their Integrated Gradients and the completeness gap of
each, for any batch size: .onnx for ONNX Runtime, without Python or autograd, or .pt2 for torch.

MODULE is imported, with the working directory on the path, or is a file such as ./nets.py. If its
attribute CALLABLE is an nn.Module it is the model; anything else, a class or a function, is called
with the --kwarg arguments and must return an nn.Module.

The exit code is 0, 1 if no graph does what the model does, or 2 if the command line is wrong."""
EXAMPLES = """\
examples, where my_model.py is yours:
  %(prog)s captum_xdnn.models:x_cnn_small --kwarg weights=DEFAULT \\
      --shape 1,1,28,28 --out explained.onnx --check
  %(prog)s my_model:Words --shape 2,5 --dtype int64 --layer embedding --out words.pt2"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    add_model_and_inputs(parser)
    option = parser.add_argument
    option("--out", type=_file, required=True, metavar="FILE", help="ends in .onnx or .pt2")
    option(
        "--target",
        type=_target,
        default="argmax",
        help="argmax (the predicted class), given (with each call), none, or an index (default: argmax)",
    )
    option("--layer", metavar="NAME", help="attribute to this layer's values: an embedding")
    option("--n-steps", type=int, default=50, help="steps, where there are any (default: 50)")
    option("--fixed-batch", action="store_true", help="for the batch size of --shape alone")
    option("--check", action="store_true", help="compare the file with attribute()")


def run(options: argparse.Namespace) -> int:
    """Write the file, and say what is in it."""
    from captum_xdnn.export import export_attribution, load
    from captum_xdnn.export.onnx_files import needed

    path: Path = options.out
    writable(path.parent)
    if path.suffix == ".onnx":
        with blaming(f"cannot write {path}", ImportError):
            needed("onnx", "onnxscript", "onnxruntime")
    options.device = "cpu"
    baselines = baselines_of(options)
    model = load_model(options.address, dict(options.kwargs)).eval()
    inputs = inputs_of(options)
    run_once(model, inputs, options)
    try:
        program = export_attribution(
            model,
            inputs,
            target=None if options.target == "none" else options.target,
            baselines=tuple(int(b) if b.is_integer() else b for b in baselines),
            n_steps=options.n_steps,
            layer=_layer(model, options.layer),
            dynamic_batch=not options.fixed_batch,
        )
        program.save(path)
    except XDNNError as error:
        say(str(error))
        return 1
    except (AssertionError, ImportError, IndexError, OSError) as error:
        raise UsageError(str(error)) from error
    facts = program.facts
    say(f"{options.address}: {', '.join(facts.inputs)} -> {', '.join(facts.outputs)}")
    way = {"single_pass": "exact", "hoisted": "a part runs once", "captum": "Captum's sum"}
    steps = "" if facts.n_steps is None else f", {facts.n_steps} steps"
    say(f"route {program.route} ({way[program.route]}{steps}), target {facts.target}")
    if options.check:
        given = [torch.zeros(len(inputs[0]), dtype=torch.int64)] if facts.target == "given" else []
        with blaming(f"cannot check {path}", (XDNNError, ImportError)):
            difference = program.check(inputs, target=given[0] if given else None)
            mine, theirs = load(path)(*inputs, *given), program(*inputs, *given)
            several = isinstance(theirs.attributions, tuple)
            expected = theirs.attributions if several else (theirs.attributions,)
            written = program.compare(
                mine, expected, theirs.outputs, "the file gives something else"
            )
        say(
            f"checked: attribute() and the file differ by {max(difference, written):.1e} of the norm"
        )
    say(f"Wrote {path.resolve()}, {path.stat().st_size / 2**20:.1f} MiB")
    return 0


def _layer(model: nn.Module, name: str | None) -> nn.Module | None:
    if name is None:
        return None
    with blaming(f"the model has no layer {name}", AttributeError):
        return model.get_submodule(name)


@expecting("a file that ends in .onnx or .pt2")
def _file(text: str) -> Path:
    path = Path(text)
    if path.suffix not in (".onnx", ".pt2"):
        raise ValueError
    return path


@expecting("argmax, given, none or an index")
def _target(text: str) -> Any:
    return text if text in ("argmax", "given", "none") else int(text)
