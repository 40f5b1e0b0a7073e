from hearth.api.key import ServiceKey
from hearth.controller.fights import REST_SECONDS, TIMES, WITHIN_SECONDS, Fights, other
from hearth.controller.ownership import ObjectName
from hearth.controller.verdict import Verdict
from hearth.kube.kinds import RENDERED
from hearth.kube.objects import KubeObject
from tests.unit.controller.cluster import KEY, Cluster

NAME = ("Deployment", "qwen")
WANTED = {"spec": {"replicas": 1}}


def test_the_same_again_and_again_rests() -> None:
    fights = Fights()
    assert [written(fights, NAME, WANTED, now / 10) for now in range(TIMES + 1)] == [True] * TIMES + [False]
    assert fights.rests(KEY, 1.0) is not None
    assert not written(fights, NAME, WANTED, REST_SECONDS / 2)
    assert written(fights, NAME, WANTED, REST_SECONDS + 1)
    assert fights.rests(KEY, REST_SECONDS + 1) is None


def test_what_is_wanted_anew_and_what_is_seldom_does_not() -> None:
    fights = Fights()
    for now in range(10 * TIMES):
        assert written(fights, NAME, {"spec": {"replicas": now}}, now / 10)
    for now in range(10 * TIMES):
        assert written(fights, NAME, WANTED, 100 + now * WITHIN_SECONDS / TIMES)
    for _ in range(10 * TIMES):
        assert fights.may(KEY, NAME, WANTED, 2000, "what the API server refuses is not written, and no fight")


def test_one_object_rests_alone_and_is_forgotten_with_its_service() -> None:
    fights = Fights()
    for _ in range(TIMES + 1):
        written(fights, NAME, WANTED, 0.0)
    assert written(fights, ("Service", "qwen"), WANTED, 0.0)
    assert fights.rests(ServiceKey("ai", "other"), 0.0) is None
    fights.forget(KEY)
    assert written(fights, NAME, WANTED, 0.0)


def written(fights: Fights, name: ObjectName, meant: KubeObject, now: float, said: str = "x") -> bool:
    """Write it where that may be."""
    if may := fights.may(KEY, name, meant, now, said):
        fights.wrote(KEY, name, meant, now)
    return may


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
        written(fights, NAME, WANTED, 0.0, "spec.replicas is not what Hearth applied but what kubectl wrote")
    plain = [Verdict("UpToDate", True, "UpToDate", "all of them"), Verdict("Ready", True, "ReplicasReady", "yes")]
    (verdict, ready), seconds = fights.told(KEY, plain, 1.0)
    assert verdict.message.endswith("Deployment qwen: spec.replicas is not what Hearth applied but what kubectl wrote")
    assert ready == plain[1]
    assert [each.type for each in fights.told(KEY, plain[1:], 1.0)[0]] == ["UpToDate", "Ready"], (
        "of one that is not there"
    )
    assert seconds is not None
    assert fights.told(KEY, plain, seconds)[0][0].reason == "ChangedBack"
    assert fights.told(KEY, plain, 1.0 + seconds) == (plain, None)
    assert fights.told(ServiceKey("ai", "other"), plain, 1.0) == (plain, None)


def test_what_a_webhook_writes_otherwise_is_said_and_is_no_fight() -> None:
    fights = Fights()
    plain = [Verdict("UpToDate", True, "UpToDate", "all of them")]
    fights.stands(KEY, NAME, ("spec", "template"))
    (verdict,), seconds = fights.told(KEY, plain, 1.0)
    assert (verdict.status, verdict.reason, seconds) == (True, "UpToDate", None)
    assert verdict.message == "all of them; Deployment qwen: a webhook wrote spec.template otherwise than Hearth"
    fights.stands(KEY, NAME)
    assert fights.told(KEY, plain, 1.0) == (plain, None)


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
    assert other(stamped, wanted, {"hearth-controller"}) == (
        "spec.paused is not what Hearth applied but what a webhook or a second Hearth wrote"
    )
    assert other(found, found, set()) == ""
