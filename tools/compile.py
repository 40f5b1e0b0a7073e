"""Compile what runs in front of every token: `python -m tools.compile FOLDER [KEPT]`; FOLDER has the package `hearth`.

mypyc makes extension modules of the same sources (https://mypyc.readthedocs.io); they stand beside the sources in
FOLDER and are imported instead of them. Needs a C compiler, Python's headers, mypy and setuptools. What was made
on the way stays in the folder KEPT: the next time, with the same one, the C compiler runs only if mypyc writes other C.
"""

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mypyc.build import mypycify
from setuptools import Distribution
from setuptools.command.build_ext import build_ext

FOLDERS = ("hearth/http1", "hearth/activator/lane")


def compile_in(folder: Path, kept: Path | None = None) -> None:
    """Write the extension modules into FOLDER, beside their sources. Raises SystemExit with what mypy says."""
    folder = folder.resolve()
    if not all((folder / place).is_dir() for place in FOLDERS):
        sys.exit(f"{folder} has no {' or '.join(FOLDERS)}: give the folder that Hearth is installed in")
    # Alone, so that mypy does not take what else is installed there for sources.
    with _work(kept) as work, contextlib.chdir(work):
        shutil.rmtree("hearth", ignore_errors=True)
        shutil.copytree(folder / "hearth", "hearth")
        # The types are checked by `make lint`, with everything installed; here foreign packages may be missing.
        flags = ["--config-file=", "--ignore-missing-imports", "--follow-imports=silent", f"--cache-dir={work}/mypy"]
        sources = sorted(
            str(module) for place in FOLDERS for module in Path(place).glob("*.py") if module.stem != "__init__"
        )
        extensions = mypycify([*flags, *sources], opt_level="3", target_dir=f"{work}/c")
        command = build_ext(Distribution({"name": "hearth", "ext_modules": extensions}))
        command.build_temp, command.build_lib = f"{work}/objects", f"{work}/built"
        command.ensure_finalized()
        command.run()
        for output in map(Path, command.get_outputs()):
            shutil.copyfile(output, folder / output.relative_to(work / "built"))


@contextlib.contextmanager
def _work(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.resolve()
        return
    with tempfile.TemporaryDirectory() as work:
        yield Path(work)


if __name__ == "__main__":
    if len(sys.argv) not in {2, 3}:
        sys.exit(__doc__)
    compile_in(*map(Path, sys.argv[1:]))
