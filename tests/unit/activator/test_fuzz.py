"""The fuzzer's corpus, and what it once found: fed to its targets without the fuzzer."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import CORPUS, TARGETS, words

SEEDS = sorted(path for path in CORPUS.rglob("*") if path.is_file())


@pytest.mark.parametrize("seed", SEEDS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_seed(seed: Path) -> None:
    TARGETS[seed.parent.name](seed.read_bytes())


def test_every_target_has_seeds_and_they_are_small() -> None:
    assert {seed.parent.name for seed in SEEDS} == set(TARGETS)
    assert sum(seed.stat().st_size for seed in SEEDS) < 20_000


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(st.none() | st.booleans() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=2)), st.data()
)
def test_any_document(value: object, data: st.DataObject) -> None:
    keys = st.sampled_from(["model", "stream", "messages", "prompt", "input", "system", "other"])
    document = data.draw(st.dictionaries(keys, st.just(value) | st.text(max_size=4) | st.booleans()))
    words(json.dumps(document).encode())
