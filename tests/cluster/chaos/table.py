"""Which faults strike which parts, in which phases, and what is promised then. A new cell is a row here."""

from dataclasses import dataclass
from enum import Enum


class Fault(Enum):
    """(what a person calls it, seconds until it is healed)."""

    KILL = ("kill -9", 5.0)
    TERM = ("SIGTERM", 5.0)
    STOP = ("SIGSTOP", 20.0)
    PARTITION = ("partition", 20.0)
    LOSS = ("loss of 10 %", 20.0)
    DELAY = ("delay of 200 ms", 20.0)

    @property
    def words(self) -> str:
        return self.value[0]

    @property
    def seconds(self) -> float:
        return self.value[1]


class Part(Enum):
    """What is struck, as a person calls it."""

    ACTIVATOR = "one activator of two"
    SCALER = "one scaler of two"
    CONTROLLER = "the leading controller"
    ENGINE = "one engine of each model"
    KEDA = "KEDA's operator and adapter"
    APISERVER = "the API server"
    ETCD = "etcd"

    @property
    def role(self) -> str | None:
        """The role of Hearth's that it is, where it is one."""
        role = self.name.lower()
        return role if role in ("activator", "scaler", "controller") else None


class Phase(Enum):
    """(what a person calls it, requests that are in it)."""

    IDLE = ("idle", 4)
    COLD = ("cold", 6)
    LOADING = ("loading", 6)
    HELD = ("100 held", 100)
    STREAMS = ("50 streams", 50)
    DRAINING = ("draining", 10)
    ROLLOUT = ("rollout", 10)

    @property
    def words(self) -> str:
        return self.value[0]

    @property
    def requests(self) -> int:
        return self.value[1]


class Cut(Enum):
    """Whose answers may be cut, each with an error that its client sees."""

    NOBODY = "nobody's"
    DOOR = "those that it relays"
    REPLICA = "those that it has begun"


@dataclass(frozen=True, slots=True)
class Promise:
    """`cut` is whose answers may end with an error; `keeps_replicas` that no replica goes while its requests are there; `seconds`
    how long after the fault the installation is whole again. In every case a request is answered to its end or told that it was
    not, and one that was told is answered when it is asked again."""

    cut: Cut = Cut.NOBODY
    keeps_replicas: bool = True
    seconds: float = 60.0


NOTHING_LOST = Promise()
PROMISES: dict[tuple[Fault, Part], Promise] = {
    # A process that is gone takes its connections with it, and their demand: architecture.md, Demand.
    (Fault.KILL, Part.ACTIVATOR): Promise(Cut.DOOR, keeps_replicas=False),
    # After an answer's first byte nobody else can go on with it: architecture.md, the life of a cold request. Who was cut asks no more.
    (Fault.KILL, Part.ENGINE): Promise(Cut.REPLICA, keeps_replicas=False),
}


@dataclass(frozen=True, slots=True)
class Strike:
    fault: Fault
    part: Part

    def __str__(self) -> str:
        return f"{self.fault.name}-{self.part.name}".lower()

    @property
    def promise(self) -> Promise:
        return PROMISES.get((self.fault, self.part), NOTHING_LOST)

    def touches(self, phase: Phase) -> bool:
        """Whether there is somebody to strike: a model that was not asked has no engine."""
        return self.part is not Part.ENGINE or phase not in (Phase.IDLE, Phase.COLD)


STRIKES = tuple(Strike(fault, part) for fault in Fault for part in Part)
# What `make e2e` runs.
FEW = (Strike(Fault.KILL, Part.ACTIVATOR),)
