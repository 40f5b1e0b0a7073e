"""docs/reliability.md: what the fault suite writes there, and what it never leaves out."""

import pytest

from tests.cluster.chaos.besides import CASES
from tests.cluster.chaos.net import _iptables, of_keda, of_pod, of_port
from tests.cluster.chaos.report import BEGIN, END, PAGE, row, table, with_table
from tests.cluster.chaos.table import PROMISES, STRIKES, Cut, Fault, Part, Phase, Strike

KILL = Strike(Fault.KILL, Part.ENGINE)


def seen(**changes: object) -> dict[str, object]:
    phases = {p.name: {"asked": p.requests, "whole": p.requests, "told": 0, "replicas": 1, "fewest": 1} for p in Phase}
    return {"phases": phases, "seconds": 12.4, "broken": [], "date": "2026-11-30", **changes}


def test_what_is_lost_is_said_and_whether_its_client_was_told() -> None:
    found = seen()
    found["phases"]["STREAMS"] = {"asked": 50, "whole": 20, "told": 25, "replicas": 2, "fewest": 1}  # type: ignore[index]
    line = row(KILL, found)
    assert "| 30 (5 untold), replicas 2 → 1 |" in line
    assert "| – | – | 0 |" in line, "a model that was not asked has no engine"
    assert line.endswith("| 12 s | yes |")


def test_what_is_broken_stands_in_the_table() -> None:
    assert "| **no**: lost: one / two |" in row(KILL, seen(broken=["lost: one | two"]))


def test_every_strike_that_was_seen_has_a_line_and_a_case_has_one() -> None:
    case = {"saw": "so", "seconds": 3.0, "broken": [], "date": "2026-11-29"}
    made = table({**{str(strike): seen() for strike in STRIKES}, str(CASES[0]): case})
    assert made.count("| yes |") == len(STRIKES) + 1
    assert (
        f"{len(STRIKES)} of {len(STRIKES)} strikes, in {len(STRIKES) * len(Phase) - 2 * len(Fault)} cells, and 1 of"
        in made
    )
    assert "2026-11-29 to 2026-11-30" in made
    rows = [line.count("|") for line in made.splitlines() if line.startswith("|")]
    assert len(set(rows)) == 2, "two tables, each of as many columns as its head has"


def test_rollouts_at_size_have_a_table_where_they_were_seen() -> None:
    found = {"services": 1000, "seconds": 31.6, "asked": 300, "lost": 1, "broken": ["a | b"], "date": "2026-11-30"}
    assert "| scaler (2026-11-30) | 1,000 | 300 | 1 | 32 s | **no**: a / b |" in table({"rollout-of-scaler": found})
    assert "rolled out" not in table({})


def test_what_another_machine_saw_stays_on_the_page() -> None:
    case = {"saw": "so", "seconds": 3.0, "broken": [], "date": "2026-11-29"}
    rollout = {"services": 1000, "seconds": 31.6, "asked": 300, "lost": 0, "broken": [], "date": "2026-11-28"}
    everything = {**{str(strike): seen() for strike in STRIKES}, str(CASES[0]): case, "rollout-of-scaler": rollout}
    page = f"{BEGIN}\n\n{table(everything)}\n\n{END}"
    assert table({}, page) == table(everything)
    again = table({str(KILL): seen(seconds=45.0, date="2026-12-01")}, page)
    assert again.count("| 45 s |") == 1
    assert again.count("| yes |") == table(everything).count("| yes |")
    assert "2026-11-29 to 2026-12-01" in again
    assert table({}, PAGE.read_text()) in PAGE.read_text(), "what stands there is written as it stands"


def test_the_page_has_a_place_for_it() -> None:
    page = with_table(PAGE.read_text(), "| x |")
    assert f"{BEGIN}\n\n| x |\n\n{END}" in page
    with pytest.raises(ValueError, match="expected both"):
        with_table("# Reliability\n", "| x |")


def test_less_than_nothing_lost_is_the_exception() -> None:
    assert {promise.cut for promise in PROMISES.values()} == {Cut.DOOR, Cut.REPLICA}
    assert sum(strike.promise.cut is Cut.NOBODY for strike in STRIKES) == len(STRIKES) - len(PROMISES)


def test_every_match_of_a_strike_has_words_for_the_queue_of_what_is_late() -> None:
    for found in (of_pod("10.0.0.1"), of_keda(), of_port("etcd"), of_port("kube-apiserver")):
        for match in (match for matches in found.values() for match in matches):
            assert _iptables(match)
    with pytest.raises(ValueError, match="not known"):
        _iptables("meta mark 7")
