import pytest

from hearth.kube.proxy import proxy_for

PROXY = "http://proxy:3128"


@pytest.mark.parametrize(
    ("url", "no_proxy", "by_proxy"),
    [
        ("https://api.example:6443", "", True),
        ("https://localhost:6443", "", False),
        ("https://127.0.0.2:6443", "", False),
        ("https://[::1]:6443", "", False),
        ("https://10.96.0.1:443", "10.0.0.0/8,.svc,.cluster.local", False),
        ("https://11.96.0.1:443", "10.0.0.0/8,.svc,.cluster.local", True),
        ("https://10.96.0.1", "10.96.0.1", False),
        ("https://10.96.0.1", "10.96.0.1:443", False),
        ("https://10.96.0.1", "10.96.0.1:6443", True),
        ("https://[fd00::1]:6443", "fd00::/8", False),
        ("https://[fd00::1]:6443", "[fd00::1]:6443", False),
        ("https://[fd00::1]:6443", "[fd00::1]:443", True),
        ("https://[fd00::1]:6443", "fd00::1", False),
        ("https://kubernetes.default.svc", " .svc , x", False),
        ("https://api.example", "example", False),
        ("https://example", "example", False),
        ("https://example", ".example", True),
        ("https://example", "*.example", True),
        ("https://api.Example.", "*.example", False),
        ("https://notexample", "example", True),
        ("https://api.example", "*", False),
        ("https://api.example", "not/a/network, 10.0.0.0/99", True),
    ],
)
def test_the_hosts_that_are_excepted(url: str, no_proxy: str, by_proxy: bool) -> None:
    found = proxy_for(url, {"HTTPS_PROXY": PROXY, "NO_PROXY": no_proxy})
    assert found == (PROXY if by_proxy else None)


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, None),
        ({"http_proxy": PROXY}, None),
        ({"https_proxy": PROXY}, PROXY),
        ({"https_proxy": PROXY, "no_proxy": "api.example"}, None),
        ({"https_proxy": "proxy:3128"}, PROXY),
        ({"https_proxy": PROXY, "HTTPS_PROXY": "http://other:1"}, "http://other:1"),
    ],
)
def test_where_the_environment_says_it(environment: dict[str, str], found: str | None) -> None:
    assert proxy_for("https://api.example", environment) == found
