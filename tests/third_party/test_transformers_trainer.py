"""The ``Trainer`` with a prior, under Hugging Face's own training, against a loop written by hand."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from in_two_ways import installed
from torch import nn

from captum_xdnn.priors import l1

transformers = installed("transformers")
installed("accelerate")
pytestmark = pytest.mark.filterwarnings("ignore:::transformers", "ignore:::accelerate")

RATE, WEIGHT, LENGTH = 0.05, 3.0, 5


def bert() -> Any:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=12, max_position_embeddings=LENGTH, num_labels=2,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, attn_implementation="eager",
    )  # fmt: skip
    return transformers.BertForSequenceClassification(config)


def samples() -> list[dict[str, torch.Tensor]]:
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 20, (8, LENGTH), generator=draw)
    mask = torch.ones_like(ids)
    mask[::2, 3:] = 0
    labels = (ids[:, 0] > 10).long()
    return [
        {"input_ids": i, "attention_mask": m, "labels": y}
        for i, m, y in zip(ids, mask, labels, strict=True)
    ]


def trained(model: Any, weight: float, folder: Path, **options: Any) -> Any:
    from trainer_prior import PriorTrainer, of_embeddings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what this machine has not
        arguments = transformers.TrainingArguments(
            output_dir=str(folder),
            use_cpu=True,
            num_train_epochs=1,
            learning_rate=RATE,
            lr_scheduler_type="constant",
            max_grad_norm=0.0,
            optim="sgd",
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            dataloader_pin_memory=False,
            train_sampling_strategy="sequential",
            **options,
        )
        trainer = PriorTrainer(
            model, arguments, train_dataset=samples(), prior=l1, weight=weight, attribute=of_embeddings
        )  # fmt: skip
        trainer.train()
    return trainer


def batch(rows: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def by_hand(model: Any, weight: float, size: int, accumulated: int) -> None:
    from trainer_prior import of_embeddings

    model.train()
    optimizer = torch.optim.SGD(model.parameters(), RATE)
    rows = samples()
    for step in range(len(rows) // size):
        inputs = batch(rows[step * size : (step + 1) * size])
        loss = model(**inputs).loss + weight * l1(of_embeddings(model, inputs))
        (loss / accumulated).backward()
        if (step + 1) % accumulated == 0:
            optimizer.step()
            optimizer.zero_grad()


@pytest.mark.parametrize("accumulated", [1, 2])
def test_it_is_the_loop_by_hand(accumulated: int, tmp_path: Path) -> None:
    model, same, plain = bert(), bert(), bert()
    options = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": accumulated}
    trained(model, WEIGHT, tmp_path, **options)
    by_hand(same, WEIGHT, 2, accumulated)
    close = {"rtol": 1e-4, "atol": 1e-6}
    torch.testing.assert_close(model.state_dict(), same.state_dict(), **close)
    trained(plain, 0.0, tmp_path, **options)
    weight, without = model.classifier.weight, plain.classifier.weight
    assert (weight - without).abs().max() > 1e-3


def test_evaluation_is_without_the_prior(tmp_path: Path) -> None:
    model = bert()
    trainer = trained(model, WEIGHT, tmp_path, per_device_train_batch_size=8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        measured = trainer.evaluate(samples())
    model.eval()
    with torch.no_grad():
        assert measured["eval_loss"] == pytest.approx(model(**batch(samples())).loss.item())


def test_the_attributions_are_captums_but_for_the_graph() -> None:
    from captum.attr import IntegratedGradients
    from trainer_prior import of_embeddings

    model, inputs = bert().eval(), batch(samples())
    ours = of_embeddings(model, inputs)
    assert ours.requires_grad
    captums = IntegratedGradients(
        lambda e, m: model(inputs_embeds=e, attention_mask=m).logits
    ).attribute(
        model.get_input_embeddings()(inputs["input_ids"]).detach(),
        target=inputs["labels"],
        additional_forward_args=(inputs["attention_mask"],),
        n_steps=10,
    )
    expected = captums.sum(-1) * inputs["attention_mask"]
    torch.testing.assert_close(ours.detach(), expected.to(ours.dtype), rtol=1e-4, atol=1e-6)


def test_another_loss_function_is_refused(tmp_path: Path) -> None:
    from trainer_prior import PriorTrainer, of_embeddings

    with pytest.raises(ValueError, match="compute_loss_func"):
        PriorTrainer(
            nn.Linear(1, 1),
            transformers.TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[]),
            compute_loss_func=lambda *_: None,
            prior=l1,
            weight=1.0,
            attribute=of_embeddings,
        )
