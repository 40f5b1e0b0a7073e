"""What the simulated engine takes from the command line of the engine that it stands for."""

import pytest

from hearth.emulators.engine import config_of
from hearth.emulators.engine_command import Told, told_by

VLLM = ["vllm", "serve", "some/model"]


@pytest.mark.parametrize(
    ("argv", "names", "host", "port"),
    [
        (VLLM, ("some/model",), "0.0.0.0", 8000),
        ([*VLLM, "--served-model-name", "a", "b", "--port", "9"], ("a", "b"), "0.0.0.0", 9),
        ([*VLLM, "--served_model_name=a", "--host=127.0.0.1"], ("a",), "127.0.0.1", 8000),
        (["/app/llama-server", "-hf", "x", "--alias", "a"], ("a",), "127.0.0.1", 8080),
        (["python3", "-m", "server"], (), "0.0.0.0", 8000),
    ],
)
def test_name_and_address(argv: list[str], names: tuple[str, ...], host: str, port: int) -> None:
    """vLLM listens everywhere unless it is told not to, llama.cpp's server on loopback unless it is told to."""
    told = told_by(argv)
    assert (told.names, told.host, told.port) == (names, host, port)


def test_the_last_word_counts() -> None:
    made = told_by([*VLLM, "--port", "1", "--port", "2", "--shutdown-timeout", "30", "--max-model-len", "4096"])
    assert made == Told(("some/model",), "0.0.0.0", 2, 30.0, 4096, "vllm", True)


def test_everywhere_is_the_pods_address_and_nothing_else_is() -> None:
    assert config_of(["--pod-address", "127.1.2.3", "--", *VLLM]).host == "127.1.2.3"
    assert config_of(["--pod-address", "127.1.2.3", "--", *VLLM, "--host", "127.0.0.1"]).host == "127.0.0.1"


def test_a_name_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        config_of([])
    assert "--model: found none" in capsys.readouterr().err
    assert config_of(["--model", "spare", "--", "python3"]).model == "spare"
