"""Networks of series: recurrent, convolutional, of attention, in the frequencies, packed and padded."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .explained import Apply, Explained, Maker, as_trained, perceptron

STEPS, CHANNELS = 20, 4


def series(batch: int = 3, steps: int = STEPS) -> Tensor:
    """Shape ``(batch, steps, channels)``."""
    return torch.randn(batch, steps, CHANNELS).cumsum(1) / 3


def of_series(compute: Any, *parts: nn.Module, steps: int = STEPS, **call: Any) -> Explained:
    """A function of the series and of modules, the second of its outputs."""
    net = as_trained(Apply(compute, *parts))
    return Explained(net, series(steps=steps), {"target": 1, **call})


def recurrent(kind: Any, *, steps: int = STEPS, call: Any = None, **options: Any) -> Explained:
    """A recurrent network's last output, and a linear layer."""
    layer = kind(CHANNELS, 8, batch_first=True, **options)
    width = 16 if options.get("bidirectional") else options.get("proj_size") or 8
    last = nn.Linear(width, 3)
    return of_series(lambda x, f, g: g(f(x)[0][:, -1]), layer, last, steps=steps, **(call or {}))


def unbiased_rnn() -> Explained:
    """ReLUs, no biases: homogeneous."""
    layer = nn.RNN(CHANNELS, 8, nonlinearity="relu", bias=False, batch_first=True)
    net = Apply(lambda x, f, g: g(f(x)[0][:, -1]), layer, nn.Linear(8, 3, bias=False))
    return Explained(net, series(), {"target": 1})


def cells(kind: Any) -> Explained:
    """A loop over the steps in Python."""

    def compute(x: Tensor, cell: Any, last: Any) -> Tensor:
        state = None
        for t in range(x.shape[1]):
            state = cell(x[:, t], state)
        return last(state[0] if isinstance(state, tuple) else state)

    return of_series(compute, kind(CHANNELS, 8), nn.Linear(8, 3), steps=8)


def packed() -> Explained:
    """Sequences of several lengths, packed."""

    def compute(x: Tensor, lengths: Tensor, layer: Any, last: Any) -> Tensor:
        given = nn.utils.rnn.pack_padded_sequence(
            x, lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        return last(layer(given)[1][0][-1])

    call = {"additional_forward_args": torch.tensor([20, 11, 7])}
    return of_series(compute, nn.LSTM(CHANNELS, 8, batch_first=True), nn.Linear(8, 3), **call)


def stateful() -> Explained:
    """Keeps its hidden state from call to call, as networks of streams do."""
    layer, last = nn.GRU(CHANNELS, 8, batch_first=True), nn.Linear(8, 3)
    kept: dict[int, Tensor] = {}

    def function(x: Tensor) -> Tensor:
        y, state = layer(x, kept.get(len(x)))
        kept[len(x)] = state.detach()
        return last(y[:, -1])

    return Explained(function, series(), {"target": 1})


def encoder_decoder() -> Explained:
    """A forecast of five steps, each from the one before."""

    def compute(x: Tensor, encoder: Any, cell: Any, last: Any) -> Tensor:
        state, y, found = encoder(x)[1][0], x[:, -1, :1], []
        for _ in range(5):
            state = cell(y, state)
            y = last(state)
            found.append(y)
        return torch.cat(found, 1)

    layers = nn.GRU(CHANNELS, 8, batch_first=True), nn.GRUCell(1, 8), nn.Linear(8, 1)
    return of_series(compute, *layers, target=4)


class Causal(nn.Module):
    """Dilated convolutions that look back, with residual connections."""

    def __init__(self, *, bias: bool, norm: bool = False) -> None:
        super().__init__()
        widths = [CHANNELS, 8, 8, 8]
        self.layers = nn.ModuleList(
            nn.Conv1d(a, b, 3, dilation=2**i, bias=bias)
            for i, (a, b) in enumerate(pairwise(widths))
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(8) if norm else nn.Identity() for _ in "123")
        self.last = nn.Linear(8, 3, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        h = x.transpose(1, 2)
        for i, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            y = norm(layer(F.pad(h, (2 * 2**i, 0)))).relu()
            h = y + h if y.shape == h.shape else y
        return self.last(h[:, :, -1])


def causal(**options: Any) -> Explained:
    net = Causal(**options)
    return Explained(as_trained(net) if options["bias"] else net.eval(), series(), {"target": 1})


def wavenet() -> Explained:
    """Gates of tanh and sigmoid on dilated convolutions."""

    def compute(x: Tensor, *parts: Any) -> Tensor:
        h, last = x.transpose(1, 2), parts[-1]
        for filtered, gate in zip(parts[:-1:2], parts[1:-1:2], strict=True):
            h = torch.tanh(filtered(h)) * torch.sigmoid(gate(h))
        return last(h.mean(2))

    convolutions = [nn.Conv1d(c, 6, 2, dilation=d) for c, d in ((4, 1), (4, 1), (6, 2), (6, 2))]
    return of_series(compute, *convolutions, nn.Linear(6, 3))


def transformer(*, masked: bool = False, **options: Any) -> Explained:
    """Two encoder layers on projected steps with positions."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0, **options)
    positions = nn.Parameter(torch.randn(STEPS, 8))

    def compute(x: Tensor, *rest: Any) -> Tensor:
        mask, (first, body, last) = (rest[0] if masked else None), rest[-3:]
        h = body(first(x) + positions, src_key_padding_mask=mask)
        return last(h.mean(1))

    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    padding = torch.arange(STEPS)[None] >= torch.tensor([20, 15, 9])[:, None]
    call = {"additional_forward_args": padding} if masked else {}
    return of_series(compute, nn.Linear(CHANNELS, 8), encoder, nn.Linear(8, 3), **call)


def attended(*, causal_mask: bool) -> Explained:
    """One layer of attention over the steps, without a norm."""
    attention = nn.MultiheadAttention(CHANNELS, 2, batch_first=True)
    mask = torch.ones(STEPS, STEPS).triu(1).bool() if causal_mask else None

    def compute(x: Tensor, f: Any, last: Any) -> Tensor:
        return last(f(x, x, x, attn_mask=mask, need_weights=False)[0].amax(1))

    return of_series(compute, attention, nn.Linear(CHANNELS, 3))


def scanned(*, bias: bool) -> Explained:
    """A linear state space with a fixed transition, unrolled as a convolution."""
    decay, width = -torch.rand(CHANNELS, 6), 6
    mix = torch.randn(CHANNELS, width)

    def compute(x: Tensor, last: Any) -> Tensor:
        times = torch.arange(x.shape[1], dtype=x.dtype)
        kernel = (mix[..., None] * (decay[..., None] * times).exp()).sum(1)
        n = 2 * x.shape[1]
        spectrum = torch.fft.rfft(x.transpose(1, 2), n) * torch.fft.rfft(kernel, n)
        return last(torch.fft.irfft(spectrum, n)[..., : x.shape[1]].relu().mean(2))

    net = Apply(compute, nn.Linear(CHANNELS, 3, bias=bias)).eval()
    return Explained(net, series(), {"target": 1})


def selective() -> Explained:
    """A state space whose step depends on what comes in, as in Mamba."""

    def compute(x: Tensor, step: Any, mixed: Any, last: Any) -> Tensor:
        state, size = x.new_zeros(len(x), CHANNELS), F.softplus(step(x))
        for t in range(x.shape[1]):
            state = state * (-size[:, t]).exp() + size[:, t] * mixed(x[:, t])
        return last(state)

    layers = nn.Linear(CHANNELS, CHANNELS), nn.Linear(CHANNELS, CHANNELS), nn.Linear(CHANNELS, 3)
    return of_series(compute, *layers, steps=10)


def spectrogram(*, power: bool) -> Explained:
    """A short-time Fourier transform of a sound, and convolutions over it."""
    window, sound = torch.hann_window(32), torch.randn(2, 256)

    def compute(x: Tensor, f: Any, last: Any) -> Tensor:
        found = torch.stft(x, 32, 16, window=window, return_complex=True).abs()
        found = (found**2 + 1e-6).log() if power else found
        return last(f(found).relu().amax(2))

    net = Apply(compute, nn.Conv1d(17, 6, 3, bias=power), nn.Linear(6, 3, bias=power))
    return Explained(net.eval(), sound, {"target": 1})


def haar() -> Explained:
    """Three levels of a Haar wavelet, and thresholds on its coefficients."""

    def compute(x: Tensor, last: Any) -> Tensor:
        low, found = x.transpose(1, 2), []
        for _ in range(2):
            even, odd = low[..., ::2], low[..., 1::2]
            low = (even + odd) / 2**0.5
            found.append(F.softshrink((even - odd) / 2**0.5, 0.1).mean(2))
        return last(torch.cat([low.mean(2), *found], 1))

    return of_series(compute, nn.Linear(3 * CHANNELS, 3))


def fourier_layer(*, bias: bool) -> Explained:
    """A neural operator's layer: learnt factors on the lowest frequencies."""
    factors = torch.randn(
        CHANNELS, 6, 5, dtype=torch.promote_types(torch.get_default_dtype(), torch.complex64)
    )

    def compute(x: Tensor, skip: Any, last: Any) -> Tensor:
        h = x.transpose(1, 2)
        kept = torch.einsum("bci,coi->boi", torch.fft.rfft(h)[..., :5], factors)
        y = torch.fft.irfft(F.pad(kept, (0, STEPS // 2 + 1 - 5)), STEPS) + skip(h)
        return last(y.relu().mean(2))

    skip, last = nn.Conv1d(CHANNELS, 6, 1, bias=bias), nn.Linear(6, 3, bias=bias)
    return Explained(Apply(compute, skip, last).eval(), series(), {"target": 1})


def reversed_norm() -> Explained:
    """Each series normalised by itself, a linear forecast, and the norm undone."""

    def compute(x: Tensor, f: Any) -> Tensor:
        mean, spread = x.mean(1, keepdim=True), x.std(1, keepdim=True, unbiased=False) + 1e-5
        y = f(((x - mean) / spread).transpose(1, 2)).transpose(1, 2)
        return (y * spread + mean).mean(2)

    return of_series(compute, nn.Linear(STEPS, 5))


def decomposed() -> Explained:
    """A trend by a moving mean and what remains, each with a linear layer (DLinear)."""

    def compute(x: Tensor, trend: Any, rest: Any) -> Tensor:
        h = x.transpose(1, 2)
        smooth = F.avg_pool1d(F.pad(h, (2, 2), mode="replicate"), 5, 1)
        return (trend(smooth) + rest(h - smooth)).mean(1)

    return of_series(compute, nn.Linear(STEPS, 5), nn.Linear(STEPS, 5))


def doubly_residual() -> Explained:
    """N-BEATS: each block takes away what it has explained."""

    def compute(x: Tensor, *blocks: Any) -> Tensor:
        rest, forecast = x[..., 0], 0.0
        for block in blocks:
            back, ahead = block(rest).split([STEPS, 5], 1)
            rest, forecast = rest - back, forecast + ahead
        return forecast

    return of_series(compute, *(perceptron(STEPS, 16, STEPS + 5, bias=False) for _ in "123"))


def text_convolutions(*, bias: bool) -> Explained:
    """Convolutions of three widths over embeddings, their maxima over time."""

    def compute(x: Tensor, *parts: Any) -> Tensor:
        found = [f(x.transpose(1, 2)).relu().amax(2) for f in parts[:3]]
        return parts[3](torch.cat(found, 1))

    convolutions = [nn.Conv1d(CHANNELS, 5, width, bias=bias) for width in (2, 3, 4)]
    net = Apply(compute, *convolutions, nn.Linear(15, 2))
    return Explained(net.eval(), series(), {"target": 1})


def text(kind: str) -> Explained:
    """A network of token numbers by its embedding layer, padding as baseline."""
    table, tokens = nn.Embedding(50, 8, padding_idx=0), torch.randint(1, 50, (3, 12))
    if kind == "bag":
        bag = nn.Sequential(table, nn.Flatten(), perceptron(96, 16, 2, bias=False))
        return Explained(bag, tokens, {"target": 1}, "LayerIntegratedGradients", table)
    layer = nn.LSTM(8, 8, batch_first=True, bidirectional=True)
    net = Apply(lambda x, e, f, g: g(f(e(x))[0].mean(1)), table, layer, nn.Linear(16, 2)).eval()
    call = {"target": 1, "baselines": torch.zeros_like(tokens), "n_steps": 20}
    return Explained(net, tokens, call, "LayerIntegratedGradients", table)


def detector() -> Explained:
    """The energy of a sound's bands, by a filter bank, and its logarithm."""
    bank, sound = torch.rand(17, 6), torch.randn(2, 128)
    last = nn.Linear(6, 2)

    def function(x: Tensor) -> Tensor:
        frames = x.unfold(1, 32, 16) * torch.hamming_window(32)
        energy = torch.fft.rfft(frames).abs().square() @ bank
        return last(energy.clamp(min=1e-8).log().mean(1))

    return Explained(function, sound, {"target": 1})


def warped() -> Explained:
    """A soft alignment with a stored pattern."""
    pattern = torch.randn(8, CHANNELS)

    def function(x: Tensor) -> Tensor:
        cost = torch.cdist(x, pattern.expand(len(x), -1, -1)) ** 2
        inf = torch.full((), 1e4)
        rows = [[inf.expand(len(x))] * 9 for _ in range(x.shape[1] + 1)]
        rows[0][0] = cost.new_zeros(len(x))
        for i in range(1, x.shape[1] + 1):
            for j in range(1, 9):
                near = torch.stack([rows[i - 1][j], rows[i][j - 1], rows[i - 1][j - 1]])
                rows[i][j] = cost[:, i - 1, j - 1] - torch.logsumexp(-near, 0)
        return -rows[-1][-1]

    return Explained(function, series(steps=6), {"n_steps": 10})


FUNCTIONS: dict[str, Maker] = {
    "LSTM": lambda: recurrent(nn.LSTM),
    "LSTM, two layers, both ways": lambda: recurrent(nn.LSTM, num_layers=2, bidirectional=True),
    "LSTM, projected": lambda: recurrent(nn.LSTM, proj_size=5),
    "LSTM, 150 steps": lambda: recurrent(nn.LSTM, steps=150, call={"n_steps": 20}),
    "LSTM with dropout in training mode": lambda: _training(
        recurrent(nn.LSTM, num_layers=2, dropout=0.3)
    ),
    "GRU": lambda: recurrent(nn.GRU),
    "GRU, internal_batch_size": lambda: recurrent(nn.GRU, call={"internal_batch_size": 9}),
    "RNN, tanh": lambda: recurrent(nn.RNN),
    "RNN, ReLUs, without biases": unbiased_rnn,
    "LSTM cells": lambda: cells(nn.LSTMCell),
    "GRU cells": lambda: cells(nn.GRUCell),
    "LSTM of packed sequences": packed,
    "GRU that keeps its state": stateful,
    "GRU that forecasts step by step": encoder_decoder,
    "causal convolutions": lambda: causal(bias=True),
    "causal convolutions, batch norm": lambda: causal(bias=True, norm=True),
    "causal convolutions without biases": lambda: causal(bias=False),
    "gated convolutions": wavenet,
    "transformer encoder": lambda: transformer(),
    "transformer encoder, norm first": lambda: transformer(norm_first=True, activation="gelu"),
    "transformer encoder, padding": lambda: transformer(masked=True),
    "attention over steps": lambda: attended(causal_mask=False),
    "attention, causal": lambda: attended(causal_mask=True),
    "state space by Fourier transforms": lambda: scanned(bias=False),
    "selective state space": selective,
    "magnitudes of a short-time Fourier transform": lambda: spectrogram(power=False),
    "logarithms of a short-time Fourier transform": lambda: spectrogram(power=True),
    "filter bank of frames": detector,
    "Haar wavelets, soft thresholds": haar,
    "Fourier neural operator": lambda: fourier_layer(bias=True),
    "Fourier neural operator without biases": lambda: fourier_layer(bias=False),
    "linear forecast, instance norm undone": reversed_norm,
    "trend and rest": decomposed,
    "N-BEATS without biases": doubly_residual,
    "convolutions of a text, embeddings": lambda: text_convolutions(bias=True),
    "convolutions of a text without biases, embeddings": lambda: text_convolutions(bias=False),
    "layer IG of tokens, a bag without biases": lambda: text("bag"),
    "layer IG of tokens, LSTM": lambda: text("lstm"),
    "soft alignment with a pattern": warped,
    "neuron IG of a convolution": lambda: _of_layer(
        "NeuronIntegratedGradients", neuron_selector=(2, 5)
    ),
    "layer conductance of a convolution": lambda: _of_layer("LayerConductance", target=1),
    "internal influence of a convolution": lambda: _of_layer("InternalInfluence", target=1),
}


def _training(explained: Explained) -> Explained:
    explained.function.train()
    return explained


def _of_layer(method: str, **call: Any) -> Explained:
    explained = causal(bias=False)
    layer = explained.function.layers[1]
    return Explained(explained.function, explained.inputs, call, method, layer)
