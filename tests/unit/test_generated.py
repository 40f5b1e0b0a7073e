import subprocess
import sys

from tests.builders import ROOT


def test_generated_files_are_not_stale() -> None:
    made = subprocess.run(
        [sys.executable, "-m", "tools.generate", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, f"run `make generate`:\n{made.stdout}{made.stderr}"
