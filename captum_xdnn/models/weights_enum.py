"""Weights enums in torchvision's form, without torchvision."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Protocol, TypeVar, cast

from torch import Tensor

__all__ = ["PretrainedWeights", "XWeightsEnum"]

_Member = TypeVar("_Member", bound="XWeightsEnum")


class PretrainedWeights(Protocol):
    """What the value of a member tells: where the weights are, and which network they fit."""

    @property
    def url(self) -> str:
        """Address of the file."""
        ...

    @property
    def bias(self) -> bool:
        """Whether they were trained with biases."""
        ...

    @property
    def num_classes(self) -> int:
        """Number of logits they were trained with."""
        ...

    @property
    def transforms(self) -> Callable[[], Callable[[Any], Tensor]]:
        """Zero-argument factory of the input transform."""
        ...

    @property
    def meta(self) -> dict[str, Any]:
        """Facts under torchvision's keys."""
        ...

    def state_dict(self, *, progress: bool, check_hash: bool) -> dict[str, Tensor]:
        """Read the weights, on the CPU.

        Args:
            progress: Whether a download shows a progress bar.
            check_hash: Whether a download is compared with its SHA-256, where that is known.
        """
        ...


class XWeightsEnum(Enum):
    """Base of the enums whose members are ``PretrainedWeights``.

    It has the methods of ``torchvision.models.WeightsEnum``, so that code written for that class
    reads the same, and works where torchvision is not installed. Where it is, the enums become
    subclasses of that class as soon as torchvision is imported: ``torchvision_registry``.

    An enum without members, as torchvision has them too, says that nobody has published weights.
    """

    @classmethod
    def verify(cls: type[_Member], weights: object) -> _Member | None:
        """Return the member that ``weights`` means.

        Args:
            weights: A member, its name with or without the name of the enum, or None.

        Returns:
            The member, or None for None.

        Raises:
            KeyError: If there is no member of this name.
            TypeError: If ``weights`` is neither a member, nor a string, nor None.
        """
        if weights is None or isinstance(weights, cls):
            return weights
        if isinstance(weights, str):
            name = weights.removeprefix(f"{cls.__name__}.")
            if name not in cls.__members__:
                known = ", ".join(cls.__members__) or "none: nobody has published any"
                raise KeyError(f"{cls.__name__} has no weights {name!r}; it has {known}")
            return cls[name]
        raise TypeError(
            f"weights must be a {cls.__name__}, its name or None, not {type(weights).__name__}"
        )

    def get_state_dict(
        self, *, progress: bool = True, check_hash: bool = True
    ) -> dict[str, Tensor]:
        """Read the weights, which are downloaded first if they are not at hand.

        Args:
            progress: Whether a download shows a progress bar.
            check_hash: Whether a download is compared with its SHA-256, where that is known.

        Returns:
            Parameters by name, on the CPU.

        Raises:
            ConnectionError: If the weights cannot be downloaded.
            RuntimeError: If what was downloaded is damaged.
        """
        return self._weights.state_dict(progress=progress, check_hash=check_hash)

    @property
    def url(self) -> str:
        """Address of the file."""
        return self._weights.url

    @property
    def meta(self) -> dict[str, Any]:
        """``bias``, ``num_params``, ``categories``, ``recipe``, ``license``, ``_metrics`` ..."""
        return self._weights.meta

    @property
    def transforms(self) -> Callable[[], Callable[[Any], Tensor]]:
        """Zero-argument factory of the input transform."""
        return self._weights.transforms

    @property
    def _weights(self) -> PretrainedWeights:
        return cast(PretrainedWeights, self.value)

    def __repr__(self) -> str:
        """Name of the enum and of the member."""
        return f"{type(self).__name__}.{self.name}"
