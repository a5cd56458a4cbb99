"""All that is known of each operation, one file a family; importing this package fills the registry."""

from importlib import import_module
from pkgutil import iter_modules

for _family in iter_modules(__path__, f"{__name__}."):
    import_module(_family.name)
