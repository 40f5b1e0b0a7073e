import pytest

from hearth.emulators.selectors import BadSelector, field_selector, label_selector

THING = {
    "metadata": {"name": "a", "namespace": "ai", "labels": {"app": "x", "tier": "1", "a.b/c": "y"}},
    "spec": {"n": 3},
}


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        *[("", True), ("app", True), ("app=x", True), ("app==x,tier", True), ("app=y", False), ("no", False)],
        *[("!no", True), ("!app", False), ("app!=y", True), ("app!=x", False), ("no!=x", True)],
        *[("app in (x, y)", True), ("app in (y)", False), ("no in (x)", False)],
        *[("app notin (y)", True), ("app notin (x,y)", False), ("no notin (x)", True)],
        *[("a.b/c=y,app in (x),!no", True), ("a.b/c=y,app in (z),!no", False), ("app=", False)],
    ],
)
def test_labels(selector: str, found: bool) -> None:
    """https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/: without the label != and notin match."""
    assert label_selector(selector)(THING) is found


@pytest.mark.parametrize("selector", ["=x", "app=x y", "app in x", "app in (x", "a,,b", "app>3,"])
def test_labels_that_cannot_be_read(selector: str) -> None:
    with pytest.raises(BadSelector, match="unable to parse"):
        label_selector(selector)


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        *[("", True), ("metadata.name=a", True), ("metadata.name!=a", False), ("metadata.namespace==ai", True)],
        *[("spec.n=3", True), ("spec.n=3,metadata.name=b", False), ("spec.none=", True)],
    ],
)
def test_fields(selector: str, found: bool) -> None:
    assert field_selector(selector, ["spec.n", "spec.none"])(THING) is found


def test_fields_that_nobody_indexed_are_refused() -> None:
    with pytest.raises(BadSelector, match=r"field label not supported: spec\.other"):
        field_selector("spec.other=1", ["spec.n"])
    with pytest.raises(BadSelector, match="can't understand"):
        field_selector("spec.n", ["spec.n"])
