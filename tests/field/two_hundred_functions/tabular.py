"""Networks of columns: categories, survival, quantiles, losses, several inputs, state."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .explained import Apply, Explained, Maker, as_trained, perceptron
from .perceptrons import COLUMNS, mlp, of_rows, rows


class Embedded(nn.Module):
    """Columns beside the embeddings of categories."""

    def __init__(self, sizes: tuple[int, ...] = (4, 7), width: int = 3) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(n, width) for n in sizes)
        self.body = perceptron(COLUMNS + width * len(sizes), 24, 2)

    def forward(self, columns: Tensor, categories: Tensor) -> Tensor:
        found = [table(categories[:, i]) for i, table in enumerate(self.tables)]
        return self.body(torch.cat([columns, *found], 1))


class ColumnTransformer(nn.Module):
    """A token for each column, one for the row, two blocks of attention."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.weight, self.shift = (nn.Parameter(torch.randn(COLUMNS, width)) for _ in range(2))
        self.row = nn.Parameter(torch.randn(1, 1, width))
        block = nn.TransformerEncoderLayer(width, 2, 16, batch_first=True, activation="gelu")
        self.body = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, 2))

    def forward(self, x: Tensor) -> Tensor:
        tokens = x[..., None] * self.weight + self.shift
        tokens = torch.cat([self.row.expand(len(x), -1, -1), tokens], 1)
        return self.head(self.body(tokens)[:, 0])


class Additive(nn.Module):
    """A network for each column, their sum."""

    def __init__(self, *, bias: bool) -> None:
        super().__init__()
        self.shapes = nn.ModuleList(perceptron(1, 8, 1, bias=bias) for _ in range(COLUMNS))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([f(x[:, i : i + 1]) for i, f in enumerate(self.shapes)], 1).sum(1)


class WideAndDeep(nn.Module):
    """A linear model of crossed columns beside a perceptron."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.deep = nn.Linear(COLUMNS**2, 1), perceptron(COLUMNS, 16, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        crossed = torch.einsum("bi,bj->bij", x, x).flatten(1)
        return torch.sigmoid(self.wide(crossed) + self.deep(x))


class Crossed(nn.Module):
    """A deep and cross network."""

    def __init__(self, *, bias: bool) -> None:
        super().__init__()
        self.crosses = nn.ModuleList(nn.Linear(COLUMNS, COLUMNS, bias=bias) for _ in range(2))
        self.head = nn.Linear(COLUMNS, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for cross in self.crosses:
            y = x * cross(y) + y
        return self.head(y)


class Gated(nn.Module):
    """A gated linear unit whose mask of columns is a softmax, as in TabNet."""

    def __init__(self) -> None:
        super().__init__()
        self.mask, self.body = nn.Linear(COLUMNS, COLUMNS), nn.Linear(COLUMNS, 16)
        self.norm, self.head = nn.BatchNorm1d(COLUMNS), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        return self.head(F.glu(self.body(x * self.mask(x).softmax(1))))


class Autoencoder(nn.Module):
    """The error of the reconstruction of each row."""

    def __init__(self, *, bias: bool) -> None:
        super().__init__()
        self.encoder = perceptron(COLUMNS, 6, 3, bias=bias)
        self.decoder = perceptron(3, 6, COLUMNS, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return ((self.decoder(self.encoder(x)) - x) ** 2).mean(1)


class Mixture(nn.Module):
    """The negative logarithm of a mixture density at what was observed."""

    def __init__(self, parts: int = 3) -> None:
        super().__init__()
        self.body = perceptron(COLUMNS, 16, 3 * parts)

    def forward(self, x: Tensor, observed: Tensor) -> Tensor:
        weight, mean, spread = self.body(x).chunk(3, 1)
        density = torch.distributions.Normal(mean, F.softplus(spread) + 1e-3)
        return -torch.logsumexp(weight.log_softmax(1) + density.log_prob(observed[:, None]), 1)


class Settings(nn.Module):
    """Takes a dictionary of settings, and counts its calls in another."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.calls = perceptron(COLUMNS, 16, 2), {"count": 0}

    def forward(self, x: Tensor, settings: dict[str, float]) -> Tensor:
        self.calls["count"] += 1
        return self.body(x) * settings["scale"] + settings["offset"]


class Normaliser(nn.Module):
    """Keeps statistics of what it saw last, which nothing reads, and the last activation."""

    def __init__(self) -> None:
        super().__init__()
        self.body = perceptron(COLUMNS, 16, 2)
        self.register_buffer("seen", torch.zeros(COLUMNS))
        self.last: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.seen.lerp_(x.mean(0), 0.1)
        self.last = self.body[:2](x).detach()
        return self.body(x)


class Remembering(nn.Module):
    """Each call sees a little of the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.memory = perceptron(COLUMNS, 16, 2), 0.0

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x) + self.memory
        self.memory = float(y.detach().mean())
        return y


def siamese() -> Explained:
    """The distance of two rows' embeddings, by both."""
    net = Apply(lambda a, b, f: (f(a) - f(b)).pow(2).sum(1).add(1e-6).sqrt(), perceptron(12, 16, 4))
    return Explained(net, (rows(), rows()))


def cosine() -> Explained:
    """The cosine of two rows' embeddings, without biases: degree zero."""
    towers = perceptron(12, 16, 4, bias=False), perceptron(12, 16, 4, bias=False)
    net = Apply(lambda a, b, f, g: F.cosine_similarity(f(a), g(b)), *towers)
    return Explained(net, (rows(), rows()), {"baselines": (rows(1), rows(1))})


def factorised() -> Explained:
    """A factorisation machine: the products of the columns' factors, and a linear part."""

    def compute(x: Tensor, linear: Any, factors: Any) -> Tensor:
        squared, squares = factors(x) ** 2, (x**2) @ (factors.weight**2).T
        return linear(x)[:, 0] + 0.5 * (squared - squares).sum(1)

    parts = nn.Linear(COLUMNS, 1), nn.Linear(COLUMNS, 4, bias=False)
    return Explained(Apply(compute, *parts), rows())


def ensemble() -> Explained:
    """The mean of five perceptrons by vmap over their stacked weights."""
    nets = [perceptron(COLUMNS, 16, 3) for _ in range(5)]
    parameters, buffers = torch.func.stack_module_state(nets)
    one = nets[0]

    def function(x: Tensor) -> Tensor:
        def call(p: Any, b: Any) -> Any:
            return torch.func.functional_call(one, (p, b), (x,))

        return torch.vmap(call)(parameters, buffers).mean(0)

    return of_rows(function)


def experts() -> Explained:
    """A mixture of experts; each row goes to its two best."""

    def compute(x: Tensor, gate: Any, *nets: Any) -> Tensor:
        best, index = gate(x).topk(2, 1)
        outputs = torch.stack([f(x) for f in nets], 1)
        taken = outputs.gather(1, index[..., None].expand(-1, -1, outputs.shape[-1]))
        return (best.softmax(1)[..., None] * taken).sum(1)

    nets = [perceptron(COLUMNS, 8, 3) for _ in range(4)]
    return of_rows(Apply(compute, nn.Linear(COLUMNS, 4), *nets))


def prototypes() -> Explained:
    """Radial basis functions around stored rows."""
    centres = torch.randn(8, COLUMNS)
    net = nn.Linear(8, 2)
    return of_rows(lambda x: net(torch.exp(-0.05 * torch.cdist(x, centres) ** 2)))


def soft_tree() -> Explained:
    """A tree whose branches are sigmoids."""

    def compute(x: Tensor, gates: Any, leaves: Any) -> Tensor:
        right = torch.sigmoid(gates(x))
        path = right.new_ones(len(x), 1)
        for level in range(3):
            here = right[:, 2**level - 1 : 2 ** (level + 1) - 1]
            path = torch.stack([path * (1 - here), path * here], 2).flatten(1)
        return leaves(path)

    return of_rows(Apply(compute, nn.Linear(COLUMNS, 7), nn.Linear(8, 2)))


def ordinal() -> Explained:
    """Cumulative probabilities of ordered classes."""
    bounds = nn.Parameter(torch.tensor([-1.0, 0.0, 1.0]))
    net = perceptron(COLUMNS, 16, 1)
    return of_rows(lambda x: torch.sigmoid(bounds - net(x)))


def survival() -> Explained:
    """The partial likelihood of Cox: a risk for each row, beside all that are still at risk."""

    def compute(x: Tensor, time: Tensor, net: Any) -> Tensor:
        risk = net(x)[:, 0]
        at_risk = (time[None] >= time[:, None]).to(risk.dtype)
        return risk - (at_risk * risk.exp()).sum(1).log()

    return Explained(
        Apply(compute, perceptron(COLUMNS, 16, 1)),
        rows(),
        {"additional_forward_args": torch.rand(6)},
    )


def embedding_layer() -> Explained:
    """The embeddings of categories by the layer class, token numbers as inputs."""
    net = Embedded()
    numbers = torch.stack([torch.randint(4, (6,)), torch.randint(7, (6,))], 1)
    call = {"target": 1, "additional_forward_args": numbers, "baselines": torch.zeros(1, COLUMNS)}
    return Explained(net, rows(), call, "LayerIntegratedGradients", net.tables[1])


FUNCTIONS: dict[str, Maker] = {
    "embeddings beside columns": lambda: Explained(
        Embedded(), rows(), {"target": 1, "additional_forward_args": torch.randint(4, (6, 2))}
    ),
    "layer IG of an embedding": embedding_layer,
    "transformer of columns": lambda: of_rows(ColumnTransformer().eval()),
    "transformer of columns in training mode": lambda: of_rows(
        ColumnTransformer().train(), n_steps=10
    ),
    "generalised additive network": lambda: Explained(Additive(bias=True), rows()),
    "generalised additive network without biases": lambda: Explained(Additive(bias=False), rows()),
    "wide and deep": lambda: of_rows(WideAndDeep(), target=0),
    "deep and cross": lambda: of_rows(Crossed(bias=True)),
    "factorisation machine": factorised,
    "gates of columns, as in TabNet": lambda: of_rows(as_trained(Gated())),
    "autoencoder's error": lambda: Explained(Autoencoder(bias=True), rows()),
    "autoencoder's error without biases": lambda: Explained(Autoencoder(bias=False), rows()),
    "mixture density": lambda: Explained(
        Mixture(), rows(), {"additional_forward_args": torch.randn(6)}
    ),
    "quantile loss": lambda: Explained(
        Apply(
            lambda x, y, f: torch.maximum(0.9 * (y - f(x)[:, 0]), -0.1 * (y - f(x)[:, 0])),
            mlp(out=1),
        ),
        rows(),
        {"additional_forward_args": torch.randn(6)},
    ),
    "quantiles that rise": lambda: of_rows(
        Apply(lambda x, f: torch.cumsum(F.softplus(f(x)), 1), mlp(out=5))
    ),
    "Cox's partial likelihood": survival,
    "ordered classes": ordinal,
    "Poisson regression": lambda: Explained(
        Apply(lambda x, f: f(x)[:, 0].exp(), mlp(out=1)), rows()
    ),
    "siamese distance": siamese,
    "cosine of two towers without biases": cosine,
    "bilinear product of two inputs": lambda: Explained(
        nn.Bilinear(5, 4, 2, bias=False), (rows(6, 5), rows(6, 4)), {"target": 1}
    ),
    "products of three inputs": lambda: Explained(
        lambda a, b, c: (a * b * c).sum(1), (rows(), rows(), rows())
    ),
    "two inputs, a number and a tensor as baselines": lambda: Explained(
        Apply(lambda a, b, f: f(torch.cat([a, b], 1)), perceptron(24, 16, 2)),
        (rows(), rows()),
        {"target": 1, "baselines": (0.5, rows(1))},
    ),
    "five perceptrons by vmap": ensemble,
    "mixture of experts": experts,
    "radial basis functions": prototypes,
    "soft decision tree": soft_tree,
    "logistic regression": lambda: Explained(
        Apply(lambda x, f: torch.sigmoid(f(x))[:, 0], nn.Linear(12, 1)), rows()
    ),
    "linear regression": lambda: of_rows(nn.Linear(12, 3)),
    "settings in a dictionary": lambda: Explained(
        Settings(),
        rows(),
        {"target": 1, "additional_forward_args": ({"scale": 2.0, "offset": 1.0},)},
    ),
    "statistics that nothing reads": lambda: of_rows(Normaliser()),
    "state that the next call reads": lambda: of_rows(Remembering()),
}
