"""An address for each pod: a network namespace, joined to the test bed's own by a pair of devices and two routes."""

import asyncio
import itertools
from dataclasses import dataclass

from tests.cluster.controlplane import HOST


class NetworkFailed(Exception):
    """A network namespace could not be made; the text has what `ip` said."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A pod's place: `holder` is the process that keeps the namespaces, as the pause container does."""

    address: str
    device: str
    holder: asyncio.subprocess.Process


class PodNetwork:
    """Routed, not bridged: what one pod sends another passes the test bed's namespace, where kube-proxy's rules are."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    async def attach(self, hostname: str) -> Attachment:
        """Namespaces for a pod of that host name. Raises NetworkFailed."""
        number = next(self._numbers)
        address, device = f"10.200.{1 + number // 250}.{number % 250 + 1}", f"pod{number}"
        hold = 'echo "$0" > /proc/sys/kernel/hostname && echo ready && exec sleep infinity'
        holder = await asyncio.create_subprocess_exec(
            *["unshare", "--net", "--uts", "sh", "-c", hold, hostname],
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        assert holder.stdout is not None
        if await holder.stdout.readline() != b"ready\n":
            raise NetworkFailed(f"{hostname}: no network namespace")
        attachment = Attachment(address, device, holder)
        try:
            await _ip(
                [],
                f"link add {device} type veth peer name eth0 netns {holder.pid}",
                f"link set {device} up",
                f"route add {address}/32 dev {device} src {HOST}",
            )
            await _ip(
                ["nsenter", f"--net=/proc/{holder.pid}/ns/net"],
                "link set lo up",
                "link set eth0 up",
                f"address add {address}/32 dev eth0",
                f"route add {HOST} dev eth0 scope link",
                f"route add default via {HOST} dev eth0",
            )
        except NetworkFailed:
            await self.detach(attachment)
            raise
        return attachment

    async def detach(self, attachment: Attachment) -> None:
        """Give the place up; the devices and routes go with the namespace."""
        if attachment.holder.returncode is None:
            attachment.holder.kill()
        await attachment.holder.wait()


async def _ip(inside: list[str], *lines: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *[*inside, "ip", "-batch", "-"],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate("\n".join(lines).encode())
    if process.returncode != 0:
        raise NetworkFailed(f"ip: {said.decode(errors='replace')}")
