"""What torch's schema says of an operation: what it writes, what it shows, what it draws."""

import functools
from collections.abc import Iterator
from typing import Any

import torch

from captum_xdnn._torch import OpOverload

_STATISTICS: dict[str, tuple[int | None, tuple[int, ...]]] = {
    "aten::batch_norm": (5, (3, 4)),  # whole, in inference mode; so is the next
    "aten::instance_norm": (5, (3, 4)),
    "aten::native_batch_norm": (5, (3, 4)),
    "aten::cudnn_batch_norm": (5, (3, 4)),
    "aten::miopen_batch_norm": (5, (3, 4)),
    "aten::batch_norm_gather_stats": (None, (3, 4)),
    "aten::batch_norm_gather_stats_with_counts": (None, (3, 4)),
    "aten::batch_norm_update_stats": (None, (1, 2)),
}
"""Batch norms that write their running statistics without saying so in their schema: the position
of the flag that makes them do it (None: always), and those of the statistics."""


class Operation:
    """An overload, and what its schema says of it.

    Attributes:
        writes: Positions and names of the arguments that it writes into; ``beside`` are those of
            them that it does not return.
        shows: Whether its results share the memory of its first argument.
        reshapes: Whether it writes nothing but the shape and strides of its first argument.
        is_random: Whether it draws random numbers.
        sized_by_values: Whether the shape of its result depends on values.
        reads: Whether it hands a value to Python.
        is_collective: Whether it waits for other processes.
        is_foreign: Whether it is not torch's own.
        tells: Whether it is foreign and returns a number, or tensors whose number may tell.
        by_storage: Whether what it shows may depend on memory that is not its argument's.
        is_in_place: Whether it does nothing but write its first argument and return it.
    """

    def __init__(self, overload: OpOverload) -> None:
        schema = overload._schema
        self.overload = overload
        self.name = str(overload)
        self._statistics = _STATISTICS.get(schema.name, (None, ()))
        self.reshapes = torch.Tag.inplace_view in overload.tags
        self.writes = tuple(
            (place, argument.name)
            for place, argument in enumerate(schema.arguments)
            if argument.alias_info is not None and argument.alias_info.is_write
        )
        returned = [r.alias_info for r in schema.returns]
        given = {sign for info in returned if info is not None for sign in info.before_set}
        self.beside = tuple(
            (place, name)
            for place, name in self.writes
            if given.isdisjoint(schema.arguments[place].alias_info.before_set)  # type: ignore[union-attr]
        )
        aliased = [a for a in schema.arguments if a.alias_info and not a.alias_info.is_write]
        self.shows = bool(aliased) and any(info is not None for info in returned)
        self.is_random = torch.Tag.nondeterministic_seeded in overload.tags
        self.sized_by_values = torch.Tag.dynamic_output_shape in overload.tags or (
            schema.name == "torchvision::nms"
        )
        self.reads = torch.Tag.data_dependent_output in overload.tags
        kinds = [str(result.type) for result in schema.returns]  # objects of C++ hold no number
        namespace = schema.name.partition("::")[0]
        self.is_collective = namespace.lstrip("_").startswith("c10d")
        own = namespace in ("aten", "prims", "torchvision")
        self.is_foreign = not (own or self.is_collective)
        self.tells = self.is_foreign and any(k != "Tensor" and "__torch__" not in k for k in kinds)
        self.by_storage = schema.name in ("aten::as_strided", "aten::as_strided_")
        # The kinds that most operations are of.
        unusual = self.sized_by_values or self.by_storage or self.is_random
        first = bool(self.writes) and self.writes == ((0, schema.arguments[0].name),)
        alone = len(returned) == 1 and not self.beside and not self.reshapes
        self.is_in_place = first and alone and not (unusual or self._statistics[1])
        self._is_usual = self.is_in_place or not (self.writes or unusual)

    def __repr__(self) -> str:
        return self.name

    def is_usual_with(self, args: tuple[Any, ...]) -> bool:
        """Whether a call does nothing but write its first argument and return it, or return results."""
        return self._is_usual and not self._unannounced(args)

    def written(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Any]:
        """The tensors among the arguments that a call writes into."""
        return self._held(self.writes, args, kwargs)

    def written_beside(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Any]:
        """Those of them that it does not return; tensors, or what stands for them."""
        return self._held(self.beside, args, kwargs)

    def _held(self, places: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Any]:
        for place, name in (*places, *self._unannounced(args)):
            held = args[place] if place < len(args) else kwargs.get(name)
            for tensor in held if isinstance(held, list | tuple) else (held,):
                if tensor is not None:
                    yield tensor

    def _unannounced(self, args: tuple[Any, ...]) -> list[tuple[int, str]]:
        """Where the running statistics are that a batch norm updates."""
        flag, places = self._statistics
        updates = flag is None or (flag < len(args) and args[flag])
        return [(place, "") for place in places if updates]


@functools.cache
def operation_of(overload: OpOverload) -> Operation:
    """The facts about an overload, read once."""
    return Operation(overload)


def functional_twin(overload: OpOverload) -> tuple[OpOverload, str] | None:
    """The overload that returns what an overload writes, and the name of the argument dropped.

    ``add_.Tensor`` becomes ``add.Tensor`` (nothing is dropped), ``add.out`` becomes ``add.Tensor``
    without ``out``. None where torch has no such overload.
    """
    schema = overload._schema
    namespace, _, name = schema.name.partition("::")
    dropped = ""
    written = {
        a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write
    }
    if name.endswith("_") and not name.endswith("__"):
        name = name[:-1]
        written.discard(schema.arguments[0].name)
    else:
        outs = [a for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write]
        if len(outs) != 1 or not outs[0].kwarg_only:
            return None
        dropped = outs[0].name
        written.clear()
    packet = getattr(getattr(torch.ops, namespace), name, None)
    # By its arguments: pow_.Scalar is no form of pow.Scalar, whose exponent is the tensor.
    wanted = [(a.name, str(a.type)) for a in schema.arguments if a.name != dropped]
    for form in () if packet is None else packet.overloads():
        twin: OpOverload = getattr(packet, form)
        found = [(a.name, str(a.type)) for a in twin._schema.arguments]
        beside = {a.name for a in twin._schema.arguments if a.alias_info and a.alias_info.is_write}
        if found == wanted and beside == written:  # rrelu_with_noise_ and its twin write noise, too
            return twin, dropped
    return None
