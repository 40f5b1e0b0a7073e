from hearth.emulators.backoff import RestartBackoff


def waits(exits: int, ran: float, backoff: RestartBackoff, now: float = 0.0) -> list[float]:
    """What is waited after each exit of a container that runs for `ran` seconds each time."""
    waited = []
    for _ in range(exits):
        now += ran
        waited.append(backoff.after_exit(now))
        now += waited[-1]
    return waited


def test_at_once_then_ten_seconds_doubled_up_to_five_minutes() -> None:
    assert waits(9, 1.0, RestartBackoff()) == [0, 10, 20, 40, 80, 160, 300, 300, 300]


def test_forgotten_ten_minutes_after_the_last_restart() -> None:
    assert waits(3, 599.0, RestartBackoff()) == [0, 10, 20]
    assert waits(3, 601.0, RestartBackoff()) == [0, 0, 0]
