import io
from collections.abc import Iterator

from rich.console import Console

from hearth.commands.chat import Waiting, show


def shown(*pieces: Waiting | str, terminal: bool = False) -> tuple[str, str]:
    """What stands on standard output and on standard error."""
    out, err = (Console(file=io.StringIO(), force_terminal=terminal, width=80) for _ in range(2))

    def come() -> Iterator[Waiting | str]:
        yield from pieces

    show(come(), out, err)
    assert isinstance(out.file, io.StringIO)
    assert isinstance(err.file, io.StringIO)
    return out.file.getvalue(), err.file.getvalue()


def test_what_is_in_the_way_is_told_once_in_place_of_the_phase() -> None:
    _, err = shown(
        Waiting("requested", 0.1, None),
        *(Waiting("starting", seconds, None, "its engine keeps exiting") for seconds in (5.0, 6.0)),
        Waiting("loading", 9.0, 3.0),
    )
    assert err.splitlines() == ["requested, 0 s", "its engine keeps exiting, 5 s", "loading, 9 s of about 12 s"]


def test_a_models_words_can_not_steer_the_terminal() -> None:
    out, _ = shown("Hi\x1b]0;title\x07\n", "there\r", "\x9b2J", terminal=True)
    assert out == "Hi\\x1b]0;title\\x07\nthere\\x0d\\x9b2J\n"
