"""Networks of other packages at small sizes, to be run once: ``(name, function, its tensor arguments)``.

Nothing here fails when a package has other networks than today: what cannot be built is left out, with the reason.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

LARGEST = 40_000_000
"""Networks with more parameters are left out."""


class Network(NamedTuple):
    """A function of tensors that is made when it is needed."""

    package: str
    name: str
    make: Callable[[], tuple[Callable[..., Any], tuple[Tensor, ...]]]


def network(package: str, name: str, make: Callable[..., Any], *args: Any) -> Network:
    return Network(package, name, functools.partial(make, *args))


def first_tensor(outcome: Any) -> Tensor:
    """The first tensor of floating numbers in what a network returns."""
    leaves = pytree.tree_leaves(dict(outcome) if isinstance(outcome, dict) else outcome)
    return next(leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.is_floating_point())


def _small(model: nn.Module) -> nn.Module:
    count = sum(p.numel() for p in model.parameters())
    if count > LARGEST:
        raise ValueError(f"{count / 1e6:.0f} million parameters")
    return model.eval()


# torchvision and timm: one network of each family, the smallest.
def torchvision_networks() -> Iterator[Network]:
    models = importlib.import_module("torchvision.models")
    families = (
        "alexnet convnext_tiny densenet121 efficientnet_b0 efficientnet_v2_s googlenet inception_v3 maxvit_t "
        "mnasnet0_5 mobilenet_v2 mobilenet_v3_small regnet_x_400mf regnet_y_400mf resnet18 resnet50 "
        "resnext50_32x4d shufflenet_v2_x0_5 squeezenet1_1 swin_t swin_v2_t vgg11_bn vit_b_32 wide_resnet50_2"
    )
    for name in families.split():
        yield network("torchvision", name, _of_torchvision, models, name)
    for name in ("deeplabv3_mobilenet_v3_large", "fcn_resnet50", "lraspp_mobilenet_v3_large"):
        yield network("torchvision", name, _of_torchvision, models, name)
    for name in ("mc3_18", "mvit_v2_s", "r2plus1d_18", "r3d_18", "s3d", "swin3d_t"):
        yield network("torchvision", name, _of_torchvision, models, name, 5)
    yield network("torchvision", "raft_small", _of_torchvision, models, "raft_small", 2)
    for name in (
        "fasterrcnn_mobilenet_v3_large_320_fpn", "fasterrcnn_resnet50_fpn_v2", "fcos_resnet50_fpn",
        "keypointrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn", "retinanet_resnet50_fpn",
        "ssdlite320_mobilenet_v3_large", "ssd300_vgg16",
    ):  # fmt: skip
        yield network("torchvision", name, _of_torchvision, models, name, 0)


def _of_torchvision(models: Any, name: str, rank: int = 4) -> Any:
    plain: dict[str, Any] = {"weights": None}
    detects = rank == 0
    if "weights_backbone" in inspect.signature(models.get_model_builder(name)).parameters:
        plain["weights_backbone"] = None
    model = models.get_model(name, **plain).eval()
    side = 224 if name in ("maxvit_t", "vit_b_32") else 128
    if rank == 2:
        x = torch.rand(1, 3, side, side)
        return lambda a, b: model(a, b)[-1], (x, x.roll(1, -1))
    if rank == 5:
        frames = 16 if name in ("mvit_v2_s", "s3d") else 4
        x = (
            torch.rand(1, 3, frames, 224, 224)
            if "mvit" in name or name == "s3d"
            else torch.rand(1, 3, frames, 64, 64)
        )
        return model, (x,)
    x = torch.rand(1, 3, side, side)
    return (lambda z: first_tensor(model(list(z)))) if detects else (
        lambda z: first_tensor(model(z))
    ), (x,)


def timm_networks() -> Iterator[Network]:
    timm = importlib.import_module("timm")
    for family in timm.list_modules():
        names = timm.list_models(module=family)
        if names:
            yield network("timm", family, _of_timm, timm, names)


SIZES = [
    "test_",
    "nano",
    "pico",
    "femto",
    "atto",
    "tiny",
    "xxs",
    "xs",
    "small",
    "mini",
    "18",
    "26",
    "34",
    "50",
    "s",
]


def _of_timm(timm: Any, names: list[str]) -> Any:
    rank = {n: next((i for i, size in enumerate(SIZES) if size in n), 99) for n in names}
    best = sorted(names, key=lambda n: (rank[n], len(n)))[:8]
    error: Exception = ValueError("none can be built")
    for name in best:
        try:
            with torch.device("meta"):
                _small(timm.create_model(name))
            model = _small(timm.create_model(name))
        except Exception as raised:  # the next one may do
            error = raised
            continue
        return model, (torch.rand(1, *model.default_cfg["input_size"]),)
    raise error


# transformers: every architecture from a configuration of small numbers.
def transformers_networks() -> Iterator[Network]:
    auto = importlib.import_module("transformers.models.auto.configuration_auto")
    models = importlib.import_module("transformers.models.auto.modeling_auto")
    for kind in auto.CONFIG_MAPPING_NAMES:
        if kind in models.MODEL_MAPPING_NAMES:
            yield network("transformers", kind, _of_transformers, kind)


NUMBERS = {
    "hidden_size": 32, "d_model": 32, "n_embd": 32, "dim": 32, "embed_dim": 32, "num_hidden_layers": 2,
    "num_layers": 2, "n_layer": 2, "n_layers": 2, "encoder_layers": 2, "decoder_layers": 2,
    "num_attention_heads": 4, "num_heads": 4, "n_head": 4, "n_heads": 4, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 48,
    "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "ffn_dim": 48, "d_ff": 48, "d_kv": 8, "vocab_size": 128,
    "max_position_embeddings": 64, "n_positions": 64, "num_local_experts": 4, "num_experts": 4,
    "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "image_size": 64,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "state_size": 8, "embedding_size": 32,
}  # fmt: skip


def _reduced(known: dict[str, Any], keys: Callable[[str], bool]) -> dict[str, Any]:
    """Small numbers in place of a configuration's own, in the configurations inside of it, too."""
    numbers: dict[str, Any] = {
        k: v for k, v in NUMBERS.items() if keys(k) and isinstance(known.get(k), int)
    }
    inside = {k: v for k, v in known.items() if k.endswith("config") and isinstance(v, dict)}
    return numbers | {k: {**_plain(v), **_reduced(v, keys)} for k, v in inside.items()}


def _plain(inside: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in inside.items() if k == "model_type"}


def _configs(kind: str) -> list[Callable[[], Any]]:
    """Most configurations take all small numbers; those that hold them against others get fewer."""
    made = importlib.import_module("transformers").AutoConfig
    known = made.for_model(kind).to_dict()
    tries = (lambda _: True, lambda k: "layer" in k or k == "vocab_size", lambda _: False)
    return [functools.partial(made.for_model, kind, **_reduced(known, keys)) for keys in tries]


def _of_transformers(kind: str) -> Any:
    auto = importlib.import_module("transformers").AutoModel
    error: Exception = ValueError("none can be built")
    for config in _configs(kind):
        try:
            with torch.device("meta"):
                _small(auto.from_config(config()))
            model = _small(auto.from_config(config()))
            called = _called(model)
        except Exception as raised:  # the next one may do
            error = raised
            continue
        return called
    raise error


def _called(model: Any) -> Any:
    """The network as a function of what it takes: embedded words, images, waves, series."""
    names = list(inspect.signature(model.forward).parameters)
    taken = next((name for name in TAKEN if name in names), None)
    if taken is None or (taken == "inputs_embeds" and "input_ids" not in names):
        raise ValueError(f"takes {names[:4]}")
    others: dict[str, Any] = {}
    if "decoder_input_ids" in names:
        others["decoder_input_ids"] = torch.ones(1, 4, dtype=torch.long)

    def function(x: Tensor) -> Tensor:
        return first_tensor(model(**{taken: x}, **others))

    error: Exception = ValueError("no shape")
    for shape in TAKEN[taken](model):
        try:
            with torch.no_grad():
                function(torch.rand(shape))
        except Exception as raised:  # the next one may do
            error = raised
            continue
        return function, (torch.rand(shape),)
    raise error


def _words(model: Any) -> list[Any]:
    width = getattr(model.config, "hidden_size", 32) or 32
    with contextlib.suppress(AttributeError, NotImplementedError):
        width = model.get_input_embeddings().weight.shape[-1]
    return [(1, 6, width)]


def _images(model: Any) -> list[Any]:
    size = getattr(model.config, "image_size", 64)
    side = next(iter(size), 64) if isinstance(size, list | tuple) else size
    side = side if isinstance(side, int) else 64
    return [(1, getattr(model.config, "num_channels", 3), side, side)]


def _series(model: Any) -> list[Any]:
    lags = getattr(model.config, "lags_sequence", None) or []
    length = model.config.context_length + max([0, *lags])
    return [(1, length, getattr(model.config, "num_input_channels", 1))]


TAKEN: dict[str, Callable[[Any], list[Any]]] = {
    "inputs_embeds": _words,
    "pixel_values": _images,
    "input_values": lambda _: [(1, 4000), (1, 1024, 128)],
    "input_features": lambda model: [
        (1, getattr(model.config, "num_mel_bins", 80), 3000),
        (1, 64, 80),
    ],
    "past_values": _series,
    "hidden_states": lambda _: [(1, 6, 32)],
}
"""The argument of floating numbers, and shapes that it may have."""
