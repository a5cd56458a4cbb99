"""Networks of language of transformers, from small configurations: by embeddings and by their layer."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
import transformers
from torch import Tensor, nn

from .explained import Apply, Explained, Maker, as_trained

CACHE = "past_key_values"
WORDS, WIDTH, LENGTH, LABELS = 60, 16, 7, 3
SMALL = {
    "vocab_size": WORDS, "hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 24, "max_position_embeddings": 32, "num_labels": LABELS, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2, "attn_implementation": "eager",
}  # fmt: skip


def network(kind: str, base: str, **options: Any) -> nn.Module:
    """A network of a class of transformers', as it is before training."""
    config = getattr(transformers, f"{base}Config")(**{**SMALL, **options})
    return getattr(transformers, kind)(config)


def tokens(batch: int = 2) -> Tensor:
    return torch.randint(3, WORDS, (batch, LENGTH))


def padding() -> Tensor:
    """The second text is shorter."""
    return torch.tensor([[1] * LENGTH, [1] * 4 + [0] * 3])


def answered(kind: str, base: str, read: Any = None, **options: Any) -> nn.Module:
    """A network of embeddings and a mask, which gives its logits (or what ``read`` makes of the output)."""
    net = as_trained(network(kind, base, **options))
    read = read or (lambda found: found.logits)
    return Apply(lambda x, m, f: read(f(inputs_embeds=x, attention_mask=m)), net).eval()


def by_embeddings(
    kind: str, base: str, read: Any = None, call: Any = None, **options: Any
) -> Explained:
    """The embeddings of words are the inputs, the mask a further argument."""
    width = options.pop("width", WIDTH)
    arguments = {"target": 1, "additional_forward_args": padding(), "n_steps": 16}
    return Explained(
        answered(kind, base, read, **options),
        torch.randn(2, LENGTH, width),
        {**arguments, **(call or {})},
    )


def last_word(found: Any) -> Tensor:
    """The logits of the word that comes next."""
    return found.logits[:, -1]


def mean_state(found: Any) -> Tensor:
    return found.last_hidden_state.mean(1)


def by_layer(
    kind: str, base: str, path: str, method: str = "LayerIntegratedGradients", **call: Any
) -> Explained:
    """Tokens are the inputs, padding the baseline, and a layer of the network is what is explained."""
    net = as_trained(network(kind, base))
    given = tokens()
    function = Apply(lambda t, m, f: f(t, attention_mask=m).logits, net).eval()
    arguments = {
        "target": 1, "baselines": torch.zeros_like(given), "additional_forward_args": padding(),
        "n_steps": 16, **call,
    }  # fmt: skip
    return Explained(function, given, arguments, method, net.get_submodule(path))


def of_layer(method: str) -> Explained:
    """The first layer of a network, by embeddings."""
    explained = by_embeddings("BertForSequenceClassification", "Bert", call={"n_steps": 8})
    net = explained.function.parts[0]
    layer = net.bert.encoder.layer[0].intermediate
    return Explained(explained.function, explained.inputs, explained.call, method, layer)


def answers(position: str) -> Explained:
    """As Captum's tutorial on BERT and questions: the best start or end of an answer."""
    net = as_trained(network("BertForQuestionAnswering", "Bert", num_labels=2))
    function = Apply(lambda t, m, f: getattr(f(t, attention_mask=m), position).amax(1), net).eval()
    given = tokens()
    call = {
        "baselines": torch.zeros_like(given),
        "additional_forward_args": padding(),
        "n_steps": 16,
    }
    return Explained(function, given, call, "LayerIntegratedGradients", net.bert.embeddings)


def several_embeddings() -> Explained:
    """The embeddings of words, of positions and of segments, each by its own layer."""
    net = as_trained(network("BertForSequenceClassification", "Bert"))
    given, table = tokens(), net.bert.embeddings
    function = Apply(lambda t, m, f: f(t, attention_mask=m).logits, net).eval()
    call = {
        "target": 1, "baselines": torch.zeros_like(given), "additional_forward_args": padding(), "n_steps": 8,
    }  # fmt: skip
    layers = [table.word_embeddings, table.token_type_embeddings]
    return Explained(function, given, call, "LayerIntegratedGradients", layers)


def similar() -> Explained:
    """The cosine of two sentences, each the mean of its states without the padding."""
    net = as_trained(network("BertModel", "Bert"))

    def sentence(x: Tensor, f: Any) -> Tensor:
        mask = padding().repeat(len(x) // 2, 1)
        found = f(inputs_embeds=x, attention_mask=mask).last_hidden_state
        return (found * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)

    compute = lambda a, b, f: F.cosine_similarity(sentence(a, f), sentence(b, f))  # noqa: E731
    inputs = torch.randn(2, LENGTH, WIDTH), torch.randn(2, LENGTH, WIDTH)
    return Explained(Apply(compute, net).eval(), inputs, {"n_steps": 12})


def likelihood() -> Explained:
    """The mean log likelihood of a text under a language model, by its embeddings."""
    net = as_trained(network("GPT2LMHeadModel", "GPT2"))
    wanted = tokens()

    def compute(x: Tensor, f: Any) -> Tensor:
        said = f(inputs_embeds=x).logits[:, :-1].log_softmax(2)
        return said.gather(2, wanted[:, 1:].repeat(len(x) // 2, 1)[..., None]).mean((1, 2))

    return Explained(Apply(compute, net).eval(), torch.randn(2, LENGTH, WIDTH), {"n_steps": 12})


def unbiased_classifier() -> Explained:
    """A bag of BERT's embeddings and two layers without biases."""
    table = network("BertModel", "Bert").embeddings.word_embeddings
    parts = nn.Linear(WIDTH, 12, bias=False), nn.Linear(12, LABELS, bias=False)
    net = Apply(lambda t, e, f, g: g(f(e(t).mean(1)).relu()), table, *parts)
    call = {"target": 1, "baselines": torch.zeros(2, LENGTH, dtype=torch.long)}
    return Explained(net, tokens(), call, "LayerIntegratedGradients", table)


def translated(base: str, kind: str, **options: Any) -> Explained:
    """The next word of a translation, by the embeddings of what is translated."""
    net = as_trained(network(kind, base, **options))

    def compute(x: Tensor, f: Any) -> Tensor:
        begun = torch.ones(len(x), 2, dtype=torch.long)
        return f(inputs_embeds=x, decoder_input_ids=begun).logits[:, -1]

    return Explained(
        Apply(compute, net).eval(), torch.randn(2, LENGTH, WIDTH), {"target": 5, "n_steps": 12}
    )


def cached() -> Explained:
    """A language model goes on from what it keeps of a beginning."""
    net = as_trained(network("GPT2LMHeadModel", "GPT2"))
    beginning = torch.randn(1, 3, WIDTH)

    def compute(x: Tensor, f: Any) -> Tensor:
        kept = f(inputs_embeds=beginning.to(x.dtype).expand(len(x), -1, -1), use_cache=True)
        return f(inputs_embeds=x, **{CACHE: kept.past_key_values}).logits[:, -1]

    return Explained(
        Apply(compute, net).eval(), torch.randn(2, 4, WIDTH), {"target": 5, "n_steps": 10}
    )


GPT2 = {"n_embd": WIDTH, "n_layer": 2, "n_head": 2, "n_positions": 32}
T5 = {
    "d_model": WIDTH,
    "d_kv": 8,
    "d_ff": 24,
    "num_layers": 2,
    "num_heads": 2,
    "decoder_start_token_id": 0,
}
BART = {
    "d_model": WIDTH, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24,
}  # fmt: skip
LLAMA = {"num_key_value_heads": 1}
GPT_NEO = {"num_layers": 2, "num_heads": 2, "attention_types": [[["global", "local"], 1]]}

FUNCTIONS: dict[str, Maker] = {
    "BERT": lambda: by_embeddings("BertForSequenceClassification", "Bert"),
    "BERT, PyTorch's attention": lambda: by_embeddings(
        "BertForSequenceClassification", "Bert", attn_implementation="sdpa"
    ),
    "BERT, probabilities": lambda: by_embeddings(
        "BertForSequenceClassification", "Bert", lambda found: found.logits.softmax(1)
    ),
    "BERT, a word behind a mask": lambda: by_embeddings(
        "BertForMaskedLM", "Bert", call={"target": (2, 17)}
    ),
    "BERT, the label of each word": lambda: by_embeddings(
        "BertForTokenClassification", "Bert", call={"target": [(2, 1), (3, 0)]}
    ),
    "BERT in training mode": lambda: _training(
        by_embeddings("BertForSequenceClassification", "Bert", call={"n_steps": 6})
    ),
    "BERT, one text after the other": lambda: by_embeddings(
        "BertForSequenceClassification", "Bert", call={"internal_batch_size": 2, "n_steps": 8}
    ),
    "BERT, layer IG of the embeddings": lambda: by_layer(
        "BertForSequenceClassification", "Bert", "bert.embeddings"
    ),
    "BERT, layer IG of the words": lambda: by_layer(
        "BertForSequenceClassification", "Bert", "bert.embeddings.word_embeddings"
    ),
    "BERT, layer IG of two embeddings": several_embeddings,
    "BERT, layer IG of what comes into a layer": lambda: by_layer(
        "BertForSequenceClassification",
        "Bert",
        "bert.encoder.layer.0.intermediate",
        attribute_to_layer_input=True,
    ),
    "BERT, layer conductance": lambda: of_layer("LayerConductance"),
    "BERT, internal influence": lambda: of_layer("InternalInfluence"),
    "BERT, start of an answer": lambda: answers("start_logits"),
    "BERT, end of an answer": lambda: answers("end_logits"),
    "cosine of two sentences": similar,
    "bag of words without biases": unbiased_classifier,
    "DistilBERT": lambda: by_embeddings(
        "DistilBertForSequenceClassification",
        "DistilBert",
        dim=WIDTH,
        hidden_dim=24,
        n_heads=2,
        n_layers=2,
    ),
    "RoBERTa": lambda: by_embeddings("RobertaForSequenceClassification", "Roberta"),
    "RoBERTa, layer IG of the words": lambda: by_layer(
        "RobertaForSequenceClassification", "Roberta", "roberta.embeddings.word_embeddings"
    ),
    "XLM-RoBERTa": lambda: by_embeddings("XLMRobertaForSequenceClassification", "XLMRoberta"),
    "CamemBERT": lambda: by_embeddings("CamembertForSequenceClassification", "Camembert"),
    "ALBERT": lambda: by_embeddings(
        "AlbertForSequenceClassification", "Albert", embedding_size=WIDTH
    ),
    "ELECTRA": lambda: by_embeddings(
        "ElectraForSequenceClassification", "Electra", embedding_size=WIDTH
    ),
    "MPNet": lambda: by_embeddings("MPNetForSequenceClassification", "MPNet"),
    "DeBERTa, version 2": lambda: by_embeddings(
        "DebertaV2ForSequenceClassification",
        "DebertaV2",
        type_vocab_size=0,
        relative_attention=True,
        position_buckets=8,
        pos_att_type=["p2c", "c2p"],
    ),
    "FNet": lambda: _without_mask(
        by_embeddings("FNetForSequenceClassification", "FNet", call={"n_steps": 8})
    ),
    "ConvBERT": lambda: by_embeddings(
        "ConvBertForSequenceClassification",
        "ConvBert",
        embedding_size=WIDTH,
        head_ratio=2,
        conv_kernel_size=3,
        num_attention_heads=4,
    ),
    "Nyströmformer": lambda: by_embeddings(
        "NystromformerForSequenceClassification",
        "Nystromformer",
        num_landmarks=7,
        segment_means_seq_len=7,
        call={"n_steps": 6},
    ),
    "MegatronBERT": lambda: by_embeddings("MegatronBertForSequenceClassification", "MegatronBert"),
    "GPT-2, the next word": lambda: by_embeddings("GPT2LMHeadModel", "GPT2", last_word, **GPT2),
    "GPT-2, likelihood of a text": likelihood,
    "GPT-2, going on from a beginning": cached,
    "GPT-Neo, the next word": lambda: by_embeddings(
        "GPTNeoForCausalLM", "GPTNeo", last_word, **GPT_NEO
    ),
    "OPT, the next word": lambda: by_embeddings(
        "OPTForCausalLM", "OPT", last_word, ffn_dim=24, word_embed_proj_dim=WIDTH
    ),
    "BLOOM, the next word": lambda: by_embeddings(
        "BloomForCausalLM", "Bloom", last_word, n_layer=2, n_head=2
    ),
    "Llama, the next word": lambda: by_embeddings("LlamaForCausalLM", "Llama", last_word, **LLAMA),
    "Mistral, the next word": lambda: by_embeddings(
        "MistralForCausalLM", "Mistral", last_word, **LLAMA
    ),
    "Qwen2, the next word": lambda: by_embeddings("Qwen2ForCausalLM", "Qwen2", last_word, **LLAMA),
    "Gemma, a class": lambda: by_embeddings(
        "GemmaForSequenceClassification", "Gemma", head_dim=8, **LLAMA
    ),
    "Mixtral, the next word": lambda: by_embeddings(
        "MixtralForCausalLM",
        "Mixtral",
        last_word,
        num_local_experts=4,
        call={"n_steps": 8},
        **LLAMA,
    ),
    "Mamba, the next word": lambda: by_embeddings(
        "MambaForCausalLM", "Mamba", last_word, state_size=4, call={"n_steps": 6}
    ),
    "T5, encoder": lambda: by_embeddings("T5EncoderModel", "T5", mean_state, **T5),
    "T5, the next word": lambda: translated("T5", "T5ForConditionalGeneration", **T5),
    "BART, the next word": lambda: translated("Bart", "BartForConditionalGeneration", **BART),
    "Pegasus, the next word": lambda: translated(
        "Pegasus", "PegasusForConditionalGeneration", **BART
    ),
    "CLIP, text": lambda: _of_clip(),
}


def _training(explained: Explained) -> Explained:
    explained.function.train()
    return explained


def _without_mask(explained: Explained) -> Explained:
    """For a network without attention."""
    net = explained.function.parts[0]
    del explained.call["additional_forward_args"]
    explained.function = Apply(lambda x, f: f(inputs_embeds=x).logits, net).eval()
    return explained


def _of_clip() -> Explained:
    """The embedding of a text, by the layer of its words."""
    config = transformers.CLIPTextConfig(
        **{**SMALL, "eos_token_id": WORDS - 1, "projection_dim": 8}
    )
    net = as_trained(transformers.CLIPTextModelWithProjection(config))
    given = tokens()
    given[:, -1] = WORDS - 1
    table = net.get_input_embeddings()
    function = Apply(lambda t, f: f(t).text_embeds, net).eval()
    call = {"target": 1, "n_steps": 12, "baselines": torch.zeros_like(given)}
    return Explained(function, given, call, "LayerIntegratedGradients", table)
