"""Where a pod that shares this machine's network listens: an address of its own, and what is rewritten for that.

In a cluster a pod has a network to itself, and 0.0.0.0 is all of it. Here every pod has an address of 127.0.0.0/8: what
listens on all addresses is told to listen on that one, and nothing else of a command is touched. So an engine that
listens on 127.0.0.1 is as far from its probes as in a cluster. A port changes only where the declared one can't be had.
"""

import random
import re
from dataclasses import dataclass

from hearth.emulators.container import Start
from hearth.emulators.ports import can_listen, free_port

SHARED = "127.0.0.1"
_ATTEMPTS = 16

# An address that means "all of them": alone, as an option's value, before a port, or in a script's line.
_EVERYWHERE = re.compile(r"(?<![\w.:%])(?:0\.0\.0\.0|\[::\])(?![\w.%]|/\d)|(?:^|(?<==))::$")
_OWN_LOOPBACK = re.compile(r"(?<![\w.-])(?:127\.0\.0\.1|localhost|\[::1\])(?![\w.-])")
# Options by which engines are told a port: vLLM, SGLang, llama.cpp, TGI, LMDeploy, Triton.
_PORT_OPTIONS = ("--port", "-p", "--server-port", "--server_port", "--http-port", "--http_port")
_PORT_IN_TEXT = "(?<![\\w-])(" + "|".join(_PORT_OPTIONS) + ")([= ]){port}(?!\\w)"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pod is: its address, and the port at which its container's first declared port is found."""

    address: str
    declared: int
    port: int

    @classmethod
    def found(cls, declared: int) -> "Place":
        """A place that nobody has. Where a system knows no address but 127.0.0.1 (macOS), pods share that one."""
        for _ in range(_ATTEMPTS):
            address = f"127.{random.randint(1, 254)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
            if can_listen(address, 0):
                # A server on all addresses of this machine has the port here, too; below 1024 it is the system's.
                return cls(address, declared, declared if can_listen(address, declared) else free_port(address))
        return cls(SHARED, declared, free_port(SHARED))

    def told(self, start: Start) -> Start:
        """How the container starts here."""
        return Start(self._words(start.argv), {name: self._value(name, value) for name, value in start.env.items()})

    def enter(self, pid: int, command: list[str]) -> list[str]:
        """PodSpec's `enter`: in a hook or an exec probe, loopback is the pod itself."""
        here = [_OWN_LOOPBACK.sub(self.address, word) for word in command]
        moved = re.compile(f"(?<={re.escape(self.address)}:){self.declared}(?!\\w)")
        return [moved.sub(str(self.port), word) for word in here]

    def _words(self, argv: list[str]) -> list[str]:
        made: list[str] = []
        in_text = re.compile(_PORT_IN_TEXT.format(port=self.declared))
        for word in argv:
            if made and made[-1] in _PORT_OPTIONS and word == str(self.declared):
                made.append(str(self.port))
                continue
            moved = in_text.sub(lambda found: f"{found[1]}{found[2]}{self.port}", word)
            made.append(self._address(moved))
        return made

    def _value(self, name: str, value: str) -> str:
        """A variable whose name says that it is a port (PORT, LLAMA_ARG_PORT) is one."""
        if name.upper().endswith("PORT") and value == str(self.declared):
            return str(self.port)
        return self._address(value)

    def _address(self, text: str) -> str:
        """`text` with all addresses made this one, and the port that follows them."""
        with_port = re.compile(f"({_EVERYWHERE.pattern}):{self.declared}(?!\\w)")
        text = with_port.sub(f"{self.address}:{self.port}", text)
        return _EVERYWHERE.sub(self.address, text)
