"""The image: what runs in front of every token is compiled there (tools/compile.py)."""

import os
import subprocess
from pathlib import Path

from tests.builders import ROOT
from tools.compile import FOLDERS


def test_the_hot_path_is_compiled() -> None:
    """Asked of the image's own Python: each module is the extension, not the source beside it."""
    modules = [path for place in FOLDERS for path in sorted((ROOT / place).glob("*.py")) if path.stem != "__init__"]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in modules]
    program = f"import importlib; print(*(importlib.import_module(name).__file__ for name in {names}), sep='\\n')"
    python = Path(os.environ["HEARTH_IMAGE"]) / "hearth/bin/python"
    site = next((Path(os.environ["HEARTH_IMAGE"]) / "hearth/lib").glob("python3*/site-packages"))
    said = subprocess.run(
        [python, "-P", "-c", program], env={"PYTHONPATH": str(site)}, check=True, capture_output=True, text=True
    )
    files = said.stdout.split()
    assert len(files) == len(modules) > 10
    assert all(file.startswith(f"{site}/hearth/") and file.endswith(".so") for file in files), files
