"""Write what the page shows: the attribution of ``x_cnn_small`` as explained.onnx, ten images as garments.json.

python prepare.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from captum_xdnn.data import load_fashion_mnist_samples
from captum_xdnn.export import export_attribution
from captum_xdnn.models import x_cnn_small


def main(folder: Path) -> None:
    """Write both files into a folder."""
    images, _, names = load_fashion_mnist_samples()
    program = export_attribution(x_cnn_small(weights="DEFAULT").eval(), images)
    program.save(folder / "explained.onnx")
    bytes_of = (images * 255).round().int().flatten(1).tolist()
    (folder / "garments.json").write_text(json.dumps({"classes": names, "images": bytes_of}))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
