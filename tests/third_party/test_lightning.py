"""The callback that adds a prior, under Lightning's own training, against a loop written by hand."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from in_two_ways import installed
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from captum_xdnn import XIntegratedGradients
from captum_xdnn.priors import gini_sparsity

lightning = installed("lightning")
pytestmark = pytest.mark.filterwarnings("ignore:::lightning", "ignore:::torch.utils.data")

X = torch.randn(24, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()
BATCH, RATE, WEIGHT = 8, 0.1, 0.5


def network(bias: bool = False) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 5, bias=bias), nn.ReLU(), nn.Linear(5, 2, bias=bias)).double()


def module(net: nn.Module, returns: str = "loss") -> Any:
    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)

        def training_step(self, batch: Any, index: int) -> Any:
            if returns == "none" and index == 1:
                return None
            if returns == "error":
                raise RuntimeError("broken off")
            loss = cross_entropy(self(batch[0]), batch[1])
            return {"loss": loss, "more": 1} if returns == "dictionary" else loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), RATE)

    return Module()


def fit(of: Any, prior: Any, folder: Path, **options: Any) -> Any:
    logging.getLogger("lightning.pytorch").setLevel("ERROR")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of workers, log intervals and the like
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
            callbacks=[prior],
            **options,
        )
        data = torch.utils.data.TensorDataset(X, Y)
        trainer.fit(of, torch.utils.data.DataLoader(data, BATCH))
    return trainer


def by_hand(net: nn.Module, weight: float, accumulated: int = 1, without: int = -1) -> list[Tensor]:
    optimizer = torch.optim.SGD(net.parameters(), RATE)
    xig = XIntegratedGradients(net)
    for step, (x, y) in enumerate(zip(X.split(BATCH), Y.split(BATCH), strict=True)):
        if step == without:
            continue
        loss = cross_entropy(net(x), y)
        attributions = xig.attribute(x, target=y, create_graph=True)
        loss = loss + weight * gini_sparsity(attributions)
        (loss / accumulated).backward(inputs=list(net.parameters()))
        if (step + 1) % accumulated == 0:
            optimizer.step()
            optimizer.zero_grad()
    return [p.detach() for p in net.parameters()]


@pytest.fixture
def prior() -> Any:
    from lightning_prior import AttributionPrior

    return AttributionPrior(gini_sparsity, WEIGHT)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("returns", ["loss", "dictionary", "none"])
def test_it_is_the_loop_by_hand(prior: Any, bias: bool, returns: str, tmp_path: Path) -> None:
    trained = network(bias)
    trainer = fit(module(trained, returns), prior, tmp_path)
    expected = by_hand(network(bias), WEIGHT, without=1 if returns == "none" else -1)
    torch.testing.assert_close([p.detach() for p in trained.parameters()], expected)
    without = by_hand(network(bias), 0.0)
    assert not torch.allclose(expected[0], without[0], rtol=1e-3)
    assert prior.xig.last_route == ("hoisted" if bias else "single_pass")
    assert -1 < trainer.logged_metrics["attribution_prior"] < 0


def test_accumulated_gradients(prior: Any, tmp_path: Path) -> None:
    trained = network()
    fit(module(trained), prior, tmp_path, accumulate_grad_batches=3)
    expected = by_hand(network(), WEIGHT, accumulated=3)
    torch.testing.assert_close([p.detach() for p in trained.parameters()], expected)


def test_the_module_has_its_own_loss_afterwards(prior: Any, tmp_path: Path) -> None:
    whole = module(network())
    for _ in range(2):
        fit(whole, prior, tmp_path)
        assert "training_step" not in vars(whole)
    broken = module(network(), "error")
    with pytest.raises(RuntimeError, match="broken off"):
        fit(broken, prior, tmp_path)
    assert "training_step" not in vars(broken)
