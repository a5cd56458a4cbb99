"""How far completeness is missed by rounding alone, in the units in which the guard allows it.

    python tests/attr/rounding_gaps.py [seeds]

prints, for every kind of network and dtype, the largest

    (|sum_i A_i - F(x)| - lost) / (eps * (|x| |g| + |F(x)|)),    A = x g

over seeds, inputs, scales and targets. ``SLACK`` in ``captum_xdnn.checks.completeness`` has to be well
above all of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from captum_xdnn.checks.completeness import bounds_of, lost_below


def mlp(features: int, width: int, depth: int, outputs: int = 10) -> nn.Module:
    layers: list[nn.Module] = [nn.Linear(features, width, bias=False), nn.ReLU()]
    for _ in range(depth - 2):
        layers += [nn.Linear(width, width, bias=False), nn.ReLU()]
    return _he(nn.Sequential(*layers, nn.Linear(width, outputs, bias=False)))


def plain_conv_net(depth: int, width: int = 16) -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1, bias=False), nn.ReLU()]
    for step in range(depth - 2):
        layers += [nn.Conv2d(width, width, 3, padding=1, bias=False), nn.LeakyReLU(0.1)]
        if step % 16 == 8:
            layers.append(nn.MaxPool2d(2))
    tail = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10, bias=False)]
    return _he(nn.Sequential(*layers, *tail))


class Bottleneck(nn.Module):
    """A block of ResNet-50, with batch norms that scale and do not shift, or without."""

    def __init__(self, width: int, *, norm: bool) -> None:
        super().__init__()
        inner = width // 4
        self.body = nn.Sequential(
            nn.Conv2d(width, inner, 1, bias=False),
            nn.BatchNorm2d(inner) if norm else nn.Identity(),
            nn.ReLU(),
            nn.Conv2d(inner, inner, 3, padding=1, bias=False),
            nn.BatchNorm2d(inner) if norm else nn.Identity(),
            nn.ReLU(),
            nn.Conv2d(inner, width, 1, bias=False),
            nn.BatchNorm2d(width) if norm else nn.Identity(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


def resnet(*, norm: bool) -> nn.Module:
    """Fifty layers, sixteen blocks."""
    blocks = [Bottleneck(64, norm=norm) for _ in range(16)]
    net = _he(
        nn.Sequential(
            nn.Conv2d(3, 64, 3, padding=1, bias=False),
            nn.ReLU(),
            *blocks,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(64, 10, bias=False),
        )
    )
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.1, 2.0)
            nn.init.uniform_(part.running_var, 0.2, 5.0)
    return net.eval()


class Power(nn.Module):
    """The features of a network to a power."""

    def __init__(self, degree: float) -> None:
        super().__init__()
        self.net, self.degree = mlp(20, 32, 3), degree

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).abs().pow(self.degree)


class LinearAttention(nn.Module):
    """Degree 3, without a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(4, 16, bias=False) for _ in range(3))
        self.head = nn.Linear(16, 10, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.unflatten(1, (5, 4))
        weights = self.query(tokens) @ self.key(tokens).mT
        return self.head((weights @ self.value(tokens)).sum(1))


def _he(net: nn.Module) -> nn.Module:
    for part in net.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(part.weight)
    return net


Build = Callable[[], nn.Module]
NETWORKS: dict[str, tuple[Build, tuple[int, ...], float]] = {
    "mlp, 1 feature": (lambda: mlp(1, 512, 3), (1,), 1),
    "mlp, 2 features": (lambda: mlp(2, 512, 3), (2,), 1),
    "mlp, 1 feature, 1 output": (lambda: mlp(1, 512, 3, 1), (1,), 1),
    "mlp, 20 features": (lambda: mlp(20, 64, 3), (20,), 1),
    "mlp, wide": (lambda: mlp(1000, 2048, 3), (1000,), 1),
    "mlp, deep": (lambda: mlp(100, 64, 50), (100,), 1),
    "conv net, 50 layers": (lambda: plain_conv_net(50), (3, 16, 16), 1),
    "resnet, 50 layers": (lambda: resnet(norm=False), (3, 16, 16), 1),
    "resnet, 50 layers, batch norm": (lambda: resnet(norm=True), (3, 16, 16), 1),
    "degree 2": (lambda: Power(2), (20,), 2),
    "degree 5": (lambda: Power(5), (20,), 5),
    "degree 1/2": (lambda: Power(0.5), (20,), 0.5),
    "linear attention": (LinearAttention, (20,), 3),
}


def inputs_of(shape: tuple[int, ...]) -> Iterator[Tensor]:
    """Noise, light, sparse, one-hot, almost constant, and zero: eight examples each."""
    noise = torch.randn(8, *shape)
    yield noise
    yield torch.rand(8, *shape)
    yield noise * (torch.rand(8, *shape) < 0.05)
    hot = torch.zeros(8, noise[0].numel())
    hot[torch.arange(8), torch.randint(hot.shape[1], (8,))] = 1.0
    yield hot.reshape(8, *shape)
    yield 0.5 + 1e-3 * noise
    yield noise * 0


def ratios(net: nn.Module, x: Tensor, degree: float) -> Tensor:
    """The gap in units of rounding, for each example, of the target ``i % 10`` for example i."""
    x = x.detach().requires_grad_()
    output = net(x)
    outputs = output[torch.arange(len(x)), torch.arange(len(x)) % output.shape[1]]
    (gradient,) = torch.autograd.grad(outputs.sum(), x)
    wide = gradient.float() if gradient.dtype in (torch.float16, torch.bfloat16) else gradient
    wide = wide / degree
    total, end = (wide * x.detach()).flatten(1).sum(1), outputs.detach().to(wide.dtype)
    precision = torch.finfo(x.dtype).eps
    unit = precision * (bounds_of((wide,), (x.detach(),)) + end.abs())
    gap = ((total - end).abs() - lost_below(precision)).clamp(min=0)
    found = torch.where(gap == 0, torch.zeros_like(gap), gap / unit)
    return found[found.isfinite()]


SCALES = {
    torch.float64: (1e-3, 1.0, 1e3),
    torch.float32: (1e-3, 1.0, 1e3),
    torch.bfloat16: (1e-3, 1.0, 1e3),
    torch.float16: (1e-1, 1.0),
}


def largest(name: str, dtype: torch.dtype, seeds: range) -> Tensor:
    """All ratios of a kind of network, sorted."""
    build, shape, degree = NETWORKS[name]
    found = []
    for seed in seeds:
        torch.manual_seed(seed)
        net = build().to(dtype)
        for x in inputs_of(shape):
            found += [ratios(net, (x * scale).to(dtype), degree) for scale in SCALES[dtype]]
    return torch.cat(found).double().sort().values


if __name__ == "__main__":
    torch.set_num_threads(1)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    for name in NETWORKS:
        for dtype in SCALES:
            found = largest(name, dtype, range(count))
            print(
                f"{name:30} {dtype!s:15} n={len(found):6} max={found[-1]:10.3f} "
                f"99.9%={found.quantile(0.999):9.3f} median={found.median():7.3f}",
                flush=True,
            )
