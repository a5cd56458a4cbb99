"""The served example: prediction and explanation over HTTP, from a file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import torch
from torch import nn

from captum_xdnn.export import AttributionProgram, export_attribution

SERVER = Path(__file__).parents[2] / "tutorials" / "serving" / "serve.py"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[AttributionProgram, str]]:
    pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False))
    program = export_attribution(net, torch.rand(2, 6))
    path = tmp_path_factory.mktemp("served") / "explained.onnx"
    program.save(path)
    process = subprocess.Popen(
        [sys.executable, str(SERVER), str(path), "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield program, process.stdout.readline().strip()
    process.terminate()
    process.communicate()


def ask(address: str, inputs: object) -> dict[str, list[float]]:
    with urlopen(Request(address, json.dumps({"inputs": inputs}).encode())) as answer:
        found: dict[str, list[float]] = json.load(answer)
    return found


def test_an_answer_holds_prediction_and_explanation(served: tuple[AttributionProgram, str]) -> None:
    program, address = served
    for rows in (1, 4):
        x = torch.rand(rows, 6)
        found, expected = ask(address, x.tolist()), program(x)
        torch.testing.assert_close(torch.tensor(found["outputs"]), expected.outputs)
        torch.testing.assert_close(torch.tensor(found["attributions"]), expected.attributions)
        assert len(found["completeness_gap"]) == rows


def test_a_wrong_question_is_answered_and_the_server_goes_on(
    served: tuple[AttributionProgram, str],
) -> None:
    _, address = served
    with pytest.raises(HTTPError) as raised:
        ask(address, [[1.0, 2.0]])
    with raised.value as answer:
        assert answer.code == 400
        assert "error" in json.load(answer)
    assert ask(address, torch.rand(1, 6).tolist())["outputs"]
