"""transformers-interpret explains tokens by ``LayerIntegratedGradients`` at the embeddings."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from in_two_ways import in_two_ways, installed

transformers = installed("transformers")
interpret = installed("transformers_interpret")

# Of transformers' and of the explainer's own code, with and without acceleration.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "the",
    "film",
    "was",
    "bad",
    "good",
    "very",
    "not",
    "a",
    "and",
    "plot",
]


@pytest.fixture(scope="module")
def classifier() -> Any:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        attn_implementation="eager",
    )
    return transformers.BertForSequenceClassification(config).eval()


@pytest.fixture
def tokenizer(tmp_path: Path) -> Any:
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(WORDS))
    return transformers.BertTokenizer(str(vocabulary))


def test_words_of_a_sentence(classifier: Any, tokenizer: Any) -> None:
    """The embeddings of the baseline's tokens are not zero, and a softmax normalises: Captum's route."""

    def call() -> tuple[Any, ...]:
        explainer = interpret.SequenceClassificationExplainer(classifier, tokenizer)
        words = explainer("the film was not very good")
        return words, explainer.pred_probs, explainer.attributions.delta

    (words, probability, delta), (ours, our_probability, our_delta), routes = in_two_ways(call)
    assert routes.total() == 1
    assert [word for word, _ in ours] == [
        "[CLS]",
        "the",
        "film",
        "was",
        "not",
        "very",
        "good",
        "[SEP]",
    ]
    assert [number for _, number in ours] == pytest.approx(
        [number for _, number in words], rel=1e-4, abs=1e-5
    )
    # What the explainer keeps from inside of its forward function is a tensor as ever.
    assert type(our_probability) is torch.Tensor
    assert math.isclose(float(our_probability), float(probability), rel_tol=1e-5)
    assert_close = torch.testing.assert_close
    assert_close(our_delta, delta, rtol=0, atol=1e-4)
