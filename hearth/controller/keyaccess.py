"""Lets activators read the Secrets of API keys: one Role and one RoleBinding in each namespace that needs them."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from hearth.api.key import ServiceKey
from hearth.api.labels import MANAGED_BY
from hearth.controller.fights import Fights
from hearth.controller.keys import ACCESS, KeyAccess, KeyUsers, access_seed, differs, keys_verdict
from hearth.controller.ownership import CREATOR, MANAGER, NameTaken, made_here
from hearth.controller.verdict import Verdict
from hearth.kube.client import KubeClient
from hearth.kube.errors import PASSING, AlreadyExists, KubeError
from hearth.kube.kinds import ROLE, ROLE_BINDING, Kind
from hearth.kube.objects import KubeObject, ObjectKey, name_of, namespace_of, uid_of
from hearth.logs import fields

log = logging.getLogger(__name__)

KINDS = (ROLE, ROLE_BINDING)


class ChangedBack(Exception):
    """Somebody else changes it each time, and it rests for a while."""


class Keys:
    """`known` are the Roles and the RoleBindings of our name, as the informers know them; `secrets` are those of API
    keys, `counted`; `looked` says whether the informers have seen what there is."""

    def __init__(
        self,
        kube: KubeClient,
        access: KeyAccess,
        users: KeyUsers,
        known: Sequence[Mapping[ObjectKey, KubeObject]],
        secrets: Mapping[ObjectKey, KubeObject],
        looked: Callable[[], bool],
    ) -> None:
        self._kube = kube
        self._access = access
        self._users = users
        self._known = known
        self._secrets = secrets
        self._looked = looked
        self._fights = Fights()

    async def look(self, service: ServiceKey) -> Verdict | None:
        """Let the keys of an LLMService be read; the condition KeysReady, None where it has none. Raises KubeError
        where it may go well the next time."""
        refused = None
        try:
            await self.settle(service.namespace)
        except PASSING:
            raise
        except (NameTaken, ChangedBack, KubeError) as error:
            refused = str(error).partition("\n")[0]
            log.warning("activators can't be let read keys", extra=fields(service=str(service), reason=refused))
        use = self._users.use(service)
        if use is None:
            return None
        found = self._secrets.get(ObjectKey(service.namespace, use.secret))
        return keys_verdict(service.namespace, use, self._access, found, looked=self._looked(), refused=refused)

    async def settle(self, namespace: str) -> None:
        """Make a namespace have what its LLMServices need, and no more. Raises NameTaken, ChangedBack, KubeError."""
        wanted = self._access.objects(namespace, self._users.of(namespace))
        for kind, known, item in zip(KINDS, self._known, wanted or (None, None), strict=True):
            found = known.get(ObjectKey(namespace, ACCESS))
            if item is not None:
                await self._write(kind, item, found)
            elif found is not None and made_here(found, MANAGED_BY):
                log.info("nobody needs it any more", extra=fields(kind=kind.name, namespace=namespace))
                await self._kube.delete_object(kind.path(namespace, name_of(found)), uid_of(found))

    async def _write(self, kind: Kind, wanted: KubeObject, found: KubeObject | None) -> None:
        namespace, name = namespace_of(wanted), name_of(wanted)
        path = kind.path(namespace, name)
        if found is None:  # maybe for our informer alone
            found = await self._kube.get_object(path)
        about, now, key = (kind.name, name), asyncio.get_running_loop().time(), ServiceKey(namespace, "")
        said = "it was deleted" if found is None else "it is not what Hearth wrote"
        if (found is None or differs(found, wanted)) and not self._fights.may(key, about, wanted, now, said):
            raise ChangedBack(f"{kind.name} {namespace}/{name} is changed back each time: {said}")
        if found is None:
            try:
                found = await self._kube.create_object(kind.within(namespace), access_seed(wanted), CREATOR)
            except AlreadyExists:
                found = await self._kube.get_object(path)
        if found is not None and not made_here(found, MANAGED_BY):
            raise NameTaken(f"found {kind.name} {namespace}/{name}, not of Hearth; delete it if nobody needs it")
        if found is not None and differs(found, wanted):
            log.info("letting activators read keys", extra=fields(kind=kind.name, namespace=namespace))
            only = {**wanted["metadata"], "uid": uid_of(found)}
            await self._kube.apply_object(path, {**wanted, "metadata": only}, MANAGER)
            self._fights.wrote(key, about, wanted, now)
