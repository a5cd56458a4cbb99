"""`python -m captum_xdnn`: see `captum_xdnn.cli`."""

import sys

from captum_xdnn.cli import main

if __name__ == "__main__":
    sys.exit(main())
