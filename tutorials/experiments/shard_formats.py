"""Which format attribution maps are written in: Parquet or Zarr, by size and by seconds.

    python tutorials/experiments/shard_formats.py --data ROOT

Real attribution maps, dense, are written shard by shard, each synchronised with the disk as in a
run over a data set; then all of them are read, and one map from the middle. ROOT holds
``FashionMNIST/raw``. Needs ``pip install "captum-xdnn[dataset]" zarr scikit-learn``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import zarr
from sklearn.datasets import load_sample_images
from torchvision.datasets import FashionMNIST
from zarr.codecs import BloscCodec, ZstdCodec

from captum_xdnn import XIntegratedGradients
from captum_xdnn.models import x_alexnet, x_cnn_small

Maps = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Format:
    """How one shard is written, and how one map, or all, are read."""

    write: Callable[[Path, Maps], None]
    read: Callable[[Path, int | None], Maps]


def parquet(**options: Any) -> Format:
    """A Parquet file, the maps a column of tensors of one shape."""

    def write(path: Path, maps: Maps) -> None:
        column = pa.FixedShapeTensorArray.from_numpy_ndarray(maps)
        pq.write_table(pa.table({"map": column}), path, row_group_size=64, **options)

    def read(path: Path, row: int | None) -> Maps:
        if row is None:
            return tensors(pq.read_table(path, memory_map=True))
        with pq.ParquetFile(path, memory_map=True) as file:
            group, place = divmod(row, 64)
            return tensors(file.read_row_group(group))[place]

    def tensors(table: pa.Table) -> Maps:
        return table.column("map").combine_chunks().to_numpy_ndarray()

    return Format(write, read)


def zarrs(codec: Any) -> Format:
    """A Zarr group, the maps an array in chunks of 64."""

    def write(path: Path, maps: Maps) -> None:
        group = zarr.open_group(path, mode="w")
        array = group.create_array(
            "map",
            shape=maps.shape,
            dtype=maps.dtype,
            chunks=(min(64, len(maps)), *maps.shape[1:]),
            compressors=codec,
        )
        array[:] = maps

    def read(path: Path, row: int | None) -> Maps:
        array = zarr.open_group(path, mode="r")["map"]
        return np.asarray(array[:] if row is None else array[row])

    return Format(write, read)


FORMATS = {
    "Parquet, uncompressed": parquet(compression="none", use_dictionary=False),
    "Parquet, snappy": parquet(compression="snappy", use_dictionary=False),
    "Parquet, zstd 1": parquet(compression="zstd", compression_level=1, use_dictionary=False),
    "Parquet, zstd 1, byte stream split": parquet(
        compression="zstd",
        compression_level=1,
        use_dictionary=False,
        use_byte_stream_split=True,
    ),
    "Zarr, uncompressed": zarrs(None),
    "Zarr, zstd (its default)": zarrs(ZstdCodec(level=0)),
    "Zarr, blosc zstd 1 with shuffle": zarrs(BloscCodec(cname="zstd", clevel=1, shuffle="shuffle")),
}


def fashion_mnist_maps(root: Path, count: int) -> Maps:
    """Maps of `x_cnn_small` for test images of Fashion-MNIST, shape ``(N, 1, 28, 28)``."""
    data = FashionMNIST(root, train=False)
    images, labels = data.data[:count, None].float() / 255, data.targets[:count]
    xig = XIntegratedGradients(x_cnn_small(weights="DEFAULT").eval())
    parts = zip(images.split(500), labels.split(500), strict=True)
    return torch.cat([xig.attribute(x, target=y) for x, y in parts]).numpy()


def photograph_maps(count: int) -> Maps:
    """Maps of an AlexNet without biases for crops of two photographs, ``(N, 3, 224, 224)``."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    photos = [torch.tensor(p).permute(2, 0, 1) / 255 for p in load_sample_images().images]
    crops = []
    for index in range(count):
        photo = photos[index % len(photos)]
        top, left = (
            int(torch.randint(size - 224, (), generator=generator)) for size in photo.shape[1:]
        )
        crops.append(photo[:, top : top + 224, left : left + 224])
    xig = XIntegratedGradients(x_alexnet().eval())
    parts = (xig.attribute(torch.stack(crops[i : i + 16]), target=0) for i in range(0, count, 16))
    return torch.cat(list(parts)).numpy()


def synchronised(path: Path) -> None:
    """Wait until a file, or all files of a folder, are on the disk."""
    for each in [path, *path.rglob("*")] if path.is_dir() else [path]:
        number = os.open(each, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def size_of(paths: list[Path]) -> int:
    """Bytes of all files."""
    files = (f for p in paths for f in (p.rglob("*") if p.is_dir() else [p]))
    return sum(f.stat().st_size for f in files if f.is_file())


def shards_of(maps: Maps, rows: int) -> Iterator[Maps]:
    """Consecutive maps, ``rows`` at a time."""
    return (maps[start : start + rows] for start in range(0, len(maps), rows))


def measure(form: Format, maps: Maps, rows: int) -> tuple[float, float, float, float]:
    """Seconds of writing, of reading all and of reading one; bytes over those of the numbers."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        paths = []
        for index, part in enumerate(shards_of(maps, rows)):
            paths.append(Path(folder) / f"{index}.shard")
            form.write(paths[-1], part)
            synchronised(paths[-1])
        wrote = time.perf_counter()
        back = np.concatenate([form.read(path, None) for path in paths])
        read = time.perf_counter()
        place = len(maps) // 2
        one = form.read(paths[place // rows], place % rows)
        found = time.perf_counter()
        np.testing.assert_array_equal(back, maps)
        np.testing.assert_array_equal(one, maps[place])
        share = size_of(paths) / maps.nbytes
    return wrote - start, read - wrote, found - read, share


def main() -> None:
    """Measure all formats in turn, the median of several rounds, and print a table of each data set."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, metavar="ROOT")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    sets = {
        "10,000 maps of 1 x 28 x 28": (fashion_mnist_maps(options.data, 10_000), 1024),
        "384 maps of 3 x 224 x 224": (photograph_maps(384), 112),
    }
    for title, (maps, rows) in sets.items():
        taken: dict[str, list[tuple[float, ...]]] = {name: [] for name in FORMATS}
        for _ in range(options.rounds):
            for name, form in FORMATS.items():
                taken[name].append(measure(form, maps, rows))
        medians = {
            n: [statistics.median(c) for c in zip(*t, strict=True)] for n, t in taken.items()
        }
        base = medians["Parquet, zstd 1"]
        print(f"\n{title}, shards of {rows}\n")
        print("| format | bytes over those of the numbers | writing | reading all | reading one |")
        print("|---|---|---|---|---|")
        for name, (wrote, read, one, share) in medians.items():
            ratios = " | ".join(
                f"{a / b:.2f}x" for a, b in zip((wrote, read, one), base, strict=False)
            )
            print(f"| {name} | {share:.2f} | {ratios} |")


if __name__ == "__main__":
    main()
