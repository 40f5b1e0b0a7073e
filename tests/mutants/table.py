"""Which modules are changed, which quick tests must notice it, and which changes nobody can notice."""

from dataclasses import dataclass
from pathlib import Path

from tests.builders import ROOT


@dataclass(frozen=True, slots=True)
class Room:
    """Modules whose tests are run together once, to learn which test runs which of their lines."""

    name: str
    modules: tuple[str, ...]
    tests: tuple[str, ...]

    def paths(self) -> list[Path]:
        """The modules' files, each once; a folder stands for its modules."""
        found: dict[Path, None] = {}
        for module in self.modules:
            path = ROOT / module
            for file in sorted(path.glob("*.py")) if path.is_dir() else [path]:
                if file.name != "__init__.py":
                    found[file] = None
        return list(found)


_LANE = "hearth/activator/lane"
_CONTROLLER = "hearth/controller"

ROOMS = (
    Room(
        "http1",
        ("hearth/http1",),
        (
            "tests/unit/http1",
            "tests/unit/test_promises.py",
            "tests/component/test_http.py",
            "tests/component/test_rude.py",
        ),
    ),
    Room(
        "lane",
        (
            _LANE,
            *(
                f"hearth/activator/{name}.py"
                for name in (
                    "allowance",
                    "body",
                    "demand",
                    "directory",
                    "errors",
                    "keyring",
                    "multipart",
                    "origins",
                    "paths",
                    "starts",
                )
            ),
        ),
        (
            *("tests/unit/activator", "tests/unit/test_promises.py"),
            *(f"tests/component/test_{name}.py" for name in ("gate", "door", "relay", "dialects", "keys", "wallet")),
        ),
    ),
    Room(
        "scaler",
        tuple(f"hearth/scaler/{name}.py" for name in ("discovery", "listener", "picture", "pulses", "servicer")),
        ("tests/unit/scaler", "tests/unit/test_promises.py", "tests/component/test_scaler.py"),
    ),
    Room("translator", ("hearth/crd_translator",), ("tests/unit/crd_translator", "tests/unit/test_promises.py")),
    Room("api", ("hearth/api",), ("tests/unit/api", "tests/unit/crd_translator")),
    Room("kube", ("hearth/kube",), ("tests/unit/kube", "tests/component/test_informer.py")),
    Room(
        "controller",
        (
            *(
                f"{_CONTROLLER}/{name}.py"
                for name in ("applied", "belongings", "choosing", "coldstart", "events", "keys", "ownership")
            ),
            *(f"{_CONTROLLER}/{name}.py" for name in ("scaledobject", "scalers", "seed", "status", "verdict", "world")),
            "hearth/coldstart.py",
        ),
        ("tests/unit/controller", "tests/unit/test_coldstart.py"),
    ),
)


@dataclass(frozen=True, slots=True)
class Equivalent:
    """A change that nobody can notice, and why. `function` is "" at the top of a module."""

    module: str
    function: str
    before: str
    after: str
    reason: str


EQUIVALENTS: tuple[Equivalent, ...] = (
    Equivalent(
        "hearth/http1/connection.py",
        "Connection._refuse_what_is_read",
        "False",
        "True",
        "Its turn comes in _refuse, which says the same of every refused response.",
    ),
    Equivalent(
        "hearth/http1/connection.py",
        "_request",
        "b'*'",
        "b'other'",
        "httptools reads the target * as a path of that name, too.",
    ),
    Equivalent(
        "hearth/activator/lane/hold.py",
        "Hold.oldest",
        "self._drop_leavers()",
        "nothing",
        "Who leaves is dropped from the head of the line at once, by leave; nobody else stops waiting but by being sent.",
    ),
    Equivalent(
        "hearth/activator/lane/hold.py",
        "Hold.set_ready",
        "address in wanted and (not endpoint.ready)",
        "not endpoint.ready",
        "A replica that is away would get a new life more often; it is only told apart from the one that it had.",
    ),
    Equivalent(
        "hearth/activator/lane/hold.py",
        "Hold.set_ready",
        "self.ready and (not had) and (self.cold_since is not None)",
        "self.ready and self.cold_since is not None",
        "A cold start is asked for only while no replica is ready, so there was none before.",
    ),
    Equivalent(
        "hearth/controller/belongings.py",
        "Belongings.put",
        "item is not None and (service := labels_of(item).get(LLMSERVICE_LABEL))",
        "(service := labels_of(item).get(LLMSERVICE_LABEL))",
        "labels_of takes anything, and finds no label in what is not there; here it tells the type checker.",
    ),
    Equivalent(
        "hearth/crd_translator/pod.py",
        "_resources",
        "wanted.fraction.memory is not None and names.memory is not None",
        "wanted.fraction.memory is not None",
        "resolve_runtime chooses no runtime that has no name for what is asked; here it tells the type checker.",
    ),
    Equivalent(
        "hearth/crd_translator/pod.py",
        "_resources",
        "wanted.fraction.cores is not None and names.cores is not None",
        "wanted.fraction.cores is not None",
        "resolve_runtime chooses no runtime that has no name for what is asked; here it tells the type checker.",
    ),
    Equivalent(
        "hearth/crd_translator/arguments.py",
        "_has_option",
        "1",
        "2",
        "Of what is split only the first part is looked at.",
    ),
    Equivalent(
        "hearth/http1/connection.py",
        "Connection.__init__",
        "self._url = b''",
        "nothing",
        "on_message_begin sets it before anything reads it; here it says the type.",
    ),
    Equivalent(
        "hearth/http1/connection.py",
        "Connection.connection_lost",
        "self._line.clear()",
        "nothing",
        "Each of them was told and its transport is closing, so none is served; the connection goes with its line.",
    ),
)
