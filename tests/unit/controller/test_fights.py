from hearth.api.key import ServiceKey
from hearth.controller.fights import REST_SECONDS, TIMES, WITHIN_SECONDS, Fights
from hearth.kube.kinds import RENDERED
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
