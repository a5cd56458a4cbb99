"""``python -m captum_xdnn attribute``: the attributions of a whole data set."""

import argparse
from pathlib import Path
from typing import Any

import torch
from captum import attr as captum_attr
from torch import nn
from torch.utils.data import DataLoader

from captum_xdnn.cli.console import OneLineParser, UsageError, say
from captum_xdnn.cli.files import writable
from captum_xdnn.cli.load_data import load_data
from captum_xdnn.cli.load_model import add_keyword_arguments, load_model
from captum_xdnn.dataset import ParquetShards, Run, SumChannels, TopK, attribute_dataset
from captum_xdnn.dataset.shards import REJECTS
from captum_xdnn.errors import first_line

__all__ = ["add_parser", "run"]

_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
_SHOWN = 3
_DESCRIPTION = f"""\
Attribute all samples of a data set and write them to DIR as Parquet shards. A run that was stopped
goes on where its last whole shard ends. Samples that cannot be loaded or attributed are set aside in
DIR/{REJECTS}, and the others go on.

The data is torchvision:NAME:ROOT, read from ROOT and never downloaded, or MODULE:CALLABLE: a data
set of pairs of input and label, or a function that returns one.

The exit code is 0, 1 if samples are set aside, or 2 if the command line is wrong."""
_EXAMPLES = """\
examples:
  python -m captum_xdnn attribute --model captum_xdnn.models:x_cnn_small --kwarg weights=DEFAULT \\
      --data torchvision:FashionMNIST:ROOT --out attributions
  python -m captum_xdnn attribute --model my_code:Net --data my_code:Photos --target predicted \\
      --reduce channels --workers 4 --out maps
  python -m captum_xdnn attribute --model my_code:Net --data my_code:Photos --ray \\
      --concurrency 8 --num-gpus 1 --device cuda --out maps"""


def add_parser(commands: "argparse._SubParsersAction[OneLineParser]") -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "attribute",
        help="attribute a whole data set, on one machine or on Ray",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", required=True, metavar="MODULE:CALLABLE")
    parser.add_argument("--data", required=True, metavar="DATA", help="see above")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--split", default="test", help="of torchvision's data sets that have one (test)"
    )
    parser.add_argument(
        "--transform", metavar="MODULE:CALLABLE", help="for torchvision's data (ToTensor)"
    )
    parser.add_argument(
        "--method", default="XIntegratedGradients", help="a class of captum.attr, or one of ours"
    )
    parser.add_argument(
        "--target",
        type=_target,
        default="label",
        help="label, predicted, or an index for all (label)",
    )
    parser.add_argument("--n-steps", type=int, help="steps, where the method needs them")
    parser.add_argument(
        "--reduce", type=_reduction, metavar="channels|K", help="sums over channels; K entries"
    )
    parser.add_argument("--autocast", choices=_DTYPES, help="mixed precision")
    parser.add_argument("--device", help="where to compute (where the model is)")
    parser.add_argument("--batch-size", type=int, default=128, metavar="N", help="(128)")
    parser.add_argument("--shard-size", type=int, default=1024, metavar="N", help="(1024)")
    parser.add_argument(
        "--workers", type=int, default=0, metavar="N", help="processes that load samples (0)"
    )
    parser.add_argument(
        "--retry-rejected", action="store_true", help="try again what was set aside"
    )
    parser.add_argument("--ray", action="store_true", help="on Ray: on a cluster, or started here")
    parser.add_argument("--concurrency", type=int, default=2, metavar="N", help="Ray's actors (2)")
    parser.add_argument(
        "--num-cpus", type=float, metavar="N", help="processors of each of Ray's actors (1)"
    )
    parser.add_argument(
        "--num-gpus", type=float, default=0, metavar="N", help="GPUs of each of Ray's actors (0)"
    )
    add_keyword_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Attribute the data set and say what came of it.

    Returns:
        Exit code: 0, or 1 if samples are set aside.

    Raises:
        UsageError: If the model or the data cannot be loaded, or they do not go together.
    """
    folder = writable(options.out)
    model = load_model(options.model, dict(options.kwargs)).eval()
    data = load_data(options.data, options.split, options.transform)
    method = _method(options.method, model)
    further = {} if options.n_steps is None else {"n_steps": options.n_steps}
    settings: dict[str, Any] = {
        "target": options.target,
        "reduce": options.reduce,
        "autocast": _DTYPES.get(options.autocast),
        "retry_rejected": options.retry_rejected,
    }
    try:
        shards = ParquetShards(folder, shard_size=options.shard_size)
        if options.ray:
            done = _on_ray(method, data, shards, options, attribute=further, **settings)
        else:
            if options.device is not None:
                model.to(options.device)
            loader = DataLoader(data, options.batch_size, num_workers=options.workers)
            done = attribute_dataset(method, loader, shards, **settings, **further)
    except Exception as error:  # a user's model and data may raise anything
        raise UsageError(f"cannot attribute {options.data}: {first_line(error)}") from error
    return _report(done, folder)


def _on_ray(
    method: Any, data: Any, shards: ParquetShards, options: argparse.Namespace, **settings: Any
) -> Run:
    from captum_xdnn import ray

    return ray.attribute_dataset(
        method,
        data,
        shards,
        batch_size=options.batch_size,
        concurrency=options.concurrency,
        num_cpus=options.num_cpus,
        num_gpus=options.num_gpus,
        device=options.device,
        **settings,
    )


def _report(done: Run, folder: Path) -> int:
    before = f" ({done.before} before)" if done.before else ""
    say(
        f"{done.attributed} samples attributed{before} in {done.seconds:.1f} s, "
        f"{done.per_second:.0f} in a second, to {folder.resolve()}"
    )
    if not done.rejects:
        return 0
    say(f"{len(done.rejects)} set aside, with reasons in {REJECTS}:")
    for reject in done.rejects[:_SHOWN]:
        say(f"  {reject.id}: {reject.reason}")
    if len(done.rejects) > _SHOWN:
        say("  ...")
    return 1


def _method(name: str, model: nn.Module) -> Any:
    # Importing the package has put its own classes there.
    kind = getattr(captum_attr, name, None)
    if not (isinstance(kind, type) and hasattr(kind, "attribute")):
        raise UsageError(f"captum.attr has no method {name}")
    try:
        return kind(model)
    except TypeError as error:
        raise UsageError(f"{name} needs more than a model: {first_line(error)}") from error


def _target(text: str) -> Any:
    if text in ("label", "predicted"):
        return text
    try:
        return int(text)
    except ValueError:
        message = f"expected label, predicted or an index, got {text!r}"
        raise argparse.ArgumentTypeError(message) from None


def _reduction(text: str) -> Any:
    if text == "channels":
        return SumChannels()
    try:
        return TopK(int(text))
    except ValueError:
        message = f"expected channels or a positive number, got {text!r}"
        raise argparse.ArgumentTypeError(message) from None
