"""A whole data set: what writing it costs over attributing it, and Captum's Integrated Gradients."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from captum.attr import IntegratedGradients
from torch.utils.data import ConcatDataset, DataLoader, Subset, TensorDataset

from captum_xdnn import XIntegratedGradients
from captum_xdnn.data import load_fashion_mnist_samples
from captum_xdnn.dataset import SumChannels, TopK, attribute_dataset
from captum_xdnn.models import x_cnn_small

from .report import Report
from .timing import Timings, interleaved

SECTION = "A whole data set, 10,000 images through x_cnn_small, batches of 128"
COUNT, OF_CAPTUM, STEPS = 10_000, 512, 50
ROUNDS = 3


@pytest.fixture(scope="module")
def images(request: pytest.FixtureRequest, report: Report) -> Any:
    """The test images of Fashion-MNIST, or the bundled ones as often as it takes."""
    root = request.config.getoption("--data")
    if root is not None:
        from torchvision.datasets import FashionMNIST
        from torchvision.transforms import ToTensor

        report.add(SECTION, "images", "the test images of Fashion-MNIST", "", held=True)
        return FashionMNIST(root, train=False, transform=ToTensor())
    ten, labels, _ = load_fashion_mnist_samples()
    report.add(
        SECTION, "images", f"the {len(ten)} bundled ones, {COUNT // len(ten)} times", "", held=True
    )
    return ConcatDataset([TensorDataset(ten, labels)] * (COUNT // len(ten)))


@pytest.fixture(scope="module")
def timings(images: Any, device: torch.device, tmp_path_factory: pytest.TempPathFactory) -> Timings:
    """Seconds for one image."""
    model = x_cnn_small(weights="DEFAULT").eval().to(device)
    folder = tmp_path_factory.mktemp("shards") / "out"
    xig, captum = XIntegratedGradients(model), IntegratedGradients(model)
    loader, some = DataLoader(images, 128), DataLoader(Subset(images, range(OF_CAPTUM)), 128)

    def bare(method: Any, batches: Any) -> None:
        for x, y in batches:
            method.attribute(x.to(device), target=y.to(device))

    def written() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        run = attribute_dataset(xig, loader, folder, progress=False)
        assert (run.attributed, run.rejects) == (COUNT, ())

    taken = interleaved(
        {
            "bare": lambda: bare(xig, loader),
            "written": written,
            "captum": lambda: bare(captum, some),
        },
        rounds=ROUNDS,
        device=device,
    )
    counts = {"bare": COUNT, "written": COUNT, "captum": OF_CAPTUM}
    return Timings({name: [t / counts[name] for t in each] for name, each in taken.rounds.items()})


def test_writing_costs_little(timings: Timings, report: Report) -> None:
    ratio = timings.ratio("written", "bare")
    figure = f"{ratio:.3f}x"
    report.add(
        SECTION, "`attribute_dataset` over the bare loop", figure, "<= 1.15x", held=ratio <= 1.15
    )
    assert ratio <= 1.15


def test_it_is_faster_than_captum(timings: Timings, report: Report) -> None:
    ratio = timings.ratio("captum", "written")
    subject = f"IG({STEPS}) in a bare loop over `attribute_dataset`, for each image"
    report.add(SECTION, subject, f"{ratio:.1f}x", ">= 20x", held=ratio >= 20)
    for name, subject in (("written", "`attribute_dataset`"), ("captum", f"IG({STEPS})")):
        figure = f"{1 / timings.median(name):,.0f} images in a second on this machine"
        report.add(SECTION, subject, figure, "", held=True)
    assert ratio >= 20


@pytest.mark.parametrize(
    "reduce", [None, SumChannels(), TopK(20)], ids=["dense", "summed over channels", "top 20"]
)
def test_bytes_of_an_image(
    reduce: Any, images: Any, report: Report, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    xig = XIntegratedGradients(x_cnn_small(weights="DEFAULT").eval())
    loader = DataLoader(Subset(images, range(2048)), 128)
    attribute_dataset(xig, loader, tmp_path, reduce=reduce, progress=False)
    size = sum(path.stat().st_size for path in tmp_path.glob("shard-*")) / 2048
    kind = request.node.callspec.id
    report.add(
        SECTION,
        f"written for each image of 1 x 28 x 28, {kind}",
        f"{size:,.0f} bytes",
        "",
        held=True,
    )
    assert size < 2 * 784 * 4
