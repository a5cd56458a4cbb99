"""One export gives the attributions of ``attribute`` for every batch size, as a program and from its files."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from exported_networks import FAST, SLOW, Case
from torch import Tensor

from captum_xdnn import XIntegratedGradients, XLayerIntegratedGradients
from captum_xdnn.export import AttributionProgram, Explanation, export_attribution, load
from captum_xdnn.export.onnx_checks import Rounded

ROWS = (1, 3, 17)
EQUAL, EXACT = 1e-5, 1e-9
WRITTEN_AS_ONNX = ("perceptron", "given", "softmax", "x_cnn_small", "text")
"""Of the fast cases; writing takes seconds."""
ALL = {**FAST, **SLOW}


def params(*, slow: bool = True) -> list[Any]:
    heavy = [pytest.param(name, marks=pytest.mark.slow) for name in SLOW]
    return [*FAST, *(heavy if slow else [])]


def exported(case: Case) -> tuple[torch.nn.Module, dict[str, Any], AttributionProgram]:
    net = case.make().eval()
    options = dict(case.options)
    if case.layer:
        options["layer"] = net.get_submodule(case.layer)
    return net, options, export_attribution(net, case.inputs(3), **options)


def expected(
    net: torch.nn.Module, options: dict[str, Any], x: Tensor, target: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The outputs, and the attributions by ``attribute``."""
    with torch.no_grad():
        outputs = net(x)
    chosen = options.get("target", "argmax")
    if chosen == "argmax":
        chosen = outputs.argmax(1) if outputs.dim() > 1 else None
    elif chosen == "given":
        chosen = target
    layer = options.get("layer")
    method: Any = (
        XIntegratedGradients(net) if layer is None else XLayerIntegratedGradients(net, layer)
    )
    steps = options.get("n_steps", 50)
    return outputs, method.attribute(x, options.get("baselines"), chosen, n_steps=steps)


def gaps(mine: Tensor, theirs: Tensor) -> Tensor:
    """The relative difference of each row, as norms."""
    assert mine.shape == theirs.shape
    mine, theirs = mine.reshape(len(mine), -1), theirs.reshape(len(theirs), -1)
    sizes = torch.linalg.vector_norm(theirs, dim=1)
    assert sizes.all()
    return torch.linalg.vector_norm(mine - theirs, dim=1) / sizes


class Reference:
    """``attribute`` of a network, and of the same in double precision."""

    def __init__(
        self,
        net: torch.nn.Module,
        options: dict[str, Any],
        case: Case,
        program: AttributionProgram | None = None,
    ) -> None:
        self.net, self.options, self.program = net, options, program
        self.exact_net = copy.deepcopy(net).double()
        self.exact_options = dict(options)
        if case.layer:
            self.exact_options["layer"] = self.exact_net.get_submodule(case.layer)
        if isinstance(options.get("baselines"), Tensor):
            self.exact_options["baselines"] = options["baselines"].double()

    def of(self, x: Tensor, target: Tensor | None) -> tuple[Tensor, Tensor]:
        return expected(self.net, self.options, x, target)

    def exact(self, x: Tensor, target: Tensor | None) -> tuple[Tensor, Tensor]:
        x = x.double() if x.is_floating_point() else x
        return expected(self.exact_net, self.exact_options, x, target)

    def rounding(self, x: Tensor, target: Tensor | None) -> Tensor:
        """How far the program is from ``attribute`` in double precision, of each row at most, where sums of
        products are rounded otherwise: a ReLU near zero falls to the other side."""
        exact = self.exact(x, target)[1]
        given = [x] if target is None else [x, target]
        program = self.program and self.program._program
        assert program is not None
        found = [Rounded(program, seed).results(given)[1] for seed in range(16)]
        return torch.stack([gaps(one.double(), exact) for one in found]).amax(0)


def assert_equal(found: Explanation, reference: Reference, x: Tensor, target: Any) -> float:
    """The largest difference of a row, which is 1e-5 at most, or else what rounding makes of ``attribute``."""
    outputs, attributions = reference.of(x, target)
    assert gaps(found.outputs, outputs).max() <= EQUAL
    by_row = gaps(found.attributions, attributions)
    if by_row.max() > EQUAL:
        assert (by_row <= 2 * reference.rounding(x, target).clamp(min=EQUAL / 2)).all()
    return float(by_row.max())


@pytest.mark.parametrize("name", params())
def test_a_program_and_its_files_give_what_attribute_gives(name: str, tmp_path: Path) -> None:
    case = ALL[name]
    net, options, program = exported(case)
    assert program.route == case.route
    program.save(tmp_path / "program.pt2")
    opened = {"program": program, ".pt2": load(tmp_path / "program.pt2")}
    if name in SLOW or name in WRITTEN_AS_ONNX:
        pytest.importorskip("onnxruntime")
        program.save(tmp_path / "program.onnx")
        opened[".onnx"] = load(tmp_path / "program.onnx")
    reference = Reference(net, options, case, program)
    for rows in ROWS:
        x = case.inputs(rows)
        given = torch.arange(rows) % 3 if options.get("target") == "given" else None
        scale = float(reference.of(x, given)[1].flatten(1).abs().sum(1).max())
        for kind, each in opened.items():
            found = each(x, target=given)
            print(f"{name}: {kind}, {rows} rows, {assert_equal(found, reference, x, given):.1e}")
            assert found.completeness_gap.shape == (rows,)
            if case.route == "single_pass":
                assert float(found.completeness_gap.abs().max()) <= EQUAL * scale


@pytest.mark.parametrize("name", params())
def test_in_double_precision_a_program_gives_what_attribute_gives(name: str) -> None:
    case = ALL[name]
    reference = Reference(case.make().eval(), dict(case.options), case)
    net, options = reference.exact_net, reference.exact_options
    inputs = case.inputs(3)
    inputs = inputs.double() if inputs.is_floating_point() else inputs
    program = export_attribution(net, inputs, **options)
    for rows in ROWS:
        x = case.inputs(rows)
        given = torch.arange(rows) % 3 if options.get("target") == "given" else None
        outputs, attributions = reference.exact(x, given)
        found = program(x.double() if x.is_floating_point() else x, target=given)
        assert gaps(found.outputs, outputs).max() <= EXACT
        assert gaps(found.attributions, attributions).max() <= EXACT


@pytest.mark.parametrize("name", params(slow=False))
def test_a_file_says_of_its_program_what_was_known_of_it(name: str, tmp_path: Path) -> None:
    _, _, program = exported(ALL[name])
    program.save(tmp_path / "program.pt2")
    again = load(tmp_path / "program.pt2")
    assert again.facts == program.facts
    assert str(again.certificate) == str(program.certificate)
    assert again.route == program.route


def test_several_inputs_and_arguments_that_are_tensors() -> None:
    weight = torch.randn(4, 3)

    def function(x: Tensor, y: Tensor, scale: Tensor, power: int) -> Tensor:
        return (torch.relu(x @ weight) * scale + torch.relu(y @ weight)) * power

    def arguments(rows: int) -> tuple[Tensor, ...]:
        return torch.rand(rows, 4), torch.rand(rows, 4), torch.rand(rows, 1)

    x, y, scale = arguments(2)
    program = export_attribution(
        function, (x, y), target="given", additional_forward_args=(scale, 2)
    )
    assert program.facts.inputs == ("inputs_0", "inputs_1", "argument_0", "target")
    for rows in ROWS:
        x, y, scale = arguments(rows)
        target = torch.arange(rows) % 3
        found = program(x, y, scale, target)
        theirs = XIntegratedGradients(function).attribute((x, y), None, target, (scale, 2))
        torch.testing.assert_close(found.attributions, theirs)
        assert program.check((x, y), target=target, additional_forward_args=(scale, 2)) < EQUAL


def test_arguments_of_a_function_that_is_summed_stand_with_their_rows() -> None:
    def function(x: Tensor, scale: Tensor) -> Tensor:
        return torch.sigmoid(x * scale).cumsum(1)

    x, scale = torch.rand(3, 4), torch.rand(3, 1) * 5
    program = export_attribution(function, x, target=2, additional_forward_args=scale)
    assert program.route != "single_pass"
    for rows in ROWS:
        x, scale = torch.rand(rows, 4), torch.rand(rows, 1) * 5
        assert program.check(x, additional_forward_args=scale) < EQUAL


@pytest.mark.parametrize(
    ("place", "shape"), [((1, 2), (3, 4)), ((0, 1, 1), (2, 2, 2))], ids=["two", "three"]
)
def test_a_place_among_several_dimensions(place: tuple[int, ...], shape: tuple[int, ...]) -> None:
    def function(x: Tensor) -> Tensor:
        return torch.relu(x).reshape(-1, *shape) * 3

    size = torch.Size(shape).numel()
    program = export_attribution(function, torch.rand(2, size), target=place)
    assert program.check(torch.rand(5, size)) < EQUAL


def test_examples_that_meet_are_integrated_together_as_by_captum() -> None:
    def function(x: Tensor) -> Tensor:
        return torch.tanh(x - x.mean(0, keepdim=True) * 0.5) @ torch.ones(3, 2)

    x = torch.rand(4, 3)
    program = export_attribution(function, x, target=0, n_steps=12)
    assert program.route == "captum"
    assert program.check(torch.rand(4, 3)) < EQUAL
    assert program.check(torch.rand(7, 3)) < EQUAL


def test_one_batch_size_alone() -> None:
    net = torch.nn.Linear(4, 2)
    baselines = torch.rand(3, 4)
    x = torch.rand(3, 4)
    with pytest.raises(AssertionError, match="dynamic_batch=False"):
        export_attribution(net, x, baselines=baselines)
    program = export_attribution(net, x, baselines=baselines, dynamic_batch=False)
    assert program.facts.batch == 3
    assert program.check(torch.rand(3, 4)) < EQUAL


def test_double_precision_stays() -> None:
    net = torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)
    ).double()
    program = export_attribution(net, torch.rand(3, 4, dtype=torch.float64))
    found = program(torch.rand(2, 4, dtype=torch.float64))
    assert found.attributions.dtype == torch.float64
    assert program.check(torch.rand(5, 4, dtype=torch.float64)) < 1e-6


def test_a_wrong_number_of_tensors_is_named() -> None:
    program = export_attribution(torch.nn.Linear(4, 2), torch.rand(3, 4), target="given")
    with pytest.raises(TypeError, match="takes inputs, target, found 1"):
        program(torch.rand(3, 4))


@pytest.mark.parametrize("dynamic", [True, False], ids=["any batch", "one batch"])
@pytest.mark.parametrize(
    "layer",
    [
        *(torch.nn.GroupNorm(2, 4), torch.nn.LayerNorm((5, 6)), torch.nn.InstanceNorm2d(4)),
        *(torch.nn.ReflectionPad2d(1), torch.nn.Upsample(scale_factor=2, mode="bilinear")),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_that_are_told_the_batch_size(layer: torch.nn.Module, dynamic: bool) -> None:
    net = torch.nn.Sequential(layer, torch.nn.Flatten(), torch.nn.LazyLinear(2), torch.nn.Sigmoid())
    x = torch.rand(3, 4, 5, 6)
    net(x)
    program = export_attribution(net, x, target=1, n_steps=3, dynamic_batch=dynamic)
    assert program.check(torch.rand_like(x)) < EQUAL
    if dynamic:
        assert program.check(torch.rand(7, 4, 5, 6)) < EQUAL


def test_threads_export_one_after_the_other() -> None:
    nets = [torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.ReLU()) for _ in range(3)]
    x = torch.rand(3, 4)
    with ThreadPoolExecutor(len(nets)) as pool:
        for program in pool.map(lambda net: export_attribution(net, x, n_steps=3), nets):
            assert program.check(torch.rand(5, 4)) < EQUAL


@pytest.mark.parametrize("need_weights", [True, False])
def test_attention_with_a_mask_that_each_call_gives(need_weights: bool) -> None:
    attention = torch.nn.MultiheadAttention(8, 2, batch_first=True).eval()

    def score(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        found, _ = attention(x, x, x, key_padding_mask=mask, need_weights=need_weights)
        return found.mean(1)

    def mask(rows: int) -> torch.Tensor:
        return torch.arange(5) > 2 + torch.arange(rows).unsqueeze(1) % 3

    x = torch.rand(3, 5, 8)
    program = export_attribution(score, x, additional_forward_args=mask(3), n_steps=3)
    for rows in (1, 7):
        x = torch.rand(rows, 5, 8)
        assert program.check(x, additional_forward_args=mask(rows)) < EQUAL
