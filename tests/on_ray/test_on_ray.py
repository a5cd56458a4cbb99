"""The same on Ray: two actors, one of which is killed, write what one process writes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from killed_run import differences, ids_in
from noted_rows import Noted, SlowToMove
from small_data import BAD, CLASSES, FEATURES, Rows, bad_rows, network, rows
from torch import nn
from torch.utils.data import DataLoader

from captum_xdnn import XIntegratedGradients
from captum_xdnn.cli import main
from captum_xdnn.dataset import ParquetShards, attribute_dataset, read_shards
from captum_xdnn.ray import Attributor, ShardSink
from captum_xdnn.ray import attribute_dataset as attribute_on_ray

pytestmark = [
    pytest.mark.usefixtures("cluster"),
    # Ray reads settings of its own that it has deprecated, and leaves files of its logs open.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
COUNT = 120


def alone(folder: Path, data: Rows) -> None:
    xig = XIntegratedGradients(network())
    attribute_dataset(xig, DataLoader(data, 4), folder, progress=False)


def on_ray(folder: Path, data: Rows, net: nn.Module | None = None, **more: Any) -> Any:
    sink, xig = ParquetShards(folder, shard_size=16), XIntegratedGradients(net or network())
    return attribute_on_ray(xig, data, sink, batch_size=4, **more)


def test_the_same_as_in_one_process(tmp_path: Path) -> None:
    run = on_ray(tmp_path / "ray", bad_rows(COUNT))
    assert (run.attributed, run.before) == (COUNT - len(BAD), 0)
    assert {r.id for r in run.rejects} == set(BAD)
    alone(tmp_path / "alone", bad_rows(COUNT))
    assert differences(tmp_path / "ray", tmp_path / "alone") == []


def killing_one(data: Noted, once: int, run: Callable[[], Any]) -> tuple[Any, list[int]]:
    """What a run gives in which an actor is killed as soon as so many have said that they live."""
    killed: list[int] = []
    done = threading.Event()

    def kill() -> None:
        while not done.wait(0.02):
            if len(data.processes()) >= once:
                killed.append(data.processes()[0])
                os.kill(killed[0], signal.SIGKILL)
                return

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    try:
        return run(), killed
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("when", ["at work", "in its making"])
def test_an_actor_that_is_killed(when: str, tmp_path: Path) -> None:
    notes = tmp_path / "processes"
    notes.mkdir()
    data = Noted(COUNT, notes, 0.05, bad_rows().replaced)
    net, once, device = network(), 2, None
    if when == "in its making":
        net, once, device = SlowToMove(data), 1, "cpu"
    run, killed = killing_one(
        data, once, lambda: on_ray(tmp_path / "ray", data, net=net, device=device)
    )
    assert len(killed) == 1
    assert len(data.processes()) >= 3  # Ray has put another in its place
    assert run.attributed == COUNT - len(BAD)
    times = ids_in(tmp_path / "ray")
    assert sorted(times) == list(range(COUNT))
    assert set(times.values()) == {1}
    alone(tmp_path / "alone", bad_rows(COUNT))
    assert differences(tmp_path / "ray", tmp_path / "alone") == []


def test_a_run_goes_on_from_either(tmp_path: Path) -> None:
    alone(tmp_path / "whole", Rows(COUNT))
    loader = DataLoader(Rows(COUNT), 4, sampler=range(40))
    attribute_dataset(XIntegratedGradients(network()), loader, tmp_path / "ray", progress=False)
    run = on_ray(tmp_path / "ray", Rows(COUNT))
    assert (run.attributed, run.before) == (COUNT - 40, 40)
    assert differences(tmp_path / "whole", tmp_path / "ray") == []
    assert on_ray(tmp_path / "ray", Rows(COUNT)).attributed == 0
    alone(tmp_path / "ray", Rows(COUNT))


def test_a_run_without_a_target_goes_on_from_either(tmp_path: Path) -> None:
    xig = XIntegratedGradients(nn.Linear(FEATURES, 1, bias=False))
    settings = {"target": None, "reduce": None}
    attribute_dataset(xig, DataLoader(Rows(8), 4), tmp_path, progress=False, **settings)
    assert attribute_on_ray(xig, Rows(8), tmp_path, **settings).before == 8
    with pytest.raises(ValueError, match="target: None, now 'label'"):
        attribute_on_ray(xig, Rows(8), tmp_path)


def test_names_and_samples_that_are_tried_again(tmp_path: Path) -> None:
    names = [f"{i}.png" for i in range(20)]
    first = on_ray(tmp_path, bad_rows(20), ids=names)
    assert {r.id for r in first.rejects} == {f"{i}.png" for i in BAD}
    still = on_ray(tmp_path, bad_rows(20), ids=names, retry_rejected=True)
    assert (still.attributed, {r.id for r in still.rejects}) == (0, {r.id for r in first.rejects})
    again = on_ray(tmp_path, Rows(20), ids=names, retry_rejected=True)
    assert (again.attributed, again.rejects) == (len(BAD), ())
    assert sorted(read_shards(tmp_path, ["id"])["id"]) == sorted(names)


HASHES = [2**64 - 1 - i if i % 2 else i for i in range(20)]
STRINGS = [f"{i}\n\0" for i in range(20)]


@pytest.mark.parametrize("ids", [HASHES, STRINGS], ids=["hashes", "strings"])
def test_ids_come_back_as_they_went_in(ids: list[int | str], tmp_path: Path) -> None:
    first = on_ray(tmp_path, bad_rows(20), ids=ids)
    assert {r.id for r in first.rejects} == {ids[i] for i in BAD}
    assert read_shards(tmp_path)["id"].tolist() == sorted(ids[i] for i in range(20) if i not in BAD)
    loader, xig = DataLoader(bad_rows(20), 4), XIntegratedGradients(network())
    alone = attribute_dataset(xig, loader, tmp_path, ids=ids, progress=False)
    assert (alone.before, alone.attributed) == (20 - len(BAD), 0)


@pytest.mark.parametrize("ids", [[0, 1, 1, 2], [0, None, 1, 2], [0, "1", 2, 3]])
def test_ids_are_refused_before_anything_is_done(ids: list[Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at index 1"):
        on_ray(tmp_path / "out", Rows(4), ids=ids)
    assert not (tmp_path / "out").exists()


def test_processors_of_an_actor(tmp_path: Path) -> None:
    notes = tmp_path / "processes"
    notes.mkdir()
    run = on_ray(tmp_path / "ray", Noted(8, notes, 0), concurrency=1, num_cpus=2)
    assert run.attributed == 8
    assert [path.read_text() for path in notes.iterdir()] == ["2"]


def test_map_batches(tmp_path: Path) -> None:
    xig = XIntegratedGradients(network())
    data = ray.data.from_items(
        [{"id": i, "image": row.numpy(), "label": i % CLASSES} for i, row in enumerate(rows(40))]
    )
    arguments = Attributor.arguments(xig, (rows(2), torch.zeros(2)))
    actors = ray.data.ActorPoolStrategy(size=1)
    found = data.map_batches(
        Attributor, fn_constructor_kwargs=arguments, batch_size=16, compute=actors
    ).take_all()
    assert sorted(row["id"] for row in found) == list(range(40))
    expected = xig.attribute(rows(40), target=torch.arange(40) % CLASSES)
    for row in found:
        torch.testing.assert_close(torch.tensor(row["attribution"].tolist()), expected[row["id"]])
        assert (row["route"], row["error"]) == ("single_pass", "")
    data.map_batches(
        Attributor, fn_constructor_kwargs=arguments, batch_size=16, compute=actors
    ).write_datasink(ShardSink(tmp_path))
    assert read_shards(tmp_path)["id"].tolist() == list(range(40))


def test_wrong_settings(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="n_steps"):
        on_ray(tmp_path / "a", Rows(8), n_steps=4)
    broken = Rows(4, dict.fromkeys(range(4), (torch.ones(6), None)))
    with pytest.raises(ValueError, match="none of the 4 samples tried"):
        on_ray(tmp_path / "b", broken)
    alone(tmp_path / "b2", Rows(8))


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "of_the_user.py").write_text(
        "from small_data import bad_rows, network\nnet = network()\ndata = bad_rows()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    command = ["attribute", "--model", "of_the_user:net", "--data", "of_the_user:data", "--ray"]
    assert main([*command, "--out", str(tmp_path / "out"), "--batch-size", "4"]) == 1
    assert len(read_shards(tmp_path / "out")["id"]) == 20 - len(BAD)
