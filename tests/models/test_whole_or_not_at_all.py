"""Tensors that pass by name and shape and cannot be copied: the network stays as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from captum_xdnn.models import load_checkpoint
from captum_xdnn.models.checkpoints import load_state


def _network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))


KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "coo": Tensor.to_sparse,
    "csr": Tensor.to_sparse_csr,
    "bsr": lambda value: value.to_sparse_bsr((2, 2)),
    "quantized": lambda value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8),
    "meta": lambda value: value.to("meta"),
    "complex": lambda value: value.to(torch.complex64),
    "nested": lambda value: torch.nested.nested_tensor(list(value)),
    "jagged": lambda value: torch.nested.nested_tensor(list(value), layout=torch.jagged),
}


def _refused(model: nn.Module, load: Callable[[], Any], match: str) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(RuntimeError, match=match) as caught:
        load()
    assert "left as it was" in str(caught.value)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


# torch's own, of layouts and quantized tensors: to come, to go, or slow to read.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_values_of_another_form(kind: str) -> None:
    model, state = _network(), _network().state_dict()
    state["2.weight"] = KINDS[kind](state["2.weight"])
    versions = [parameter._version for parameter in model.parameters()]
    _refused(model, lambda: load_state(model, state, source="FILE"), r"(?s)FILE.*2\.weight")
    assert [parameter._version for parameter in model.parameters()] == versions


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["coo", "csr", "quantized", "meta", "complex"])
def test_such_files(kind: str, tmp_path: Path) -> None:
    model, state = _network(), _network().state_dict()
    state["2.weight"] = KINDS[kind](state["2.weight"])
    path = tmp_path / "model.pt"
    torch.save(state, path)
    _refused(model, lambda: load_checkpoint(model, path), r"model\.pt.*2\.weight")


def test_a_network_without_memory() -> None:
    with torch.device("meta"):
        model = _network()
    with pytest.raises(RuntimeError, match=r"left as it was: 0\.weight.*Module\.to_empty"):
        load_state(model, _network().state_dict(), source="FILE")


class _Unwritable(Tensor):
    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.copy_:
            raise KeyError("no copy_ here")
        return super().__torch_function__(func, types, args, kwargs or {})


def test_a_class_of_tensors_that_cannot_be_written() -> None:
    model = _network()
    model.register_buffer("extra", torch.ones(3).as_subclass(_Unwritable))
    state = _network().state_dict() | {"extra": torch.zeros(3)}
    _refused(model, lambda: load_state(model, state, source="FILE"), "FILE.*extra: 'no copy_ here'")


def test_memory_that_elements_share() -> None:
    model = _network()
    model.register_buffer("extra", torch.ones(1).expand(3))
    state = _network().state_dict() | {"extra": torch.zeros(3)}
    _refused(model, lambda: load_state(model, state, source="FILE"), "(?s)FILE.*extra")


class _Own(nn.Linear):
    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        raise self.error

    error: BaseException = ValueError("not this one")


@pytest.mark.parametrize("swap", [False, True])
def test_a_module_with_its_own_way_to_load(swap: bool) -> None:
    model = nn.Sequential(nn.Linear(4, 4), _Own(4, 4), nn.Linear(4, 4))
    state = nn.Sequential(*(nn.Linear(4, 4) for _ in range(3))).state_dict()
    torch.__future__.set_swap_module_params_on_conversion(swap)
    try:
        _refused(model, lambda: load_state(model, state, source="FILE"), "FILE.*not this one")
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)


def test_an_interruption() -> None:
    model = nn.Sequential(nn.Linear(4, 4), _Own(4, 4))
    model[1].error = KeyboardInterrupt()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).state_dict()
    with pytest.raises(KeyboardInterrupt):
        load_state(model, state, source="FILE")
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


class _WithExtraState(nn.Linear):
    def get_extra_state(self) -> dict[str, int]:
        return {"version": 1}

    def set_extra_state(self, state: Any) -> None:
        raise AssertionError("must not be reached")


def test_extra_state_that_is_no_tensor() -> None:
    model = _WithExtraState(4, 4)
    state = nn.Linear(4, 4).state_dict() | {"_extra_state": torch.ones(1)}
    with pytest.raises(
        RuntimeError, match=r"_extra_state has \(1,\), the model's has no fixed shape"
    ):
        load_state(model, state, source="FILE")
