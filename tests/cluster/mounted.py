"""Secrets brought to a folder as the kubelet does it, again and again, for roles that run as processes here."""

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

from hearth.local.mounted import swap
from tests.cluster.controlplane import CommandFailed, ControlPlane

LOOK_SECONDS = 0.5


@contextlib.contextmanager
def mounted(plane: ControlPlane, namespace: str, folders: dict[str, Path]) -> Iterator[None]:
    """Keep each of these Secrets in its folder while the context lasts."""
    stop, seen = threading.Event(), dict[str, dict[str, bytes]]()

    def follow() -> None:
        while not stop.wait(LOOK_SECONDS):  # as the kubelet: a volume is looked at from time to time
            for name, folder in folders.items():
                with contextlib.suppress(CommandFailed):
                    data = secret_data(plane, namespace, name)
                    if data and data != seen.get(name):
                        swap(folder, data)
                        seen[name] = data

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def secret_data(plane: ControlPlane, namespace: str, name: str) -> dict[str, bytes]:
    """What a Secret holds; nothing where there is none."""
    text = plane.kubectl("get", "secret", name, "-n", namespace, "-o", "json", "--ignore-not-found")
    data = json.loads(text).get("data") or {} if text else {}
    return {key: base64.b64decode(value) for key, value in data.items()}
