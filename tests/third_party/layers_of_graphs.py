"""Every layer of torch_geometric that can be built with simple arguments, on a graph of eight nodes."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import torch
from networks_of_packages import Network, first_tensor, network

NODES, WIDTH, EDGES = 8, 6, 20
GENERATOR = torch.Generator().manual_seed(0)
EDGE = torch.randint(0, NODES, (2, EDGES), generator=GENERATOR)
EDGE = torch.cat([EDGE, torch.arange(NODES).repeat(2, 1)], 1)
COUNT = EDGE.shape[1]
KIND = torch.arange(COUNT) % 2
SHARE = torch.rand(COUNT, generator=GENERATOR)
ATTRIBUTES = torch.rand(COUNT, 3, generator=GENERATOR)
PLACE = torch.rand(NODES, 3, generator=GENERATOR)
PART = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
X = torch.randn(NODES, WIDTH, generator=GENERATOR)

E, EA, EW, ET = (EDGE,), (EDGE, ATTRIBUTES), (EDGE, SHARE), (EDGE, KIND)
LAYERS: dict[str, tuple[tuple[Any, ...], dict[str, Any], tuple[Any, ...]]] = {
    **{
        name: ((WIDTH, 4), {"add_self_loops": False} if name == "FusedGATConv" else {}, E)
        for name in ["GCNConv", "SAGEConv", "GraphConv", "ResGatedGraphConv", "GATConv", "GATv2Conv", "TransformerConv", "TAGConv", "ARMAConv", "SGConv", "MFConv", "LEConv", "ClusterGCNConv", "FiLMConv", "SuperGATConv", "GeneralConv", "FusedGATConv", "MixHopConv", "GENConv"]
    },
    "SimpleConv": ((), {}, E), "LGConv": ((), {}, E), "AGNNConv": ((), {}, E), "APPNP": ((3, 0.1), {}, E),
    "ChebConv": ((WIDTH, 4, 3), {}, E), "GatedGraphConv": ((WIDTH, 2), {}, E), "SSGConv": ((WIDTH, 4, 0.1), {}, E),
    "GravNetConv": ((WIDTH, 4, 2, 2, 2), {}, ()), "WLConvContinuous": ((), {}, E),
    "RGCNConv": ((WIDTH, 4, 2), {}, ET), "FastRGCNConv": ((WIDTH, 4, 2), {}, ET), "RGATConv": ((WIDTH, 4, 2), {}, ET),
    "SignedConv": ((WIDTH, 4, True), {}, (EDGE, EDGE)), "GCN2Conv": ((WIDTH, 0.1), {}, (X, EDGE)),
    "FAConv": ((WIDTH,), {}, (X, EDGE)), "EGConv": ((WIDTH, 8), {}, E), "CGConv": ((WIDTH, 3), {}, EA),
    "GMMConv": ((WIDTH, 4, 3, 2), {}, EA), "SplineConv": ((WIDTH, 4, 3, 2), {}, EA), "PDNConv": ((WIDTH, 4, 3, 5), {}, EA),
    "FeaStConv": ((WIDTH, 4), {}, E), "HypergraphConv": ((WIDTH, 4), {}, (EDGE,)), "PANConv": ((WIDTH, 4, 2), {}, E),
    "PNAConv": ((WIDTH, 4, ["mean", "min", "max", "std"], ["identity", "amplification", "attenuation"], torch.ones(10)), {}, E),
    "XConv": ((WIDTH, 4, 3, 3), {}, (PLACE,)), "HEATConv": ((WIDTH, 4, 2, 2, 3, 3, 3), {}, (EDGE, torch.arange(NODES) % 2, KIND, ATTRIBUTES)),
    "DNAConv": ((WIDTH,), {}, E), "AntiSymmetricConv": ((WIDTH,), {}, E),
}  # fmt: skip
AGGREGATIONS = [
    "MeanAggregation",
    "MaxAggregation",
    "MinAggregation",
    "SumAggregation",
    "MulAggregation",
    "VarAggregation",
    "StdAggregation",
    "SoftmaxAggregation",
    "PowerMeanAggregation",
    "MedianAggregation",
    "VariancePreservingAggregation",
]
NORMS = [
    "BatchNorm",
    "InstanceNorm",
    "LayerNorm",
    "GraphNorm",
    "PairNorm",
    "MessageNorm",
    "DiffGroupNorm",
    "MeanSubtractionNorm",
    "GraphSizeNorm",
]


def _wrapped(nn: Any) -> dict[str, Any]:
    """Layers around other layers."""
    linear = torch.nn.Linear

    def mlp(a: int, b: int) -> Any:
        return torch.nn.Sequential(linear(a, 8), torch.nn.ReLU(), linear(8, b))

    gcn = nn.GCNConv(WIDTH, WIDTH)
    return {
        "GINConv": lambda: (nn.GINConv(mlp(WIDTH, 4)), E), "GINEConv": lambda: (nn.GINEConv(mlp(WIDTH, 4), edge_dim=3), EA),
        "NNConv": lambda: (nn.NNConv(WIDTH, 4, mlp(3, WIDTH * 4)), EA), "EdgeConv": lambda: (nn.EdgeConv(mlp(2 * WIDTH, 4)), E),
        "DynamicEdgeConv": lambda: (nn.DynamicEdgeConv(mlp(2 * WIDTH, 4), 2), ()),
        "PointNetConv": lambda: (nn.PointNetConv(mlp(WIDTH + 3, 4)), (PLACE, EDGE)),
        "PPFConv": lambda: (nn.PPFConv(mlp(WIDTH + 4, 4)), (PLACE, PLACE, EDGE)),
        "PointTransformerConv": lambda: (nn.PointTransformerConv(WIDTH, 4), (PLACE, EDGE)),
        "PointGNNConv": lambda: (nn.PointGNNConv(mlp(WIDTH, 3), mlp(3 + WIDTH, 5), mlp(5, WIDTH)), (PLACE, EDGE)),
        "GPSConv": lambda: (nn.GPSConv(WIDTH, gcn, heads=2), E), "DirGNNConv": lambda: (nn.DirGNNConv(gcn), E),
        "GCN": lambda: (nn.GCN(WIDTH, 8, 2, 4), E), "JumpingKnowledge": lambda: (nn.GraphSAGE(WIDTH, 8, 2, 4, jk="lstm"), E),
        "GraphUNet": lambda: (nn.GraphUNet(WIDTH, 8, 4, 2), E), "TopKPooling": lambda: (nn.TopKPooling(WIDTH), E),
        "SAGPooling": lambda: (nn.SAGPooling(WIDTH), E), "ASAPooling": lambda: (nn.ASAPooling(WIDTH), E), "EdgePooling": lambda: (nn.EdgePooling(WIDTH), (EDGE, PART)),
        "MLP": lambda: (nn.MLP([WIDTH, 8, 4]), ()), "global_add_pool": lambda: (nn.global_add_pool, (PART,)),
        "global_max_pool": lambda: (nn.global_max_pool, (PART,)), "global_mean_pool": lambda: (nn.global_mean_pool, (PART,)),
        "global_sort_pool": lambda: (nn.global_sort_pool, (PART, 3)), "Set2Set": lambda: (nn.Set2Set(WIDTH, 2), (PART,)),
        "SortAggregation": lambda: (nn.SortAggregation(3), (PART,)), "LSTMAggregation": lambda: (nn.LSTMAggregation(WIDTH, 4), (PART,)),
        "AttentionalAggregation": lambda: (nn.AttentionalAggregation(linear(WIDTH, 1)), (PART,)),
        "DeepSetsAggregation": lambda: (nn.DeepSetsAggregation(linear(WIDTH, 8), linear(8, 4)), (PART,)),
        "SetTransformerAggregation": lambda: (nn.SetTransformerAggregation(WIDTH, 1, 1, 1, 2), (PART,)),
        "DenseGCNConv": lambda: (nn.DenseGCNConv(WIDTH, 4), (torch.ones(1, NODES, NODES),)),
        "DenseGINConv": lambda: (nn.DenseGINConv(mlp(WIDTH, 4)), (torch.ones(1, NODES, NODES),)),
        "dense_diff_pool": lambda: (nn.dense_diff_pool, (torch.ones(1, NODES, NODES), torch.rand(1, NODES, 3))),
        "knn_interpolate": lambda: (nn.knn_interpolate, (PLACE, PLACE + 0.1)), "HypergraphConv.attention": lambda: (nn.HypergraphConv(WIDTH, 4, use_attention=True), (EDGE, None, torch.rand(NODES, WIDTH))),
    }  # fmt: skip


def graph_networks() -> Iterator[Network]:
    nn = importlib.import_module("torch_geometric.nn")
    for name in LAYERS:
        yield network("torch_geometric", name, _layer, nn, name)
    for name in AGGREGATIONS:
        yield network("torch_geometric", name, _aggregation, nn, name)
    for name in NORMS:
        yield network("torch_geometric", name, _norm, nn, name)
    for name in _wrapped_names():
        yield network("torch_geometric", name, _around, nn, name)


def _wrapped_names() -> list[str]:
    return list(_wrapped(importlib.import_module("torch_geometric.nn")))


def _layer(nn: Any, name: str) -> Any:
    args, options, rest = LAYERS[name]
    layer = getattr(nn, name)(*args, **options).eval()
    x = X[:, None].repeat(1, 3, 1) if name == "DNAConv" else X
    return lambda z: first_tensor(layer(z, *rest)), (x,)


def _aggregation(nn: Any, name: str) -> Any:
    layer = getattr(nn, name)().eval()
    return lambda z: layer(z, PART), (X,)


def _norm(nn: Any, name: str) -> Any:
    takes = {
        "DiffGroupNorm": (WIDTH, 2),
        "PairNorm": (),
        "MessageNorm": (),
        "MeanSubtractionNorm": (),
        "GraphSizeNorm": (),
    }
    layer = getattr(nn, name)(*takes.get(name, (WIDTH,))).eval()
    return (lambda z: layer(z, z.flip(0))) if name == "MessageNorm" else layer, (X,)


def _around(nn: Any, name: str) -> Any:
    layer, rest = _wrapped(nn)[name]()
    layer = layer.eval() if isinstance(layer, torch.nn.Module) else layer
    dense = name.lower().startswith("dense")
    return lambda z: first_tensor(layer(z[None] if dense else z, *rest)), (X,)
