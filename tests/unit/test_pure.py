"""What decides loads no event loop, no socket and no client: seen on a process that imports it and nothing else."""

import subprocess
import sys
import tomllib

import pytest

from tests.builders import ROOT

CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
(PURE,) = [contract for contract in CONTRACTS if "asyncio" in contract.get("forbidden_modules", [])]


@pytest.mark.parametrize("module", ["hearth.controller.world", "hearth.controller.status", "hearth.scaler.pulses"])
def test_a_pure_module_loads_few_others(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not set(loaded) & set(PURE["forbidden_modules"])
    assert module in PURE["source_modules"]
