from pathlib import Path

import numpy as np
import pytest
import torch
from fashion_mnist_files import write_fashion_mnist_files
from make_fashion_mnist_samples import main

import captum_xdnn
from captum_xdnn.data import SAMPLES_FILE, load_fashion_mnist_samples

FOLDER = Path(captum_xdnn.__file__).parent / "data"


def test_one_image_for_each_class() -> None:
    images, labels, names = load_fashion_mnist_samples()
    assert images.shape == (10, 1, 28, 28)
    assert images.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert labels.tolist() == list(range(10))
    assert names[0] == "T-shirt/top"
    assert len(set(names)) == 10


def test_pixels_are_grey_values_over_255_on_black() -> None:
    images, _, _ = load_fashion_mnist_samples()
    torch.testing.assert_close(images * 255, (images * 255).round())
    assert images.min() == 0
    assert images.max() == 1
    assert (images.flatten(1).amax(1) > 0.5).all()


def test_every_call_gives_its_own_tensors() -> None:
    load_fashion_mnist_samples()[0].zero_()
    assert load_fashion_mnist_samples()[0].any()


def test_the_file_is_small_and_attributed() -> None:
    assert SAMPLES_FILE.stat().st_size < 20_000
    licence = (FOLDER / "FASHION_MNIST_LICENSE.txt").read_text(encoding="utf-8")
    assert "Copyright (c) 2017 Zalando SE" in licence
    assert "Permission is hereby granted, free of charge" in licence
    attribution = (FOLDER / "ATTRIBUTION.md").read_text(encoding="utf-8")
    assert SAMPLES_FILE.name in attribution
    assert "first test image of each class" in attribution


def test_made_again_by_the_stated_rule(tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    with np.load(SAMPLES_FILE) as samples:
        bundled = {key: samples[key] for key in samples.files}
    # Each class comes twice, last class first; only the first image of each is the bundled one.
    labels = np.repeat(np.arange(10, dtype=np.uint8)[::-1], 2)
    pixels = bundled["pixels"][labels]
    pixels[1::2] = 0
    root = write_fashion_mnist_files(tmp_path, pixels, labels)

    assert main(["--data", str(root), "--out", str(tmp_path / "again.npz")]) == 0
    with np.load(tmp_path / "again.npz") as again:
        np.testing.assert_array_equal(again["pixels"], bundled["pixels"])
        np.testing.assert_array_equal(again["labels"], bundled["labels"])
        np.testing.assert_array_equal(again["names"], bundled["names"])
        np.testing.assert_array_equal(again["indices"], np.arange(18, -1, -2))
