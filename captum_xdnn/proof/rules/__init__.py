"""All that is known of each operation, one file a family; importing this package fills the registry."""

from captum_xdnn.proof.rules import (  # noqa: F401 - imported for their registrations
    creation,
    elementwise,
    indexing,
    joining,
    linear,
    normalization,
    ordering,
    products,
    recurrent,
    refused,
)
