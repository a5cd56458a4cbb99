"""Operations of a head, whose derivative for several steps at once is torch's own, and may be wrong.

Where torch is wrong (``select_scatter``), Captum's code has to answer; where it is right, hoisting may.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from captum.attr import IntegratedGradients
from torch import Tensor, nn

from captum_xdnn import XIntegratedGradients
from captum_xdnn.routes import plan

pytestmark = [
    pytest.mark.usefixtures("always_hoisted"),
    pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning"),
]
CLOSE = 1e-7
D = torch.float64
PLACES = torch.tensor([2, 0, 1])
EYE = torch.eye(4, dtype=D)


def places(h: Tensor) -> Tensor:
    return PLACES.expand(len(h), 3)


def outer(h: Tensor) -> Tensor:
    return h.unsqueeze(-1) * h.unsqueeze(-2)


def _assigned(h: Tensor) -> Tensor:
    held = h.clone()
    held[:, 0] = h[:, 1] * h[:, 2]
    return held


def _multiplied(h: Tensor) -> Tensor:
    held = h.clone()
    held[:, 0].mul_(h[:, 1])
    return held


OPERATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "select_scatter": lambda h: h.select_scatter(h[:, 1], 1, 0),
    "select_scatter_last": lambda h: h.select_scatter(h[:, 0] * h[:, 2], -1, 3),
    "select_scatter_products": lambda h: outer(h).select_scatter(h, 2, 1).sum(1),
    "slice_scatter": lambda h: h.slice_scatter(h[:, 1:3], 1, 0, 2),
    "slice_scatter_steps": lambda h: h.slice_scatter(h[:, :2], 1, 0, 4, 2),
    "diagonal_scatter": lambda h: torch.diagonal_scatter(outer(h), h, 0, 1, 2).sum(-1),
    "index_copy": lambda h: h.index_copy(1, PLACES, h[:, :3] * 2),
    "index_add": lambda h: h.index_add(1, PLACES, h[:, 1:]),
    "index_fill": lambda h: h.index_fill(1, PLACES[:2], 0.0),
    "scatter": lambda h: h.scatter(1, places(h), h[:, 1:]),
    "scatter_add": lambda h: h.scatter_add(1, places(h), h[:, 1:]),
    "scatter_product": lambda h: h.scatter_reduce(1, places(h), h[:, 1:], "prod"),
    "scatter_largest": lambda h: h.scatter_reduce(1, places(h), h[:, 1:], "amax"),
    "scatter_mean": lambda h: h.scatter_reduce(1, places(h), h[:, 1:], "mean"),
    "gather": lambda h: h.gather(1, places(h)).sum(1, keepdim=True) * h,
    "masked_fill": lambda h: h.masked_fill(h > 0.5, 0.25),
    "masked_column": lambda h: h.masked_fill(EYE[0].bool(), 0.0),
    "where": lambda h: torch.where(h > 0.5, h, h * h),
    "assigned": _assigned,
    "written_column": _multiplied,
    "cumprod": lambda h: h.cumprod(1),
    "logcumsumexp": lambda h: h.logcumsumexp(1),
    "cummax": lambda h: h.cummax(1)[0],
    "kthvalue": lambda h: h.kthvalue(2, 1, keepdim=True)[0] * h,
    "median": lambda h: h.median(1, keepdim=True)[0] * h,
    "sort": lambda h: h.sort(1)[0],
    "take_along": lambda h: h.take_along_dim(h.argsort(1), 1),
    "renorm": lambda h: h.renorm(2, 0, 0.5),
    "unfold": lambda h: h.unfold(1, 2, 1).prod(-1).repeat(1, 2)[:, :4],
    "product": lambda h: h.prod(1, keepdim=True) + h,
    "cdist": lambda h: torch.cdist(h.unsqueeze(-1), h.unsqueeze(-1)).sum(-1),
    "solve": lambda h: torch.linalg.solve(3 * EYE + outer(h), h),
    "inverse": lambda h: torch.linalg.inv(3 * EYE + outer(h)).sum(-1),
    "cholesky": lambda h: torch.linalg.cholesky(3 * EYE + outer(h)).sum(-1),
    "determinant": lambda h: torch.linalg.det(3 * EYE + outer(h)).unsqueeze(-1) * h,
    "max_pool": lambda h: F.max_pool1d(h.unsqueeze(1), 2, 1, padding=1).squeeze(1)[:, :4],
    "layer_norm": lambda h: F.layer_norm(h, (4,)),
    "response_norm": lambda h: F.local_response_norm(h.unsqueeze(1), 2).squeeze(1),
    "prelu": lambda h: F.prelu(h - 0.5, torch.tensor([0.3], dtype=D)),
    "attention": lambda h: F.scaled_dot_product_attention(*(h.view(-1, 1, 2, 2),) * 3).view(-1, 4),
    "grid_sample": lambda h: F.grid_sample(
        h.view(-1, 1, 2, 2), outer(h)[..., :2].unsqueeze(1) - 0.3, align_corners=False
    ).view(-1, 4),
    "circular": lambda h: F.pad(h.unsqueeze(1), (1, 2), "circular").squeeze(1)[:, :4],
    "fourier": lambda h: torch.fft.rfft(h, dim=1).abs().repeat(1, 2)[:, :4],
    "repeated": lambda h: h.repeat_interleave(2, 1)[:, :4] * h,
    "trapezoid": lambda h: torch.cumulative_trapezoid(torch.cat([h, h[:, :1]], 1), dim=1),
}


def is_right(operation: Callable[[Tensor], Tensor]) -> bool:
    """Whether torch's derivative of several at once is that of one after the other."""
    h = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(3), dtype=D).requires_grad_()
    weights = torch.arange(24, dtype=D).view(2, 3, 4)
    try:
        together = torch.vmap(operation)(h)
        (ours,) = torch.autograd.grad((together * weights).sum(), h)
    except RuntimeError:
        return False
    apart = torch.stack([operation(each) for each in h])
    return torch.allclose(ours, torch.autograd.grad((apart * weights).sum(), h)[0])


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("way", ["as rows", "by vmap", "one by one"])
@pytest.mark.parametrize("kind", OPERATIONS)
def test_operations_of_a_head(kind, way, batch, monkeypatch):
    if way == "by vmap":
        monkeypatch.setattr(plan.Plan, "stacks", False)
    together = batch if way == "one by one" else None
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 4, bias=False))
    last, x = nn.Linear(4, 2, bias=False).double(), torch.rand(batch, 4, dtype=D) + 0.1
    trunk = trunk.double()
    function = lambda x: last(OPERATIONS[kind](trunk(x).sigmoid()))  # noqa: E731
    explainer = XIntegratedGradients(function)
    call = {"target": 1, "n_steps": 7, "internal_batch_size": together}
    theirs = IntegratedGradients(function).attribute(x, **call)
    for _ in range(2):
        ours = explainer.attribute(x, **call)
        assert float((ours - theirs).abs().max()) <= CLOSE * float(theirs.abs().max())
    if way == "by vmap" and not is_right(OPERATIONS[kind]):
        assert explainer.last_route == "captum"


def _flat(x: Tensor, *_: Tensor) -> Tensor:
    return x.sigmoid().view(x.shape[0], 2, 2).transpose(1, 2).reshape(x.shape[0], -1) * x


HEADS: dict[str, Callable[..., Tensor]] = {
    "reshaped": _flat,
    "by a size that is left out": lambda h, *_: h.tanh().view(-1, 2, 2).flatten(1),
    "with an argument for each row": lambda h, each: (h + each).tanh() * each,
    "with an argument for all": lambda h, each: (h + each[:1]).softmax(1),
    "group norm": lambda h, *_: F.group_norm(h.view(-1, 2, 2), 2).flatten(1),
    "of the batch's length": lambda h, *_: (h + h.new_zeros(len(h), 4)).sigmoid(),
    "spread": lambda h, *_: (h.sigmoid()[:, None].expand(len(h), 3, 4) * h[:, None]).sum(1),
    "convolved": lambda h, *_: F.conv1d(h.sigmoid()[:, None], EYE[:1, None, :3], padding=1)[:, 0],
    "by a table of one row": lambda h, *_: torch.bmm(h.sigmoid()[:, None], EYE[None])[:, 0] * h,
    "numbered": lambda h, *_: h.sigmoid() * torch.arange(len(h), dtype=D)[:, None],
}


@pytest.mark.parametrize("target", ["number", "list", "tensor"])
@pytest.mark.parametrize(
    ("kind", "batch"),
    # torch.bmm takes as many tables as rows.
    [(k, b) for k in HEADS for b in (1, 2, 3) if b == 1 or k != "by a table of one row"],
)
@pytest.mark.parametrize("create_graph", [False, True])
def test_steps_as_rows_of_one_batch(kind, batch, target, create_graph):
    torch.manual_seed(1)
    trunk, last = nn.Linear(4, 4, bias=False).double(), nn.Linear(4, 3, bias=False).double()
    function = lambda x, each: last(HEADS[kind](trunk(x).relu(), each))  # noqa: E731
    x, each = torch.rand(batch, 4, dtype=D) + 0.1, torch.rand(batch, 4, dtype=D)
    chosen = {"number": 2, "list": [2, 0, 1][:batch], "tensor": torch.tensor([2, 0, 1][:batch])}
    call = {"target": chosen[target], "n_steps": 6, "additional_forward_args": each}
    explainer = XIntegratedGradients(function)
    if kind in (
        "numbered",
        "by a table of one row",
    ):  # its rows meet in Captum's batch of all steps
        call["internal_batch_size"] = batch
    theirs = IntegratedGradients(function).attribute(x, **call)
    for _ in range(2):
        ours = explainer.attribute(x, create_graph=create_graph, **call)
        torch.testing.assert_close(ours, theirs, rtol=CLOSE, atol=1e-9)
    if kind not in ("numbered", "of the batch's length", "with an argument for all"):
        assert explainer.last_route == "hoisted"
