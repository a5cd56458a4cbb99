"""Random programs: no certificate may be contradicted by the numbers, in float64.

2,000 programs by default; 100,000 with ``-m slow``, or as many as ``CAPTUM_XDNN_PROGRAMS`` says.
Each program is certified for its baselines and for zero, and every claim is held against values,
gradients and an explicit quadrature (``program_verdicts``).
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from program_verdicts import Tally, judge
from programs import THEMES, program_of, programs

from captum_xdnn.homogeneity import laws, registry

# What a random program warns of (no degrees of freedom, complex parts) is not what is tested.
pytestmark = pytest.mark.filterwarnings("ignore")

DEFAULT = 2_000
MANY = int(os.environ.get("CAPTUM_XDNN_PROGRAMS", "100000"))
MOST_STEPS = 9


def _sweep(theme: str, count: int) -> Tally:
    tally = Tally()

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(programs(theme))
    def hold(program: object) -> None:
        judge(program, tally)  # type: ignore[arg-type]
        assert not tally.wrong, tally.wrong[0]

    hold()
    return tally


def _report(theme: str, tally: Tally) -> None:
    print(f"{theme}: {dict(tally.counts)}, {len(tally.kinds)} kinds of steps")


@pytest.mark.parametrize("theme", THEMES)
def test_no_certificate_is_wrong(theme: str) -> None:
    tally = _sweep(theme, DEFAULT // len(THEMES))
    _report(theme, tally)
    assert tally.counts["programs"] >= DEFAULT // len(THEMES)
    # A test in which hardly anything is certified would show nothing.
    assert tally.counts["certified programs"] >= 0.2 * tally.counts["programs"]
    assert len(tally.kinds) >= 20


@pytest.mark.slow
@pytest.mark.parametrize("theme", THEMES)
def test_no_certificate_is_wrong_among_many(theme: str) -> None:
    tally = Tally()
    for seed in range(MANY // len(THEMES)):
        judge(program_of(theme, seed, 1 + seed % MOST_STEPS), tally)
        assert not tally.wrong, (theme, seed, tally.wrong[0])
    _report(theme, tally)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("aten.sigmoid.default", lambda self: laws.homogeneous(self)),
        ("aten.relu.default", lambda self: laws.linear(self)),
        ("aten.add.Tensor", lambda self, other, alpha=1: laws.linear(self)),
        ("aten.mul.Tensor", lambda self, other: laws.linear(self)),
    ],
)
def test_a_wrong_rule_is_found(name: str, rule: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.RULES, name, rule)
    monkeypatch.delitem(registry.REFUSED, name, raising=False)
    tally = Tally()
    for theme in THEMES:
        for seed in range(150):
            judge(program_of(theme, seed, 1 + seed % MOST_STEPS), tally)
            if tally.wrong:
                return
    pytest.fail(f"no program contradicts the wrong rule for {name}")
