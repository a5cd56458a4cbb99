"""The page of ``tutorials/browser`` in headless Chromium: what it shows is what Python computes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
import torch
from torch import Tensor

from captum_xdnn import XIntegratedGradients
from captum_xdnn.models import x_cnn_small

PAGE = Path(__file__).parents[2] / "tutorials" / "browser"
CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
SECONDS = 120
# Picks each garment, then clears and draws a line, and tells what the page computed of it and shows.
HARNESS = """<iframe id=page src=index.html width=900 height=900></iframe><script>
page.onload = async () => {
  const inside = page.contentWindow, told = [];
  const state = async () => told.push(await inside.eval(`(async () => {
    while (busy || again) await new Promise((done) => setTimeout(done, 20));
    const found = await run(), heat = at("heat").getContext("2d").getImageData(0, 0, SIDE, SIDE).data;
    return { pixels: [...pixels], outputs: [...found.outputs], attributions: [...found.attributions],
             gap: found.gap, said: at("said").textContent, heat: [...heat] };
  })()`));
  try {
    await inside.eval("ready");
    for (const small of inside.document.querySelectorAll("#garments canvas")) { small.click(); await state(); }
    inside.document.getElementById("clear").click();
    const picture = inside.document.getElementById("picture"), box = picture.getBoundingClientRect();
    for (let step = 4; step < 24; step++) picture.dispatchEvent(new inside.PointerEvent("pointermove", {
      buttons: 1, clientX: box.left + box.width * 0.5, clientY: box.top + box.height * step / 28 }));
    await state();
    await fetch("/told", { method: "POST", body: JSON.stringify(told) });
  } catch (error) { await fetch("/told", { method: "POST", body: JSON.stringify(String(error)) }); }
};
</script>"""


class Handler(SimpleHTTPRequestHandler):
    def __init__(self, told: Queue[Any], asked: list[str], *args: Any, **kwargs: Any) -> None:
        self._told, self._asked = told, asked
        super().__init__(*args, **kwargs)

    def do_GET(self) -> None:
        self._asked.append(self.path)
        super().do_GET()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()
        self._told.put(json.loads(body))

    def log_message(self, *args: Any) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[dict[str, Any]]]:
    """What the page computed and showed, image by image."""
    pytest.importorskip("onnxruntime")
    if CHROMIUM is None or shutil.which("npm") is None:
        pytest.skip("needs npm and Chromium")
    folder = tmp_path_factory.mktemp("browser") / "page"
    shutil.copytree(PAGE, folder, ignore=shutil.ignore_patterns("node_modules"))
    installed = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund"], cwd=folder, capture_output=True
    )
    if installed.returncode:
        pytest.skip(f"npm gives no onnxruntime-web: {installed.stderr.decode()[-200:]}")
    subprocess.run([sys.executable, str(PAGE / "prepare.py"), str(folder)], check=True)
    (folder / "harness.html").write_text(HARNESS)
    found: Queue[Any] = Queue()
    asked: list[str] = []
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Handler, found, asked, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/harness.html"
    settings = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={folder / 'profile'}",
    ]
    browser = subprocess.Popen(
        [CHROMIUM, *settings, address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        answer = found.get(timeout=SECONDS)
        assert isinstance(answer, list), answer
        yield answer
    finally:
        browser.terminate()
        browser.wait()
        server.shutdown()
        server.server_close()


def explained(pixels: list[float]) -> tuple[Tensor, Tensor]:
    x, net = torch.tensor(pixels).reshape(1, 1, 28, 28), x_cnn_small(weights="DEFAULT").eval()
    with torch.no_grad():
        outputs = net(x)
    return outputs, XIntegratedGradients(net).attribute(x, target=int(outputs.argmax()))


@pytest.mark.slow
def test_the_numbers_are_pythons(told: list[dict[str, Any]]) -> None:
    assert len(told) == 11
    for each in told:
        for mine, theirs in zip(
            ("outputs", "attributions"), explained(each["pixels"]), strict=True
        ):
            gap = torch.linalg.vector_norm(torch.tensor(each[mine]) - theirs.flatten())
            assert gap <= 1e-5 * torch.linalg.vector_norm(theirs)
        assert abs(each["gap"]) <= 1e-5 * sum(map(abs, each["attributions"]))


@pytest.mark.slow
def test_the_heat_map_follows_what_is_picked_and_drawn(told: list[dict[str, Any]]) -> None:
    assert len({each["said"] for each in told}) >= 5
    for each in told:
        values = torch.tensor(each["attributions"])
        colours = torch.tensor(each["heat"]).reshape(-1, 4)
        largest = values.abs().argmax()
        full = [255, 0, 0] if values[largest] > 0 else [0, 0, 255]
        assert colours[largest, :3].tolist() == full
    drawn = torch.tensor(told[-1]["pixels"]).reshape(28, 28)
    assert drawn[10, 13:15].min() > 0.9
    assert not drawn[:, :10].any()
    assert told[-1]["heat"] != told[-2]["heat"]
