"""What a start refuses: the folder of another run, labels that are no targets; and what it leaves."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from captum.attr import DeepLift, IntegratedGradients, NoiseTunnel
from small_data import CLASSES, FEATURES, Rows, network, rows, with_nan
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from captum_xdnn import XIntegratedGradients
from captum_xdnn.dataset import Run, attribute_dataset, read_shards
from captum_xdnn.dataset.settings import Settings
from captum_xdnn.nn import UncenteredBatchNorm

COUNT = 20


def attribute(folder: Path, data: Rows | None = None, size: int = 8, **settings: Any) -> Run:
    loader = DataLoader(data or Rows(COUNT), size)
    function = settings.pop("function", None) or network()
    method = XIntegratedGradients(function)
    return attribute_dataset(method, loader, folder, progress=False, **settings)


def scaled(factor: float) -> Any:
    net = network()
    return lambda x: net(x) * factor


def by_name(x: Tensor) -> Tensor:
    return NETWORK(x)


NETWORK = network()


def changed_network() -> nn.Module:
    net = network()
    with torch.no_grad():
        net[2].weight[0, 0] += 1
    return net


class Doubled:
    def __init__(self, net: nn.Module) -> None:
        self.net, self.calls = net, 0

    def __call__(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.net(x) * 2


class OtherRows(Rows):
    pass


def other_unpack(data: Any) -> Any:
    return data[0] * 2, data[1]


# A function, and others that look alike; None is as it was.
FUNCTIONS: dict[str, tuple[Callable[[], Any], Callable[[], Any] | None]] = {
    "a value around it": (lambda: scaled(1.0), lambda: scaled(2.0)),
    "the same": (lambda: scaled(1.0), None),
    "a network around it": (
        lambda: (lambda net: lambda x: net(x))(network()),
        lambda: (lambda net: lambda x: net(x))(changed_network()),
    ),
    "code": (lambda: lambda x: NETWORK(x) + 1, lambda: lambda x: NETWORK(x) - 1),
    "a constant": (lambda: lambda x: NETWORK(x) * 2, lambda: lambda x: NETWORK(x) * 3),
    "an object": (lambda: Doubled(network()), lambda: Doubled(changed_network())),
    "the same object": (lambda: Doubled(network()), None),
    "partial": (lambda: partial(torch.mul, other=2), lambda: partial(torch.mul, other=3)),
    "the same by name": (lambda: by_name, None),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_another_function_does_not_go_on(name: str, tmp_path: Path) -> None:
    first, other = FUNCTIONS[name]
    attribute(tmp_path, function=first())
    if other is not None:
        with pytest.raises(ValueError, match=r"code: 'Python .*', now 'Python .*'\): give"):
            attribute(tmp_path, function=other())
    assert attribute(tmp_path, function=first()).before == COUNT


def of_channel(channel: int) -> Any:
    return lambda attributions: {"channel": attributions[0][:, channel].numpy()}


# Other settings of a call, and others that look alike; None goes on.
SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[], Any] | None]] = {
    "the same reduction": (lambda: {"reduce": of_channel(1)}, None),
    "another reduction": (lambda: {"reduce": of_channel(1)}, lambda: {"reduce": of_channel(2)}),
    "a function": (
        lambda: {"perturb_func": lambda x: x},
        lambda: {"perturb_func": lambda x: 2 * x},
    ),
    "what is smoothed": (
        lambda: {"method": NoiseTunnel(IntegratedGradients(network()))},
        lambda: {"method": NoiseTunnel(DeepLift(network()))},
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_other_settings_are_told_from_the_same(name: str) -> None:
    first, other = SETTINGS[name]

    def described(settings: dict[str, Any]) -> Any:
        method = settings.pop("method", None) or XIntegratedGradients(network())
        reduction = settings.pop("reduce", None)
        return Settings(method, reduce=reduction, arguments=settings).described()

    assert described(first()) == described(first())
    assert other is None or described(first()) != described(other())


def test_a_network_that_a_function_names_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attribute(tmp_path, function=by_name)
    monkeypatch.setitem(by_name.__globals__, "NETWORK", changed_network())
    with pytest.raises(ValueError, match=r"another run \(code: "):
        attribute(tmp_path, function=by_name)


def test_data_that_has_grown_goes_on(tmp_path: Path) -> None:
    attribute(tmp_path)
    for _ in range(2):
        run = attribute(tmp_path, Rows(COUNT + 5))
        assert run.attributed + run.before == COUNT + 5


def test_other_data_does_not_go_on(tmp_path: Path) -> None:
    attribute(tmp_path)
    with pytest.raises(ValueError, match="samples: 20, now 19"):
        attribute(tmp_path, Rows(COUNT - 1))
    with pytest.raises(ValueError, match="data: 'Rows', now 'OtherRows'"):
        attribute(tmp_path, OtherRows(COUNT))
    with pytest.raises(ValueError, match="ids: 'indices', now 'given'"):
        attribute(tmp_path, ids=range(100, 100 + COUNT))
    with pytest.raises(ValueError, match="unpack: "):
        attribute(tmp_path, unpack=other_unpack)
    assert attribute(tmp_path, size=5).before == COUNT


# Labels that are values, by what is wrong with taking them as targets.
VALUES: dict[str, tuple[Tensor, int]] = {
    "floats": (torch.linspace(-1, 1, 40), 1),
    "floats for several outputs": (torch.linspace(0.1, 1.7, 40), 3),
    "float64": (torch.linspace(-1, 1, 40, dtype=torch.float64), 1),
    "half": (torch.linspace(0.1, 1.1, 40).half(), 1),
    "ages": (torch.arange(40) + 20, 1),
    "ages as floats": (torch.arange(40.0) + 20, 1),
    "two classes of one output": ((torch.arange(40) + 1) % 2, 1),
    "bool": (torch.arange(40) % 2 == 0, 2),
}


@pytest.mark.parametrize("size", [1, 8])
@pytest.mark.parametrize("name", VALUES)
def test_labels_that_are_no_targets_stop_the_run_at_once(
    name: str, size: int, tmp_path: Path
) -> None:
    labels, outputs = VALUES[name]
    loader = DataLoader(TensorDataset(rows(40), labels), size)
    xig = XIntegratedGradients(nn.Linear(FEATURES, outputs, bias=False))
    folder = tmp_path / "out"
    with pytest.raises(
        ValueError, match=r"is no index of an output.*target=0.*labels are left out"
    ):
        attribute_dataset(xig, loader, folder, progress=False)
    assert not folder.exists()
    assert attribute_dataset(xig, loader, folder, target=0, progress=False).attributed == 40


def test_a_start_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    loader = DataLoader(Rows(COUNT, {0: (torch.ones(FEATURES), 0.5)}), 1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="target=0"):
        attribute_dataset(XIntegratedGradients(network()), loader, tmp_path / "empty")
    assert list((tmp_path / "empty").iterdir()) == []
    attribute(tmp_path / "some")
    before = sorted(tmp_path.glob("some/*"))
    with pytest.raises(ValueError, match="another run"):
        attribute(tmp_path / "some", target=0)
    assert sorted(tmp_path.glob("some/*")) == before


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "target": ({"target": CLASSES}, IndexError, "out of bounds"),
    "argument": ({"steps": 3}, TypeError, "unexpected keyword argument 'steps'"),
    "reduction": ({"reduce": "TopK"}, TypeError, "not callable"),
}


@pytest.mark.parametrize("count", [COUNT, 100])
@pytest.mark.parametrize("name", WRONG)
def test_where_nothing_can_be_attributed_the_error_is_raised_and_nothing_is_left(
    name: str, count: int, tmp_path: Path
) -> None:
    settings, kind, said = WRONG[name]
    folder = tmp_path / "out"
    with pytest.raises(kind, match=said):
        attribute(folder, Rows(count), **settings)
    assert not folder.exists()
    assert attribute(folder, Rows(count)).attributed == count


def test_samples_that_are_all_broken_are_set_aside_without_an_error(tmp_path: Path) -> None:
    run = attribute(tmp_path, Rows(2, {0: OSError("no file"), 1: with_nan()}))
    assert [reject.id for reject in run.rejects] == [0, 1]


LEARNING: dict[str, nn.Module] = {
    "dropout": nn.Dropout(),
    "batch norm": nn.BatchNorm1d(FEATURES),
    "uncentred": UncenteredBatchNorm(FEATURES),
    "instance norm": nn.InstanceNorm1d(1, track_running_stats=True),
    "recurrent": nn.LSTM(FEATURES, 4, 2, dropout=0.1),
    "attention": nn.MultiheadAttention(FEATURES, 1, dropout=0.1),
}
OTHERS = {
    "instance norm": nn.InstanceNorm1d(1),
    "recurrent": nn.LSTM(FEATURES, 4, 2),
    "attention": nn.MultiheadAttention(FEATURES, 1),
}


@pytest.mark.parametrize("name", LEARNING)
def test_what_draws_or_learns_in_training_mode_is_refused(name: str, tmp_path: Path) -> None:
    net = nn.Sequential(network())
    net.unused = LEARNING[name]
    with pytest.raises(ValueError, match=r"in training mode \(unused\)"):
        attribute(tmp_path, function=net.train())
    net.unused = OTHERS.get(name, nn.Identity())
    Settings(XIntegratedGradients(net.train()))
    Settings(XIntegratedGradients(net.eval()))


@pytest.mark.parametrize(("target", "index"), [(-1, CLASSES - 1), ((1,), 1), ((-2,), 1), (0, 0)])
def test_the_target_that_is_written_is_the_index_of_an_output(
    target: Any, index: int, tmp_path: Path
) -> None:
    attribute(tmp_path, target=target)
    found = read_shards(tmp_path)
    assert (found["target"] == index).all()
    outputs = network()(Rows(COUNT).rows)[:, index]
    assert found["output"].tolist() == pytest.approx(outputs.tolist(), rel=1e-5)
