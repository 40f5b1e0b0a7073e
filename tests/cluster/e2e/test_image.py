"""The image, asked in a pod that runs it: what is in front of every token is compiled there (tools/compile.py)."""

from tests.builders import ROOT
from tests.cluster.deployed import Deployed
from tests.cluster.installed import SYSTEM
from tools.compile import FOLDERS


def test_the_hot_path_is_compiled(hearth: Deployed) -> None:
    """Each module is the extension, not the source beside it."""
    modules = [path for place in FOLDERS for path in sorted((ROOT / place).glob("*.py")) if path.stem != "__init__"]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in modules]
    program = f"import importlib; print(*(importlib.import_module(name).__file__ for name in {names}), sep='\\n')"
    python = ["/opt/hearth/bin/python", "-P", "-c", program]
    files = hearth.plane.kubectl("exec", "-n", SYSTEM, "deploy/hearth-activator", "--", *python).split()
    assert len(files) == len(modules) > 10
    assert all(file.startswith("/opt/hearth/") and file.endswith(".so") for file in files), files
