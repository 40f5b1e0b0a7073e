"""The image: what runs in front of every token is compiled there (tools/compile.py)."""

import os
import subprocess
from pathlib import Path

from tools.compile import MODULES


def test_the_hot_path_is_compiled() -> None:
    """Asked of the image's own Python: each module is the extension, not the source beside it."""
    names = [f"hearth.activator.{module}" for module in MODULES]
    program = f"import importlib; print(*(importlib.import_module(name).__file__ for name in {names}), sep='\\n')"
    python = Path(os.environ["HEARTH_IMAGE"]) / "hearth/bin/python"
    site = next((Path(os.environ["HEARTH_IMAGE"]) / "hearth/lib").glob("python3*/site-packages"))
    said = subprocess.run(
        [python, "-P", "-c", program], env={"PYTHONPATH": str(site)}, check=True, capture_output=True, text=True
    )
    files = said.stdout.split()
    assert len(files) == len(MODULES)
    assert all(file.startswith(f"{site}/hearth/activator/") and file.endswith(".so") for file in files), files
