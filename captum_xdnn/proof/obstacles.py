"""What a pass of propagation finds: the motion of every node, and what kept others from being proved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from captum_xdnn.proof.domain import Motion, Unknown
from captum_xdnn.recording.node import Node


@dataclass(frozen=True)
class Obstacle:
    """Something that keeps a motion from being proved, at one node."""

    node: Node
    reason: str
    remedy: str
    is_shift: bool
    source: Node | None = None


@dataclass
class Propagation:
    """The result of a pass.

    Attributes:
        motions: Motion of every node; proved where ``assumed`` is 0, else conditional.
        assumed: For each node, the obstacles it rests on, as bits of ``obstacles``.
        obstacles: All obstacles and shifts, in the order of the graph.
        everywhere: Obstacles that concern the whole run, as bits.
        promoted: The affine nodes whose value at the baseline was found to be zero.
    """

    motions: dict[Node, Any]
    assumed: dict[Node, int]
    obstacles: list[Obstacle]
    everywhere: int = 0
    promoted: frozenset[Node] = frozenset()

    def proved(self, node: Node) -> Motion:
        """The motion of a node that holds without any assumption."""
        motion = self.motions[node]
        if self.everywhere or self.assumed.get(node, 0) or not isinstance(motion, Motion):
            return Unknown("it rests on something that is not proved")
        return motion

    def blocking(self, node: Node) -> list[Obstacle]:
        """The obstacles that a node rests on, first one first."""
        bits = self.assumed.get(node, 0)
        return [o for i, o in enumerate(self.obstacles) if bits >> i & 1]
