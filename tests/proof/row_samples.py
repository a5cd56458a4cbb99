"""A sample for every operation that may keep the rows of a batch apart.

Each is a function of ``x`` with the batch in dimension 0, by the operation's own name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
Function = Callable[[Tensor], Any]

FLAT, LINE, IMAGE, VOLUME = (6,), (4, 6), (4, 6, 6), (4, 4, 4, 4)


def seeded(*shape: int) -> Tensor:
    """Numbers between 0.1 and 1.1 that need no generator: a tracer takes none."""
    count = torch.arange(math.prod(shape), dtype=torch.float64)
    return (0.6 + 0.5 * torch.sin(1.7 * count + len(shape))).reshape(shape)


PAIR, TRIPLE, ENDS = torch.tensor([2, 0]), torch.tensor([[2, 0, 1]]), torch.tensor([1, 5])
W2, W3, C4 = seeded(5, 6), seeded(3, 6, 5), seeded(4)
K1, K2, K3 = seeded(4, 4, 3), seeded(4, 4, 3, 3), seeded(4, 4, 3, 3, 3)
GRID2 = lambda x: torch.tanh(x[:, :2].permute(0, 2, 3, 1))  # noqa: E731
GRID3 = lambda x: torch.tanh(x[:, :3].permute(0, 2, 3, 4, 1))  # noqa: E731
ONES = lambda n: [1] * n  # noqa: E731
LABELS = lambda x: x.argmax(1)  # noqa: E731


def names(text: str) -> list[str]:
    return text.split()


def unary(name: str, *more: Any, **named: Any) -> Function:
    return lambda x: getattr(aten, name)(x, *more, **named)


def along(name: str, *more: Any) -> list[tuple[tuple[int, ...], Function]]:
    """Along the last dimension of a line, and along the first but the batch's."""
    return [(LINE, unary(name, *more, 2)), (LINE, unary(name, *more, 1))]


def recurrent(name: str, gates: int, *, first: bool) -> Function:
    """A recurrent layer that begins with zeros."""

    def run(x: Tensor) -> Any:
        start = torch.zeros(1, x.shape[0], 3, dtype=x.dtype)
        h = [start, start] if name == "lstm" else start
        weights = [seeded(3 * gates, 6), seeded(3 * gates, 3)]
        given = x if first else x.transpose(0, 1)
        return getattr(torch._VF, name)(given, h, weights, False, 1, 0.0, False, False, first)

    return run


def _zeros(x: Tensor) -> Tensor:
    """Of the form of a batch, with nothing of it."""
    return torch.zeros(1, dtype=x.dtype).expand(x.shape)


SAMPLES: dict[str, tuple[tuple[int, ...], Function] | list[tuple[tuple[int, ...], Function]]] = {
    **{
        name: (LINE, unary(name))
        for name in names(
            "clone alias detach lift_fresh_copy zeros_like ones_like relu relu6 celu selu elu "
            "leaky_relu hardtanh softplus hardsigmoid hardswish softshrink hardshrink silu mish "
            "gelu log_sigmoid_forward square lift_fresh nan_to_num zero"
        )
    },
    **{
        name: [
            (LINE, lambda x, n=name: getattr(aten, n)(x, x.flip(2))),
            (LINE, unary(name, C4[:, None])),
        ]
        for name in names(
            "add sub rsub mul div maximum minimum atan2 complex copysign fmax fmin fmod hypot isclose "
            "logical_and logical_or logical_xor remainder floor_divide"
        )
    },
    **{name: along(name) for name in names("softmax log_softmax cumsum cumprod logcumsumexp")},
    **{name: along(name) for name in names("cummax cummin argmax argmin median nanmedian mode")},
    **{
        name: along(name) for name in names("glu unbind argsort sort squeeze max min count_nonzero")
    },
    **{name: along(name) for name in names("any all prod _safe_softmax")},
    **{
        name: [
            (LINE, unary(name, [1])),
            (LINE, unary(name, [1, 2])),
            (LINE, unary(name, [-1], True)),
        ]
        for name in names("sum mean amax amin var std var_mean std_mean nansum logsumexp")
    },
    **{
        f"adaptive_{kind}_pool{n}d": (shape, unary(f"adaptive_{kind}_pool{n}d", [2] * n))
        for kind in ("avg", "max")
        for n, shape in ((1, LINE), (2, IMAGE), (3, VOLUME))
    },
    **{
        f"{kind}_pool{n}d": (shape, unary(f"{kind}_pool{n}d", [2] * n))
        for kind in ("avg", "max")
        for n, shape in ((1, LINE), (2, IMAGE), (3, VOLUME))
    },
    **{
        f"{kind}_pad{n}d": (shape, unary(f"{kind}_pad{n}d", ONES(2 * n)))
        for kind in ("reflection", "replication")
        for n, shape in ((1, LINE), (2, IMAGE), (3, VOLUME))
    },
    **{
        f"conv{n}d": (shape, unary(f"conv{n}d", kernel, C4))
        for n, shape, kernel in ((1, LINE, K1), (2, IMAGE, K2), (3, VOLUME, K3))
    },
    "conv_transpose1d": (LINE, unary("conv_transpose1d", K1)),
    "conv_transpose2d": (IMAGE, lambda x: aten.conv_transpose2d.input(x, K2)),
    "conv_transpose3d": (VOLUME, lambda x: aten.conv_transpose3d.input(x, K3)),
    "convolution": (IMAGE, unary("convolution", K2, C4, [1, 1], [0, 0], [1, 1], False, [0, 0], 1)),
    **{
        f"{kind}{n}d": (shape, unary(f"{kind}{n}d", [7] * n))
        for kind in ("upsample_nearest", "_upsample_nearest_exact")
        for n, shape in ((1, LINE), (2, IMAGE), (3, VOLUME))
    },
    "upsample_linear1d": (LINE, unary("upsample_linear1d", [7], False)),
    "upsample_bilinear2d": (IMAGE, unary("upsample_bilinear2d", [7, 7], False)),
    "upsample_bicubic2d": (IMAGE, unary("upsample_bicubic2d", [7, 7], True)),
    "upsample_trilinear3d": (VOLUME, unary("upsample_trilinear3d", [5, 5, 5], False)),
    "_upsample_bilinear2d_aa": (IMAGE, unary("_upsample_bilinear2d_aa", [3, 3], False)),
    "_upsample_bicubic2d_aa": (IMAGE, unary("_upsample_bicubic2d_aa", [3, 3], False)),
    "_adaptive_avg_pool2d": (IMAGE, unary("_adaptive_avg_pool2d", [2, 2])),
    "_adaptive_avg_pool3d": (VOLUME, unary("_adaptive_avg_pool3d", [2, 2, 2])),
    "max_pool2d_with_indices": (IMAGE, unary("max_pool2d_with_indices", [2, 2])),
    "max_pool3d_with_indices": (VOLUME, unary("max_pool3d_with_indices", [2, 2, 2])),
    "_softmax": (LINE, unary("_softmax", 1, False)),
    "_log_softmax": (LINE, unary("_log_softmax", 2, False)),
    "_prelu_kernel": (LINE, unary("_prelu_kernel", seeded(1, 4, 1))),
    "prelu": [(LINE, unary("prelu", C4)), (FLAT, lambda x: aten.prelu(x.t(), seeded(1)))],
    "_to_copy": (LINE, unary("_to_copy", dtype=torch.float32)),
    "where": (LINE, lambda x: aten.where(x > 0, x, C4[:, None])),
    "fill": (LINE, unary("fill", 2.0)),
    "full_like": (LINE, lambda x: aten.full_like(x, 2.0)),
    "clamp": (LINE, unary("clamp", -0.5, 0.5)),
    "clamp_min": (LINE, unary("clamp_min", 0.1)),
    "clamp_max": (LINE, unary("clamp_max", 0.1)),
    "masked_fill": (LINE, lambda x: aten.masked_fill(x, x > 0, 0.5)),
    "copy": (LINE, lambda x: aten.copy(x, x.flip(1))),
    "threshold": (LINE, unary("threshold", 0.1, 20.0)),
    "contiguous": (LINE, lambda x: aten.contiguous(x.transpose(1, 2))),
    "expand": [
        (LINE, lambda x: aten.expand(x, [2, x.shape[0], 4, 6])),
        (FLAT, lambda x: aten.expand(x[:, None], [x.shape[0], 3, 6])),
    ],
    "mse_loss": (FLAT, lambda x: aten.mse_loss(x, x.flip(1), 0)),
    "smooth_l1_loss": (FLAT, lambda x: aten.smooth_l1_loss(x, x.flip(1), 0)),
    "soft_margin_loss": (FLAT, lambda x: aten.soft_margin_loss(x, x.flip(1).detach(), 0)),
    "huber_loss": (FLAT, lambda x: aten.huber_loss(x, x.flip(1), 0)),
    "binary_cross_entropy": (
        FLAT,
        lambda x: aten.binary_cross_entropy(x.sigmoid(), x.flip(1).sigmoid(), None, 0),
    ),
    "binary_cross_entropy_with_logits": (
        FLAT,
        lambda x: aten.binary_cross_entropy_with_logits(x, x.flip(1).sigmoid(), None, None, 0),
    ),
    "aminmax": (LINE, lambda x: aten.aminmax(x, dim=1)),
    "topk": (LINE, unary("topk", 2, 1)),
    "kthvalue": (LINE, unary("kthvalue", 2, 1)),
    **{
        name: [
            (LINE, unary(name, 0.3, 1)),
            (LINE, unary(name, 0.3, 2, True, interpolation="higher")),
            (LINE, lambda x, n=name: getattr(aten, n)(x, seeded(2) / 2, 1)),
            (LINE, lambda x, n=name: getattr(aten, n)(x, seeded(2) / 2, 2, True)),
        ]
        for name in names("quantile nanquantile")
    },
    "norm": (LINE, unary("norm", 2.0, [1, 2])),
    "linalg_vector_norm": (LINE, unary("linalg_vector_norm", 2.0, [1])),
    "flip": (LINE, unary("flip", [1, 2])),
    "rot90": (LINE, unary("rot90", 1, [1, 2])),
    "roll": [(LINE, unary("roll", [2], [1])), (LINE, unary("roll", [1, 2], [2, 1]))],
    "select": [
        (LINE, unary("select", 1, 2)),
        (LINE, lambda x: aten.select(x.transpose(0, 2), 0, 1)),
    ],
    "split": (LINE, unary("split", 2, 1)),
    "split_with_sizes": (LINE, unary("split_with_sizes", [1, 3], 1)),
    "chunk": (LINE, unary("chunk", 3, 2)),
    "unsafe_split": (LINE, unary("unsafe_split", 2, 1)),
    "unsafe_split_with_sizes": (LINE, unary("unsafe_split_with_sizes", [1, 3], 1)),
    "batch_norm": (IMAGE, unary("batch_norm", C4, C4, C4, C4, False, 0.1, 1e-5, False)),
    "_native_batch_norm_legit_no_training": (
        IMAGE,
        unary("_native_batch_norm_legit_no_training", C4, C4, C4, C4, 0.1, 1e-5),
    ),
    "channel_shuffle": (IMAGE, unary("channel_shuffle", 2)),
    "native_group_norm": (
        IMAGE,
        lambda x: aten.native_group_norm(x, C4, C4, x.shape[0], 4, 36, 2, 1e-5),
    ),
    "group_norm": (IMAGE, unary("group_norm", 2, C4, C4)),
    "grid_sampler_2d": (IMAGE, lambda x: aten.grid_sampler_2d(x, GRID2(x), 0, 0, False)),
    "grid_sampler_3d": (VOLUME, lambda x: aten.grid_sampler_3d(x, GRID3(x), 0, 1, True)),
    "_cdist_forward": [
        (FLAT, lambda x: aten._cdist_forward(x, torch.ones(4, x.shape[1]).to(x), 2.0, None))
    ],
    "_native_batch_norm_legit": [
        (
            IMAGE,
            lambda x: aten._native_batch_norm_legit.no_stats(
                x.reshape(1, -1, 6, 6), None, None, True, 0.1, 1e-5
            ),
        )
    ],
    "cdist": [(FLAT, lambda x: aten.cdist(x, torch.ones(4, x.shape[1]).to(x)))],
    "pixel_shuffle": (IMAGE, unary("pixel_shuffle", 2)),
    "pixel_unshuffle": (IMAGE, unary("pixel_unshuffle", 3)),
    "layer_norm": (LINE, unary("layer_norm", [4, 6])),
    "native_layer_norm": (LINE, unary("native_layer_norm", [6], seeded(6), None, 1e-5)),
    "rms_norm": (LINE, unary("rms_norm", [6])),
    "_fused_rms_norm": (LINE, unary("_fused_rms_norm", [6], seeded(6), 1e-5)),
    "constant_pad_nd": [
        (LINE, unary("constant_pad_nd", [1, 2], 0.5)),
        (LINE, unary("constant_pad_nd", [1, -1, 0, 2], 0.5)),
    ],
    "linear": [(FLAT, unary("linear", W2)), (LINE, unary("linear", W2, seeded(5)))],
    "mm": [(FLAT, unary("mm", W2.t())), (FLAT, lambda x: aten.mm(W2, x.t()))],
    "bmm": [
        (LINE, lambda x: aten.bmm(x, x.transpose(1, 2))),
        (LINE, lambda x: aten.bmm(seeded(4, 5, 6), x.permute(1, 2, 0))),
    ],
    "matmul": [
        (LINE, unary("matmul", W3[0])),
        (LINE, lambda x: aten.matmul(x[:, :, None], x[:, :, :, None])),
    ],
    "addmm": [
        (FLAT, lambda x: aten.addmm(seeded(5), x, W2.t(), beta=0.5, alpha=2.0)),
        (FLAT, lambda x: aten.addmm(seeded(5, 1), W2, x.t())),
    ],
    "baddbmm": (LINE, lambda x: aten.baddbmm(seeded(1, 1, 4), x, x.transpose(1, 2))),
    "view": [
        (LINE, lambda x: aten.view(x, [x.shape[0] * 4, 6])),
        (LINE, lambda x: aten.view(x, [x.shape[0] * 2, 2, 6])),
        (LINE, lambda x: aten.view(x, [x.shape[0], 24])),
    ],
    "reshape": [
        (LINE, lambda x: aten.reshape(x.transpose(0, 1), [4 * x.shape[0], 6])),
        (LINE, lambda x: aten.reshape(x.permute(1, 2, 0), [2, 12 * x.shape[0]])),
        (LINE, lambda x: aten.reshape(x.transpose(0, 1), [2, 2 * x.shape[0], 6])),
    ],
    "_unsafe_view": (LINE, lambda x: aten._unsafe_view(x, [x.shape[0] * 4, 6])),
    "flatten": [
        (LINE, unary("flatten", 0, 1)),
        (LINE, lambda x: aten.flatten(x.transpose(0, 1).contiguous(), 0, 1)),
    ],
    "unflatten": (LINE, lambda x: aten.unflatten(x, 2, [2, 3])),
    "permute": (LINE, unary("permute", [2, 0, 1])),
    "transpose": (LINE, unary("transpose", 0, 2)),
    "t": (FLAT, unary("t")),
    "movedim": (LINE, unary("movedim", [0], [2])),
    "unsqueeze": [(LINE, unary("unsqueeze", 0)), (LINE, unary("unsqueeze", -1))],
    "slice": [(LINE, unary("slice", 1, 1, 3)), (LINE, unary("slice", 0, 0, 2**63 - 1))],
    "slice_scatter": (LINE, lambda x: aten.slice_scatter(x, x[:, :2] * 2, 1, 1, 3)),
    "select_scatter": [
        (LINE, lambda x: aten.select_scatter(x, x[:, 0] * 2, 1, 3)),
        (LINE, lambda x: aten.select_scatter(x.transpose(0, 1), x[:, 0] * 2, 0, 3)),
    ],
    "cat": [
        (LINE, lambda x: aten.cat([x, x[:, :2]], 1)),
        (LINE, lambda x: aten.cat([x.transpose(0, 1), x.transpose(0, 1)])),
    ],
    "stack": [(LINE, lambda x: aten.stack([x, x.tanh()])), (LINE, lambda x: aten.stack([x, x], 2))],
    "embedding": (FLAT, lambda x: aten.embedding(seeded(6, 3), x.argsort(1))),
    "index": [
        (LINE, lambda x: aten.index(x, [None, PAIR])),
        (LINE, lambda x: aten.index(x, [None, PAIR, ENDS])),
        (IMAGE, lambda x: aten.index(x, [None, PAIR, None, ENDS])),
        (LINE, lambda x: aten.index(x.transpose(0, 1), [TRIPLE])),
    ],
    "gather": (LINE, lambda x: aten.gather(x, 1, x.argsort(1)[:, :2])),
    "index_select": (LINE, unary("index_select", 2, PAIR)),
    "nll_loss": (FLAT, lambda x: aten.nll_loss(x.log_softmax(1), LABELS(x), None, 0)),
    "nll_loss_nd": (FLAT, lambda x: aten.nll_loss_nd(x.log_softmax(1), LABELS(x), None, 0)),
    "nll_loss_forward": (FLAT, lambda x: aten.nll_loss_forward(x, LABELS(x), None, 0, -100)),
    "nll_loss2d_forward": (IMAGE, lambda x: aten.nll_loss2d_forward(x, LABELS(x), None, 0, -100)),
    "cross_entropy_loss": (
        FLAT,
        lambda x: aten.cross_entropy_loss(x, LABELS(x), seeded(6), 0, -100, 0.1),
    ),
    "_reshape_alias": (LINE, lambda x: aten._reshape_alias(x, [x.shape[0] * 4, 6], [6, 1])),
    "addcmul": (LINE, lambda x: aten.addcmul(x, x.flip(1), C4[:, None])),
    "addcdiv": (LINE, lambda x: aten.addcdiv(x, x.flip(1), C4[:, None])),
    "lerp": (LINE, lambda x: aten.lerp(x, x.flip(1), 0.3)),
    "polar": (LINE, lambda x: aten.polar(x.abs(), x.flip(1))),
    "affine_grid_generator": (
        LINE,
        lambda x: aten.affine_grid_generator(x[:, :2, :3], [len(x), 1, 3, 4], False),
    ),
    "im2col": (IMAGE, unary("im2col", [2, 2], [1, 1], [0, 0], [1, 1])),
    "native_batch_norm": (IMAGE, unary("native_batch_norm", C4, C4, C4, C4, False, 0.1, 1e-5)),
    "_batch_norm_no_update": (IMAGE, unary("_batch_norm_no_update", C4, C4, C4, C4, 0.1, 1e-5)),
    **{
        name: (IMAGE, lambda x, n=name: getattr(aten, n)(x, x.flip(1), x.flip(2)))
        for name in names(
            "_scaled_dot_product_attention_math _scaled_dot_product_flash_attention_for_cpu"
        )
    },
    **{
        name: [(LINE, recurrent(name, 1, first=True)), (LINE, recurrent(name, 1, first=False))]
        for name in names("rnn_relu rnn_tanh")
    },
    **{name: (LINE, unary(name)) for name in names("_neg_view tril triu")},
    "view_as_real": (LINE, lambda x: aten.view_as_real(aten.complex(x, x.flip(1)))),
    "view_as_complex": (LINE, lambda x: aten.view_as_complex(x.reshape(x.shape[0], 4, 3, 2))),
    "_fft_c2c": (LINE, lambda x: aten._fft_c2c(aten.complex(x, x.flip(1)), [1, 2], 0, True)),
    "_fft_r2c": (LINE, unary("_fft_r2c", [2], 0, True)),
    "_fft_c2r": (LINE, lambda x: aten._fft_c2r(aten.complex(x, x.flip(1)), [2], 0, 10)),
    "_conj": (LINE, lambda x: aten._conj(aten.complex(x, x.flip(1)))),
    "diagonal": [
        (IMAGE, unary("diagonal", 1, 1, 3)),
        (LINE, lambda x: aten.diagonal(x.transpose(0, 1), 0, 0, 2)),
    ],
    "diag_embed": [(LINE, unary("diag_embed", 1, 0, 2)), (FLAT, unary("diag_embed"))],
    "repeat": [(LINE, unary("repeat", [1, 2, 3])), (FLAT, unary("repeat", [2, 3, 1]))],
    "unfold": (LINE, unary("unfold", 1, 2, 1)),
    "as_strided": [
        (LINE, lambda x: aten.as_strided(x.tanh(), x.shape, x.stride())),
        (FLAT, lambda x: aten.as_strided(x.t()[:, None], (6, 1, len(x)), (1, 99, x.stride(0)))),
    ],
    "mv": (FLAT, unary("mv", seeded(6))),
    "addmv": (FLAT, lambda x: aten.addmv(seeded(1), x, seeded(6), beta=0.5)),
    "linalg_cross": [
        (LINE, lambda x: aten.linalg_cross(x[:, :3], x[:, :3].flip(2), dim=1)),
        (FLAT, lambda x: aten.linalg_cross(x[:, :3], seeded(1, 3))),
    ],
    **{
        name: [
            (LINE, lambda x, n=name, m=more: getattr(aten, n)(x, 1, x.argsort(1), x.tanh(), *m)),
            (LINE, lambda x, n=name, m=more: getattr(aten, n)(_zeros(x), 1, x.argsort(1), x, *m)),
        ]
        for name, more in {"scatter": (), "scatter_add": (), "scatter_reduce": ("amax",)}.items()
    },
    "index_reduce": (LINE, lambda x: aten.index_reduce(x, 2, PAIR, x[:, :, :2].tanh(), "amax")),
    "_convolution": (
        IMAGE,
        unary("_convolution", K2, C4, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, *(False,) * 4),
    ),
    "index_add": [
        (LINE, lambda x: aten.index_add(x, 2, PAIR, x[:, :, :2].tanh())),
        (LINE, lambda x: aten.index_add(_zeros(x), 1, PAIR, x[:, :2])),
    ],
    "index_copy": (LINE, lambda x: aten.index_copy(x, 2, PAIR, x[:, :, :2].tanh())),
    "index_fill": (LINE, unary("index_fill", 1, PAIR, 2.0)),
    "_unsafe_index": (LINE, lambda x: aten._unsafe_index(x, [None, PAIR])),
    "bucketize": (LINE, lambda x: aten.bucketize(x, seeded(6).sort()[0])),
    "searchsorted": (LINE, lambda x: aten.searchsorted(seeded(6).sort()[0], x)),
    "dropout": (LINE, lambda x: 2 * aten.dropout(x, 0.5, False)),
    "native_dropout": (LINE, unary("native_dropout", 0.5, False)),
    "fractional_max_pool2d": (
        IMAGE,
        lambda x: aten.fractional_max_pool2d(x, [2, 2], [3, 3], x.detach().sigmoid()[:, :, 0, :2]),
    ),
    "fractional_max_pool3d": (
        VOLUME,
        lambda x: aten.fractional_max_pool3d(
            x, [2] * 3, [2] * 3, x.detach().sigmoid()[:, :, 0, 0, :3]
        ),
    ),
    "max_pool1d_with_indices": (LINE, unary("max_pool1d_with_indices", [2])),
    "max_unpool2d": (
        IMAGE,
        lambda x: aten.max_unpool2d(*aten.max_pool2d_with_indices(x, [2, 2]), [6, 6]),
    ),
    "max_unpool3d": (
        VOLUME,
        lambda x: aten.max_unpool3d(
            *aten.max_pool3d_with_indices(x, [2] * 3), [4] * 3, [2] * 3, [0] * 3
        ),
    ),
    "col2im": (LINE, unary("col2im", [3, 4], [2, 2], [1, 1], [0, 0], [1, 1])),
    "gru": [(LINE, recurrent("gru", 3, first=True)), (LINE, recurrent("gru", 3, first=False))],
    "lstm": [(LINE, recurrent("lstm", 4, first=True)), (LINE, recurrent("lstm", 4, first=False))],
}

if find_spec("torchvision") is not None:
    import_module("torchvision")
    SAMPLES["torchvision.deform_conv2d"] = (
        IMAGE,
        lambda x: torch.ops.torchvision.deform_conv2d(
            x, K2, x.tile(1, 5, 1, 1)[:, :18, :4, :4], x[:, :1, :4, :4].tile(1, 9, 1, 1), C4,
            *(1, 1, 0, 0, 1, 1, 1, 1), True,
        ),
    )  # fmt: skip

ELSEWHERE = frozenset(
    names(
        "_scaled_dot_product_cudnn_attention _scaled_dot_product_efficient_attention "
        "_scaled_dot_product_flash_attention _scaled_dot_product_fused_attention_overrideable "
        "cudnn_batch_norm miopen_batch_norm cudnn_grid_sampler rrelu_with_noise"
    )
    + ([] if "torchvision.deform_conv2d" in SAMPLES else ["torchvision.deform_conv2d"])
)
"""Operations of other devices; and one that writes into an argument, of which nothing is proved."""
