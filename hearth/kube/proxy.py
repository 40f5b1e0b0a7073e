"""Which proxy the environment names for the way to an API server: as kubectl reads it, by Go's rules. Pure.

https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config
"""

import ipaddress
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

_PORTS = {"http": 80, "https": 443}


def proxy_for(url: str, environment: Mapping[str, str]) -> str | None:
    """The proxy of HTTP_PROXY or HTTPS_PROXY, in either case; None where there is none, where NO_PROXY excepts the
    host, and for this machine itself."""
    address = urlsplit(url)
    proxy = _said(environment, f"{address.scheme}_proxy")
    if not proxy or _is_excepted(address, _said(environment, "no_proxy")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _said(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name.upper()) or environment.get(name) or ""


def _is_excepted(address: SplitResult, exceptions: str) -> bool:
    host = (address.hostname or "").lower().rstrip(".")
    number = _number(host)
    if host == "localhost" or (number is not None and number.is_loopback):
        return True
    port = address.port or _PORTS.get(address.scheme)
    return any(_matches(word.strip().lower(), host, number, port) for word in exceptions.split(",") if word.strip())


def _matches(
    word: str, host: str, number: ipaddress.IPv4Address | ipaddress.IPv6Address | None, port: int | None
) -> bool:
    """Whether a word of NO_PROXY means a host: `*`, a network, an address or a domain, the last two with a port or not.
    A domain means those below it too; with `.` or `*.` in front, those alone."""
    if word == "*":
        return True
    if "/" in word:
        try:
            return number is not None and number in ipaddress.ip_network(word, strict=False)
        except ValueError:
            return False
    name, only = _with_port(word)
    if only is not None and only != port:
        return False
    if (given := _number(name)) is not None:
        return given == number
    name = name.removeprefix("*")
    return host.endswith(name if name.startswith(".") else f".{name}") or host == name


def _with_port(word: str) -> tuple[str, int | None]:
    name, separator, port = word.rpartition(":")
    if not separator or not port.isdigit() or (":" in name and not name.endswith("]")):
        return word.strip("[]"), None
    return name.strip("[]"), int(port)


def _number(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
