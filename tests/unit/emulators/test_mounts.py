"""Which words of a command are paths of a container, and what stands for the volumes of a pod."""

from pathlib import Path
from typing import Any

import pytest

from hearth.emulators.container import NotStartable, Start
from hearth.emulators.mounts import Mounts, Volumes

MOUNTS = Mounts({"/models/source": "/here/a", "/models/source/deep": "/here/b", "/app": "/opt/x"})


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("/models/source", "/here/a"),
        ("/models/source/deep/x", "/here/b/x"),
        ("--model=/models/source", "--model=/here/a"),
        ("exec serve '/models/source'; cat </models/source/x", "exec serve '/here/a'; cat </here/a/x"),
        ("/app/llama-server", "/opt/x/llama-server"),
        ("/bin:/app/bin", "/bin:/opt/x/bin"),
    ],
)
def test_a_path_of_the_container_is_this_machines(given: str, made: str) -> None:
    assert MOUNTS.text(given) == made


@pytest.mark.parametrize(
    "word",
    ["/a/models/source", "s3://models/source", "/models/sources", "/models/source-2", "/application", "./app", "x"],
)
def test_nothing_else_is_touched(word: str) -> None:
    assert MOUNTS.text(word) == word


def test_variables_of_the_image_are_of_this_machine_already() -> None:
    start = MOUNTS.told(Start(["/app/x"], {"HOME": "/app", "CACHE": "/app", "A": "/app/a"}), {"HOME": "/app", "A": "/"})
    assert start == Start(["/opt/x/x"], {"HOME": "/app", "CACHE": "/opt/x", "A": "/opt/x/a"})


def pod(*volumes: dict[str, Any], mounts: list[dict[str, str]] | None = None) -> dict[str, Any]:
    made = mounts or [{"name": volume["name"], "mountPath": f"/mnt/{volume['name']}"} for volume in volumes]
    spec = {"volumes": list(volumes), "containers": [{"name": "engine", "volumeMounts": made}]}
    return {"metadata": {"namespace": "ai", "name": "p"}, "spec": spec}


def test_what_stands_for_each_kind_of_volume(tmp_path: Path) -> None:
    volumes = Volumes(tmp_path / "kept", tmp_path / "passing", {"given": "/weights"})
    made = volumes.of(
        pod(
            {"name": "source", "persistentVolumeClaim": {"claimName": "given"}},
            {"name": "cache", "persistentVolumeClaim": {"claimName": "made"}},
            {"name": "work", "emptyDir": {}},
            {"name": "driver", "hostPath": {"path": "/usr/lib/driver"}},
            {"name": "host", "hostPath": {"path": str(tmp_path / "host"), "type": "DirectoryOrCreate"}},
        )
    ).folders
    assert made == {
        "/mnt/source": "/weights",
        "/mnt/cache": str(tmp_path / "kept" / "ai" / "made"),
        "/mnt/work": str(tmp_path / "passing" / "ai_p" / "work"),
        "/mnt/driver": "/usr/lib/driver",
        "/mnt/host": str(tmp_path / "host"),
    }
    assert all(Path(made[f"/mnt/{name}"]).is_dir() for name in ("cache", "work", "host")), "Kubernetes makes them"


def test_a_sub_path_is_in_the_volume(tmp_path: Path) -> None:
    volume = {"name": "source", "persistentVolumeClaim": {"claimName": "models"}}
    given = pod(volume, mounts=[{"name": "source", "mountPath": "/models/source", "subPath": "a/b.gguf"}])
    assert Volumes(tmp_path, tmp_path, {"models": "/weights"}).of(given).folders == {
        "/models/source": "/weights/a/b.gguf"
    }


def test_shared_memory_is_this_machines(tmp_path: Path) -> None:
    given = pod({"name": "shm", "emptyDir": {"medium": "Memory"}}, mounts=[{"name": "shm", "mountPath": "/dev/shm"}])
    assert Volumes(tmp_path, tmp_path).of(given).folders == {}


def test_what_no_folder_stands_for_is_refused_unless_one_is_given(tmp_path: Path) -> None:
    given = pod({"name": "certs", "secret": {"secretName": "x"}})
    with pytest.raises(NotStartable, match="volume certs: found secret; .* --mount MOUNTPATH=FOLDER"):
        Volumes(tmp_path, tmp_path).of(given)
    assert Volumes(tmp_path, tmp_path, image={"/mnt/certs": "/etc/ssl"}).of(given).folders == {"/mnt/certs": "/etc/ssl"}


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotStartable, match=r"volume work: .*/file/ai_p/work: Not a directory"):
        Volumes(tmp_path, tmp_path / "file").of(pod({"name": "work", "emptyDir": {}}))
