"""What a file says of its program: route, degree, baseline, target, steps, versions, hash of the weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from typing import Any

import captum
import torch
from torch import Tensor

from captum_xdnn._version import __version__
from captum_xdnn.errors import XDNNError
from captum_xdnn.proof.certificate import Certificate
from captum_xdnn.proof.findings import Blocker
from captum_xdnn.routes.request import Route

KEY = "captum_xdnn"
"""The name under which a file holds them, as JSON."""
JSON = f"{KEY}.json"
ENDINGS = "a program is a file that ends in .pt2 or .onnx, found {}"
NOT_OURS = "{} holds no attribution that captum-xdnn exported"
OTHER_WEIGHTS = "the weights in {} are not those that were exported: their hash is another one"


@dataclass(frozen=True)
class Facts:
    """What is known of a program.

    Attributes:
        route: ``"single_pass"``, ``"hoisted"`` or ``"captum"``.
        certificate: The proof, or what stands in its way.
        target: ``"argmax"``, ``"given"``, ``"none"`` or a list of indices.
        baseline: For each input a number, or ``"tensor"``.
        n_steps: Captum's steps; None where one pass is exact.
        inputs: Names of the tensors of a call, in order.
        outputs: Names of what the program gives, in order.
        batch: The batch size, None for any.
        weights_sha256: Hash of all tensors that are part of the program.
        versions: Of captum-xdnn, torch and Captum, which made it.
    """

    route: Route
    certificate: Certificate
    target: Any
    baseline: tuple[Any, ...]
    n_steps: int | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    batch: int | None
    weights_sha256: str
    versions: Mapping[str, str]

    def to_json(self) -> str:
        """As text for a file."""
        held = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "certificate"}
        certificate = self.certificate
        held["degree"] = None if certificate.degree is None else str(certificate.degree)
        held["report"] = str(certificate)
        held["certificate"] = {
            "homogeneous": certificate.homogeneous,
            "affine": certificate.affine,
            "relied": certificate.relied,
            "trunk_share": certificate.trunk_share,
            "speed_up": certificate.speed_up,
            "rows": certificate.rows,
            "timed": certificate.timed,
            "method": certificate.method,
            "refusal": certificate.refusal,
            "blockers": [asdict(blocker) for blocker in certificate.blockers],
        }
        return json.dumps(held, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Facts:
        """From the text of a file."""
        held = json.loads(text)
        known, degree = held.pop("certificate"), held.pop("degree")
        held.pop("report")
        blockers = tuple(Blocker(**blocker) for blocker in known.pop("blockers"))
        relied = tuple(known.pop("relied"))
        fraction = None if degree is None else Fraction(degree)
        certificate = Certificate(degree=fraction, blockers=blockers, relied=relied, **known)
        for name in ("baseline", "inputs", "outputs"):
            held[name] = tuple(held[name])
        return cls(certificate=certificate, **held)


def versions() -> dict[str, str]:
    """The versions of what makes a program."""
    return {
        "captum-xdnn": __version__,
        "torch": str(torch.__version__),
        "captum": str(captum.__version__),
    }


def hash_of(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """SHA-256 of named tensors: names, dtypes, shapes and bytes, in the order of the names."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors, key=lambda pair: pair[0]):
        value = tensor.detach().cpu().contiguous()
        found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def check_hash(found: str, facts: Facts, path: Any) -> None:
    """Look whether weights are those that were exported.

    Raises:
        XDNNError: If they are not.
    """
    if found != facts.weights_sha256:
        raise XDNNError(OTHER_WEIGHTS.format(path))
