"""`make fuzz`: each target for its share of the time, by atheris. A finding stays in build/fuzz, and ends it with 1."""

import shutil
import subprocess
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["hearth.activator", "python_multipart"]):
    from tests.fuzz.targets import CORPUS, TARGETS

FOUND = Path("build/fuzz")


def main() -> None:
    if len(sys.argv) == 2:  # minutes in all
        for name in TARGETS:
            grown = FOUND / name
            shutil.rmtree(grown, ignore_errors=True)
            grown.mkdir(parents=True)
            limits = [f"-max_total_time={float(sys.argv[1]) * 60 / len(TARGETS):.0f}", "-max_len=2000", "-timeout=5"]
            command = [sys.executable, "-m", "tests.fuzz", name, str(grown), str(CORPUS / name), *limits]
            subprocess.run([*command, f"-artifact_prefix={FOUND}/{name}-"], check=True)
    else:
        target = TARGETS[sys.argv.pop(1)]
        atheris.Setup(sys.argv, target)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
