"""``python -m captum_xdnn attribute``: the attributions of a whole data set."""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import torch
from captum import attr as captum_attr
from torch import nn
from torch.utils.data import DataLoader

from captum_xdnn.cli.console import UsageError, blaming, expecting, say
from captum_xdnn.cli.loading import add_keyword_arguments, load_data, load_model
from captum_xdnn.dataset import ParquetShards, SumChannels, TopK, attribute_dataset
from captum_xdnn.dataset.shards import REJECTS

_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
_SHOWN = 3
HELP = "attribute a whole data set, on one machine or on Ray"
DESCRIPTION = f"""\
Attribute all samples of a data set and write them to DIR as Parquet shards. A run that was stopped
goes on where its last whole shard ends. Samples that cannot be loaded or attributed are set aside in
DIR/{REJECTS}, and the others go on.

The data is torchvision:NAME:ROOT, read from ROOT and never downloaded, or MODULE:CALLABLE: a data
set of pairs of input and label, or a class or a function that returns one.

The exit code is 0, 1 if samples are set aside, or 2 if the command line is wrong."""
EXAMPLES = """\
examples, where my_code.py is yours and the data is in the folder ROOT:
  %(prog)s --model captum_xdnn.models:x_cnn_small --kwarg weights=DEFAULT \\
      --data torchvision:FashionMNIST:ROOT --out attributions
  %(prog)s --model my_code:Net --data my_code:Photos --target predicted \\
      --reduce channels --workers 2 --out maps
  %(prog)s --model my_code:Net --data my_code:Photos --ray \\
      --concurrency 8 --num-gpus 1 --device cuda --out maps"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    option = parser.add_argument
    number = partial(option, type=int, metavar="N")
    option(
        "--model",
        required=True,
        metavar="MODULE:CALLABLE",
        help="the model, as in the command certify",
    )
    option("--data", required=True, metavar="DATA", help="see above")
    option("--out", type=Path, required=True, metavar="DIR", help="folder of the shards")
    option(
        "--split", default="test", help="of torchvision's data sets that have one (default: test)"
    )
    option(
        "--transform", metavar="MODULE:CALLABLE", help="for torchvision's data (default: ToTensor)"
    )
    option(
        "--method",
        default="XIntegratedGradients",
        help="a class of captum.attr, or one of ours (default: XIntegratedGradients)",
    )
    option(
        "--target",
        type=_target,
        default="label",
        help="label, predicted, or an index for all (default: label)",
    )
    option("--n-steps", type=int, help="steps, where the method needs them (default: its own)")
    option("--reduce", type=_reduction, metavar="channels|K", help="sums over channels; K entries")
    option("--autocast", choices=_DTYPES, help="mixed precision")
    option("--device", help="where to compute (default: where the model is)")
    number("--batch-size", default=128, help="samples that are attributed together (default: 128)")
    number("--shard-size", default=1024, help="samples in a file, at least (default: 1024)")
    number("--workers", default=0, help="processes that load samples (default: 0, none beside)")
    option("--retry-rejected", action="store_true", help="try again what was set aside")
    option("--ray", action="store_true", help="on Ray: on a cluster, or started here")
    number("--concurrency", default=2, help="Ray's actors (default: 2)")
    number("--num-cpus", type=float, help="processors of each of Ray's actors (default: 1)")
    number("--num-gpus", type=float, default=0, help="GPUs of each of Ray's actors (default: 0)")
    add_keyword_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Attribute the data set and say what came of it."""
    folder: Path = options.out
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
    with blaming(f"cannot attribute {options.data}"):
        shards = ParquetShards(folder, shard_size=options.shard_size)
        if options.ray:
            from captum_xdnn import ray

            names = ("batch_size", "concurrency", "num_cpus", "num_gpus", "device")
            settings |= {name: getattr(options, name) for name in names}
            done = ray.attribute_dataset(method, data, shards, attribute=further, **settings)
        else:
            if options.device is not None:
                model.to(options.device)
            loader = DataLoader(data, options.batch_size, num_workers=options.workers)
            done = attribute_dataset(method, loader, shards, **settings, **further)
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
    with blaming(f"{name} needs more than a model", TypeError):
        return kind(model)


@expecting("label, predicted or an index")
def _target(text: str) -> Any:
    return text if text in ("label", "predicted") else int(text)


@expecting("channels or a positive number")
def _reduction(text: str) -> Any:
    return SumChannels() if text == "channels" else TopK(int(text))
