"""Training checkpoints, as the official files of the paper are, read into a network."""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from captum_xdnn.models.downloads import download


@dataclass(frozen=True)
class CheckpointFacts:
    """What a checkpoint says of the training; None for what it does not say.

    Attributes:
        epoch: Number of finished epochs.
        arch: Name of the architecture, in the words of the training script.
        best_acc1: Best top-1 accuracy on the validation images so far, in per cent.

    Example:
        >>> CheckpointFacts(epoch=100, arch="resnet50").best_acc1 is None
        True
    """

    epoch: int | None = None
    arch: str | None = None
    best_acc1: float | None = None


def load_checkpoint(model: nn.Module, path: str | os.PathLike[str]) -> CheckpointFacts:
    """Load a checkpoint into a network, or leave the network as it is and say why.

    The file is what PyTorch's ImageNet example writes and the official X-DNNs come in, a dict with
    the keys ``state_dict``, ``epoch``, ``arch``, ``best_acc1`` and ``optimizer``; or a state dict
    alone. The component ``module`` that ``DataParallel`` puts into the names, at their beginning
    or after ``features``, does not count anywhere, in the file or in the model. Tensors of any device are
    read on the CPU and copied to where the model's parameters are. Only weights are unpickled:
    the file cannot run code.

    Args:
        model: Network to load; its parameters keep their dtype and device.
        path: Checkpoint to read.

    Returns:
        What the checkpoint says of the training.

    Raises:
        FileNotFoundError: If there is no such file.
        RuntimeError: If the file is damaged or is no checkpoint, or if it is of another network:
            then all missing and unexpected keys and all differing shapes are named; or if one of
            its tensors cannot be copied into the model's (sparse, quantized, complex values), or
            two of the names differ by ``module`` only.

    Example:
        >>> import tempfile
        >>> net = nn.Linear(2, 3, bias=False)
        >>> state = {f"module.{name}": value for name, value in net.state_dict().items()}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "model_best.pth.tar"
        ...     torch.save({"epoch": 7, "arch": "net", "state_dict": state}, path)
        ...     load_checkpoint(net, path)
        CheckpointFacts(epoch=7, arch='net', best_acc1=None)
    """
    state, facts = _read(path)
    load_state(model, state, source=os.fspath(path))
    return facts


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], CheckpointFacts]:
    """Read onto the CPU the parameters, without the component ``module``, and the facts."""
    source = Path(path)
    try:
        content = torch.load(source, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # bytes that are no pickle make the unpickler raise nearly anything
        raise RuntimeError(
            f"{source} cannot be read as a checkpoint: it is damaged, no file of torch.save, or "
            f"holds more than tensors and plain values. {type(error).__name__}: {error}"
        ) from error
    said = content if isinstance(content, Mapping) and "state_dict" in content else {}
    state = said.get("state_dict", content)
    if not _is_state_dict(state):
        raise RuntimeError(
            f"{source} holds no state dict: expected tensors by name, alone or under the key "
            f"'state_dict', found {_described(content)}"
        )
    return _plain(state, str(source)), _facts(said)


def downloaded_state_dict(
    url: str, *, sha256: str | None = None, progress: bool = True
) -> dict[str, Tensor]:
    """Read the state dict of a checkpoint, downloading the file if it is not there.

    The file is ``checkpoints/NAME`` in ``torch.hub.get_dir()``, with the name of the URL, where a
    file that was fetched by other means is found too, and not compared with ``sha256``.
    """
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise ValueError(f"sha256 must be the whole digest, 64 hexadecimal digits, got {sha256!r}")
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / PurePosixPath(urlparse(url).path).name
    if path.exists():
        try:
            return _read(path)[0]
        except RuntimeError as error:
            raise RuntimeError(f"{error} Delete the file to download it again.") from error
    folder.mkdir(parents=True, exist_ok=True)
    return download(url, path, lambda part: _read(part)[0], sha256=sha256, progress=progress)


def load_state(model: nn.Module, state: Mapping[str, Tensor], *, source: str) -> None:
    """Copy a state dict into a network, or leave the network as it is and say why.

    ``nn.Module.load_state_dict`` copies what fits before it complains of what does not.
    """
    own = model.state_dict()
    given, wanted = _plain(state, source), _plain(own, type(model).__name__)
    missing = [name for name in wanted if name not in given]
    unexpected = [name for name in given if name not in wanted]
    shapes = [
        f"{name} has {_shape(given[name])}, the model's has {_shape(value)}"
        for name, value in wanted.items()
        if name in given and _shape(given[name]) != _shape(value)
    ]
    if missing or unexpected or shapes:
        lines = [f"{source} is of another network than this {type(model).__name__}, left as it was"]
        lines += [f"missing keys: {', '.join(missing)}"] if missing else []
        lines += [f"unexpected keys: {', '.join(unexpected)}"] if unexpected else []
        lines += [f"other shapes: {'; '.join(shapes)}"] if shapes else []
        lines += _advice(missing, unexpected)
        raise RuntimeError("\n    ".join(lines))
    ready = {full: given[name] for full, name in zip(own, wanted, strict=True)}
    left = f"this {type(model).__name__}, left as it was"
    before, name = {}, ""
    try:
        for name, value in own.items():
            before[name] = _rehearsed(value, ready[name])
    except Exception as error:  # a tensor's class may answer with any
        raise RuntimeError(f"{source} cannot be loaded into {left}: {name}: {error}") from error
    try:
        model.load_state_dict(ready)
    except BaseException as error:  # a module may have its own way to load
        _put_back(model, before)
        if not isinstance(error, Exception):
            raise
        raise RuntimeError(f"{source} cannot be loaded into {left}: {error}") from error


@torch.no_grad()
def _put_back(model: nn.Module, before: Mapping[str, Tensor]) -> None:
    for name, value in model.state_dict().items():
        with suppress(Exception):  # what cannot be written now was not written before
            value.copy_(before[name])


@torch.no_grad()
def _rehearsed(own: Tensor, given: Tensor) -> Tensor:
    """A copy of a network's own tensor, once another has shown to take what is given."""
    if own.is_meta:
        raise ValueError("the model's is on the device meta and holds nothing: see Module.to_empty")
    if given.is_complex() and not own.is_complex():
        raise ValueError(f"{given.dtype} does not go into {own.dtype}")
    own.clone().copy_(given)
    return own.clone()


def _shape(value: Any) -> tuple[int, ...] | str:
    try:
        return tuple(value.shape)
    except (AttributeError, RuntimeError):  # a module's extra state; lazy and nested tensors
        return "no fixed shape"


def _advice(missing: list[str], unexpected: list[str]) -> list[str]:
    # Fixup calls its biases bias1a, bias1b ..., and has a scale only where it has these.
    last = [name.rpartition(".")[2] for name in (*missing, *unexpected)]
    biases = all(name.startswith("bias") or name == "scale" for name in last)
    if bool(missing) == bool(unexpected) or not biases:
        return []
    kind = "with" if unexpected else "without"
    return [f"It is of a network {kind} biases: build the model with bias={bool(unexpected)}."]


def _plain(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """A state dict, in its order, with the component ``module`` taken out of the names."""
    names = {".".join(part for part in full.split(".") if part != "module"): full for full in state}
    if len(names) < len(state):
        raise RuntimeError(
            f"{source} has names that differ only by 'module': "
            f"{', '.join(sorted(set(state) - set(names.values())))}"
        )
    return {name: state[full] for name, full in names.items()}


def _is_state_dict(state: Any) -> bool:
    return (
        isinstance(state, Mapping)
        and bool(state)
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items())
    )


def _described(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    if isinstance(content.get("state_dict"), Mapping):
        return f"a state dict of {_described(content['state_dict'])}"
    found = ", ".join(f"{key!r}: {type(value).__name__}" for key, value in content.items())
    return f"a dict with {found}" if found else "an empty dict"


def _facts(said: Mapping[str, Any]) -> CheckpointFacts:
    epoch, arch, best = said.get("epoch"), said.get("arch"), said.get("best_acc1")
    # The training script keeps the accuracy as a tensor, on the GPU it trained on.
    if isinstance(best, Tensor) and best.numel() == 1:
        best = best.item()
    return CheckpointFacts(
        epoch=epoch if isinstance(epoch, int) else None,
        arch=arch if isinstance(arch, str) else None,
        best_acc1=float(best) if isinstance(best, int | float) else None,
    )
