"""Wrong options: which, what was found, what is possible."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn

from captum_xdnn.convert import to_xdnn

from .networks import mlp, rows


@pytest.mark.parametrize("model", [torch.relu, nn.Linear, None, {"a": nn.Linear(2, 2)}])
def test_what_is_no_module(model: Any) -> None:
    with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module, found \w+"):
        to_xdnn(model, inputs=rows())


def _scripted(module: nn.Module) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch tells that scripts are deprecated
        return torch.jit.script(module)


def test_scripted_modules() -> None:
    scripted = _scripted(nn.Linear(4, 3))
    for model in (scripted, nn.Sequential(scripted)):
        with pytest.raises(TypeError, match="a scripted module cannot be changed"):
            to_xdnn(model, inputs=rows())


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "batch_norm": ({"batch_norm": "fuse"}, "batch_norm must be one of uncentered, fold, strip, fo"),
    "softmax": ({"softmax": None}, "softmax must be one of remove, keep, found None"),
    "fold": ({"batch_norm": "fold", "inputs": None}, "batch_norm='fold' needs inputs"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_choice_that_there_is_not(name: str) -> None:
    options, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        to_xdnn(mlp(), **{"inputs": rows(), **options})


WRONG_TYPES: dict[str, tuple[dict[str, Any], str]] = {
    "a list of inputs": ({"inputs": [rows()]}, "a tensor or a tuple of tensors, found list"),
    "no tensor among them": ({"inputs": (rows(), 1.0)}, "tuple of tensors, found float"),
    "no inputs": ({"inputs": ()}, r"tuple of tensors, found \(\)"),
    "an activation": ({"activation": nn.ReLU()}, r"activation must make modules.*found ReLU\(\)"),
    "its name": ({"activation": "relu"}, "activation must make modules.*found 'relu'"),
    "a function": ({"activation": lambda: torch.relu}, "activation must make modules, it made a"),
    "init": ({"init": "kaiming"}, "init must be a function of a module, found 'kaiming'"),
}


@pytest.mark.parametrize("name", WRONG_TYPES)
def test_what_is_of_another_type(name: str) -> None:
    options, message = WRONG_TYPES[name]
    with pytest.raises(TypeError, match=message):
        to_xdnn(mlp(), **{"inputs": rows(), **options})


def test_options_are_given_by_name() -> None:
    with pytest.raises(TypeError, match="positional"):
        to_xdnn(mlp(), rows())
