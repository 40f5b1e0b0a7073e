"""One look at one LLMService: what should be, what is, and the writes that close the gap.

Level-triggered: it reads the world as it is now and may be run at any time, any number of times. It looks at every
object before it writes the first one (docs/decisions/0011): what has our name and is not ours is never written.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import get_args

from hearth.api.base import MAX_INT32
from hearth.api.key import ServiceKey
from hearth.api.labels import COMPONENT_LABEL, LLMSERVICE_LABEL
from hearth.api.llmservice import LLMService
from hearth.api.manifest import ManifestError, read_llmservice
from hearth.api.quantity import amount
from hearth.api.reasons import must_act
from hearth.api.status import ConditionType
from hearth.api.template import DOWNLOAD
from hearth.controller.applied import differs, is_applied
from hearth.controller.belongings import Belongings
from hearth.controller.choosing import Choice, choose, recorded
from hearth.controller.claims import with_classes
from hearth.controller.coldstart import by_others, ended
from hearth.controller.events import transitions
from hearth.controller.fights import Fights, other
from hearth.controller.keyaccess import Keys
from hearth.controller.keys import with_keys
from hearth.controller.ownership import (
    CREATOR,
    MANAGER,
    NameTaken,
    ObjectName,
    PredecessorLeaving,
    check_names,
    is_seed,
    needless,
    object_name,
    standing,
)
from hearth.controller.pace import Pace
from hearth.controller.prewarm import (
    at_work,
    bytes_told,
    downloading,
    filling,
    outdated,
    prewarmed,
    was_filled,
)
from hearth.controller.rollout import with_room
from hearth.controller.runtimes import Runtimes
from hearth.controller.scaledobject import carried_over, given_up, hpa_name, kedas, metric_name, nudged
from hearth.controller.scalers import Scalers
from hearth.controller.seed import seed_of
from hearth.controller.status import llmservice_status, runtime_not_resolved, verdicts
from hearth.controller.verdict import Verdict
from hearth.controller.world import (
    World,
    alive,
    asks_for_devices,
    holds_devices,
    phase_of,
    ready_replicas,
    wanted_replicas,
)
from hearth.crd_translator import ClusterFacts, RuntimeNotResolved, readiness_path, render_on, render_without_runtime
from hearth.fleet import Fleet, Seen, Wanted
from hearth.kube.client import KubeClient
from hearth.kube.errors import (
    PASSING,
    Conflict,
    InternalError,
    KubeError,
    Refused,
    TooManyRequests,
    Unanswered,
    UnknownApi,
)
from hearth.kube.kinds import (
    CLAIM,
    DEPLOYMENT,
    EVENT,
    HPA,
    JOB,
    LLMSERVICE,
    POD,
    POD_EVENT,
    RENDERED,
    SCALED_OBJECT,
    external_metric,
    path_of,
)
from hearth.kube.objects import (
    GARBAGE_COLLECTORS,
    KubeObject,
    ObjectKey,
    condition,
    finalizers_of,
    instant,
    is_leaving,
    is_owned,
    is_replica_of,
    labels_of,
    mapping,
    mappings,
    metadata,
    name_of,
    namespace_of,
    number,
    owners_of,
    text,
    uid_of,
    version_of,
    written,
)
from hearth.logs import fields
from hearth.troubles import is_over, paused

log = logging.getLogger(__name__)


KEDA_LOOK_SECONDS = 10.0  # how often to see whether KEDA is there by now
NAME_LOOK_SECONDS = 10.0  # how often to see whether a name is free by now: a foreign object is in no watch of ours
LEAVING_LOOK_SECONDS = 1.0  # the garbage collector is at it
GOES_WITHIN = timedelta(seconds=10)  # what is deleted is mostly gone by then
FINALIZERS_KEPT = timedelta(seconds=60)  # after that, whoever set them is asked to take them off
UNSEEN_LOOK_SECONDS = 15.0  # how often to see whether KEDA has looked by now: its silence has no event
NUDGE_SECONDS = 15.0  # what KEDA gets to act on a nudge, before the next
# How often to look at a service that has replicas or a prewarm: its queue depth and how far it is have no event.
LOOK_SECONDS = 5.0

_LOG_LINES = 50  # the hubs' clients draw bars between the lines that say how much there is

_CONDITIONS = get_args(ConditionType)

Mark = tuple[str, str, str, dict[str, str], list[KubeObject]]
"""What tells that somebody changed an object that is applied: kind, uid, generation, labels, owners."""


class KedaMissing(Exception):
    """The API server knows no ScaledObjects: nobody is there to start replicas."""


class Reconciler:
    """`services`, `belongings`, `scalers`, `runtimes` and `facts` say what the informers know now; `identity` is this
    process' name in Events; `fleet` is told what each service is like; `keda_away` says why KEDA does nothing, once
    that is `keda_known`; `keys` lets activators read API keys, and says what is wrong with them; `now` is the clock's
    time."""

    def __init__(
        self,
        kube: KubeClient,
        services: Mapping[ObjectKey, KubeObject],
        belongings: Belongings,
        scalers: Scalers,
        runtimes: Runtimes,
        facts: Callable[[], ClusterFacts],
        identity: str,
        fleet: Fleet,
        keda_away: Callable[[], str | None] = lambda: None,
        keys: Keys | None = None,
        keda_known: Callable[[], bool] = lambda: True,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._kube = kube
        self._services = services
        self._belongings = belongings
        self._scalers = scalers
        self._runtimes = runtimes
        self._facts = facts
        self._identity = identity
        self._fleet = fleet
        self._keda_away = keda_away
        self._keys = keys
        self._keda_known = keda_known
        self._now = now
        self._nudged: dict[ServiceKey, float] = {}
        self._fights = Fights()
        self._paces: Pace[ServiceKey] = Pace()
        self._cached: dict[ServiceKey, str] = {}  # prewarm Jobs that are done, and not there any more
        self._settled: dict[ServiceKey, tuple[str, tuple[KubeObject, ...], list[Mark]]] = {}

    async def reconcile(self, key: ServiceKey) -> float | None:
        """Seconds after which to look again by the clock; None where events will tell.

        Raises KubeError where a write failed; the caller tries again.
        """
        item = self._services.get(ObjectKey(*key))
        if item is None or is_leaving(item):
            return await self._leave(key, item)
        service: LLMService | None = None
        choice: Choice | None = None
        again: float | None = None
        keys = await self._keys.look(key) if self._keys is not None else None
        try:
            service = read_llmservice(item)
            choice = self._choose(service, item)
            world, found, again = await self._serve(service, item, choice)
        except ManifestError as error:
            world = self._world(key)
            found = [Verdict("Ready", False, "Invalid", error.in_a_line)]
        except RuntimeNotResolved as error:
            world = self._world(key)
            found = runtime_not_resolved(world, error.reason, str(error))
        except NameTaken as error:
            world, again = self._world(key), NAME_LOOK_SECONDS
            found = [Verdict("Ready", False, "NameTaken", str(error))]
        except PredecessorLeaving as error:
            world, again = self._world(key), LEAVING_LOOK_SECONDS
            found = predecessors(error, world)
        except PASSING:
            world = self._world(key)
            self._fleet.recount(key, wanted_replicas(world), ready_replicas(world), world.placed)
            raise
        except KubeError as error:
            world = self._world(key)
            refused = [Verdict("Ready", False, "Refused", str(error))]
            if choice is not None:
                refused = verdicts(world, choice.verdict, refused=str(error))
            refused = with_keys(refused, keys)
            self._see(key, service, world, refused)
            await self._write_status(key, item, world, refused, choice)
            raise
        found = with_keys(found, keys)
        self._see(key, service, world, found)
        if keys is not None and keys.reason == "KeysNotAllowed":
            again = sooner(again, NAME_LOOK_SECONDS)
        return sooner(again, await self._write_status(key, item, world, found, choice))

    async def _leave(self, key: ServiceKey, item: KubeObject | None) -> float | None:
        """Forget it. What it owned goes with it: the garbage collector follows the owner references. One that
        somebody's finalizers hold, or those of what it owns, says so."""
        self._nudged.pop(key, None)
        self._cached.pop(key, None)
        self._settled.pop(key, None)
        self._fights.forget(key)
        self._fleet.forget(key)
        if self._keys is not None:
            await self._keys.settle(key.namespace)
        if item is None:
            self._paces.forget(key)
            return None
        since = instant(metadata(item).get("deletionTimestamp"))
        if since is not None and (left := (since + GOES_WITHIN - self._now()).total_seconds()) > 0:
            return left
        kept = [f for f in finalizers_of(item) if f not in GARBAGE_COLLECTORS]
        for child in self._belongings.of(key, *RENDERED):
            if is_leaving(child) and is_owned(child, uid_of(item)):
                kept += [f"{finalizer} of {child['kind']} {name_of(child)}" for finalizer in finalizers_of(child)]
        if kept:
            message = f"it is being deleted, and waits for the finalizers {', '.join(sorted(kept))}"
            held = [Verdict("Ready", False, "FinalizersKept", message)]
            return await self._write_status(key, item, self._world(key), held, None)
        return None

    def _see(self, key: ServiceKey, service: LLMService | None, world: World, found: Sequence[Verdict]) -> None:
        """Tell the fleet. `service` is None where it can't be read."""
        (ready,) = [verdict for verdict in found if verdict.type == "Ready"]
        seen = Seen(
            phase_of(world),
            wanted_replicas(world),
            ready_replicas(world),
            world.placed,
            paused=paused(world.scaled_object) is not None,
            not_ready=ready.reason if must_act("True" if ready.status else "False", ready.reason) else "",
        )
        self._fleet.see(key, seen, Wanted.of(service) if service is not None else None)

    async def _serve(
        self, service: LLMService, item: KubeObject, choice: Choice
    ) -> tuple[World, list[Verdict], float | None]:
        """Make what is there what the choice asks for, and say what it is like then, and when to look again.

        Raises RuntimeNotResolved, NameTaken, PredecessorLeaving, KubeError.
        """
        if choice.runtime is not None:
            objects = render_on(service, choice.runtime, self._facts()).objects
        else:
            objects = render_without_runtime(service, self._facts())
        keda = True
        try:
            again = await self._settle(service, item, objects, whole=choice.runtime is not None)
        except KedaMissing:
            keda, again = False, KEDA_LOOK_SECONDS
        key = service.key
        world = replace(await self._observe(key), keda=keda)
        again = sooner(again, choice.again)
        if wanted_replicas(world) > 0 or filling(world):
            again = sooner(again, LOOK_SECONDS)
        found, until = self._fights.told(key, verdicts(world, choice.verdict), asyncio.get_running_loop().time())
        again = sooner(again, until)
        if any(verdict.reason == "NotSeen" for verdict in found):
            again = sooner(again, UNSEEN_LOOK_SECONDS)
        return world, found, again

    def _choose(self, service: LLMService, item: KubeObject) -> Choice:
        """Raises RuntimeNotResolved."""
        world = self._world(service.key)
        idle = wanted_replicas(world) == 0 and not alive(world)
        known = (self._runtimes.sorted(), self._runtimes.unreadable, self._facts())
        status = mapping(item, "status")
        if not text(status, "resolvedRuntime"):
            deployment = self._belongings.get(service.key, DEPLOYMENT.name, service.key.name)
            if standing(deployment, service.key, uid_of(item)) in ("ours", "orphan"):
                status = {**status, **recorded(deployment)}
        return choose(service, status, *known, idle=idle, now=self._now())

    async def _settle(
        self, service: LLMService, item: KubeObject, objects: tuple[KubeObject, ...], *, whole: bool
    ) -> float | None:
        """Make what is there what should be; seconds after which to look again where the clock says so. Without
        `whole`, `objects` are not all that the LLMService needs, and nothing is deleted.

        Where nothing that it depends on has changed since this was done, it is not done again. Raises KedaMissing,
        NameTaken, PredecessorLeaving, KubeError.
        """
        key = service.key
        objects = with_room(await self._cleared(key, item, objects, whole=whole), self._world(key))
        objects = with_classes(objects, self._claims(key))
        now = (uid_of(item), objects, self._marks(key))
        scaled = self._belongings.get(key, SCALED_OBJECT.name, key.name)
        nudge_due = scaled is not None and given_up(scaled)
        if self._settled.get(key) == now and not nudge_due:
            return None
        self._settled.pop(key, None)
        found = await self._look(objects, key)
        check_names(found, key, uid_of(item))
        await self._write_all(key, item, objects, found)
        if whole:
            await self._prune(service, item, objects)
        if (rests := self._fights.rests(key, asyncio.get_running_loop().time())) is not None:
            return rests
        # What is there now, our own writes too: what is deleted or changed behind them is news.
        self._settled[key] = (uid_of(item), objects, self._marks(key))
        return NUDGE_SECONDS if nudge_due else None

    def _claims(self, key: ServiceKey) -> dict[str, KubeObject]:
        """The LLMService's claims, by name."""
        return {name_of(claim): claim for claim in self._belongings.of(key, CLAIM.name)}

    async def _cleared(
        self, key: ServiceKey, item: KubeObject, objects: tuple[KubeObject, ...], *, whole: bool
    ) -> tuple[KubeObject, ...]:
        """Delete prewarm Jobs that are outdated, their pods first. Returns the objects without a Job that is not to be
        made yet: a cache has one writer, and a claim that goes is not filled. When to make it, events tell.

        Raises KubeError.
        """
        wanted = {name_of(each) for each in objects if each["kind"] == JOB.name} if whole else None
        claims = self._claims(key)
        kept: dict[str, str] = {}
        going = False
        for job in self._belongings.of(key, JOB.name):
            if not is_owned(job, uid_of(item)):
                continue
            if is_leaving(job):
                going = True
            elif outdated(job, wanted, claims):
                going = True
                log.info("deleting a prewarm", extra=fields(service=str(key), kind=JOB.name, name=name_of(job)))
                await self._kube.delete_object(path_of(job), uid_of(job), foreground=True)
            else:
                kept[name_of(job)] = uid_of(job)
        going = going or at_work(self._belongings.of(key, POD.name), kept.values())
        made: list[KubeObject] = []
        self._cached.pop(key, None)
        for each in objects:
            if each["kind"] == JOB.name and name_of(each) not in kept:
                if was_filled(each, claims, mapping(item, "status")):
                    self._cached[key] = name_of(each)  # somebody has cleaned it away; what it did stays done
                    continue
                if going or outdated(each, None, claims):
                    continue
            made.append(each)
        return tuple(made)

    async def _write_all(
        self,
        key: ServiceKey,
        item: KubeObject,
        objects: tuple[KubeObject, ...],
        found: Mapping[ObjectName, KubeObject | None],
    ) -> None:
        """Write each object; one that is not taken does not stop the others, and is told after them. A 500 is told as
        a refusal too: it may be this object's for ever, and somebody must hear of it. While the Deployment is a seed,
        KEDA is told of none: objects are written in the order of what is rendered, a ScaledObject behind it.

        Raises KedaMissing, Refused with what each of them was answered, or another KubeError, which may pass.
        """
        refused: list[tuple[KubeObject, KubeError]] = []
        missing: KedaMissing | None = None
        passing: KubeError | None = None
        seeds = False
        for wanted in objects:
            if wanted["kind"] == SCALED_OBJECT.name and seeds:
                continue  # KEDA would start pods of a template that nobody wrote
            before = found[object_name(wanted)]
            try:
                await self._write(key, item, wanted, before)
                continue
            except (Unanswered, TooManyRequests, Conflict):
                raise  # the others would meet the same; of a Conflict nobody knows whose the name is
            except KedaMissing as error:
                missing = error
            except InternalError as error:
                refused.append((wanted, error))
            except PASSING as error:
                passing = error
            except KubeError as error:
                refused.append((wanted, error))
            seeds = seeds or (wanted["kind"] == DEPLOYMENT.name and is_seed(before))
        if refused:
            first = refused[0][1]
            # Behind its first line the API server prints the object, or what differs.
            told = [
                f"{wanted['kind']} {name_of(wanted)}: {str(error).partition(chr(10))[0]}" for wanted, error in refused
            ]
            raise Refused("; ".join(told), first.status) from first
        if passing is not None:
            raise passing
        if missing is not None:
            raise missing

    async def _look(self, objects: tuple[KubeObject, ...], key: ServiceKey) -> dict[ObjectName, KubeObject | None]:
        """What stands under each of our names now. The informers see our label alone, so that what they don't know is
        asked for: it may be somebody else's."""
        found = {name: self._belongings.get(key, *name) for name in map(object_name, objects)}
        paths = {name: path_of(wanted) for name, wanted in zip(found, objects, strict=True) if found[name] is None}
        # KEDA takes and rewrites whatever has the name that it derives from a ScaledObject's.
        derived = (HPA.name, hpa_name(key))
        if (SCALED_OBJECT.name, key.name) in paths:
            paths[derived] = HPA.path(key.namespace, derived[1])
        found |= zip(paths, await asyncio.gather(*map(self._kube.get_object, paths.values())), strict=True)
        if derived in found and ((hpa := found[derived]) is None or kedas(hpa, key)):
            del found[derived]
        return found

    def _marks(self, key: ServiceKey) -> list[Mark]:
        """What tells that somebody changed one of the objects that are applied, and does not change with a status."""
        return [
            (
                child["kind"],
                uid_of(child),
                str(metadata(child).get("generation") or version_of(child)),
                labels_of(child),
                owners_of(child),
            )
            for child in self._belongings.of(key, *RENDERED)
        ]

    async def _prune(self, service: LLMService, item: KubeObject, objects: tuple[KubeObject, ...]) -> None:
        """Delete what the LLMService owns and needs no more: the claim of another cache strategy."""
        wanted = {object_name(rendered) for rendered in objects}
        for child in self._belongings.of(service.key, *RENDERED):
            ours = standing(child, service.key, uid_of(item)) == "ours"
            if ours and not is_leaving(child) and needless(child, wanted, service.spec.cache.strategy):
                about = fields(service=str(service.key), kind=child["kind"], name=name_of(child))
                log.info("deleting what is no longer needed", extra=about)
                await self._kube.delete_object(path_of(child), uid_of(child))

    def _world(self, key: ServiceKey) -> World:
        """What the informers know. What only bears our label is not the LLMService's."""
        uid = uid_of(self._services.get(ObjectKey(*key)))
        known_pods = self._belongings.of(key, POD.name)
        pods = [pod for pod in known_pods if not is_leaving(pod)]
        jobs = [job for job in self._belongings.of(key, JOB.name) if is_owned(job, uid) and not is_leaving(job)]
        known = (self._belongings.get(key, kind, key.name) for kind in (DEPLOYMENT.name, SCALED_OBJECT.name))
        deployment, scaled = (item if item is not None and is_owned(item, uid) else None for item in known)
        placed = [
            pod
            for pod in known_pods
            if holds_devices(pod)
            and (
                is_replica_of(pod, key.name, uid_of(deployment))
                or (asks_for_devices(pod) and any(is_owned(pod, uid_of(job)) for job in jobs))
            )
        ]
        return World(
            deployment,
            scaled,
            [pod for pod in pods if is_replica_of(pod, key.name, uid_of(deployment))],
            placed=len(placed),
            others=tuple(self._scalers.others(key, uid_of(scaled))),
            keda_away=self._why_keda_is_away(ObjectKey(*key)),
            prewarm=max(jobs, key=lambda job: text(job, "metadata", "creationTimestamp"), default=None),
            prewarm_pods=[pod for pod in pods if any(is_owned(pod, uid_of(job)) for job in jobs)],
            cached=self._cached.get(key, ""),
            now=self._now(),
        )

    def _why_keda_is_away(self, key: ObjectKey) -> str | None:
        """Until we know, what the controller before us has said is believed: ours is no news of KEDA."""
        if self._keda_known():
            return self._keda_away()
        said = condition(self._services.get(key), "ScaledObjectReady")
        return text(said, "message") if text(said, "reason") == "KedaNotRunning" else None

    async def _observe(self, key: ServiceKey) -> World:
        """What the informers know, and of a service that has replicas what must be asked for."""
        world = self._world(key)
        if (downloads := downloading(world)) is not None:
            world = replace(world, prewarm_bytes=await self._downloaded(key, downloads))
        elif world.prewarm is not None and filling(world):
            about = [world.prewarm, *(pod for pod in world.prewarm_pods if not is_over(pod))]
            world = replace(world, prewarm_events=await self._events_of(key, about))
        if wanted_replicas(world) == 0:
            return replace(world, queue_depth=0 if world.deployment is not None else None)
        events: list[KubeObject] = []
        if ready_replicas(world) < wanted_replicas(world):
            starting = [pod for pod in alive(world) if condition(pod, "Ready").get("status") != "True"]
            events = await self._events_of(key, starting)
        hpas: list[KubeObject] | None = None
        if ready_replicas(world):  # before, there is nothing for it to do, and clients wait for the phase
            hpa = await self._kube.get_object(HPA.path(key.namespace, hpa_name(key)))
            hpas = [hpa] if hpa is not None else []
        depth = await self._queue_depth(key, world.scaled_object)
        return replace(world, events=events, queue_depth=depth, hpas=hpas)

    async def _events_of(self, key: ServiceKey, items: Sequence[KubeObject]) -> list[KubeObject]:
        """What the cluster says of each of these objects, oldest first. Raises KubeError."""
        events: list[KubeObject] = []
        for item in items:
            selector = f"involvedObject.uid={uid_of(item)}"
            listed = await self._kube.list_objects(POD_EVENT.within(key.namespace), field_selector=selector)
            events += sorted(listed.items, key=_time_of)
        return events

    async def _downloaded(self, key: ServiceKey, pod: str) -> int | None:
        """Bytes that a prewarm has in the cache, as its log says; None where it does not."""
        query = [("container", DOWNLOAD), ("tailLines", str(_LOG_LINES))]
        try:
            return bytes_told(await self._kube.get_text(POD.path(key.namespace, pod, "log"), query))
        except KubeError:  # it is over by now, or its node does not answer: the next look says more
            return None

    async def _queue_depth(self, key: ServiceKey, scaled_object: KubeObject | None) -> int | None:
        """The metric as KEDA tells it to the HPA; None where it can't be had."""
        name = metric_name(scaled_object)
        if name is None:
            return None
        try:
            path = external_metric(key.namespace, name)
            found = await self._kube.get_object(path, f"scaledobject.keda.sh/name={key.name}")
        except KubeError:  # KEDA away, or the scaler blind: it is said in KEDA's own condition
            return None
        amounts = [amount(value.get("value")) for value in mappings(found, "items")]
        depths = [depth for depth in amounts if depth is not None]
        return min(sum(map(int, depths)), MAX_INT32) if depths and len(depths) == len(amounts) else None

    async def _write(self, key: ServiceKey, item: KubeObject, rendered: KubeObject, found: KubeObject | None) -> None:
        """Bring one object to what is rendered, having looked at it; what is not there is created.

        Raises Conflict where something else has that name by now.
        """
        owner = {**LLMSERVICE.names, "name": key.name, "uid": uid_of(item)}
        owner |= {"controller": True, "blockOwnerDeletion": True}
        wanted = {**rendered, "metadata": {**rendered["metadata"], "ownerReferences": [owner]}}
        if wanted["kind"] == SCALED_OBJECT.name and found is not None:
            wanted = self._nudged_if_due(key, wanted, found)
        name, now = object_name(wanted), asyncio.get_running_loop().time()
        if found is None:
            if not self._fights.may(key, name, rendered, now, "it was deleted"):
                return  # the next look of the clock's makes it; half of it would be worse than none
            collection = RENDERED[wanted["kind"]].within(key.namespace)
            if wanted["kind"] == DEPLOYMENT.name:
                # Its seed could run pods: none is sown that would not be made whole.
                await self._kube.try_object(path_of(wanted), wanted, MANAGER)
            try:
                found = await self._kube.create_object(collection, seed_of(wanted), CREATOR)
                self._belongings.wrote(key, *name, found)
            except UnknownApi as error:
                if wanted["kind"] == SCALED_OBJECT.name:
                    raise KedaMissing from error
                raise
        elif is_applied(found, wanted, MANAGER):
            self._fights.stands(key, name)
            return
        # A seed is made whole, whoever sowed it.
        elif not is_seed(found) and not self._fights.may(
            key, name, rendered, now, other(found, wanted, {MANAGER, CREATOR})
        ):
            return  # the next look of the clock's does
        if not is_applied(found, wanted, MANAGER):
            found = await self._apply(key, item, wanted, found)
        self._fights.wrote(key, name, rendered, now)
        self._fights.stands(key, name, differs(found, wanted))

    async def _apply(self, key: ServiceKey, item: KubeObject, wanted: KubeObject, found: KubeObject) -> KubeObject:
        """Returns what it is then."""
        # Only what was looked at: its uid, and of one that is not ours yet its version too, for who owns it may change.
        only: KubeObject = {"uid": uid_of(found)}
        if standing(found, key, uid_of(item)) != "ours":
            only["resourceVersion"] = version_of(found)
        # What was written is known before the informer tells of it: a status of this generation is of what is there.
        applied = await self._apply_only(wanted, only)
        self._belongings.wrote(key, *object_name(wanted), applied)
        return applied

    async def _apply_only(self, wanted: KubeObject, only: KubeObject) -> KubeObject:
        path = path_of(wanted)
        try:
            return await self._kube.apply_object(path, {**wanted, "metadata": {**wanted["metadata"], **only}}, MANAGER)
        except Refused as error:
            # Another uid is told as a field that can't change. The words of an API server are no interface: look.
            now = await self._kube.get_object(path)
            if uid_of(now) != only["uid"]:
                raise Conflict(f"{path}: another object has the name by now", 409) from error
            raise
        except UnknownApi as error:
            if wanted["kind"] == SCALED_OBJECT.name:
                raise KedaMissing from error
            raise

    def _nudged_if_due(self, key: ServiceKey, wanted: KubeObject, found: KubeObject) -> KubeObject:
        """The ScaledObject with the nudge that stands; with another one where KEDA has given it up."""
        wanted = carried_over(wanted, found)
        if not given_up(found):
            return wanted
        now = asyncio.get_running_loop().time()
        if now - self._nudged.get(key, -NUDGE_SECONDS) < NUDGE_SECONDS:
            return wanted
        log.warning("KEDA has given up, nudging it", extra=fields(service=str(key)))
        self._nudged[key] = now
        return nudged(wanted)

    async def _write_status(
        self, key: ServiceKey, item: KubeObject, world: World, found: list[Verdict], choice: Choice | None
    ) -> float | None:
        """Seconds after which it may be written, where it was written too often; None where it is."""
        old = mapping(item, "status")
        strange = [part for part in ("coldStart", "choice") if by_others(item, part, MANAGER)]
        now = self._now()
        runtime = choice.runtime if choice is not None else None
        status = llmservice_status(
            world,
            found,
            {**old, "coldStart": {}} if "coldStart" in strange else old,
            runtime=choice.name if choice is not None else None,
            choice=choice.status if choice is not None else None,
            prewarmed=prewarmed(world.prewarm, self._claims(key)),
            selector=f"{LLMSERVICE_LABEL}={key.name},{COMPONENT_LABEL}=engine",
            url=f"http://{key.name}.{key.namespace}.svc/v1",
            generation=number(item, "metadata", "generation"),
            now=written(now),
            paths=runtime.spec.paths if runtime is not None else None,
            readiness_path=(readiness_path(runtime) or "") if runtime is not None else None,
        )
        if status == _without_others(old):
            return None
        if (wait := self._paces.wait(key, asyncio.get_running_loop().time())) > 0:
            return wait
        start_ended = ended(world, {} if "coldStart" in strange else old, written(now))
        about = {"name": key.name, "namespace": key.namespace, "uid": uid_of(item)}
        document = {**LLMSERVICE.names, "metadata": about, "status": status}
        path = LLMSERVICE.path(key.namespace, key.name, "status")
        if strange:
            await self._clear(path, item, strange)
        try:
            applied = await self._kube.apply_object(path, document, MANAGER)
        except InternalError as error:
            # An API server whose CRD is older does not know a field, and takes none of them. What it does not know it
            # leaves out of a merge.
            log.warning("status not applied, merging it", extra=fields(service=str(key), reason=str(error)))
            gone = dict.fromkeys(old.keys() - status.keys())
            patch = {"metadata": {"uid": uid_of(item)}, "status": {**gone, **status}}
            applied = await self._kube.merge_object(path, patch, MANAGER)
        except Refused:
            # Conditions of others may leave no room for ours. A status that can't be written helps nobody: theirs go.
            if _without_others(old) == old:
                raise
            await self._clear(path, item, ["conditions"])
            applied = await self._kube.apply_object(path, document, MANAGER)
        # An apply takes over what others wrote, and removes nothing of theirs.
        if left := sorted(mapping(applied, "status").keys() - status.keys()):
            await self._clear(path, item, left)
        if start_ended is not None:
            self._fleet.started(key, start_ended or None)
        for event in transitions(item, old, status, now.isoformat(timespec="microseconds"), self._identity):
            await self._tell(event)
        if status["phase"] != old.get("phase"):
            log.info("phase", extra=fields(service=str(key), phase=status["phase"], before=old.get("phase")))
        return None

    async def _clear(self, path: str, item: KubeObject, names: Sequence[str]) -> None:
        """Remove fields of a status, whoever wrote them."""
        log.info("removing what others wrote", extra=fields(path=path, fields=", ".join(names)))
        patch = {"metadata": {"uid": uid_of(item)}, "status": dict.fromkeys(names)}
        await self._kube.merge_object(path, patch, MANAGER)

    async def _tell(self, event: KubeObject) -> None:
        """An Event is for people: the status stands even where it can't be written (a namespace that goes away)."""
        try:
            await self._kube.create_object(EVENT.within(namespace_of(event)), event)
        except Conflict:
            pass  # told already
        except KubeError as error:
            log.warning("Event not written", extra=fields(reason=str(error)))


def predecessors(error: PredecessorLeaving, world: World) -> list[Verdict]:
    """The conditions of a service whose predecessor's objects are in its way; that KEDA is away may be the cause."""
    away = world.keda_away
    found = [] if away is None else [Verdict("ScaledObjectReady", False, "KedaNotRunning", away)]
    since = None if world.now is None or error.since is None else world.now - error.since
    lasts = error.kept and since is not None and since > FINALIZERS_KEPT
    return [*found, Verdict("Ready", False, "FinalizersKept" if lasts else "PredecessorLeaving", str(error))]


def sooner(one: float | None, other: float | None) -> float | None:
    """The smaller of two whiles; None is for ever."""
    return min((seconds for seconds in (one, other) if seconds is not None), default=None)


def _without_others(status: KubeObject) -> KubeObject:
    """A status without the conditions that are not of our types: whoever may write a status may add his own."""
    if not isinstance(status.get("conditions"), list):
        return status
    ours = [condition for condition in mappings(status, "conditions") if condition.get("type") in _CONDITIONS]
    return {**status, "conditions": ours}


def _time_of(event: KubeObject) -> str:
    """When an Event was seen last; RFC 3339 in UTC, which sorts as text."""
    created = text(event, "metadata", "creationTimestamp")
    return text(event, "lastTimestamp") or text(event, "eventTime") or created
