"""A page of docs as a person follows it: the files that it has him write, the commands that he types, what they answer."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"`([\w./-]+\.yaml)`:\n\n\Z")


@dataclass(frozen=True, slots=True)
class Step:
    """Commands of one block, each a line of sh, and what the block after it says that the last one answers."""

    commands: list[str]
    answer: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """`files` by their path; `steps` by the heading that they stand below."""

    files: dict[str, str]
    steps: dict[str, list[Step]]

    @classmethod
    def read(cls, path: Path) -> "Page":
        files: dict[str, str] = {}
        steps: dict[str, list[Step]] = {}
        text = path.read_text()
        for section in re.split(r"^(?=## )", text, flags=re.MULTILINE):
            heading = section.partition("\n")[0].removeprefix("## ")
            for block in _FENCE.finditer(section):
                kind, body = block[1], block[2]
                match kind:
                    case "yaml":
                        named = _FILE.search(section[: block.start()])
                        assert named is not None, f"{path}: a manifest without a name: {body[:80]}"
                        files[named[1]] = body
                    case "sh":
                        steps.setdefault(heading, []).append(Step(body.splitlines(), None))
                    case "text":
                        last = steps[heading].pop()
                        steps[heading].append(Step(last.commands, body))
                    case _:
                        raise AssertionError(f"{path}: a block of kind {kind!r}, which nobody follows")
        return cls(files, steps)

    def write(self, folder: Path) -> None:
        """The files, into a folder."""
        for name, body in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(body)

    def follow(self, heading: str, folder: Path, env: Mapping[str, str] | None = None) -> list[str]:
        """Type the commands below a heading; what each answered. `env` is added to this process's, `hearth` is on the
        PATH. Fails where a command does, or where one answers something else than the page says."""
        said: list[str] = []
        given = {**os.environ, **(env or {})}
        given["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{given['PATH']}"
        for step in self.steps[heading]:
            for command in step.commands:
                ran = subprocess.run(
                    ["sh", "-c", command], cwd=folder, env=given, capture_output=True, text=True, check=False
                )
                assert ran.returncode == 0, f"{command}\n{ran.stdout}{ran.stderr}"
                said.append(ran.stdout)
            if step.answer is not None:
                assert said[-1].strip() == step.answer.strip(), f"{step.commands[-1]}\n{said[-1]}"
        return said
