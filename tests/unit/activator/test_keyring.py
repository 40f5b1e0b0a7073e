"""The keyring: whose keys open what, and what those are told who have none."""

from base64 import b64encode

import pytest

from hearth.activator.allowance import key_label
from hearth.activator.errors import ApiError
from hearth.activator.keyring import STEP, Keyring, KeySource
from hearth.api.key import ServiceKey

QWEN, LLAMA, OTHER = ServiceKey("ai", "qwen"), ServiceKey("ai", "llama"), ServiceKey("bi", "qwen")
OWN, SECOND, ALL = KeySource("ai", "s", "keys"), KeySource("ai", "s", "more"), KeySource("hearth-system", "all", "keys")


def secret(**entries: str) -> dict[str, object]:
    return {"data": {name: b64encode(text.encode()).decode() for name, text in entries.items()}}


def bearer(key: str) -> dict[bytes, bytes]:
    return {b"authorization": b"Bearer " + key.encode()}


def status(ring: Keyring, service: ServiceKey, fields: dict[bytes, bytes]) -> int:
    try:
        ring.admit(service, fields)
    except ApiError as error:
        return error.status
    return 200


@pytest.fixture
def ring() -> Keyring:
    """ai/qwen has keys of its own, ai/llama has none."""
    made = Keyring()
    made.put_service(QWEN, OWN)
    made.put_service(LLAMA, None)
    made.put_secret(OWN.at, made.read(secret(keys="alice=key-of-alice\nbob=key-of-bob models=llama")))
    return made


class TestWhoIsLetIn:
    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            (bearer("key-of-alice"), 200),
            ({b"authorization": b"bearer   key-of-alice "}, 200),
            ({b"x-api-key": b"key-of-alice"}, 200),
            ({b"authorization": b"Bearer wrong-key", b"x-api-key": b"key-of-alice"}, 200),
            (bearer("key-of-bob"), 404),
            (bearer("key-of-alic"), 401),
            (bearer("key-of-alice2"), 401),
            (bearer("alice=key-of-alice"), 401),
            ({b"authorization": b"Basic key-of-alice"}, 401),
            ({b"authorization": b"key-of-alice"}, 401),
            ({b"authorization": b"Bearer"}, 401),
            ({b"authorization": b"Bearer \xff\x00"}, 401),
            ({}, 401),
        ],
    )
    def test_a_service_with_keys(self, ring: Keyring, fields: dict[bytes, bytes], expected: int) -> None:
        assert status(ring, QWEN, fields) == expected

    def test_a_service_without_keys_is_open(self, ring: Keyring) -> None:
        assert ring.admit(LLAMA, {}) is None

    def test_the_key_that_lets_in_is_told(self, ring: Keyring) -> None:
        grant = ring.admit(QWEN, bearer("key-of-alice"))
        assert grant is not None
        assert (grant.key.name, grant.source) == ("alice", OWN)

    def test_a_model_list_may_name_the_namespace(self, ring: Keyring) -> None:
        ring.put_secret(OWN.at, ring.read(secret(keys="key-number-1 models=ai/qwen\nkey-number-2 models=bi/qwen")))
        assert status(ring, QWEN, bearer("key-number-1")) == 200
        assert status(ring, QWEN, bearer("key-number-2")) == 404


class TestTheActivatorsOwnKeys:
    @pytest.fixture
    def ring(self, ring: Keyring) -> Keyring:
        made = Keyring(ALL)
        made.put_service(QWEN, OWN)
        made.put_service(LLAMA, None)
        made.put_secret(OWN.at, made.read(secret(keys="key-of-alice")))
        made.put_secret(ALL.at, made.read(secret(keys="key-of-all")))
        return made

    def test_they_open_what_has_no_keys_of_its_own(self, ring: Keyring) -> None:
        assert status(ring, LLAMA, bearer("key-of-all")) == 200
        assert status(ring, LLAMA, {}) == 401
        assert status(ring, QWEN, bearer("key-of-all")) == 404
        assert status(ring, QWEN, bearer("key-of-alice")) == 200
        assert status(ring, LLAMA, bearer("key-of-alice")) == 404

    def test_nobody_else_gets_past_the_head(self, ring: Keyring) -> None:
        ring.check_head(None, bearer("key-of-all"))
        ring.check_head(None, bearer("key-of-alice"))
        with pytest.raises(ApiError, match="Incorrect API key"):
            ring.check_head(None, bearer("key-of-nobody"))


class TestClosedDoors:
    @pytest.mark.parametrize(
        "item",
        [
            None,
            {},
            {"data": None},
            secret(keys=""),
            secret(keys="# nobody\n"),
            secret(keys="short"),
            secret(other="key-of-alice"),
            {"data": {"keys": 7}},
            {"data": {"keys": "no base64!"}},
            {"data": {"keys": "ä"}},
        ],
    )
    def test_keys_that_cannot_be_read_let_nobody_in(self, ring: Keyring, item: dict[str, object] | None) -> None:
        ring.put_secret(OWN.at, ring.read(item) if item is not None else None)
        assert status(ring, QWEN, bearer("key-of-alice")) == 503
        assert status(ring, QWEN, {}) == 401
        ring.put_secret(OWN.at, ring.read(secret(keys="key-of-alice")))
        assert status(ring, QWEN, bearer("key-of-alice")) == 200

    def test_before_the_secret_is_heard_of_nobody_is_let_in(self) -> None:
        ring = Keyring()
        ring.put_service(QWEN, OWN)
        assert status(ring, QWEN, bearer("key-of-alice")) == 503

    def test_a_strangers_key_may_be_one_of_those_that_cannot_be_read(self, ring: Keyring) -> None:
        ring.remove_service(LLAMA)
        with pytest.raises(ApiError, match="Incorrect"):
            ring.check_head(None, bearer("key-of-nobody"))
        ring.put_secret(OWN.at, None)
        with pytest.raises(ApiError, match="can't be read") as raised:
            ring.check_head(None, bearer("key-of-nobody"))
        assert raised.value.status == 503
        with pytest.raises(ApiError, match="No API key"):
            ring.check_head(None, {})

    def test_a_wrong_entry_says_nothing_to_others(self, ring: Keyring) -> None:
        ring.remove_service(LLAMA)
        ring.put_secret(OWN.at, ring.read(secret(other="key-of-alice")))
        with pytest.raises(ApiError, match="Incorrect"):
            ring.check_head(None, bearer("key-of-nobody"))

    @pytest.mark.parametrize(
        ("name", "value", "left"),
        [
            (b"authorization", b"Bearer key-of-alice", False),
            (b"authorization", b"key-of-alice", False),
            (b"authorization", b"Basic " + b64encode(b"alice:key-of-alice"), False),
            (b"api-key", b"key-of-alice", False),
            (b"x-api-key", b"key-of-alice", False),
            (b"authorization", b"Bearer engines-own", True),
            (b"x-other", b"key-of-alice", True),
        ],
    )
    def test_no_engine_is_told_a_key_of_ours(self, ring: Keyring, name: bytes, value: bytes, left: bool) -> None:
        engines = (b"authorization", b"Bearer engines-own-2")
        assert ((name, value) in ring.without_ours([engines, (name, value)])) is left
        assert engines in ring.without_ours([engines, (name, value)])

    def test_a_secret_made_again_gives_nobody_a_new_minute(self, ring: Keyring) -> None:
        ring.put_secret(OWN.at, ring.read(secret(keys="key-of-alice rpm=1")))
        before = ring.admit(QWEN, bearer("key-of-alice"))
        ring.put_secret(OWN.at, None)
        ring.put_secret(OWN.at, ring.read(secret(keys="key-of-alice rpm=1")))
        after = ring.admit(QWEN, bearer("key-of-alice"))
        assert before is not None
        assert after is not None
        assert after.allowance is before.allowance

    @pytest.mark.parametrize("between", [None, secret(keys="alice-before=key-of-alice rpm=9")])
    def test_a_key_that_was_there_before_is_counted_by_its_name(
        self, ring: Keyring, between: dict[str, object] | None
    ) -> None:
        ring.put_secret(OWN.at, ring.read(secret(keys="key-of-alice rpm=9")))
        ring.put_secret(OWN.at, ring.read(between) if between is not None else None)
        ring.put_secret(OWN.at, ring.read(secret(keys="alice=key-of-alice rpm=9")))
        grant = ring.admit(QWEN, bearer("key-of-alice"))
        assert grant is not None
        grant.allowance.enter(ring.now())
        assert ring.counts[(*OWN.at, key_label("alice"))].requests == 1

    def test_series_go_with_their_keys(self, ring: Keyring) -> None:
        ring.put_secret(OWN.at, ring.read(secret(keys="alice=key-of-alice\nbob=key-of-bob-1")))
        assert len([series for series in ring.counts if series[:2] == OWN.at]) == 2
        ring.put_secret(OWN.at, ring.read(secret(keys="bob=key-of-bob-1")))
        assert [series for series in ring.counts if series[:2] == OWN.at] == [(*OWN.at, key_label("bob"))]

    def test_a_revoked_key_opens_nothing_and_a_new_one_does(self, ring: Keyring) -> None:
        ring.put_secret(OWN.at, ring.read(secret(keys="alice=key-of-alice-2")))
        assert status(ring, QWEN, bearer("key-of-alice")) == 401
        assert status(ring, QWEN, bearer("key-of-alice-2")) == 200


class TestWhatIsSeen:
    def test_who_has_no_key_sees_what_needs_none(self, ring: Keyring) -> None:
        seen = ring.sees({})
        assert [seen(QWEN), seen(LLAMA)] == [False, True]

    def test_a_key_shows_what_it_opens(self, ring: Keyring) -> None:
        assert ring.sees(bearer("key-of-alice"))(QWEN)
        assert not ring.sees(bearer("key-of-bob"))(QWEN)

    def test_who_would_see_nothing_is_told_why(self, ring: Keyring) -> None:
        ring.remove_service(LLAMA)
        with pytest.raises(ApiError, match="No API key"):
            ring.sees({})

    def test_without_any_keys_everything_is_seen_by_everybody(self) -> None:
        ring = Keyring()
        assert not ring.locked
        ring.put_service(QWEN, None)
        assert ring.sees({})(QWEN)
        assert ring.nobodys("nobody", {}).status == 404

    def test_what_is_not_there_and_what_is_not_yours_is_told_alike(self, ring: Keyring) -> None:
        for fields in ({}, bearer("key-of-nobody"), bearer("key-of-bob")):
            with pytest.raises(ApiError) as raised:
                ring.admit(QWEN, fields)
            assert str(ring.nobodys("ai/qwen", fields)) == str(raised.value)
            assert (raised.value.status, raised.value.code) == (
                ring.nobodys("ai/nobody", fields).status,
                ring.nobodys("ai/nobody", fields).code,
            )


class TestSecretsThatMatter:
    def test_each_is_wanted_while_somebody_names_it(self) -> None:
        ring, told = Keyring(), []
        ring.on_wanted = lambda at, wanted: told.append((*at, wanted))
        ring.put_service(QWEN, OWN)
        ring.put_service(LLAMA, SECOND)
        ring.put_service(OTHER, KeySource("bi", "s", "keys"))
        assert told == [("ai", "s", True), ("bi", "s", True)]
        assert ring.wanted == {("ai", "s"), ("bi", "s")}
        ring.put_service(QWEN, None)
        assert len(told) == 2
        ring.remove_service(LLAMA)
        assert told[2:] == [("ai", "s", False)]
        assert ring.locked
        ring.remove_service(OTHER)
        assert told[3:] == [("bi", "s", False)]
        assert not ring.locked

    def test_two_entries_of_one_secret_are_two_lists(self, ring: Keyring) -> None:
        ring.put_service(LLAMA, SECOND)
        assert status(ring, LLAMA, bearer("key-of-carol")) == 503
        ring.put_secret(OWN.at, ring.read(secret(keys="key-of-alice", more="key-of-carol")))
        assert [status(ring, LLAMA, bearer("key-of-carol")), status(ring, QWEN, bearer("key-of-carol"))] == [200, 404]

    def test_a_secret_that_is_known_serves_who_names_it_later(self, ring: Keyring) -> None:
        ring.put_secret(OWN.at, ring.read(secret(keys="key-of-alice", more="key-of-carol")))
        ring.put_service(LLAMA, SECOND)
        assert status(ring, LLAMA, bearer("key-of-carol")) == 200

    def test_a_key_in_two_lists_opens_both(self, ring: Keyring) -> None:
        ring.put_service(LLAMA, SECOND)
        ring.put_secret(OWN.at, ring.read(secret(keys="key-of-alice", more="key-of-alice")))
        assert [status(ring, each, bearer("key-of-alice")) for each in (QWEN, LLAMA)] == [200, 200]
        ring.put_secret(OWN.at, ring.read(secret(keys="key-of-alice", more="key-of-carol")))
        assert [status(ring, each, bearer("key-of-alice")) for each in (QWEN, LLAMA)] == [200, 404]

    def test_a_secret_that_nobody_names_is_not_kept(self, ring: Keyring) -> None:
        ring.put_secret(("ai", "strange"), ring.read(secret(keys="key-of-mallory")))
        assert ring.presented(bearer("key-of-mallory")) == []
        assert "strange" not in repr(ring._secrets)


class TestManyKeys:
    """A Secret of many is taken in steps, between which others ask."""

    MANY = tuple(f"user-{number}=key-of-user-{number:04}" for number in range(5 * STEP))

    def test_each_step_is_short_and_who_stays_is_let_in_all_the_time(self) -> None:
        made = Keyring()
        made.put_service(QWEN, OWN)
        made.put_service(LLAMA, SECOND)
        whole = "\n".join(self.MANY)
        made.put_secret(OWN.at, made.read(secret(keys=whole, more=whole)))
        (before,) = [g for g in made.presented(bearer("key-of-user-0001")) if g.source == OWN]
        before.allowance.counts.requests = 7
        changed = "\n".join([*self.MANY[: 3 * STEP], "new=key-of-somebody-new"])
        steps = 0
        for _ in made.taking(OWN.at, made.read(secret(keys=changed, more=whole))):
            steps += 1
            assert status(made, QWEN, bearer("key-of-user-0001")) == 200
            assert status(made, LLAMA, bearer("key-of-user-0499")) == 200
        assert steps >= 2 + 3 + 5 - 1
        assert status(made, QWEN, bearer("key-of-user-0499")) == 404, "it is the key of the other one"
        assert status(made, LLAMA, bearer("key-of-user-0499")) == 200
        assert status(made, QWEN, bearer("key-of-somebody-new")) == 200
        (after,) = [g for g in made.presented(bearer("key-of-user-0001")) if g.source == OWN]
        assert after.allowance is before.allowance

    def test_a_source_that_nobody_names_any_more_leaves_nothing(self) -> None:
        made = Keyring()
        made.put_service(QWEN, OWN)
        taking = made.taking(OWN.at, made.read(secret(keys="\n".join(self.MANY))))
        next(taking)
        made.remove_service(QWEN)
        assert list(taking) == []
        assert made.presented(bearer("key-of-user-0001")) == []
        assert (made.counts, made.wanted) == ({}, set())

    def test_one_that_is_emptied_is_shut_at_the_first_step(self) -> None:
        made = Keyring()
        made.put_service(QWEN, OWN)
        made.put_secret(OWN.at, made.read(secret(keys="\n".join(self.MANY))))
        taking = made.taking(OWN.at, None)
        next(taking)
        assert status(made, QWEN, bearer("key-of-user-0499")) == 503
        list(taking)
        assert made.presented(bearer("key-of-user-0499")) == []
