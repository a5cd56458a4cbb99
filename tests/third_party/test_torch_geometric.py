"""torch_geometric names the method by a string and takes the class of that name from Captum."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from captum.attr import IntegratedGradients
from in_two_ways import in_two_ways, installed, undone
from torch import Tensor, nn
from torch.testing import assert_close

from captum_xdnn import XIntegratedGradients, accelerate_captum

installed("torch_geometric")
explain = installed("torch_geometric.explain")
convolutions = installed("torch_geometric.nn")

CLOSE = {"rtol": 1e-7, "atol": 1e-10}
OF_FLOAT32 = {"rtol": 2**-20, "atol": 2**-23}
"""PyG's edge masks are float32, whatever the features are, and so are their attributions."""
MASKS: dict[str, dict[str, str]] = {
    "node_mask": {"node_mask_type": "attributes"},
    "edge_mask": {"edge_mask_type": "object"},
}
NODES = 12
RING = torch.tensor([[i, (i + step) % NODES] for i in range(NODES) for step in (1, 4)]).T


class Graph(nn.Module):
    """Two convolutions over a graph, with a softmax if there are biases."""

    def __init__(self, kind: str, *, bias: bool) -> None:
        super().__init__()
        convolution = getattr(convolutions, kind)
        self.first = convolution(5, 8, bias=bias)
        self.second = convolution(8, 3, bias=bias)
        self.probabilities = nn.Softmax(-1) if bias else nn.Identity()
        self.double()

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.probabilities(self.second(self.first(x, edge_index).relu(), edge_index))


def explainer(net: Graph, mask: str, method: Any = "IntegratedGradients") -> Any:
    return explain.Explainer(
        net,
        algorithm=explain.CaptumExplainer(method),
        explanation_type="model",
        model_config={
            "mode": "multiclass_classification",
            "task_level": "node",
            "return_type": "raw" if isinstance(net.probabilities, nn.Identity) else "probs",
        },
        **MASKS[mask],
    )


def features() -> Tensor:
    return torch.randn(NODES, 5, dtype=torch.float64)


@pytest.mark.parametrize("index", [3, torch.tensor([3])], ids=["number", "tensor"])
@pytest.mark.parametrize("kind", ["GCNConv", "GraphConv", "SAGEConv"])
def test_node_masks_in_one_pass(kind: str, index: Any) -> None:
    net, x = Graph(kind, bias=False).eval(), features()
    captums, ours, routes = in_two_ways(
        lambda: explainer(net, "node_mask")(x, RING, index=index)["node_mask"]
    )
    assert routes == Counter(single_pass=1)
    assert ours.shape == x.shape
    assert captums.abs().max() > 0
    assert_close(ours, captums, **CLOSE)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("kind", ["GCNConv", "GraphConv", "SAGEConv"])
def test_masks_are_captums_whatever_the_route(kind: str, mask: str, bias: bool) -> None:
    """Edge masks are put into the network during the call, and leave no trace in it."""
    net, x = Graph(kind, bias=bias).eval(), features()
    explained = explainer(net, mask)
    captums, ours, routes = in_two_ways(lambda: explained(x, RING, index=3)[mask])
    assert routes.total() == 1
    assert_close(ours, captums, **(CLOSE if captums.dtype == torch.float64 else OF_FLOAT32))
    assert_close(explained(x, RING, index=3)[mask], captums, rtol=0, atol=0)
    assert net.first.explain is None or net.first.explain is False
    assert "_edge_mask" not in net.first._parameters


def test_an_explainer_made_before_and_used_inside_and_afterwards() -> None:
    net, x = Graph("GraphConv", bias=False).eval(), features()
    explained = explainer(net, "node_mask", IntegratedGradients)
    before = explained(x, RING, index=3)["node_mask"]
    with undone(), accelerate_captum() as acceleration:
        inside = explained(x, RING, index=3)["node_mask"]
    assert acceleration.routes == Counter(single_pass=1)
    assert_close(inside, before, **CLOSE)
    assert_close(explained(x, RING, index=3)["node_mask"], before, rtol=0, atol=0)


def test_why_a_subclass_is_not_enough() -> None:
    """It goes by the name of the class, which is where ``accelerate_captum`` helps."""
    with pytest.raises(ValueError, match="does not support attribution method"):
        explain.CaptumExplainer(XIntegratedGradients)
    with accelerate_captum():
        explain.CaptumExplainer("IntegratedGradients")
