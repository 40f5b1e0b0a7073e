"""The `hearth` command as a process, its output line by line."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.builders import SEED

PATIENCE = 60.0


@dataclass
class Hearth:
    """A running `hearth up`."""

    process: "subprocess.Popen[str]"
    lines: list[str] = field(default_factory=list)
    _more: threading.Condition = field(default_factory=threading.Condition)

    @property
    def port(self) -> int:
        found = re.search(r"OpenAI endpoint: http://127\.0\.0\.1:(\d+)/v1", self.text)
        assert found is not None
        return int(found[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @classmethod
    @contextlib.contextmanager
    def up(cls, folder: Path, *arguments: str, manifests: Sequence[Path] = (SEED,)) -> Iterator["Hearth"]:
        """Run it until the context is left; then it must end by itself, with 0 and without leaving a process."""
        command = [sys.executable, "-m", "hearth", "up", "--port", "0", *arguments]
        command += [word for path in manifests for word in ("-f", str(path))]
        process = subprocess.Popen(
            command,
            env={**os.environ, "TMPDIR": str(folder), "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        running = cls(process)
        reader = threading.Thread(target=running._read)
        reader.start()
        try:
            running.wait_for("Ctrl-C stops it")
            yield running
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0, running.text
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            reader.join()
            assert process.stdout is not None
            process.stdout.close()
        left = [path.name for path in folder.iterdir()]
        assert left == [], "its folder is gone, and so is all that wrote to it"

    @property
    def text(self) -> str:
        return "".join(self.lines)

    def wait_for(self, pattern: str, after: int = 0) -> int:
        """The number of the first line from number `after` on in which the pattern is found. Fails after a minute."""
        found: int | None = None

        def seen() -> bool:
            nonlocal found
            matching = (n for n, line in enumerate(self.lines[after:], after) if re.search(pattern, line))
            found = next(matching, None)
            return found is not None or self.process.poll() is not None

        with self._more:
            self._more.wait_for(seen, PATIENCE)
        assert found is not None, f"{pattern!r} not in:\n{self.text}"
        return found

    def last(self, pattern: str) -> int:
        """The number of the last line so far in which the pattern is found; 0 where there is none."""
        return max((n for n, line in enumerate(self.lines) if re.search(pattern, line)), default=0)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._more:
                self.lines.append(line)
                self._more.notify_all()
        self.process.wait(PATIENCE)
        with self._more:
            self._more.notify_all()
