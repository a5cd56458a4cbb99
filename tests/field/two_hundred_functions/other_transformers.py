"""Networks of images, sound and series of transformers, from small configurations."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import Tensor, nn

from .explained import Apply, Explained, Maker, as_trained

SMALL = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "image_size": 32, "patch_size": 8, "num_labels": 5, "attn_implementation": "eager",
}  # fmt: skip
STAGES = {"hidden_sizes": [8, 16], "depths": [1, 1], "num_labels": 5}


def made(kind: str, base: str, *, trained: bool = True, **options: Any) -> nn.Module:
    """A network of a class of transformers'."""
    net = getattr(transformers, kind)(getattr(transformers, f"{base}Config")(**options))
    return as_trained(net) if trained else net.eval()


def seen(
    kind: str,
    base: str,
    *,
    common: Any = None,
    call: Any = None,
    trained: bool = True,
    **options: Any,
) -> Explained:
    """A network of images, its second class."""
    net = made(kind, base, trained=trained, **{**(SMALL if common is None else common), **options})
    return Explained(
        Apply(lambda x, f: f(x).logits, net).eval(),
        torch.randn(2, 3, 32, 32),
        {"target": 1, "n_steps": 12, **(call or {})},
    )


def vision_layer(method: str, path: str, **call: Any) -> Explained:
    explained = seen("ViTForImageClassification", "ViT")
    net = explained.function.parts[0]
    return Explained(
        explained.function,
        explained.inputs,
        {"n_steps": 10, **call},
        method,
        net.get_submodule(path),
    )


def clip() -> Explained:
    """How well an image fits a text, by CLIP."""
    text = {
        "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 24, "max_position_embeddings": 8, "eos_token_id": 39, "bos_token_id": 1, "pad_token_id": 0,
    }  # fmt: skip
    vision = {key: value for key, value in SMALL.items() if key != "num_labels"}
    net = made("CLIPModel", "CLIP", text_config=text, vision_config=vision, projection_dim=8)
    words = torch.tensor([[1, 5, 9, 39], [1, 7, 20, 39]])
    function = Apply(lambda x, f: f(pixel_values=x, input_ids=words).logits_per_image, net).eval()
    return Explained(function, torch.randn(2, 3, 32, 32), {"target": 1, "n_steps": 10})


def segmented() -> Explained:
    """A class over all places of a SegFormer."""
    options = {
        "num_encoder_blocks": 2, "depths": [1, 1], "sr_ratios": [2, 1], "hidden_sizes": [8, 16],
        "patch_sizes": [7, 3], "strides": [4, 2], "num_attention_heads": [1, 2], "mlp_ratios": [2, 2],
        "decoder_hidden_size": 8, "num_labels": 4,
    }  # fmt: skip
    net = made("SegformerForSemanticSegmentation", "Segformer", **options)
    return Explained(
        Apply(lambda x, f: f(x).logits.sum((2, 3)), net).eval(),
        torch.randn(1, 3, 32, 32),
        {"target": 1, "n_steps": 10},
    )


def depth() -> Explained:
    """The mean of a depth map of DPT's."""
    net = made(
        "DPTForDepthEstimation",
        "DPT",
        **{**SMALL, "num_hidden_layers": 4},
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[4, 4, 8, 8],
        fusion_hidden_size=8,
    )
    return Explained(
        Apply(lambda x, f: f(x).predicted_depth.mean((1, 2)), net).eval(),
        torch.randn(1, 3, 32, 32),
        {"n_steps": 6},
    )


def heard(kind: str, base: str, **options: Any) -> Explained:
    """A network of sound waves."""
    common = {
        "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24,
        "conv_dim": [8, 8], "conv_kernel": [8, 4], "conv_stride": [4, 2], "num_feat_extract_layers": 2,
        "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2, "num_labels": 3,
        "classifier_proj_size": 8, "attn_implementation": "eager", "mask_time_prob": 0.0,
    }  # fmt: skip
    net = made(kind, base, **{**common, **options})
    return Explained(
        Apply(lambda x, f: f(x).logits, net).eval(),
        torch.randn(2, 400),
        {"target": 1, "n_steps": 10},
    )


def whisper() -> Explained:
    """The mean state of Whisper's encoder, by the spectrogram."""
    net = made(
        "WhisperModel", "Whisper", vocab_size=40, d_model=16, encoder_layers=2, decoder_layers=1,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=24, decoder_ffn_dim=24,
        num_mel_bins=10, max_source_positions=20, max_target_positions=10, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, decoder_start_token_id=1,
    ).encoder  # fmt: skip
    return Explained(
        Apply(lambda x, f: f(x).last_hidden_state.mean(1), net).eval(),
        torch.randn(2, 10, 40),
        {"target": 1, "n_steps": 12},
    )


def spectrum() -> Explained:
    """A network of spectrograms, cut into patches."""
    net = made(
        "ASTForAudioClassification",
        "AST",
        **{k: v for k, v in SMALL.items() if k != "image_size"},
        num_mel_bins=16,
        max_length=32,
        time_stride=8,
        frequency_stride=8,
    )
    return Explained(
        Apply(lambda x, f: f(x).logits, net).eval(),
        torch.randn(2, 32, 16),
        {"target": 1, "n_steps": 12},
    )


def forecast(kind: str, base: str, read: Any = None, **options: Any) -> Explained:
    """The second channel's mean over the horizon."""
    common = {
        "num_input_channels": 3, "context_length": 24, "prediction_length": 6, "patch_length": 6,
        "patch_stride": 6, "d_model": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "ffn_dim": 24,
    }  # fmt: skip
    net = made(kind, base, **{**common, **options})
    read = read or (lambda found: found.prediction_outputs.mean(1))
    return Explained(
        Apply(lambda x, f: read(f(past_values=x)), net).eval(),
        torch.randn(2, 24, 3).cumsum(1),
        {"target": 1, "n_steps": 12},
    )


def decision() -> Explained:
    """The next action of a decision transformer, by what was seen, done and gained."""
    net = made(
        "DecisionTransformerModel", "DecisionTransformer", state_dim=4, act_dim=2, hidden_size=16,
        max_ep_len=20, n_layer=1, n_head=2, action_tanh=True,
    )  # fmt: skip

    def compute(states: Tensor, actions: Tensor, returns: Tensor, f: Any) -> Tensor:
        times = torch.arange(states.shape[1]).expand(len(states), -1)
        mask = torch.ones_like(times)
        found = f(
            states=states, actions=actions, rewards=returns, returns_to_go=returns,
            timesteps=times, attention_mask=mask,
        )  # fmt: skip
        return found.action_preds[:, -1]

    inputs = torch.randn(2, 5, 4), torch.randn(2, 5, 2), torch.randn(2, 5, 1)
    return Explained(Apply(compute, net).eval(), inputs, {"target": 1, "n_steps": 10})


def perceiver() -> Explained:
    """A Perceiver of vectors."""
    config = transformers.PerceiverConfig(
        num_latents=4, d_latents=8, d_model=12, num_blocks=1, num_self_attends_per_block=1,
        num_self_attention_heads=2, num_cross_attention_heads=2, num_labels=3,
    )  # fmt: skip
    net = as_trained(transformers.PerceiverModel(config))
    function = Apply(lambda x, f: f(x).last_hidden_state.mean(1), net).eval()
    return Explained(function, torch.randn(2, 6, 12), {"target": 1, "n_steps": 10})


def masked_pixels() -> Explained:
    """The error of a masked autoencoder, whose mask is drawn anew in each pass."""
    net = made(
        "ViTMAEForPreTraining", "ViTMAE", **{k: v for k, v in SMALL.items() if k != "num_labels"},
        decoder_hidden_size=8, decoder_num_hidden_layers=1, decoder_num_attention_heads=2, decoder_intermediate_size=12,
    )  # fmt: skip

    def compute(x: Tensor, f: Any) -> Tensor:
        return f(x).logits.square().mean((1, 2))

    return Explained(Apply(compute, net).eval(), torch.randn(1, 3, 32, 32), {"n_steps": 6})


FUNCTIONS: dict[str, Maker] = {
    "ViT": lambda: seen("ViTForImageClassification", "ViT"),
    "ViT, PyTorch's attention": lambda: seen(
        "ViTForImageClassification", "ViT", attn_implementation="sdpa"
    ),
    "ViT, layer IG of the patches": lambda: vision_layer(
        "LayerIntegratedGradients", "vit.embeddings.patch_embeddings", target=1
    ),
    "ViT, layer conductance": lambda: vision_layer(
        "LayerConductance", "vit.embeddings.patch_embeddings", target=1
    ),
    "ViT, neuron IG": lambda: vision_layer(
        "NeuronIntegratedGradients", "vit.embeddings.patch_embeddings", neuron_selector=(2, 3)
    ),
    "DeiT": lambda: seen("DeiTForImageClassification", "DeiT"),
    "BEiT": lambda: seen("BeitForImageClassification", "Beit"),
    "DINOv2": lambda: seen("Dinov2ForImageClassification", "Dinov2"),
    "Swin": lambda: seen(
        "SwinForImageClassification",
        "Swin",
        common={},
        image_size=32,
        patch_size=4,
        embed_dim=8,
        depths=[1, 1],
        num_heads=[2, 2],
        window_size=4,
        num_labels=5,
    ),
    "ConvNeXt": lambda: seen(
        "ConvNextForImageClassification", "ConvNext", common=STAGES, num_stages=2
    ),
    "ConvNeXt, version 2": lambda: seen(
        "ConvNextV2ForImageClassification", "ConvNextV2", common=STAGES, num_stages=2
    ),
    "ResNet": lambda: seen(
        "ResNetForImageClassification",
        "ResNet",
        common=STAGES,
        embedding_size=8,
        layer_type="basic",
    ),
    "ResNet before training": lambda: seen(
        "ResNetForImageClassification", "ResNet", common=STAGES, embedding_size=8, trained=False
    ),
    "RegNet": lambda: seen(
        "RegNetForImageClassification", "RegNet", common=STAGES, embedding_size=8, groups_width=4
    ),
    "MobileNet, version 1": lambda: seen(
        "MobileNetV1ForImageClassification",
        "MobileNetV1",
        common={},
        depth_multiplier=0.25,
        num_labels=5,
        call={"n_steps": 6},
    ),
    "PoolFormer": lambda: seen(
        "PoolFormerForImageClassification",
        "PoolFormer",
        common={},
        num_encoder_blocks=2,
        depths=[1, 1],
        hidden_sizes=[8, 16],
        patch_sizes=[7, 3],
        strides=[4, 2],
        padding=[2, 1],
        num_labels=5,
    ),
    "MobileViT": lambda: seen(
        "MobileViTForImageClassification",
        "MobileViT",
        common={},
        image_size=32,
        hidden_sizes=[8, 12, 16],
        neck_hidden_sizes=[4, 4, 8, 8, 12, 16, 16],
        num_attention_heads=2,
        num_labels=5,
        call={"n_steps": 6},
    ),
    "CLIP, an image and a text": clip,
    "SegFormer": segmented,
    "DPT, depth": depth,
    "masked autoencoder, a mask in each pass": masked_pixels,
    "wav2vec 2": lambda: heard("Wav2Vec2ForSequenceClassification", "Wav2Vec2"),
    "HuBERT": lambda: heard("HubertForSequenceClassification", "Hubert"),
    "Whisper, encoder": whisper,
    "audio spectrogram transformer": spectrum,
    "PatchTST": lambda: forecast("PatchTSTForPrediction", "PatchTST"),
    "PatchTSMixer": lambda: forecast("PatchTSMixerForPrediction", "PatchTSMixer", num_layers=2),
    "decision transformer": decision,
    "Perceiver": perceiver,
}
