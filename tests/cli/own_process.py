"""The package run as a user runs it: ``python -m captum_xdnn`` in a folder."""

import os
import subprocess
import sys
from pathlib import Path

import captum_xdnn


def in_a_process_of_its_own(
    *arguments: str, folder: Path, before: tuple[Path, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run the package; modules are looked for in the folders ``before`` first."""
    places = (*before, Path(captum_xdnn.__file__).parents[1])
    return subprocess.run(
        [sys.executable, "-m", "captum_xdnn", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, places)), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
