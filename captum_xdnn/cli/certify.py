"""``python -m captum_xdnn certify MODULE:CALLABLE``: the certificate of a user's own model."""

import argparse
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from captum_xdnn.cli.console import UsageError, blaming, expecting, say, writable
from captum_xdnn.cli.loading import add_keyword_arguments, load_model
from captum_xdnn.errors import XDNNError, first_line
from captum_xdnn.homogeneity import certify

_DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32")
HELP = "say whether a single pass is exact for your model, and what prevents it"
DESCRIPTION = """\
Report whether Integrated Gradients of a model is exact in one forward and one backward pass, and if
not, which operations prevent it and what to do about each.

MODULE is imported, with the working directory on the path, or is a file such as ./nets.py. If its
attribute CALLABLE is an nn.Module it is the model; anything else, a class or a function, is called
with the --kwarg arguments and must return an nn.Module.

The exit code is 0 if a single pass is exact whatever the weights, 3 if it is for the weights at hand,
as of a network that is not trained yet, 1 if it is not, 2 if the command line is wrong."""
EXAMPLES = """\
examples, where my_model.py is yours:
  %(prog)s captum_xdnn.models:x_resnet50 --shape 1,3,224,224
  %(prog)s my_model:Net --shape 8,1,28,28 --kwarg bias=False
  %(prog)s my_model:build --shape 4,10 --shape 4,3 --baseline 0 --baseline 1"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    add_model_and_inputs(parser)
    option = parser.add_argument
    option("--device", type=_device, default="cpu", help="where to run the model (default: cpu)")
    option("--train", action="store_true", help="keep the mode it has (default: model.eval())")
    option(
        "--plot", type=Path, metavar="FILE", help="draw trunk, head and blockers (.png, .pdf, .svg)"
    )


def add_model_and_inputs(parser: argparse.ArgumentParser) -> None:
    """Add what says which model runs on inputs of which form."""
    option = parser.add_argument
    option("address", metavar="MODULE:CALLABLE", help="the model, its class or its builder")
    option(
        "--shape",
        type=shape,
        action="append",
        required=True,
        dest="shapes",
        metavar="N,...",
        help="shape of an input, batch dimension first; once for each input",
    )
    option(
        "--dtype",
        choices=_DTYPES,
        default="float32",
        help="of the inputs and, if floating, the model",
    )
    option(
        "--baseline",
        type=float,
        action="append",
        dest="baselines",
        metavar="VALUE",
        help="baseline of all inputs, or once for each input (default: 0)",
    )
    add_keyword_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Print the certificate, and draw it if that is asked for."""
    baselines = baselines_of(options)
    if options.plot:
        _check_picture(options.plot)
    model = load_model(options.address, dict(options.kwargs))
    if not options.train:
        model.eval()
    inputs = inputs_of(options)
    run_once(model, inputs, options)

    shapes = ", ".join("x".join(map(str, shape)) for shape in options.shapes)
    say(
        f"{options.address}: {type(model).__name__}, "
        f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters, "
        f"{'training' if model.training else 'evaluation'} mode; "
        f"input {shapes} {options.dtype}, baseline {', '.join(f'{value:g}' for value in baselines)}"
    )
    with blaming(f"cannot analyse {options.address}", XDNNError):
        certificate = certify(model, inputs, baselines=baselines)
    say(str(certificate))
    if options.plot:
        certificate.plot().savefig(options.plot, dpi=120)
        say(f"\nWrote {options.plot.resolve()}")
    if not certificate.homogeneous:
        return 1
    return 3 if certificate.relied else 0


def _check_picture(path: Path) -> None:
    from matplotlib.backend_bases import FigureCanvasBase

    known = sorted(FigureCanvasBase.get_supported_filetypes())
    if path.suffix.removeprefix(".") not in known:
        raise UsageError(f"cannot draw {path}: a picture ends in one of .{', .'.join(known)}")
    writable(path.parent)


def baselines_of(options: argparse.Namespace) -> tuple[float, ...]:
    """The baseline of each input."""
    values: list[float] = options.baselines or [0.0]
    count = len(options.shapes)
    if len(values) not in (1, count):
        raise UsageError(
            f"got {len(values)} times --baseline for {count} times --shape: "
            "give one for all inputs, or one for each"
        )
    return tuple(values) if len(values) == count else tuple(values * count)


def inputs_of(options: argparse.Namespace) -> tuple[Tensor, ...]:
    """Inputs of the shapes that were named."""
    # The certificate holds for every input, so any values do; fixed ones keep the report the same
    # from run to run, and an integer may be an index, where 1 is the safest that is not a baseline.
    dtype: torch.dtype = getattr(torch, options.dtype)
    generator = torch.Generator().manual_seed(0)
    make = partial(torch.rand, generator=generator) if dtype.is_floating_point else torch.ones
    return tuple(make(shape).to(options.device, dtype) for shape in options.shapes)


def run_once(model: nn.Module, inputs: tuple[Tensor, ...], options: argparse.Namespace) -> None:
    """Run the model, or say why it does not."""
    # A model that does not run has no certificate: a wrong shape must not look like a model that
    # stands in its own way.
    shapes = ", ".join(str(tuple(value.shape)) for value in inputs)
    kind = f"({options.dtype}, {options.device})"
    hint = ""
    if inputs[0].is_floating_point() and any(isinstance(m, nn.Embedding) for m in model.modules()):
        hint = "; an embedding takes indices: --dtype int64"
    what = f"{options.address} does not run on input of shape {shapes} {kind}{hint}"
    with blaming(what):
        model.to(options.device)
        if inputs[0].is_floating_point():
            model.to(inputs[0].dtype)
        with torch.no_grad():
            model(*inputs)


@expecting("positive integers such as 1,3,224,224")
def shape(text: str) -> tuple[int, ...]:
    """A shape on the command line."""
    sizes = tuple(int(size) for size in text.split(","))
    if min(sizes) < 1:
        raise ValueError
    return sizes


def _device(text: str) -> torch.device:
    try:
        device = torch.device(text)
        torch.zeros(1, device=device)
    except Exception as error:  # each backend has its own type for "not there"
        raise argparse.ArgumentTypeError(
            f"torch cannot use the device {text!r}, {first_line(error)}"
        ) from error
    return device
