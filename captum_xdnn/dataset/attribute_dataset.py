"""``attribute_dataset``: a loader through a method into shards."""

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from captum_xdnn._waiting import is_shown
from captum_xdnn.dataset.attributing import Attributing
from captum_xdnn.dataset.ids import Id
from captum_xdnn.dataset.loading import description_of, fetched, plan_of
from captum_xdnn.dataset.records import Reject
from captum_xdnn.dataset.reductions import Reduction
from captum_xdnn.dataset.settings import Settings, Target, Unpack, input_and_label
from captum_xdnn.dataset.shards import ParquetShards


@dataclass(frozen=True)
class Run:
    """What a run over a data set did.

    Attributes:
        attributed: Samples attributed now.
        before: Samples that earlier runs had attributed into the same folder.
        rejects: All samples that are set aside.
        seconds: How long it took.

    Example:
        >>> from captum_xdnn.dataset import Run
        >>> Run(attributed=100, before=0, rejects=(), seconds=4.0).per_second
        25.0
    """

    attributed: int
    before: int
    rejects: tuple[Reject, ...]
    seconds: float

    @property
    def per_second(self) -> float:
        """Samples attributed in a second."""
        return self.attributed / self.seconds if self.seconds else 0.0


def attribute_dataset(
    method: Any,
    loader: Iterable[Any],
    sink: str | Path | ParquetShards,
    /,
    *,
    target: Target = "label",
    baselines: Any = None,
    reduce: Reduction | None = None,
    autocast: torch.dtype | None = None,
    device: torch.device | str | None = None,
    ids: Sequence[Id] | None = None,
    unpack: Unpack = input_and_label,
    retry_rejected: bool = False,
    progress: bool = True,
    **arguments: Any,
) -> Run:
    r"""Attribute all samples of a loader and write what was found to a folder, shard by shard.

    For each sample: its id, target, prediction (the largest output), the output explained, the
    route, the completeness gap :math:`\sum_i A_i - (F(x) - F(b))`, and the attributions. A run
    that was stopped, however, goes on where its last whole shard ends: no sample is written twice
    or lost. Samples that cannot be loaded or attributed are set aside with the reason, in
    ``rejects.csv``, and the others go on.

    Args:
        method: Object of any of Captum's ``Attribution`` classes, ours among them.
        loader: A ``DataLoader``; over a map-style data set, an index is a sample's id. Of any other
            iterable of batches the samples are counted, so it has to give the same ones in the
            same order where a run is to go on.
        sink: The folder, or ``ParquetShards`` with sizes of its own.
        target: ``"label"`` (those of the loader), ``"predicted"`` (the largest output), or an
            index for all samples, as in Captum; None where there is one output.
        baselines: As in Captum, the same for all samples: None, a number, a tensor of batch
            size 1, or a tuple of these.
        reduce: What is kept of the attributions: None for all, ``SumChannels()``, ``TopK(k)``, or a
            function (or an object whose ``repr`` says which) that makes arrays by name, of ``B`` rows
            each, of a tuple of attributions.
        autocast: Dtype of mixed precision, ``torch.bfloat16`` or ``torch.float16``; None for none.
        device: Where to compute; None for where the model is.
        ids: The samples' ids by index, all different: integers from -2**63 to 2**63 - 1, or from 0
            to 2**64 - 1, or strings such as file names; None for the indices.
        unpack: Makes ``(inputs, labels)`` of what the loader gives; pairs need none.
        retry_rejected: Whether samples that an earlier run set aside are tried again.
        progress: Whether to show a progress bar, with samples in a second and the time left.
        arguments: Further arguments of ``method.attribute``: ``n_steps``, ``method``, ...

    Returns:
        How many samples were attributed, and which were set aside.

    Raises:
        TypeError: If ``method`` is no method of Captum's kind, or the batches are of another form.
        ValueError: If the folder holds another run or what no run has written, an id cannot be kept
            or is another sample's too, labels are no targets, the loader leaves samples out, or a
            layer of the model is in training mode that draws numbers or learns from what it sees
            (dropout, batch norm).
        ImportError: If pyarrow is not installed.
        RuntimeError: If another process writes to the folder.
        Exception: What the method raises where nothing at all can be attributed; of the folder
            nothing is left then that was not there before.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from torch.utils.data import DataLoader, TensorDataset
        >>> from captum_xdnn import XIntegratedGradients
        >>> from captum_xdnn.dataset import attribute_dataset, read_shards
        >>> net = torch.nn.Linear(3, 2, bias=False)
        >>> data = TensorDataset(torch.rand(10, 3), torch.arange(10) % 2)
        >>> folder = tempfile.mkdtemp()
        >>> xig = XIntegratedGradients(net)
        >>> run = attribute_dataset(xig, DataLoader(data, 4), folder, progress=False)
        >>> run.attributed, len(run.rejects)
        (10, 0)
        >>> found = read_shards(folder)
        >>> found["attribution"].shape, found["route"][0]
        ((10, 3), 'single_pass')
        >>> attribute_dataset(xig, DataLoader(data, 4), folder, progress=False).before
        10
    """
    settings = Settings(method, target, baselines, reduce, autocast, device, unpack, arguments)
    plan = plan_of(loader, ids)

    def work(shards: ParquetShards, done: set[Id]) -> None:
        attributing = Attributing(settings, worked=shards.attributed > 0)
        with tqdm(
            total=None if plan is None else len(plan.index_of),
            initial=len(done),
            unit=" samples",
            disable=not is_shown(progress),
        ) as bar:
            for each in fetched(loader, plan, done):
                records, rejects = attributing(each)
                shards.add(records, rejects)
                bar.update(sum(map(len, records)) + len(rejects))
        attributing.finish()

    description = {**settings.described(), **description_of(loader, plan, ids)}
    named = (0,) if plan is None else plan.index_of  # counted ids are numbers
    return run_into(sink, description, named, work, retry_rejected=retry_rejected)


def run_into(
    sink: str | Path | ParquetShards,
    description: dict[str, Any],
    ids: Collection[Id],
    work: Callable[[ParquetShards, set[Id]], None],
    *,
    retry_rejected: bool,
) -> Run:
    """Take a folder, let ``work`` attribute all but the samples that are done, and give it back."""
    shards = sink if isinstance(sink, ParquetShards) else ParquetShards(sink)
    start = time.perf_counter()
    done = shards.open(description, retry_rejected=retry_rejected, ids=ids)
    before = shards.attributed
    try:
        work(shards, done)
    except BaseException:  # what was done need not be done again
        shards.close(failed=True)
        raise
    shards.close()
    return Run(shards.attributed - before, before, shards.rejects, time.perf_counter() - start)
