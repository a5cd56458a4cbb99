"""The rules, one file a law; importing this package fills the registry."""

from captum_xdnn.homogeneity.rules import (  # noqa: F401 - imported for their registrations
    assembly,
    creation,
    layers,
    linear,
    ordering,
    pointwise,
    products,
    recurrent,
    refused,
    selection,
)
