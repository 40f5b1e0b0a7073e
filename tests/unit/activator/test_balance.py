from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from hearth.activator.lane.balance import BOUND, Load, choose

ADDRESSES = [f"10.0.0.{number}:8000" for number in range(8)]
IDLE = {address: Load(0, 0) for address in ADDRESSES}


def test_the_fewest_outstanding_then_the_longest_unchosen() -> None:
    assert choose({"a": Load(2, 0), "b": Load(1, 9), "c": Load(1, 3)}) == "c"


def test_an_affinity_meets_at_one_replica() -> None:
    assert len({choose(IDLE, b"the same prompt") for _ in range(10)}) == 1


def test_affinities_are_spread() -> None:
    met = Counter(choose(IDLE, b"prompt %d" % number) for number in range(800))
    assert set(met) == set(ADDRESSES)
    assert max(met.values()) < 2 * 100


def test_a_replica_that_leaves_moves_its_own_share_alone() -> None:
    before = {number: choose(IDLE, b"prompt %d" % number) for number in range(200)}
    fewer = {address: load for address, load in IDLE.items() if address != ADDRESSES[3]}
    after = {number: choose(fewer, b"prompt %d" % number) for number in range(200)}
    moved = {number for number in before if before[number] != after[number]}
    assert moved == {number for number in before if before[number] == ADDRESSES[3]}


@given(st.lists(st.binary(min_size=1, max_size=2), min_size=1, max_size=60), st.integers(1, 6))
def test_no_replica_is_buried(prompts: list[bytes], replicas: int) -> None:
    outstanding = dict.fromkeys(ADDRESSES[:replicas], 0)
    for count, prompt in enumerate(prompts, 1):
        outstanding[choose({address: Load(n, 0) for address, n in outstanding.items()}, prompt)] += 1
        assert max(outstanding.values()) <= BOUND * count / replicas + 1
