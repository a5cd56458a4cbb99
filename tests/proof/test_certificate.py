"""Certificates and blockers: their fields, their order, and the arguments of ``certify``."""

from __future__ import annotations

import copy
import dataclasses
import doctest
import pickle
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from captum_xdnn.homogeneity import Blocker, Certificate, certify
from captum_xdnn.routes import certification

X = torch.ones(2, 3)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        nn.init.ones_(self.bn1.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self._inner(x) + x

    def _inner(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn1(self.conv1(x)))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(Block(), Block())
        self.act = nn.Hardswish()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.layer1(x)).exp()


def net() -> tuple[nn.Module, Tensor]:
    return Net().eval(), torch.ones(2, 4, 5, 5)


def test_a_blocker_says_what_and_where_and_why() -> None:
    found = certify(*net()).blockers
    assert found[0] == Blocker(
        op="aten.native_batch_norm.default",
        module="layer1.0.bn1",
        module_type="BatchNorm2d",
        location=found[0].location,
        reason="shift of 4 channels is not zero at the baseline",
        remedy="remove it (bias=False), or set it to zero, and retrain",
    )
    assert found[0].where == "layer1.0.bn1 (BatchNorm2d)"
    file, line, code = found[0].location.split(":", 2)
    assert file == __file__
    assert code.strip() == "return torch.relu(self.bn1(self.conv1(x)))"
    with open(file) as source:  # noqa: PTH123 - the report names plain files
        assert source.read().splitlines()[int(line) - 1].strip() == code.strip()


def test_blockers_come_in_the_order_of_the_computation() -> None:
    assert [b.where for b in certify(*net()).blockers] == [
        "layer1.0.bn1 (BatchNorm2d)",
        "layer1.1.bn1 (BatchNorm2d)",
        "act (Hardswish)",
        "the model (Net)",
    ]


# Torch's compiler, imported on first use, warned of its own use of TorchScript in some releases.
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_paths_are_those_of_the_module_also_behind_a_closure() -> None:
    model, x = net()
    assert certify(lambda t: model(t), x).blockers[0].module == "model.layer1.0.bn1"
    assert certify(nn.DataParallel(model), x).blockers[0].module == "layer1.0.bn1"
    assert certify(torch.compile(model), x).blockers[0].module == "layer1.0.bn1"
    assert certify(model.forward, x).blockers[0].module.endswith("layer1.0.bn1")


def test_a_layer_that_is_called_twice_keeps_its_path() -> None:
    layer = nn.Linear(3, 3)
    model = nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU())
    assert [b.module for b in certify(model, X).blockers] == ["0", "0"]


def test_a_blocker_reads_as_a_sentence() -> None:
    blocker = Blocker("aten.exp.default", "act", "Exp", "net.py:3: x.exp()", "it grows", "stop")
    assert str(blocker) == "act (Exp): it grows\n    at net.py:3: x.exp()\n    remedy: stop"
    assert str(dataclasses.replace(blocker, location="", remedy="")) == "act (Exp): it grows"
    outside = dataclasses.replace(blocker, module="", module_type="")
    assert outside.where == "aten.exp.default"


@pytest.mark.parametrize(
    "function", [nn.ReLU(), nn.Linear(3, 2), nn.GELU(), lambda x: x if x.sum() > 0 else -x]
)
def test_certificates_survive_a_pickle_and_a_copy(function: Any) -> None:
    found = certify(function, X)
    for twin in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found), copy.copy(found)):
        assert twin == found
        assert str(twin) == str(found)
        assert hash(twin) == hash(found)


def test_certificates_are_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        certify(nn.ReLU(), X).homogeneous = False  # type: ignore[misc]


def test_what_a_positive_certificate_says() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    nn.init.zeros_(model[0].bias)
    nn.init.ones_(model[2].bias)
    assert certify(model, X) == Certificate(
        homogeneous=True,
        degree=Fraction(1),
        affine=True,
        blockers=(),
        relied=("0.bias",),
        trunk_share=1.0,
    )


def test_what_a_negative_certificate_says() -> None:
    found = certify(nn.GELU(), X)
    assert (found.homogeneous, found.degree, found.affine, found.relied) == (False, None, False, ())
    assert len(found.blockers) == 1


def test_relied_names_only_what_supports_the_claim() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)).eval()
    nn.init.zeros_(model[0].bias)
    assert set(certify(model, X).relied) == {
        "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var",
    }  # fmt: skip


def test_a_function_that_fails_when_it_is_asked_after_all_keeps_the_reason() -> None:
    found = Certificate.contradicted("completeness failed by 0.25")
    assert not found.homogeneous
    assert found.blockers[0].op == "autograd"
    assert found.blockers[0].reason.endswith("contradicted by calls: completeness failed by 0.25")


# -- arguments ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0],), r"inputs must be a tensor or a tuple of tensors, found list"),
        (((X, 1.0, None),), r"found float, NoneType$"),
        (((),), r"found \(\)$"),
        ((X, (0, 0)), r"^1 inputs, but 2 baselines$"),
        (((X, X), 0), r"^2 inputs, but 1 baselines$"),
        ((X, torch.ones(3, 3)), r"baseline 0 must be .* shape \(2, 3\) or of batch size 1, found"),
        ((X, torch.ones(3)), r"baseline 0 must be a number or a tensor"),
        (((X, X), (0, "zero")), r"baseline 1 must be .* found str$"),
    ],
)
def test_wrong_arguments_raise_what_captum_raises(arguments: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        certify(nn.ReLU(), *arguments)


def test_additional_arguments_may_stand_alone_or_in_a_tuple() -> None:
    function = lambda x, y: x * y  # noqa: E731
    assert certify(function, X, additional_forward_args=X) == certify(
        function, X, additional_forward_args=(X,)
    )


def test_the_values_of_the_inputs_do_not_matter() -> None:
    model = nn.Sequential(nn.Linear(3, 2, bias=False), nn.ReLU())
    verdicts = {certify(model, x) for x in (X, 0 * X, -X, X * torch.nan)}
    assert len(verdicts) == 1


def test_the_examples_in_the_documentation_run() -> None:
    tests = [t for t in doctest.DocTestFinder().find(certification) if t.examples]
    assert tests
    runner = doctest.DocTestRunner()
    for test in tests:
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0
