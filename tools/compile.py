"""Compile what runs in front of every token: `python -m tools.compile FOLDER`, where FOLDER has the package `hearth`.

mypyc makes extension modules of the same sources (https://mypyc.readthedocs.io); they stand beside the sources in
FOLDER and are imported instead of them. Needs a C compiler, Python's headers, mypy and setuptools.
"""

import contextlib
import shutil
import sys
import tempfile
from pathlib import Path

from mypyc.build import mypycify
from setuptools import Distribution
from setuptools.command.build_ext import build_ext

FOLDERS = ("hearth/http1", "hearth/activator/lane")


def compile_in(folder: Path) -> None:
    """Write the extension modules into FOLDER, beside their sources. Raises SystemExit with what mypy says."""
    folder = folder.resolve()
    if not all((folder / place).is_dir() for place in FOLDERS):
        sys.exit(f"{folder} has no {' or '.join(FOLDERS)}: give the folder that Hearth is installed in")
    # Alone, so that mypy does not take what else is installed there for sources.
    with tempfile.TemporaryDirectory() as work, contextlib.chdir(work):
        shutil.copytree(folder / "hearth", "hearth")
        # The types are checked by `make lint`, with everything installed; here foreign packages may be missing.
        flags = ["--config-file=", "--ignore-missing-imports", "--follow-imports=silent", f"--cache-dir={work}/mypy"]
        sources = sorted(
            str(module) for place in FOLDERS for module in Path(place).glob("*.py") if module.stem != "__init__"
        )
        extensions = mypycify([*flags, *sources], opt_level="3", target_dir=f"{work}/c")
        command = build_ext(Distribution({"name": "hearth", "ext_modules": extensions}))
        command.build_temp, command.build_lib = f"{work}/objects", str(folder)
        command.ensure_finalized()
        command.run()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    compile_in(Path(sys.argv[1]))
