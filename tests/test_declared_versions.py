"""What pyproject.toml declares is what the workflow of CI tries."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")


def list_in_workflow(key: str) -> list[str]:
    found = re.search(rf"^ *{key}: \[(.+)\]$", WORKFLOW, re.MULTILINE)
    assert found is not None
    return re.findall(r'"([^"]+)"', found[1])


def test_each_declared_python_is_tried() -> None:
    declared = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', PROJECT)
    assert list_in_workflow("python") == declared
    assert f'requires-python = ">={declared[0]}"' in PROJECT


def test_the_oldest_and_the_newest_libraries_are_tried() -> None:
    oldest = re.findall(r'^    "(torch|captum)>=([\d.]+)[",]', PROJECT, re.MULTILINE)
    assert [name for name, _ in oldest] == ["torch", "captum"]
    assert list_in_workflow("libraries") == [
        " ".join(f"{name}=={version}.*" for name, version in oldest),
        "torch captum",
    ]
