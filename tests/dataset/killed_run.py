"""A run that is killed at random moments and started again each time, as a user would.

python tests/dataset/killed_run.py --data ROOT [--kills 20]
python tests/dataset/killed_run.py --data ROOT --ray

attributes the 10,000 test images of Fashion-MNIST by ``python -m captum_xdnn attribute``, once in
peace and once killed (SIGKILL) so many times, and compares what the two have written. With ``--ray``
the second run is Ray's, with two actors, one of which is killed once shards are written.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from captum_xdnn.dataset import read_shards
from captum_xdnn.dataset.parquet import read_ids
from captum_xdnn.dataset.shards import shards_in


def run_killed(command: list[str], kills: int, longest: float, seed: int = 0) -> int:
    """Run a command until it ends by itself; return how often it was killed at work.

    Args:
        command: Says ``samples`` on its standard error when it begins to work.
        kills: How often it is killed, if it does not end before.
        longest: Each time it is killed within so many seconds of work.
        seed: Of the moments.
    """
    dice, killed = random.Random(seed), 0
    while True:
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(command, stdout=said, stderr=said)
            if killed < kills:
                _wait_for_work(process, said)
                try:
                    process.wait(dice.uniform(0, longest))
                except subprocess.TimeoutExpired:
                    process.kill()
                    killed += 1
                    process.wait()
                    continue
            code = process.wait()
            said.seek(0)
            if code not in (0, 1):
                raise RuntimeError(said.read().decode())
            return killed


def _wait_for_work(process: subprocess.Popen[bytes], said: object) -> None:
    while process.poll() is None:
        said.seek(0)  # type: ignore[attr-defined]
        if b"samples" in said.read():  # type: ignore[attr-defined]
            return
        time.sleep(0.005)


def run_with_an_actor_killed(command: list[str], folder: Path) -> int:
    """Run a command on Ray; kill one of its actors when there are shards; return how often."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen([*command, "--ray"], stdout=said, stderr=said)
        while process.poll() is None and not list(folder.glob("shard-*")):
            time.sleep(0.05)
        actors = _actors()
        for actor in actors[:1]:
            os.kill(actor, signal.SIGKILL)
        if process.wait() not in (0, 1):
            said.seek(0)
            raise RuntimeError(said.read().decode())
    return len(actors[:1])


def _actors() -> list[int]:
    """The processes that Ray names after what attributes in them."""
    lines = subprocess.run(
        ["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return [int(line.split()[0]) for line in lines if "ray::MapWorker" in line]


def ids_in(folder: Path) -> Counter[int | str]:
    """How often each id is in the shards, set aside or not."""
    times: Counter[int | str] = Counter()
    for path in shards_in(folder):
        shard = read_ids(path)
        times.update(shard.ids)
        times.update(reject.id for reject in shard.rejects)
    return times


def differences(one: Path, other: Path) -> list[str]:
    """The columns in which two folders differ, to the last bit."""
    left, right = read_shards(one), read_shards(other)
    if list(left) != list(right):
        return [*left, *right]
    return [name for name in left if _bits(left[name]) != _bits(right[name])]


def _bits(column: np.ndarray) -> tuple[object, ...]:
    strings = column.dtype == object
    return column.dtype, column.shape, column.tolist() if strings else column.tobytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", required=True, metavar="ROOT")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ray", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        whole, killed = Path(folder) / "whole", Path(folder) / "killed"
        command = [sys.executable, "-m", "captum_xdnn", "attribute"]
        command += ["--model", "captum_xdnn.models:x_cnn_small", "--kwarg", "weights=DEFAULT"]
        command += ["--data", f"torchvision:FashionMNIST:{options.data}", "--shard-size", "256"]
        start = time.perf_counter()
        run_killed([*command, "--out", str(whole)], 0, 0)
        taken = time.perf_counter() - start
        command += ["--out", str(killed)]
        if options.ray:
            print(f"actors killed: {run_with_an_actor_killed(command, killed)}")
        else:
            # So long that all kills together leave some of the work to the last run.
            longest = taken / options.kills
            count = run_killed(command, options.kills, longest, options.seed)
            print(f"killed {count} times")
        times = ids_in(killed)
        print(f"ids: {len(times)}, each once: {set(times.values()) == {1}}")
        print(f"columns that differ from the run in peace: {differences(whole, killed) or 'none'}")


if __name__ == "__main__":
    main()
