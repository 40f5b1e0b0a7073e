from hearth.activator.lane.tally import STATUSES, Tally
from hearth.activator.metrics import by_code


def test_an_unusual_code_is_counted_by_its_hundred() -> None:
    """50 answers between two scrapes would begin a series at 50, which has no rate."""
    tally = Tally()
    named = {str(status): 0 for status in STATUSES}
    hundreds = {"2xx": 0, "3xx": 0, "4xx": 0, "5xx": 0}
    assert by_code(tally.responses) == named | hundreds
    tally.responses.update({507: 50, 529: 2, 418: 1, 503: 4})
    assert by_code(tally.responses) == named | hundreds | {"503": 4, "5xx": 52, "4xx": 1}
