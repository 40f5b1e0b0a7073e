import io
from collections import defaultdict, deque

from rich.console import Console

from hearth.api.key import ServiceKey
from hearth.commands.top import Row, row, sparkline, table


def test_a_row_of_a_service_and_of_one_that_nobody_has_looked_at() -> None:
    item = {
        "metadata": {"namespace": "ai", "name": "qwen"},
        "spec": {"scaling": {"min": 1, "max": 4}},
        "status": {
            "phase": "Loading",
            "replicas": 2,
            "readyReplicas": 1,
            "queueDepth": 7,
            "coldStart": {"phase": "loading", "eta": 12},
        },
    }
    assert row(item) == Row("ai", "qwen", "Loading", 2, 1, 1, 4, 7, "loading", 12)
    assert row({"metadata": item["metadata"]}) == Row("ai", "qwen", "Pending", 0, 0, 0, 1, None, None, None)


def test_sparklines() -> None:
    assert sparkline([]) == ""
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([0, 4, 8]) == "▁▄█"


def test_the_table_has_everything_in_words() -> None:
    console = Console(width=200, file=io.StringIO(), record=True)
    history: defaultdict[ServiceKey, deque[int]] = defaultdict(lambda: deque([0, 3]))
    console.print(table([Row("ai", "qwen", "Loading", 2, 1, 0, 4, 3, "loading", 12)], history))
    text = console.export_text()
    for words in ("ai", "qwen", "Loading", "1/2", "0-4", "loading, 12 s to go", "▁▇"):
        assert words in text
