"""The demand picture through any order of lists, updates, silences and restarts, beside what is true.

Its promise: with everybody heard it says the sum; with somebody silent never less than was known, and never zero.
"""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hearth.api.key import ServiceKey
from hearth.kube.endpoints import Listing
from hearth.scaler.picture import STANDS_SECONDS, Blind, Demand, DemandPicture, Figures
from tests.machines import far_enough

ADDRESSES = ("10.0.0.1:9091", "10.0.0.2:9091", "10.0.0.3:9091")
KEYS = (ServiceKey("ai", "a"), ServiceKey("ai", "b"))
GRACE = 30.0
LISTINGS: tuple[Listing, ...] = ("ready", "terminating", "unready")


class Activator:
    """What one has said, as the test knows it."""

    def __init__(self, now: float, listing: Listing) -> None:
        self.last = now  # heard, or listed where it never was
        self.heard = False
        self.listing = listing
        self.figures: dict[ServiceKey, Figures] = {}
        self.process = 0
        self.requests = dict.fromkeys(KEYS, 0)


class PictureMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.picture = DemandPicture(GRACE)
        self.now = 0.0
        self.there: dict[str, Activator] = {}
        self.sure: dict[ServiceKey, Demand] = {}  # the sums when everybody was heard last

    @initialize(listed=st.dictionaries(st.sampled_from(ADDRESSES), st.sampled_from(LISTINGS)))
    def begin(self, listed: dict[str, Listing]) -> None:
        self.list(listed)

    @rule(listed=st.dictionaries(st.sampled_from(ADDRESSES), st.sampled_from(LISTINGS)))
    def list(self, listed: dict[str, Listing]) -> None:
        before = {key: self.true(key).active for key in KEYS}
        silent = self.silent
        ended = self.picture.list_activators(listed, self.now)
        taken = {a: how for a, how in listed.items() if how != "unready" or a in self.there}
        left = [self.there.pop(a) for a in list(self.there) if a not in taken]
        for address, how in taken.items():
            self.there.setdefault(address, Activator(self.now, how)).listing = how
        if not silent:  # those that left took their figures with them
            self.sure = {key: self.true(key) for key in KEYS}
        for key in KEYS:
            went = any(one.figures.get(key, Figures()).active for one in left)
            if before[key] and went and not self.true(key).active:
                assert key in ended, "KEDA's cooldown counts from the last true"

    @precondition(lambda self: self.there)
    @rule(data=st.data(), snapshot=st.booleans(), again=st.sampled_from([False, False, False, True]))
    def hear(self, data: st.DataObject, snapshot: bool, again: bool) -> None:
        address = data.draw(st.sampled_from(sorted(self.there)))
        one = self.there[address]
        if again:
            one.process += 1
            one.requests = dict.fromkeys(KEYS, 0)
            snapshot = True
        said = {}
        for key in data.draw(st.sets(st.sampled_from(KEYS))):
            asked = data.draw(st.integers(0, 2))
            one.requests[key] += asked
            waiting, in_flight = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))
            lease = data.draw(st.booleans())
            gone = not (waiting or in_flight or lease) and data.draw(st.booleans())
            said[key] = Figures(waiting, in_flight, lease, one.requests[key], gone)
        before = {key: self.true(key).active for key in KEYS}
        counted = {key: one.figures[key].requests for key in one.figures} if one.heard and not again else None
        pulses = self.picture.hear(address, said, snapshot=snapshot, now=self.now, instance=f"{address}/{one.process}")
        one.last, one.heard = self.now, True
        one.figures = {**({} if snapshot else one.figures), **said}
        for key in KEYS:
            active = self.true(key).active
            assert active == before[key] or key in pulses, "a begin or an end is pushed"
            asked = key in said and counted is not None and said[key].requests > counted.get(key, 0)
            assert active or not asked or key in pulses, "what came and went is pushed"
        one.figures = {key: figures for key, figures in one.figures.items() if not figures.gone}

    # It is asked more often than a grace period is long: each second, by what activators say.
    @rule(seconds=st.sampled_from([0.5, 2.0, STANDS_SECONDS - 1, STANDS_SECONDS + 1]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    def gone(self, one: Activator) -> bool:
        return one.listing != "ready" and self.now - one.last > GRACE

    def true(self, key: ServiceKey) -> Demand:
        said = [one.figures.get(key, Figures()) for one in self.there.values() if not self.gone(one)]
        return Demand(sum(f.waiting for f in said), sum(f.in_flight for f in said), any(f.lease for f in said))

    @property
    def silent(self) -> bool:
        return any(
            not self.gone(one) and (not one.heard or self.now - one.last > STANDS_SECONDS)
            for one in self.there.values()
        )

    @invariant()
    def what_it_says_is_the_truth_or_no_less(self) -> None:
        for key in KEYS:
            true, sure = self.true(key), self.sure.get(key, Demand())
            if not self.silent:
                assert self.picture.demand(key, self.now) == true
                continue
            try:
                said = self.picture.demand(key, self.now)
            except Blind:
                assert not true.active, "what is known of demand is told"
                assert not sure.active, "what was known goes on counting"
            else:
                assert said.active, "zero would be a guess"
                assert said.queue_depth >= max(true.queue_depth, sure.queue_depth)
        if not self.silent:
            self.sure = {key: self.true(key) for key in KEYS}


TestPictureMachine = PictureMachine.TestCase
TestPictureMachine.settings = far_enough()
