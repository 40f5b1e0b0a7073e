from hearth.api.key import ServiceKey
from hearth.controller.fights import REST_SECONDS, TIMES, WITHIN_SECONDS, Fights, other
from hearth.kube.kinds import RENDERED
from hearth.kube.objects import KubeObject
from tests.unit.controller.cluster import KEY, Cluster

NAME = ("Deployment", "qwen")
WANTED = {"spec": {"replicas": 1}}


def test_the_same_again_and_again_rests() -> None:
    fights = Fights()
    assert [fights.may(KEY, NAME, WANTED, now / 10) for now in range(TIMES + 1)] == [True] * TIMES + [False]
    assert fights.rests(KEY, 1.0) is not None
    assert not fights.may(KEY, NAME, WANTED, REST_SECONDS / 2)
    assert fights.may(KEY, NAME, WANTED, REST_SECONDS + 1)
    assert fights.rests(KEY, REST_SECONDS + 1) is None


def test_what_is_wanted_anew_and_what_is_seldom_does_not() -> None:
    fights = Fights()
    for now in range(10 * TIMES):
        assert fights.may(KEY, NAME, {"spec": {"replicas": now}}, now / 10)
    for now in range(10 * TIMES):
        assert fights.may(KEY, NAME, WANTED, 100 + now * WITHIN_SECONDS / TIMES)


def test_one_object_rests_alone_and_is_forgotten_with_its_service() -> None:
    fights = Fights()
    for _ in range(TIMES + 1):
        fights.may(KEY, NAME, WANTED, 0.0)
    assert fights.may(KEY, ("Service", "qwen"), WANTED, 0.0)
    assert fights.rests(ServiceKey("ai", "other"), 0.0) is None
    fights.forget(KEY)
    assert fights.may(KEY, NAME, WANTED, 0.0)


async def test_a_controller_whose_words_are_changed_back_writes_seldom() -> None:
    """An admission that stamps the image: each of our applies is another generation of the Deployment."""
    cluster = Cluster()
    await cluster.settle()
    written = len(cluster.api.writes)
    again = None
    for number in range(50):
        deployment = cluster.api.objects[RENDERED["Deployment"].path(*KEY)]
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "stamped"
        deployment["metadata"] |= {"generation": number, "resourceVersion": str(1000 + number)}
        again = await cluster.look()
    assert len(cluster.api.writes) - written == TIMES - 1  # one was its first
    assert again is not None
    assert 0 < again <= REST_SECONDS
    (told,) = [each for each in cluster.status["conditions"] if each["type"] == "UpToDate"]
    assert (told["status"], told["reason"]) == ("False", "ChangedBack")
    assert "Deployment qwen: spec.template.spec.containers is not what Hearth applied" in told["message"]


async def test_one_that_is_over_is_told_no_more() -> None:
    fights = Fights()
    for _ in range(TIMES + 1):
        fights.may(KEY, NAME, WANTED, 0.0, "spec.replicas is not what Hearth applied but what kubectl wrote")
    told = fights.verdict(KEY, 1.0)
    assert told is not None
    verdict, seconds = told
    assert verdict.message.endswith("Deployment qwen: spec.replicas is not what Hearth applied but what kubectl wrote")
    assert fights.verdict(KEY, seconds) is not None
    assert fights.verdict(KEY, 1.0 + seconds) is None
    assert fights.verdict(ServiceKey("ai", "other"), 1.0) is None


def test_who_wrote_the_field_is_named_and_no_other_manager() -> None:
    def entry(manager: str, time: str, *path: str, **more: str) -> KubeObject:
        owned: KubeObject = {}
        for step in reversed(path):
            owned = {f"f:{step}": owned}
        return {"manager": manager, "operation": "Update", "time": time, "fieldsV1": owned, **more}

    entries = [
        entry("hearth-controller", "2026-11-30T10:00:09Z", "spec", "paused"),
        entry("argocd", "2026-11-30T10:00:00Z", "spec", "paused"),
        entry("kubectl", "2026-11-30T10:00:01Z", "spec", "paused"),
        entry("keda", "2026-11-30T10:00:02Z", "metadata", "finalizers"),
    ]
    found = {"metadata": {"managedFields": entries}, "spec": {"paused": True}}
    wanted = {"metadata": {}, "spec": {"paused": False}}
    assert other(found, wanted, {"hearth-controller"}) == (
        "spec.paused is not what Hearth applied but what kubectl wrote"
    )
    stamped = {"metadata": {"managedFields": entries[:1]}, "spec": {"paused": True}}
    assert other(stamped, wanted, {"hearth-controller"}) == "spec.paused is not what Hearth applied"
    assert other(found, found, set()) == ""
