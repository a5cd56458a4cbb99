import hashlib
import json
from pathlib import Path

import pytest
import torch
from fashion_mnist_files import write_bundled_images
from train_x_cnn_small import Split, accuracy, main, train

from captum_xdnn.data import load_fashion_mnist_samples
from captum_xdnn.models import x_cnn_small

pytest.importorskip("torchvision")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_bundled_images(tmp_path)


@pytest.mark.parametrize("bias", [False, True])
def test_writes_weights_and_facts(
    root: Path, bias: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    out = root / "out"
    command = ["--data", str(root), "--out", str(out), "--epochs", "2", *["--bias"] * bias]
    assert main(command) == 0
    stem = f"x_cnn_small_fashion_mnist{'_bias' * bias}"
    assert sorted(path.name for path in out.iterdir()) == [f"{stem}.json", f"{stem}.pt"]

    state = torch.load(out / f"{stem}.pt", weights_only=True)
    model = x_cnn_small(bias=bias)
    model.load_state_dict(state)
    facts = json.loads((out / f"{stem}.json").read_text())
    assert facts["bias"] is bias
    assert facts["epochs"] == 2
    assert facts["num_params"] == sum(value.numel() for value in state.values())
    assert facts["sha256"] == hashlib.sha256((out / f"{stem}.pt").read_bytes()).hexdigest()

    images, labels, names = load_fashion_mnist_samples()
    measured = accuracy(model, Split(images, labels, list(names)))
    assert facts["test_accuracy"]["acc@1"] == pytest.approx(measured)
    assert "epoch 2/2" in capsys.readouterr().out


def test_the_same_seed_gives_the_same_file(root: Path) -> None:
    files = []
    for out, seed in (("a", 3), ("b", 3), ("c", 4)):
        main(["--data", str(root), "--out", str(root / out), "--epochs", "1", "--seed", str(seed)])
        files.append((root / out / "x_cnn_small_fashion_mnist.pt").read_bytes())
    assert files[0] == files[1]
    assert files[0] != files[2]


def test_training_lowers_the_loss() -> None:
    images, labels, names = load_fashion_mnist_samples()
    losses = list(train(x_cnn_small(), Split(images, labels, list(names)), epochs=30, seed=0))
    assert losses[-1] < 0.5 * losses[0]


def test_accuracy_counts_hits() -> None:
    images, _, names = load_fashion_mnist_samples()
    model = x_cnn_small(weights="DEFAULT").eval()
    predicted = model(images).argmax(1)
    wrong = torch.where(torch.arange(10) < 3, (predicted + 1) % 10, predicted)
    assert accuracy(model, Split(images, wrong, list(names))) == 70
