"""https://kubernetes.io/docs/concepts/workloads/controllers/deployment/"""

from hearth.emulators.kinds import KubeObject
from hearth.emulators.store import ObjectStore
from hearth.emulators.workloads import HASH_LABEL, Deployments
from tests.unit.emulators.objects import KINDS, cluster, deployment, set_ready

KEY = ("ai", "d")


class Rollout:
    """A Deployment and the controller that looks at it."""

    def __init__(self, replicas: int) -> None:
        self.store: ObjectStore = cluster()
        self.store.put("deployments", deployment(replicas))
        self._controller = Deployments(self.store, KINDS)
        self.look()

    def look(self) -> None:
        self._controller.look(KEY)

    def change(self, item: KubeObject) -> None:
        self.store.put("deployments", item)
        self.look()

    @property
    def alive(self) -> list[KubeObject]:
        return [each for each in self.store.find("pods") if not each["metadata"].get("deletionTimestamp")]

    @property
    def images(self) -> list[str]:
        return sorted(each["spec"]["containers"][0]["image"] for each in self.alive)

    @property
    def status(self) -> KubeObject:
        item = self.store.get("deployments", *KEY)
        assert item is not None
        status: KubeObject = item["status"]
        return status

    def ready(self, image: str = "") -> None:
        """All pods of this image become ready."""
        for each in self.alive:
            if image in each["spec"]["containers"][0]["image"]:
                set_ready(self.store, each)
        self.look()


def test_as_many_pods_as_were_asked_for() -> None:
    rollout = Rollout(2)
    assert len(rollout.alive) == 2
    (owner,) = rollout.alive[0]["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("Deployment", "d", True)
    assert rollout.alive[0]["metadata"]["labels"].keys() == {"app", HASH_LABEL}
    rollout.look()
    assert len(rollout.alive) == 2, "a look that finds what it wants makes nothing"
    rollout.change(deployment(0))
    assert rollout.store.find("pods") == [], "pods that no node runs go at once"


def test_those_that_are_not_ready_go_first() -> None:
    rollout = Rollout(3)
    first = rollout.alive[0]
    set_ready(rollout.store, first)
    rollout.change(deployment(1))
    assert [each["metadata"]["name"] for each in rollout.alive] == [first["metadata"]["name"]]


def test_the_status_counts_what_lives() -> None:
    rollout = Rollout(2)
    assert rollout.status["replicas"] == rollout.status["unavailableReplicas"] == 2
    assert "readyReplicas" not in rollout.status, "what is zero is left out, as the real one does"
    rollout.ready()
    assert rollout.status["readyReplicas"] == rollout.status["availableReplicas"] == 2
    available = {each["type"]: each["status"] for each in rollout.status["conditions"]}
    assert available == {"Available": "True", "Progressing": "True"}
    rollout.change(deployment(0))
    assert "replicas" not in rollout.status, "a pod that ends is counted no more"
    assert len(rollout.store.find("pods")) == 2


def test_a_pod_that_is_deleted_is_made_again() -> None:
    rollout = Rollout(1)
    (gone,) = rollout.alive
    rollout.store.delete("pods", "ai", gone["metadata"]["name"])
    rollout.look()
    (made,) = rollout.alive
    assert made["metadata"]["name"] != gone["metadata"]["name"]


def test_a_new_template_replaces_one_pod_at_a_time_without_a_surge() -> None:
    rollout = Rollout(3)
    rollout.ready()
    rollout.change(deployment(3, "i:2"))
    assert rollout.images == ["i:1", "i:1"], "one goes; nothing is made before it is gone from the count"
    rollout.look()
    assert rollout.images == ["i:1", "i:1", "i:2"]
    rollout.look()
    assert rollout.images == ["i:1", "i:1", "i:2"], "the next waits until the new one is ready"
    for _ in range(6):
        rollout.ready("i:2")
    assert rollout.images == ["i:2", "i:2", "i:2"]
    assert rollout.status["updatedReplicas"] == 3


def test_a_new_pod_that_gets_no_device_holds_the_rollout_up() -> None:
    """maxUnavailable is used up by the one that waits: so it is in a cluster, and so it must be seen here."""
    rollout = Rollout(2)
    rollout.ready()
    rollout.change(deployment(2, "i:2"))
    for _ in range(5):
        rollout.look()
    assert rollout.images == ["i:1", "i:2"]


def test_old_pods_that_never_became_ready_do_not_hold_it_up() -> None:
    rollout = Rollout(1)
    rollout.change(deployment(1, "i:2"))
    rollout.look()
    assert rollout.images == ["i:2"]


def test_with_a_surge_the_new_one_comes_first() -> None:
    rollout = Rollout(1)
    rollout.ready()
    surge = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    rollout.change(deployment(1, "i:2", strategy=surge))
    assert rollout.images == ["i:1", "i:2"]
    rollout.look()
    assert rollout.images == ["i:1", "i:2"]
    rollout.ready("i:2")
    assert rollout.images == ["i:2"]
