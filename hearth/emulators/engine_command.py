"""What the command line of a real engine says of where it listens and what it is called: vLLM's and llama.cpp's.

The simulated engine is given the container's own command, so that an option that would keep the real one from being
found, or that gives it another name, does the same here. Options that are not known here are passed over.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hearth.emulators.engine_core import MODEL_LEN, Family


@dataclass(frozen=True, slots=True)
class Told:
    """`names` are what it is served under, the first one is what it calls itself; none where nothing says so."""

    names: tuple[str, ...]
    host: str
    port: int
    shutdown_seconds: float
    max_model_len: int
    family: Family
    has_metrics: bool


def told_by(argv: Sequence[str]) -> Told:
    """What an engine that is started so would do. A command that is neither engine's is taken for vLLM's."""
    options = _options(argv)
    llama = any("llama-server" in word for word in argv[:1])
    names = options.get("--alias" if llama else "--served-model-name") or options.get("--model") or _model(argv)
    return Told(
        tuple(names),
        _last(options, "--host", "127.0.0.1" if llama else "0.0.0.0"),
        int(_last(options, "--port", "8080" if llama else "8000")),
        float(_last(options, "--shutdown-timeout", "0")),
        int(_last(options, "--max-model-len", str(MODEL_LEN))),
        "llamacpp" if llama else "vllm",
        not llama or "--metrics" in options,
    )


def _options(argv: Sequence[str]) -> dict[str, list[str]]:
    """The values of each option, as it was given last; vLLM takes _ for - in a name."""
    made: dict[str, list[str]] = {}
    current: list[str] | None = None
    for word in argv:
        if word.startswith("--"):
            name, given, value = word.partition("=")
            current = made[name.replace("_", "-")] = [value] if given else []
        elif current is not None:
            current.append(word)
    return made


def _last(options: dict[str, list[str]], name: str, default: str) -> str:
    values = options.get(name) or [default]
    return values[0]


def _model(argv: Sequence[str]) -> list[str]:
    """`vllm serve MODEL`: what it is called where nothing else says so."""
    words = list(argv)
    if "serve" in words and (at := words.index("serve") + 1) < len(words) and not words[at].startswith("-"):
        return [words[at]]
    return []
