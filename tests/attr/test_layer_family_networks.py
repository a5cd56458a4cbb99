"""Several layers at once, and layers that embed token ids: Captum's numbers."""

from __future__ import annotations

import pytest
import torch
from layer_family import CAPTUMS_WARNINGS, LAYER, Case, assert_captums, biased_mlp, mlp, of
from torch import Tensor, nn

pytestmark = [*CAPTUMS_WARNINGS, pytest.mark.usefixtures("always_hoisted")]


def test_several_layers() -> None:
    for bend in (nn.Identity(), nn.Softmax(1)):
        parts = nn.ModuleDict({"a": mlp(4), "b": biased_mlp(4), "end": bend})

        class Sum(nn.Module):
            def __init__(self, parts: nn.ModuleDict) -> None:
                super().__init__()
                self.parts = parts

            def forward(self, x: Tensor) -> Tensor:
                return self.parts["end"](self.parts["a"](x) + self.parts["b"](x).relu())

        for pick in (lambda m: [m.parts["a"][1], m.parts["b"][1]], lambda m: [m.parts["a"]]):
            case = of(Sum(parts), pick)
            for at_input in (False, True):
                for baselines in (None, 0.25):
                    assert_captums(
                        "LayerIntegratedGradients", case, at_input=at_input, baselines=baselines
                    )


class Text(nn.Module):
    """Classifies token ids."""

    def __init__(self, embedding: nn.Module, *, bias: bool) -> None:
        super().__init__()
        self.embedding, self.inner = embedding, nn.Linear(5, 7, bias=bias)
        self.head = nn.Linear(7, 3, bias=bias)
        self.double()

    def forward(self, tokens: Tensor, scale: float = 1.0) -> Tensor:
        h = self.embedding(tokens) * scale
        h = self.inner(h).relu()
        return self.head(h if h.dim() == 2 else h.mean(1))


@pytest.mark.parametrize("kind", [nn.Embedding, nn.EmbeddingBag])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("baseline", [None, 3])
def test_token_ids(kind: type[nn.Module], bias: bool, baseline: int | None) -> None:
    tokens = torch.randint(0, 11, (4, 6))
    starts = None if baseline is None else torch.full_like(tokens, baseline)
    model = Text(kind(11, 5, padding_idx=0), bias=bias)
    case = Case(model, model.embedding, tokens)
    for more in ({}, {"additional_forward_args": (0.5,)}, {"internal_batch_size": 9}):
        for name in LAYER:
            route = assert_captums(name, case, baselines=starts, **more)
            if name == "LayerIntegratedGradients" and not bias and baseline is None:
                assert route == "single_pass"  # the padding token's row is zero
