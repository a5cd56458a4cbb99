"""What stands in the files, what opens them, and what is told of a file that was changed."""

from __future__ import annotations

import builtins
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from captum_xdnn.errors import XDNNError
from captum_xdnn.export import AttributionProgram, export_attribution, load

EXAMPLE = torch.rand(3, 10)


def network(*, bias: bool = False) -> nn.Sequential:
    return nn.Sequential(nn.Linear(10, 8, bias=bias), nn.ReLU(), nn.Linear(8, 3, bias=bias))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[AttributionProgram, Path]:
    pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    program = export_attribution(network(), EXAMPLE)
    path = tmp_path_factory.mktemp("written") / "program.onnx"
    program.save(path)
    return program, path


def test_the_metadata_of_both_kinds_of_file(
    written: tuple[AttributionProgram, Path], tmp_path: Path
) -> None:
    import onnxruntime

    program, path = written
    session = onnxruntime.InferenceSession(path)
    of_onnx = json.loads(session.get_modelmeta().custom_metadata_map["captum_xdnn"])
    program.save(tmp_path / "program.pt2")
    extra = {"captum_xdnn.json": ""}
    torch.export.load(tmp_path / "program.pt2", extra_files=extra)
    of_pt2 = json.loads(extra["captum_xdnn.json"])
    assert of_onnx == of_pt2
    assert of_pt2["route"] == "single_pass"
    assert of_pt2["degree"] == "1"
    assert of_pt2["baseline"] == [0]
    assert of_pt2["target"] == "argmax"
    assert of_pt2["n_steps"] is None
    assert set(of_pt2["versions"]) == {"captum-xdnn", "torch", "captum"}
    assert len(of_pt2["weights_sha256"]) == 64
    assert of_pt2["report"].startswith("CERTIFIED")


def test_a_changed_weight_is_caught_by_the_served_gap(
    written: tuple[AttributionProgram, Path],
) -> None:
    import onnx
    import onnxruntime

    _, path = written
    model = onnx.load(path)
    given = {"inputs": EXAMPLE.numpy()}
    honest = onnxruntime.InferenceSession(path).run(None, given)
    assert np.abs(honest[-1]).max() < 1e-5
    changed = 0
    for held in model.graph.initializer:
        value = onnx.numpy_helper.to_array(held)
        if value.dtype != np.float32 or value.ndim < 2:
            continue
        for change in ("one entry", "the sign"):
            other = value.copy()
            if change == "the sign":
                other *= -1
            else:
                other.flat[other.size // 2] += 1e-3
            tampered = onnx.ModelProto()
            tampered.CopyFrom(model)
            place = [h.name for h in model.graph.initializer].index(held.name)
            tampered.graph.initializer[place].CopyFrom(
                onnx.numpy_helper.from_array(other, held.name)
            )
            found = onnxruntime.InferenceSession(tampered.SerializeToString()).run(None, given)
            assert np.isinf(found[-1]).all()
            changed += 1
    assert changed >= 4


def test_a_changed_weight_in_a_pt2_is_not_opened(tmp_path: Path) -> None:
    program = export_attribution(network(), EXAMPLE)
    program.save(tmp_path / "program.pt2")
    weight = next(v for v in program._program.state_dict.values() if v.shape == (8, 10))
    old = weight.numpy().tobytes()
    new = (weight + 1e-3).numpy().tobytes()
    changed = tmp_path / "changed.pt2"
    with (
        zipfile.ZipFile(tmp_path / "program.pt2") as source,
        zipfile.ZipFile(changed, "w") as target,
    ):
        found = 0
        for part in source.infolist():
            content = source.read(part)
            found += content.count(old)
            target.writestr(part.filename, content.replace(old, new))
    assert found == 1
    with pytest.raises(XDNNError, match="are not those that were exported"):
        load(changed)


NUMPY_ALONE = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "captum", "captum_xdnn", "onnx", "onnxscript"):
            raise ImportError(f"{name} is not here")

sys.meta_path.insert(0, Blocked())
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1])
x = np.load(sys.argv[2])
names = [o.name for o in session.get_outputs()]
np.savez(sys.argv[3], **dict(zip(names, session.run(None, {"inputs": x}))))
assert "torch" not in sys.modules
"""


def test_a_file_runs_where_there_is_numpy_and_onnx_runtime_alone(
    written: tuple[AttributionProgram, Path], tmp_path: Path
) -> None:
    program, path = written
    for rows in (1, 5):
        x = torch.rand(rows, 10)
        np.save(tmp_path / "x.npy", x.numpy())
        files = [str(path), str(tmp_path / "x.npy"), str(tmp_path / "found.npz")]
        subprocess.run([sys.executable, "-c", NUMPY_ALONE, *files], check=True, cwd=tmp_path)
        found = np.load(tmp_path / "found.npz")
        expected = program(x)
        assert set(found) == {"outputs", "attributions", "completeness_gap"}
        np.testing.assert_allclose(found["outputs"], expected.outputs, atol=1e-6)
        np.testing.assert_allclose(found["attributions"], expected.attributions, atol=1e-6)


def test_a_loaded_program_is_checked_with_the_function(
    written: tuple[AttributionProgram, Path],
) -> None:
    _, path = written
    torch.manual_seed(0)
    net = network()
    opened = load(path)
    assert opened.check(torch.rand(4, 10), forward_func=net) < 1e-5
    with pytest.raises(XDNNError, match="forward_func"):
        opened.check(torch.rand(4, 10))
    with pytest.raises(XDNNError, match="does not give what attribute"):
        opened.check(torch.rand(4, 10), forward_func=network(bias=True))
    with pytest.raises(XDNNError, match="in its file already"):
        opened.save("again.onnx")


def test_what_is_no_program_is_refused(
    written: tuple[AttributionProgram, Path], tmp_path: Path
) -> None:
    program, path = written
    pt2 = tmp_path / "program.pt2"
    program.save(pt2)
    graph = torch.export.export(network(), (EXAMPLE,))
    for number, text in enumerate(("no JSON", '{"route": "captum"}')):
        torch.export.save(
            graph, tmp_path / f"facts{number}.pt2", extra_files={"captum_xdnn.json": text}
        )
    torch.save(network().state_dict(), tmp_path / "weights.pt2")
    wholes = {".pt2": pt2.read_bytes(), ".onnx": path.read_bytes()}
    others = dict(zip(wholes, reversed(wholes.values()), strict=True))
    for ending, whole in wholes.items():
        for name, content in (
            ("empty", b""),
            ("text", b"text"),
            ("half", whole[: len(whole) // 2]),
        ):
            (tmp_path / f"{name}{ending}").write_bytes(content)
        (tmp_path / f"other{ending}").write_bytes(others[ending])
    wrong = [p for p in tmp_path.iterdir() if p != pt2]
    assert len(wrong) == 11
    for file in wrong:
        with pytest.raises(XDNNError, match=f"{file.name} holds no attribution"):
            load(file)
    for file in (tmp_path / "missing.pt2", tmp_path / "missing.onnx"):
        with pytest.raises(FileNotFoundError):
            load(file)


@pytest.mark.parametrize("ending", [".pt2", ".onnx"])
def test_where_no_file_can_be_none_is_written(
    ending: str, written: tuple[AttributionProgram, Path], tmp_path: Path
) -> None:
    (tmp_path / f"folder{ending}").mkdir()
    for file in (tmp_path / f"folder{ending}", tmp_path / "missing" / f"program{ending}"):
        with pytest.raises(OSError, match="cannot write"):
            written[0].save(file)


def _half_a_file(error: BaseException) -> Any:
    def write(*given: Any, **_: Any) -> None:
        path = next(part for part in given if isinstance(part, Path))
        path.write_bytes(b"half of it")
        raise error

    return write


@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt()])
@pytest.mark.parametrize(
    ("name", "writer", "options"),
    [
        ("a.onnx", "captum_xdnn.export.saving.save_onnx", {}),
        ("a.pt2", "torch.export.save", {}),
        ("a.pt2", "captum_xdnn.export.saving.save_compiled", {"compiled": True}),
    ],
)
def test_what_fails_leaves_the_earlier_file(
    name: str, writer: str, options: Any, error: BaseException,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path = tmp_path / name
    path.write_bytes(b"an earlier one")
    program = export_attribution(network(), EXAMPLE)
    monkeypatch.setattr(writer, _half_a_file(error))
    with pytest.raises(type(error)):
        program.save(path, **options)
    assert path.read_bytes() == b"an earlier one"
    assert [*tmp_path.iterdir()] == [path]


def test_a_refused_onnx_leaves_the_earlier_file(
    written: tuple[AttributionProgram, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    program, path = written
    before = path.read_bytes()
    refused = lambda *_: (_ for _ in ()).throw(RuntimeError("it computes otherwise"))  # noqa: E731
    monkeypatch.setattr("captum_xdnn.export.onnx_checks.check", refused)
    with pytest.raises(XDNNError, match="computes otherwise"):
        program.save(path)
    assert path.read_bytes() == before
    assert [*path.parent.iterdir()] == [path]


def test_a_link_still_leads_to_the_file(tmp_path: Path) -> None:
    target, link = tmp_path / "program.pt2", tmp_path / "latest.pt2"
    target.write_bytes(b"an earlier one")
    link.symlink_to(target)
    export_attribution(network(), EXAMPLE).save(link)
    assert link.is_symlink()
    assert load(target)(EXAMPLE).attributions.shape == EXAMPLE.shape


def test_weights_beside_a_large_file_come_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = export_attribution(network(), EXAMPLE)
    monkeypatch.setattr(
        "torch.onnx.ONNXProgram.save",
        lambda made, path, save=torch.onnx.ONNXProgram.save: save(made, path, external_data=True),
    )
    program.save(tmp_path / "large.onnx")
    assert {p.name for p in tmp_path.iterdir()} == {"large.onnx", "large.onnx.data"}
    found = load(tmp_path / "large.onnx")(EXAMPLE)
    assert torch.allclose(found.attributions, program(EXAMPLE).attributions, atol=1e-5)


@pytest.mark.parametrize("given", [np.zeros((3, 10), np.float32), [[0.0] * 10]])
def test_what_is_no_tensor_is_no_input(
    given: Any, written: tuple[AttributionProgram, Path]
) -> None:
    for program in (written[0], load(written[1])):
        with pytest.raises(TypeError, match="takes inputs, found 0 tensors"):
            program(given)


@pytest.mark.parametrize("name", ["program.bin", "program"])
def test_another_ending_is_refused(name: str, tmp_path: Path) -> None:
    program = export_attribution(network(), EXAMPLE)
    with pytest.raises(ValueError, match=r"\.pt2 or \.onnx"):
        program.save(tmp_path / name)
    with pytest.raises(ValueError, match=r"\.pt2 or \.onnx"):
        load(tmp_path / name)


@pytest.mark.parametrize("missing", ["onnx", "onnxscript"])
def test_a_missing_package_is_named_before_any_work(
    missing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if missing == "onnxscript":
        pytest.importorskip("onnx")  # which is asked for first
    program = export_attribution(network(), EXAMPLE)
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == missing:
            raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)
        return real(name, *args, **kwargs)

    monkeypatch.setattr("captum_xdnn.export.onnx_files.importlib.import_module", without)
    monkeypatch.setattr(type(program._program), "run_decompositions", None)
    with pytest.raises(ImportError, match=rf'{missing}: pip install "captum-xdnn\[export\]"'):
        program.save(tmp_path / "program.onnx")


def test_importing_the_package_imports_none_of_them() -> None:
    script = "import sys, captum_xdnn; found = {'onnx', 'onnxscript', 'onnxruntime', 'captum_xdnn.export'}; assert not found & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.slow
def test_a_compiled_program_runs_in_a_fresh_process_without_tracing(tmp_path: Path) -> None:
    program = export_attribution(network(), EXAMPLE)
    program.save(tmp_path / "compiled.pt2", compiled=True)
    x = torch.rand(5, 10)
    torch.save(x, tmp_path / "x.pt")
    script = (
        "import sys, torch\n"
        "from captum_xdnn.export import load\n"
        "program = load(sys.argv[1])\n"
        "torch.compile = torch.export.export = None\n"
        "found = program(torch.load(sys.argv[2]))\n"
        "assert program.route == 'single_pass'\n"
        "torch.save(tuple(found), sys.argv[3])\n"
    )
    files = [str(tmp_path / n) for n in ("compiled.pt2", "x.pt", "found.pt")]
    subprocess.run([sys.executable, "-c", script, *files], check=True)
    found = torch.load(tmp_path / "found.pt")
    for mine, theirs in zip(found, program(x), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.slow
def test_a_program_through_torch_compile_and_back_to_eager(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    program = export_attribution(network(), EXAMPLE)
    x = torch.rand(5, 10)
    torch.testing.assert_close(program.compile()(x), program(x))

    def broken(module: Any, mode: Any = None) -> Any:
        def run(*tensors: Any) -> Any:
            raise RuntimeError("no compiler")

        return run

    monkeypatch.setattr(torch, "compile", broken)
    with caplog.at_level("WARNING", logger="captum_xdnn"):
        found = program.compile()(x)
    assert "no compiler" in caplog.text
    torch.testing.assert_close(found, program(x))
