"""Training checkpoints, as the official files of the paper are, read into a network."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["CheckpointFacts", "load_checkpoint", "load_state", "read_checkpoint"]


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
    or after ``features``, does not count, in the file or in the model. Tensors of any device are
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
            then all missing and unexpected keys and all differing shapes are named.

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
    state, facts = read_checkpoint(path)
    load_state(model, state, source=os.fspath(path))
    return facts


def read_checkpoint(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], CheckpointFacts]:
    """Read a checkpoint onto the CPU.

    Returns:
        Parameters by name, without the component ``module``, and what is said of the training.

    Raises:
        FileNotFoundError: If there is no such file.
        RuntimeError: If the file is damaged or is no checkpoint.
    """
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
    plain = {name: state[full] for name, full in _plain_names(state, str(source)).items()}
    return plain, _facts(said)


def load_state(model: nn.Module, state: Mapping[str, Tensor], *, source: str) -> None:
    """Copy a state dict into a network if every name and every shape agrees, else change nothing.

    ``nn.Module.load_state_dict`` copies what fits before it complains of what does not.

    Raises:
        RuntimeError: If a key is missing or unexpected or a shape differs; it names all of them.
    """
    wanted = model.state_dict()
    given_names = _plain_names(state, source)
    wanted_names = _plain_names(wanted, type(model).__name__)
    missing = [name for name in wanted_names if name not in given_names]
    unexpected = [name for name in given_names if name not in wanted_names]
    shapes = [
        f"{name} has {tuple(state[given_names[name]].shape)}, "
        f"the model's has {tuple(wanted[full].shape)}"
        for name, full in wanted_names.items()
        if name in given_names and state[given_names[name]].shape != wanted[full].shape
    ]
    if missing or unexpected or shapes:
        lines = [f"{source} is of another network than this {type(model).__name__}, left as it was"]
        lines += [f"missing keys: {', '.join(missing)}"] if missing else []
        lines += [f"unexpected keys: {', '.join(unexpected)}"] if unexpected else []
        lines += [f"other shapes: {'; '.join(shapes)}"] if shapes else []
        lines += _advice(missing, unexpected)
        raise RuntimeError("\n    ".join(lines))
    model.load_state_dict({full: state[given_names[name]] for name, full in wanted_names.items()})


def _advice(missing: list[str], unexpected: list[str]) -> list[str]:
    if unexpected and not missing and _are_biases(unexpected):
        return ["It is of a network with biases: build the model with bias=True."]
    if missing and not unexpected and _are_biases(missing):
        return ["It is of a network without biases: build the model with bias=False."]
    return []


def _are_biases(names: Iterable[str]) -> bool:
    # Fixup calls its biases bias1a, bias1b ..., and has a scale only where it has these.
    last = [name.rpartition(".")[2] for name in names]
    return all(name.startswith("bias") or name == "scale" for name in last)


def _plain_names(names: Iterable[str], source: str) -> dict[str, str]:
    """Full names by the names without the component ``module``."""
    full = list(names)
    plain = {".".join(part for part in name.split(".") if part != "module"): name for name in full}
    if len(plain) < len(full):
        raise RuntimeError(
            f"{source} has names that differ only by 'module': "
            f"{', '.join(sorted(set(full) - set(plain.values())))}"
        )
    return plain


def _is_state_dict(state: Any) -> bool:
    return (
        isinstance(state, Mapping)
        and bool(state)
        and all(isinstance(name, str) for name in state)
        and all(isinstance(value, Tensor) for value in state.values())
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
