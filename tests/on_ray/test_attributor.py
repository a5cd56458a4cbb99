"""What runs in an actor, here in this process."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients, Saliency
from ray import cloudpickle
from small_data import BAD, CLASSES, FEATURES, bad_rows, network, rows
from torch import nn

from captum_xdnn import XIntegratedGradients, XLayerIntegratedGradients
from captum_xdnn.dataset import TopK
from captum_xdnn.ray import Attributor

COUNT = 12
LABELS = torch.arange(COUNT) % CLASSES
EXAMPLE = (rows(4), torch.zeros(4, dtype=torch.int64))
COLUMNS = (("x",), "y")


def arrived(method: Any, **settings: Any) -> Attributor:
    """As Ray makes it in an actor: from what was pickled."""
    given = Attributor.arguments(method, EXAMPLE, columns=COLUMNS, **settings)
    return Attributor(**cloudpickle.loads(cloudpickle.dumps(given)))


def columns(**more: Any) -> dict[str, Any]:
    return {"x": rows(COUNT).numpy(), "y": LABELS.numpy(), **more}


def test_it_attributes_columns() -> None:
    xig = XIntegratedGradients(network())
    expected = xig.attribute(rows(COUNT), target=LABELS)
    found = arrived(xig)(columns(id=np.arange(COUNT) + 100))
    torch.testing.assert_close(torch.from_numpy(found["attribution"]), expected)
    assert found["id"].tolist() == list(range(100, 100 + COUNT))
    assert set(found["route"]) == {"single_pass"}
    assert set(found["error"]) == {""}


def test_ids_are_of_one_type_in_all_batches() -> None:
    attributor = arrived(XIntegratedGradients(network()))
    for first in (0, 2**63):
        ids = np.arange(COUNT, dtype=np.uint64) + np.uint64(first)
        found = attributor(columns(id=ids))
        assert (found["id"].dtype, found["id"].tolist()) == (np.uint64, ids.tolist())
    with pytest.raises(ValueError, match=r"0\.5\)? at index 0 \(float64\)"):
        attributor(columns(id=np.arange(COUNT) + 0.5))


@pytest.mark.parametrize(
    "method",
    [
        Saliency(network()),
        IntegratedGradients(network()),
        XLayerIntegratedGradients(net := network(), net[0]),
    ],
    ids=["Saliency", "Captum's", "a layer"],
)
def test_methods_of_any_kind(method: Any) -> None:
    found = arrived(method)(columns())
    assert len(found["id"]) == COUNT
    assert set(found["error"]) == {""}


def test_functions_that_are_pickled_by_value() -> None:
    factor = 2
    attributor = arrived(XIntegratedGradients(lambda x: x[:, :3] * factor))
    assert set(attributor(columns())["route"]) == {"single_pass"}


def test_bad_samples_have_rows_that_say_so() -> None:
    samples = [
        bad_rows().replaced.get(i, (bad_rows().rows[i], i % CLASSES)) if i != 9 else None
        for i in range(20)
    ]
    x = np.empty(20, object)
    y = np.empty(20, object)
    for place, sample in enumerate(samples):
        x[place], y[place] = (None, None) if sample is None else (sample[0].numpy(), sample[1])
    found = arrived(XIntegratedGradients(network()))({"x": x, "y": y})
    assert sorted(found["id"]) == list(range(20))
    said = dict(zip(found["id"].tolist(), found["error"].tolist(), strict=True))
    assert {i for i, error in said.items() if error} == set(BAD)
    good = [i for i in range(20) if i not in BAD]
    place = {i: p for p, i in enumerate(found["id"].tolist())}
    expected = XIntegratedGradients(network()).attribute(
        bad_rows().rows[good], target=torch.tensor(good) % CLASSES
    )
    torch.testing.assert_close(
        torch.from_numpy(found["attribution"][[place[i] for i in good]]), expected
    )
    assert not found["attribution"][[place[i] for i in BAD]].any()


def test_only_bad_samples() -> None:
    found = arrived(XIntegratedGradients(network()))(
        {"x": np.full((2, FEATURES), np.nan), "y": np.zeros(2)}
    )
    assert all("not finite" in error for error in found["error"])
    assert found["attribution"].shape == (2, FEATURES)


@pytest.mark.parametrize("index", BAD)
def test_a_bad_sample_may_come_first(index: int) -> None:
    given = Attributor.arguments(XIntegratedGradients(network()), EXAMPLE, dataset=bad_rows())
    (said,) = Attributor(**given)({"index": np.array([index])})["error"]
    assert BAD[index][1] in said


def test_the_data_set_may_stay_with_the_actors() -> None:
    given = Attributor.arguments(XIntegratedGradients(network()), EXAMPLE, dataset=bad_rows())
    found = Attributor(**given)({"index": np.arange(20)})
    assert {
        i for i, e in zip(found["id"].tolist(), found["error"].tolist(), strict=True) if e
    } == set(BAD)


def test_settings() -> None:
    found = arrived(XIntegratedGradients(network()), target="predicted", reduce=TopK(2))(columns())
    assert found["attribution"].shape == (COUNT, 2)
    assert found["target"].tolist() == found["prediction"].tolist()
    attributor = arrived(XIntegratedGradients(network()), autocast=torch.bfloat16)
    assert attributor(columns())["attribution"].dtype == np.float32
    attributor = arrived(IntegratedGradients(nn.Tanh()), attribute={"n_steps": 2}, target=1)
    assert attributor(columns())["attribution"].shape == (COUNT, FEATURES)


def test_inputs_without_labels() -> None:
    given = Attributor.arguments(
        XIntegratedGradients(network()), rows(4), target="predicted", columns=(("x",), None)
    )
    assert Attributor(**given)({"x": rows(3).numpy()})["id"].tolist() == [0, 1, 2]


def test_an_example_that_cannot_be_attributed() -> None:
    with pytest.raises(ValueError, match="not finite"):
        Attributor.arguments(
            XIntegratedGradients(network()), (torch.full((2, FEATURES), torch.nan), torch.zeros(2))
        )
