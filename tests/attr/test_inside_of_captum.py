"""Captum's own classes that are given a method: concepts, language models."""

import warnings
from itertools import pairwise

import pytest
import torch
from captum.attr import LayerIntegratedGradients, LLMGradientAttribution, TextTokenInput
from captum.concept import TCAV, Classifier, Concept
from torch import Tensor, nn

from captum_xdnn import XLayerIntegratedGradients


class Directions(Classifier):
    """The difference of the means of two concepts: the same for the same activations."""

    def __init__(self) -> None:
        pass

    def train_and_eval(self, dataloader, **_):
        rows, labels = map(torch.cat, zip(*dataloader, strict=True))
        self._classes = labels.unique().tolist()
        means = [rows[labels == c].mean(0) for c in self._classes]
        self._weights = torch.stack([means[0] - means[1], means[1] - means[0]])
        return {"accs": torch.tensor(1.0)}

    def weights(self):
        return self._weights

    def classes(self):
        return self._classes


class Images(torch.utils.data.IterableDataset):
    """A concept: images that are brighter the larger its number."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __iter__(self):
        generator = torch.Generator().manual_seed(self.number)
        return iter([torch.randn(3, 8, 8, generator=generator) + self.number for _ in range(10)])


def scores(method: type, folder: str, *, bias: bool) -> list[Tensor]:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=bias), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5, bias=bias)
    ).eval()
    concepts = [
        Concept(id=n, name=f"c{n}", data_iter=torch.utils.data.DataLoader(Images(n), batch_size=5))
        for n in range(3)
    ]
    layers = ["0", "1"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Captum's, of its default classifier
        concept_vectors = TCAV(
            network,
            layers=layers,
            classifier=Directions(),
            layer_attr_method=method(network, None, multiply_by_inputs=False),
            save_path=folder,
        )
    images = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(9))
    found = []
    for pair in pairwise(concepts):
        result = concept_vectors.interpret(images, [list(pair)], target=0, n_steps=50)
        found += [of[layer]["magnitude"] for of in result.values() for layer in layers]
    return found


@pytest.mark.parametrize("bias", [True, False])
def test_concepts(tmp_path, bias):
    theirs = scores(LayerIntegratedGradients, str(tmp_path / "theirs"), bias=bias)
    ours = scores(XLayerIntegratedGradients, str(tmp_path / "ours"), bias=bias)
    assert len(ours) == 4
    assert all(t.abs().max() > 0 for t in theirs)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


class Letters:
    """A tokenizer of single letters."""

    pad_token_id, eos_token_id, bos_token_id, sep_token = 0, 1, 2, "?"

    def encode(self, text, return_tensors=None, add_special_tokens=True, **_):
        ids = [2] * add_special_tokens + [ord(word) - 94 for word in text.split()]
        return torch.tensor([ids]) if return_tensors == "pt" else ids

    def __call__(self, text, **_):
        ids = self.encode(text, add_special_tokens=False)
        return {
            "input_ids": ids,
            "offset_mapping": [(2 * i, 2 * i + 1) for i, _ in enumerate(ids)],
        }

    def convert_ids_to_tokens(self, ids):
        return ["?" if i < 3 else chr(int(i) + 94) for i in ids]

    def convert_tokens_to_ids(self, tokens):
        return [0 if t == "?" else ord(t) - 94 for t in tokens]

    def decode(self, ids, **_):
        return " ".join(self.convert_ids_to_tokens(ids))


class Language(nn.Module):
    """The next letter, from all before it; it answers as Hugging Face's models do."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.letters = nn.Embedding(32, 8)
        self.mix = nn.GRU(8, 16, batch_first=True)
        self.next = nn.Linear(16, 32)

    def forward(self, ids, attention_mask=None, **_):
        logits = self.next(self.mix(self.letters(ids))[0])
        return type("Answer", (), {"logits": logits})()


def test_a_language_model():
    model = Language().eval()
    for text in ("a b c d", "b c d e f", "a b c d"):
        found = []
        for method in (LayerIntegratedGradients, XLayerIntegratedGradients):
            explainer = LLMGradientAttribution(method(model, model.letters), Letters())
            found.append(explainer.attribute(TextTokenInput(text, Letters()), target="e f g"))
        theirs, ours = found
        assert theirs.input_tokens == ours.input_tokens
        assert theirs.seq_attr.abs().max() > 0
        torch.testing.assert_close(ours.seq_attr, theirs.seq_attr)
        torch.testing.assert_close(ours.token_attr, theirs.token_attr)
