"""What the suite saw, kept by strike in build/chaos, and docs/reliability.md made of it.

`python -m tests.cluster.chaos.report` writes the page's tables anew: of what is kept, and of the page's own rows where another
machine saw them.
"""

import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.builders import ROOT
from tests.cluster.chaos.besides import CASES, Case
from tests.cluster.chaos.loads import Outcome
from tests.cluster.chaos.soak import Process
from tests.cluster.chaos.table import STRIKES, Cut, Phase, Strike

SOAK = "soak"
ROLLOUT = "rollout-of-"
KEPT = ROOT / "build" / "chaos"
PAGE = ROOT / "docs" / "reliability.md"
ROLLED, MIXED = "A role rolled out anew", "Mixed load"
"""How the paragraphs of rollouts and of the soak begin."""
DATE = re.compile(r"\d{4}-\d\d-\d\d")
BEGIN, END = "<!-- written by: make chaos -->", "<!-- end of what is written -->"


def keep(strike: Strike, outcomes: Sequence[Outcome], seconds: float, broken: Sequence[str]) -> None:
    """Write down one strike."""
    KEPT.mkdir(parents=True, exist_ok=True)
    phases = {
        outcome.phase.name: {
            "asked": outcome.asked,
            "whole": outcome.whole,
            "told": outcome.told,
            "replicas": outcome.replicas,
            "fewest": outcome.fewest,
        }
        for outcome in outcomes
    }
    document = {"phases": phases, "seconds": seconds, "broken": list(broken), "date": f"{datetime.now(UTC):%Y-%m-%d}"}
    (KEPT / f"{strike}.json").write_text(json.dumps(document, indent=2) + "\n")


def keep_case(case: Case, saw: str, seconds: float, broken: Sequence[str]) -> None:
    """Write down one of the cases that are no strike."""
    KEPT.mkdir(parents=True, exist_ok=True)
    document = {"saw": saw, "seconds": seconds, "broken": list(broken), "date": f"{datetime.now(UTC):%Y-%m-%d}"}
    (KEPT / f"{case}.json").write_text(json.dumps(document, indent=2) + "\n")


def keep_soak(minutes: float, found: Sequence[Process], counts: Mapping[str, int], broken: Sequence[str]) -> None:
    """Write down how memory and descriptors went."""
    KEPT.mkdir(parents=True, exist_ok=True)
    roles = {
        process.name: {
            "first": process.warm[0][1] >> 20,
            "last": process.warm[-1][1] >> 20,
            "slope": round(process.kib_a_minute),
            "descriptors": process.warm[-1][2],
            "descriptors slope": round(process.descriptors_a_minute, 2),
        }
        for process in found
    }
    document = {"minutes": minutes, "roles": roles, "counts": dict(sorted(counts.items())), "broken": list(broken)}
    (KEPT / f"{SOAK}.json").write_text(
        json.dumps({**document, "date": f"{datetime.now(UTC):%Y-%m-%d}"}, indent=2) + "\n"
    )


def keep_rollout(role: str, services: int, seconds: float, asked: int, broken: Sequence[str]) -> None:
    """Write down what a rollout of a role cost those who were asking. `services`: how many LLMServices there were."""
    KEPT.mkdir(parents=True, exist_ok=True)
    document = {"services": services, "seconds": seconds, "asked": asked, "lost": len(broken), "broken": list(broken)}
    (KEPT / f"{ROLLOUT}{role}.json").write_text(
        json.dumps({**document, "date": f"{datetime.now(UTC):%Y-%m-%d}"}, indent=2) + "\n"
    )


def rollout_table(kept: Mapping[str, dict[str, Any]]) -> list[str]:
    """What rollouts cost, in lines."""
    found = {name.removeprefix(ROLLOUT): seen for name, seen in kept.items() if name.startswith(ROLLOUT)}
    if not found:
        return []
    return [
        "",
        f"{ROLLED} while 200 requests stream and 100 are held for one that loads. Promised: nothing lost.",
        "",
        "| rolled out | LLMServices | asked | lost | until its pods are ready | held |",
        "|---|---|---|---|---|---|",
        *(
            f"| {role} ({seen['date']}) | {seen['services']:,} | {seen['asked']} | {seen['lost']} | {seen['seconds']:.0f} s | {held(seen)} |"
            for role, seen in found.items()
        ),
    ]


def soak_table(seen: dict[str, Any]) -> list[str]:
    """How memory and descriptors went, in lines."""
    asked = ", ".join(f"{what} {count}" for what, count in seen["counts"].items())
    return [
        "",
        f"{MIXED} for {seen['minutes']:g} minutes ({seen['date']}): {asked}. The slope is that of least squares over the last two "
        f"thirds. Promised: every request is answered, and no process grows by more than a descriptor or 256 KiB a minute; held: {held(seen)}.",
        "",
        "| process | MiB when warm | MiB at the end | KiB a minute | descriptors | descriptors a minute |",
        "|---|---|---|---|---|---|",
        *(
            f"| {name} | {each['first']} | {each['last']} | {each['slope']:+} | {each['descriptors']} | {each['descriptors slope']:+} |"
            for name, each in seen["roles"].items()
        ),
    ]


def promised(strike: Strike) -> str:
    """A row's promise, in words."""
    promise = strike.promise
    words = {
        Cut.NOBODY: "nothing lost",
        Cut.DOOR: "an error for those that it relays, answered when asked again; others: nothing lost",
        Cut.REPLICA: "an error for answers that it has begun; others: nothing lost",
    }[promise.cut]
    kept = ", no replica taken away" if promise.keeps_replicas and promise.cut is Cut.NOBODY else ""
    return f"{words}{kept}; whole in {promise.seconds:g} s"


def row(strike: Strike, found: dict[str, Any]) -> str:
    """A line of the table: of each phase, answers that did not come whole, of how many."""
    cells = []
    for phase in Phase:
        seen = found["phases"][phase.name]
        lost = seen["asked"] - seen["whole"]
        told = "" if lost == seen["told"] else f" ({lost - seen['told']} untold)"
        fewer = f", replicas {seen['replicas']} → {seen['fewest']}" if seen["fewest"] < seen["replicas"] else ""
        cells.append(f"{lost}{told}{fewer}" if strike.touches(phase) else "–")
    whole = f"{found['seconds']:.0f} s"
    columns = [strike.fault.words, strike.part.value, promised(strike), *cells, whole, held(found)]
    return f"| {' | '.join(columns)} |"


def case_row(case: Case, seen: Mapping[str, Any]) -> str:
    """A line of the table of cases."""
    return f"| {case.what} | {case.promise} | {seen['saw']} | {seen['seconds']:.0f} s | {held(seen)} |"


def held(found: Mapping[str, Any]) -> str:
    """Whether the promise held, and where not, the first thing that was broken."""
    return f"**no**: {found['broken'][0].replace('|', '/')[:160]}" if found["broken"] else "yes"


@dataclass(frozen=True, slots=True)
class Written:
    """What a page has already: its tables' lines by their first two cells, paragraphs by how they begin, dates."""

    rows: Mapping[tuple[str, str], str]
    sections: Mapping[str, list[str]]
    dates: frozenset[str]

    @classmethod
    def of(cls, page: str) -> "Written":
        lines = page.partition(BEGIN)[2].partition(END)[0].splitlines()
        rows = {(cells[1].strip(), cells[2].strip()): line for line in lines if len(cells := line.split("|")) > 2}
        begins = [number for number, line in enumerate(lines) if line.startswith((ROLLED, MIXED))]
        ends = [*begins[1:], len(lines)]
        sections = {lines[first].split()[0]: ["", *lines[first:end]] for first, end in zip(begins, ends, strict=False)}
        head = next((line for line in lines if line.startswith("Written by")), "")
        return cls(rows, {name: _trimmed(found) for name, found in sections.items()}, frozenset(DATE.findall(head)))


def _trimmed(lines: list[str]) -> list[str]:
    while lines and not lines[-1]:
        lines.pop()
    return lines


def table(kept: Mapping[str, dict[str, Any]], page: str = "") -> str:
    """The generated part of the page; `page` is what stands there."""
    old = Written.of(page)
    seen = {str(each): kept[str(each)] for each in (*STRIKES, *CASES) if str(each) in kept}
    strikes = {
        strike: line
        for strike in STRIKES
        if (
            line := row(strike, seen[str(strike)])
            if str(strike) in seen
            else old.rows.get((strike.fault.words, strike.part.value))
        )
    }
    cases = [
        line
        for case in CASES
        if (line := case_row(case, seen[str(case)]) if str(case) in seen else old.rows.get((case.what, case.promise)))
    ]
    dates = sorted({each["date"] for each in seen.values()} | old.dates)
    heads = [f"{phase.words} (of {phase.requests})" for phase in Phase]
    cells = sum(strike.touches(phase) for strike in strikes for phase in Phase)
    lines = [
        f"Written by `make chaos` on {' to '.join(dates[:: max(1, len(dates) - 1)])}: {os.cpu_count()} cores, {platform.system()} "
        f"{platform.release().split('-')[0]}, Python {platform.python_version()}; {len(strikes)} of {len(STRIKES)} strikes, in {cells} cells, and {len(cases)} of {len(CASES)} cases beside them.",
        "",
        f"| fault | of | promised | {' | '.join(heads)} | whole again after | held |",
        "|" + "---|" * (len(heads) + 5),
        *strikes.values(),
        "",
        "| case | promised | seen | whole again after | held |",
        "|---|---|---|---|---|",
        *cases,
        *(rollout_table(kept) or old.sections.get(ROLLED.split(maxsplit=1)[0], [])),
        *(soak_table(kept[SOAK]) if SOAK in kept else old.sections.get(MIXED.split(maxsplit=1)[0], [])),
    ]
    return "\n".join(lines)


def with_table(page: str, made: str) -> str:
    """The page with this table in its place. Raises ValueError where it has none."""
    place = re.compile(f"{re.escape(BEGIN)}\n.*{re.escape(END)}", re.DOTALL)
    if not place.search(page):
        raise ValueError(f"{PAGE.name}: found no {BEGIN!r} with {END!r} behind it; expected both")
    return place.sub(lambda _: f"{BEGIN}\n\n{made}\n\n{END}", page)


def main() -> None:
    kept = {file.stem: json.loads(file.read_text()) for file in sorted(KEPT.glob("*.json"))}
    page = PAGE.read_text()
    PAGE.write_text(with_table(page, table(kept, page)))


if __name__ == "__main__":
    main()
