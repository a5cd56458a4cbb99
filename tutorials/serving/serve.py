"""Serve predictions and their explanations from an .onnx file: onnxruntime and numpy, nothing else.

python serve.py explained.onnx --port 8000

POST /explain with {"inputs": [...]}, a batch as nested lists, gives {"outputs", "attributions",
"completeness_gap"}. What is not complete is not served: a file whose weights were changed.
"""

from __future__ import annotations

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime


class Explainer:
    """A file, and how far its attributions may be from adding up."""

    def __init__(self, path: Path, tolerance: float) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options)
        self.facts = json.loads(self.session.get_modelmeta().custom_metadata_map["captum_xdnn"])
        self.names = [output.name for output in self.session.get_outputs()]
        self.tolerance = tolerance

    def explain(self, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs, attributions and completeness gap of a batch, in one call."""
        found = dict(zip(self.names, self.session.run(None, {"inputs": inputs}), strict=True))
        size = np.abs(found["attributions"]).reshape(len(inputs), -1).sum(1)
        if not (np.abs(found["completeness_gap"]) <= self.tolerance * (size + 1e-6)).all():
            raise ValueError("the attributions do not add up: is it the file that was exported?")
        return found


def handler(explainer: Explainer) -> type[BaseHTTPRequestHandler]:
    """What answers requests."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            try:
                given = json.loads(self.rfile.read(length))
                found = explainer.explain(np.asarray(given["inputs"], dtype=np.float32))
                self._answer(200, {name: value.tolist() for name, value in found.items()})
            except Exception as error:  # the server goes on
                self._answer(400, {"error": f"{type(error).__name__}: {error}"})

        def _answer(self, code: int, answer: Any) -> None:
            body = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """No line for each request."""

    return Handler


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--port", type=int, default=8000, help="0: any that is free")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="of the completeness gap")
    options = parser.parse_args()
    explainer = Explainer(options.file, options.tolerance)
    server = ThreadingHTTPServer(("127.0.0.1", options.port), handler(explainer))
    print(f"http://127.0.0.1:{server.server_port}/explain", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
