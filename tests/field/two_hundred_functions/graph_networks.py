"""Graph networks of PyTorch Geometric, as its own explainer hands them to Captum, and by hand."""

from __future__ import annotations

from typing import Any

import torch
import torch_geometric.nn as pyg
from torch import Tensor, nn
from torch_geometric.explain.algorithm.captum import CaptumModel
from torch_geometric.utils import to_dense_adj, to_dense_batch

from .explained import Apply, Explained, Maker

NODES, FEATURES, HIDDEN, CLASSES = 12, 5, 8, 3
EDGES = torch.tensor([[i, (i + step) % NODES] for i in range(NODES) for step in (1, 4, 9)]).T


def features() -> Tensor:
    """Of the nodes, shape ``(1, nodes, features)``: the graph is the one example."""
    return torch.randn(1, NODES, FEATURES)


class Graph(nn.Module):
    """Two layers over a graph with a bend between them, and something behind them."""

    def __init__(
        self, first: nn.Module, second: nn.Module, behind: Any = None, extra: Any = ()
    ) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.behind, self.extra = behind or nn.Identity(), extra

    def forward(self, x: Tensor, edge_index: Tensor, *more: Any) -> Tensor:
        extra = (*self.extra, *more)
        h = self.first(x, edge_index, *extra).relu()
        return self.behind(self.second(h, edge_index, *extra))


def by_explainer(
    net: nn.Module, mask: str = "node", node: int | None = 3, **call: Any
) -> Explained:
    """As ``CaptumExplainer`` does: one graph after the other, masks of nodes or of edges."""
    x = features()
    model = CaptumModel(net.eval(), mask, node)
    edge_mask = torch.rand(1, EDGES.shape[1])
    inputs: Any = {"node": x, "edge": edge_mask, "node_and_edge": (x, edge_mask)}[mask]
    more = (x[0], EDGES) if mask == "edge" else (EDGES,)
    arguments = {"additional_forward_args": more, "internal_batch_size": 1, "target": 1}
    return Explained(model, inputs, {**arguments, "n_steps": 20, **call})


def layers(
    kind: str, *, mask: str = "node", behind: Any = None, extra: Any = (), **options: Any
) -> Explained:
    """Two layers of one kind."""
    made = getattr(pyg, kind)
    net = Graph(made(FEATURES, HIDDEN, **options), made(HIDDEN, CLASSES, **options), behind, extra)
    return by_explainer(net, mask)


def of_networks(kind: str, *, inner: Any = None, mask: str = "node", **options: Any) -> Explained:
    """Layers that hold a network each."""

    def network(a: int, b: int) -> nn.Module:
        factor = 2 if kind in ("EdgeConv", "DynamicEdgeConv") else 1
        return nn.Sequential(nn.Linear(factor * a, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, b))

    made = getattr(pyg, kind)
    sizes = (FEATURES, HIDDEN), (HIDDEN, CLASSES)
    return by_explainer(Graph(*(made(network(a, b), **options) for a, b in sizes)), mask)


class Pooled(nn.Module):
    """A class for the whole graph."""

    def __init__(self, readout: Any, *, bias: bool = True, pool: Any = None) -> None:
        super().__init__()
        self.first, self.pool = pyg.GraphConv(FEATURES, HIDDEN, bias=bias), pool
        self.readout, self.last = readout, nn.Linear(HIDDEN, CLASSES, bias=bias)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        h, batch = self.first(x, edge_index).relu(), x.new_zeros(len(x), dtype=torch.long)
        if self.pool is not None:
            h, _, _, batch, *_ = self.pool(h, edge_index, None, batch)
        return self.last(self.readout(h, batch))


def pooled(readout: Any, **options: Any) -> Explained:
    return by_explainer(Pooled(readout, **options), node=None)


class Jumping(nn.Module):
    """Three layers whose outputs are put together."""

    def __init__(self, mode: str, *, bias: bool) -> None:
        super().__init__()
        widths = [FEATURES, HIDDEN, HIDDEN]
        self.layers = nn.ModuleList(pyg.GCNConv(w, HIDDEN, bias=bias) for w in widths)
        self.jump = pyg.JumpingKnowledge(mode, HIDDEN, 3)
        self.last = nn.Linear(3 * HIDDEN if mode == "cat" else HIDDEN, CLASSES, bias=bias)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        found = []
        for layer in self.layers:
            x = layer(x, edge_index).relu()
            found.append(x)
        return self.last(self.jump(found))


def model(kind: str, **options: Any) -> Explained:
    """One of PyG's whole models."""
    return by_explainer(getattr(pyg, kind)(FEATURES, HIDDEN, 2, CLASSES, **options))


class Weighted(nn.Module):
    """The weights of the edges are what is explained."""

    def __init__(self, *, bias: bool) -> None:
        super().__init__()
        self.first = pyg.GraphConv(FEATURES, HIDDEN, bias=bias)
        self.second = pyg.GraphConv(HIDDEN, CLASSES, bias=bias)
        self.register_buffer("x", features()[0])

    def forward(self, weights: Tensor) -> Tensor:
        found = []
        for weight in weights:
            h = self.first(self.x, EDGES, weight).relu()
            found.append(self.second(h, EDGES, weight)[3])
        return torch.stack(found)


def weighted(*, bias: bool) -> Explained:
    """Two layers with the same weights of edges: degree two but for the nodes' own parts."""
    return Explained(
        Weighted(bias=bias), torch.rand(2, EDGES.shape[1]), {"target": 1, "n_steps": 10}
    )


def batched(kind: str) -> Explained:
    """A batch of graphs as one graph of many parts, the rows of Captum's batch."""
    layer = {"dense": pyg.DenseGCNConv, "sage": pyg.DenseSAGEConv}[kind](
        FEATURES, HIDDEN, bias=False
    )
    adjacency = to_dense_adj(EDGES, max_num_nodes=NODES)
    last = nn.Linear(HIDDEN, CLASSES, bias=False)

    def compute(x: Tensor, f: Any, g: Any) -> Tensor:
        return g(f(x, adjacency.to(x.dtype)).relu().mean(1))

    return Explained(Apply(compute, layer, last), torch.randn(3, NODES, FEATURES), {"target": 1})


def clustered() -> Explained:
    """Differentiable pooling of dense graphs."""
    adjacency = to_dense_adj(EDGES, max_num_nodes=NODES)
    parts = (
        pyg.DenseGCNConv(FEATURES, 4),
        pyg.DenseGCNConv(FEATURES, HIDDEN),
        nn.Linear(HIDDEN, CLASSES),
    )

    def compute(x: Tensor, assign: Any, embed: Any, last: Any) -> Tensor:
        a = adjacency.to(x.dtype).expand(len(x), -1, -1)
        pooled, _, _, _ = pyg.dense_diff_pool(embed(x, a).relu(), a, assign(x, a))
        return last(pooled.amax(1))

    return Explained(Apply(compute, *parts), torch.randn(3, NODES, FEATURES), {"target": 1})


def sparse(layout: str) -> Explained:
    """A product with a sparse adjacency between two linear layers, the graph's sum."""
    dense = to_dense_adj(EDGES, max_num_nodes=NODES)[0].to(torch.get_default_dtype())
    adjacency = dense.to_sparse_csr() if layout == "csr" else dense.to_sparse()
    parts = nn.Linear(FEATURES, HIDDEN, bias=False), nn.Linear(HIDDEN, CLASSES, bias=False)

    def compute(x: Tensor, f: Any, g: Any) -> Tensor:
        return torch.stack([g((adjacency @ f(each)).relu()).sum(0) for each in x])

    return Explained(
        Apply(compute, *parts), torch.randn(2, NODES, FEATURES), {"target": 1, "n_steps": 10}
    )


def padded() -> Explained:
    """Nodes of several graphs put into a dense batch, attention over them."""
    graph = torch.tensor([0] * 5 + [1] * 7)
    attention, last = (
        nn.MultiheadAttention(FEATURES, 1, batch_first=True),
        nn.Linear(FEATURES, CLASSES),
    )

    def compute(x: Tensor, f: Any, g: Any) -> Tensor:
        found = []
        for each in x:
            h, mask = to_dense_batch(each, graph)
            found.append(g(f(h, h, h, key_padding_mask=~mask)[0].sum(1)).sum(0))
        return torch.stack(found)

    return Explained(
        Apply(compute, attention, last),
        torch.randn(2, NODES, FEATURES),
        {"target": 1, "n_steps": 8},
    )


class OfTwoKinds(nn.Module):
    """Users and items, edges both ways."""

    def __init__(self, *, bias: bool) -> None:
        super().__init__()
        ways = (("user", "buys", "item"), ("item", "is bought by", "user"))
        self.layer = pyg.HeteroConv(
            {way: pyg.SAGEConv((FEATURES, FEATURES), HIDDEN, bias=bias) for way in ways}
        )
        self.last = nn.Linear(HIDDEN, CLASSES, bias=bias)
        self.edges = dict(zip(ways, (EDGES, EDGES.flip(0)), strict=True))

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        found = []
        for user, item in zip(users, items, strict=True):
            h = self.layer({"user": user, "item": item}, self.edges)
            found.append(self.last(h["item"].relu())[3])
        return torch.stack(found)


def of_two_kinds(*, bias: bool) -> Explained:
    return Explained(OfTwoKinds(bias=bias), (features(), features()), {"target": 1, "n_steps": 10})


def links() -> Explained:
    """How sure a network is that two nodes are linked: the product of what it makes of them."""
    net = Graph(pyg.GCNConv(FEATURES, HIDDEN, bias=False), pyg.GCNConv(HIDDEN, HIDDEN, bias=False))
    function = Apply(
        lambda x, f: torch.stack([(h[2] * h[7]).sum() for h in (f(each, EDGES) for each in x)]), net
    )
    return Explained(function, torch.randn(2, NODES, FEATURES), {"n_steps": 10})


def points(kind: str) -> Explained:
    """A cloud of points: their places are what is explained."""
    graph, sizes = EDGES, (FEATURES, HIDDEN)

    def network(a: int, b: int) -> nn.Module:
        return nn.Sequential(nn.Linear(a, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, b))

    if kind == "PointNetConv":
        layer: Any = pyg.PointNetConv(network(FEATURES + 3, HIDDEN))
    else:
        layer = pyg.PointTransformerConv(*sizes)
    h = features()[0]

    def compute(places: Tensor, f: Any, last: Any) -> Tensor:
        return torch.stack([last(f(h.to(p.dtype), p, graph).amax(0)) for p in places])

    net = Apply(compute, layer, nn.Linear(HIDDEN, CLASSES)).eval()
    return Explained(net, torch.randn(2, NODES, 3), {"target": 1, "n_steps": 10})


def edge_features() -> Tensor:
    return torch.randn(EDGES.shape[1], 4)


def of_layer() -> Explained:
    """The first layer of a network, one graph after the other."""
    net = Graph(pyg.GraphConv(FEATURES, HIDDEN), pyg.GraphConv(HIDDEN, CLASSES))
    call = {"target": 1, "internal_batch_size": 1, "n_steps": 10}
    function = Apply(lambda x, f: f(x[0], EDGES)[None, 3], net)
    return Explained(function, features(), call, "LayerIntegratedGradients", net.first)


def of_dense_layer(method: str) -> Explained:
    explained = batched("dense")
    layer = explained.function.parts[0]
    return Explained(explained.function, explained.inputs, explained.call, method, layer)


FUNCTIONS: dict[str, Maker] = {
    "GCN": lambda: layers("GCNConv"),
    "GCN without biases": lambda: layers("GCNConv", bias=False),
    "GCN without biases, softmax": lambda: layers("GCNConv", bias=False, behind=nn.Softmax(1)),
    "GCN, mask of edges": lambda: layers("GCNConv", mask="edge"),
    "GCN, masks of nodes and edges": lambda: layers("GCNConv", mask="node_and_edge"),
    "GraphConv without biases": lambda: layers("GraphConv", bias=False),
    "GraphConv, mask of edges": lambda: layers("GraphConv", mask="edge", bias=False),
    "SAGE": lambda: layers("SAGEConv"),
    "SAGE, maxima, without biases": lambda: layers("SAGEConv", bias=False, aggr="max"),
    "SAGE, normalised": lambda: layers("SAGEConv", normalize=True),
    "GAT": lambda: layers("GATConv"),
    "GAT, version 2, mask of edges": lambda: layers("GATv2Conv", mask="edge"),
    "GIN": lambda: of_networks("GINConv"),
    "EdgeConv": lambda: of_networks("EdgeConv", aggr="max"),
    "Chebyshev": lambda: layers("ChebConv", K=2),
    "Chebyshev without biases": lambda: layers("ChebConv", K=2, bias=False),
    "ARMA": lambda: layers("ARMAConv"),
    "simplified": lambda: layers("SGConv", K=2, bias=False),
    "TAG without biases": lambda: layers("TAGConv", bias=False),
    "cluster": lambda: layers("ClusterGCNConv"),
    "local extremum": lambda: layers("LEConv"),
    "residual gates": lambda: layers("ResGatedGraphConv"),
    "transformer": lambda: layers("TransformerConv"),
    "FiLM": lambda: layers("FiLMConv"),
    "FeaSt": lambda: layers("FeaStConv"),
    "SuperGAT in training mode": lambda: _training(layers("SuperGATConv")),
    "GENConv, softmax as aggregation": lambda: layers("GENConv"),
    "principal neighbourhoods": lambda: layers(
        "PNAConv",
        aggregators=["mean", "max", "std"],
        scalers=["identity", "amplification"],
        deg=torch.tensor([0, 0, 0, NODES]),
    ),
    "relations": lambda: layers(
        "RGCNConv", num_relations=2, extra=(torch.arange(EDGES.shape[1]) % 2,)
    ),
    "transformer, features of edges": lambda: layers(
        "TransformerConv", edge_dim=4, extra=(edge_features(),)
    ),
    "MixHop without biases": lambda: by_explainer(
        Graph(pyg.MixHopConv(FEATURES, 4, bias=False), pyg.MixHopConv(12, 1, bias=False))
    ),
    "propagation of predictions": lambda: by_explainer(
        Apply(lambda x, e, f, g: g(f(x), e), nn.Linear(FEATURES, CLASSES), pyg.APPNP(4, 0.1))
    ),
    "jumping knowledge, maxima": lambda: by_explainer(Jumping("max", bias=False)),
    "jumping knowledge, LSTM": lambda: by_explainer(Jumping("lstm", bias=True)),
    "model GraphSAGE": lambda: model("GraphSAGE"),
    "model GIN, batch norm": lambda: model("GIN", norm="batch_norm"),
    "model GCN, graph norm": lambda: model("GCN", norm="graph_norm"),
    "model GAT, dropout in training mode": lambda: _training(model("GAT", dropout=0.3)),
    "graph's mean": lambda: pooled(pyg.global_mean_pool),
    "graph's sum without biases": lambda: pooled(pyg.global_add_pool, bias=False),
    "graph's maxima without biases": lambda: pooled(pyg.global_max_pool, bias=False),
    "graph's attention": lambda: pooled(pyg.AttentionalAggregation(nn.Linear(HIDDEN, 1))),
    "graph's set2set": lambda: _twice(pyg.Set2Set(HIDDEN, 2)),
    "best nodes": lambda: pooled(pyg.global_mean_pool, pool=pyg.TopKPooling(HIDDEN, 0.5)),
    "best nodes by attention": lambda: pooled(
        pyg.global_mean_pool, pool=pyg.SAGPooling(HIDDEN, 0.5)
    ),
    "weights of edges": lambda: weighted(bias=True),
    "weights of edges without biases": lambda: weighted(bias=False),
    "dense GCN without biases": lambda: batched("dense"),
    "dense SAGE without biases": lambda: batched("sage"),
    "dense pooling": clustered,
    "sparse adjacency, COO": lambda: sparse("coo"),
    "sparse adjacency, CSR": lambda: sparse("csr"),
    "attention over a padded batch of graphs": padded,
    "two kinds of nodes": lambda: of_two_kinds(bias=True),
    "two kinds of nodes without biases": lambda: of_two_kinds(bias=False),
    "whether two nodes are linked": links,
    "PointNet, places": lambda: points("PointNetConv"),
    "point transformer, places": lambda: points("PointTransformerConv"),
    "layer IG of a GraphConv": of_layer,
    "layer conductance of a dense GCN": lambda: of_dense_layer("LayerConductance"),
    "internal influence of a dense GCN": lambda: of_dense_layer("InternalInfluence"),
}


def _training(explained: Explained) -> Explained:
    explained.function.train()
    return explained


def _twice(readout: nn.Module) -> Explained:
    """A readout that gives twice as many features."""
    net = Pooled(readout)
    net.last = nn.Linear(2 * HIDDEN, CLASSES)
    return by_explainer(net, node=None)
