"""The nodes of a recorded run, named as in ``torch.fx``."""

from collections.abc import Callable
from typing import Any


class Node:
    """A value of a run, or several.

    Attributes:
        target: The operation, in its functional form; None of a placeholder.
        all_input_nodes: The nodes among its arguments; ``users`` are those that take this one.
        value: Its form, or those of several results.
        step: The position of its step in the run; -1 for placeholders.
        number: Its number in the run, by which it can be kept; -1 for several results.
        flaw: Why nothing can be known of it; empty for what was seen in full.
        graded: Whether gradients were recorded.
        ungraded_write: Whether it wrote in place while none were: autograd goes on as if nothing had
            been written.
        bounded: Whether it was seen to have no infinite entry in a run of this structure.
    """

    def __init__(
        self,
        name: str,
        target: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        value: Any = None,
        step: int = -1,
        number: int = -1,
        flaw: str = "",
        graded: bool = True,
    ) -> None:
        self.name, self.target, self.args, self.kwargs = name, target, args, kwargs or {}
        self.op = "placeholder" if target is None else "call_function"
        self.value, self.step, self.number = value, step, number
        self.flaw, self.graded = flaw, graded
        self.ungraded_write = self.bounded = False
        self.users: dict[Node, None] = {}
        found: dict[Node, None] = {}
        for held in (*args, *self.kwargs.values()):
            for part in held if type(held) is tuple else (held,):
                if type(part) is Node:
                    found[part] = None
        self.all_input_nodes = tuple(found)
        for node in found:
            node.users[self] = None

    def __repr__(self) -> str:
        return self.name

    def format_node(self) -> str:
        """The node for people."""
        return f"{self.name} = {self.target}{self.args}"


def map_nodes(value: Any, function: Callable[[Node], Any]) -> Any:
    """The same arguments with each node replaced."""
    if type(value) is Node:
        return function(value)
    if type(value) is tuple:
        return tuple([map_nodes(part, function) for part in value])
    if type(value) is dict:
        return {name: map_nodes(part, function) for name, part in value.items()}
    return value
