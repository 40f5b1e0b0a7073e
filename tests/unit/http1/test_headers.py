import pytest

from hearth.http1.headers import Headers, end_to_end, for_upstream, get


def test_fields_of_one_connection_are_not_passed_on() -> None:
    headers: Headers = [
        (b"connection", b"close, X-Mine"),
        (b"x-mine", b"1"),
        (b"keep-alive", b"5"),
        (b"te", b"trailers"),
        (b"upgrade", b"h2c"),
        (b"transfer-encoding", b"chunked"),
        (b"traceparent", b"00-1"),
    ]
    assert end_to_end(headers) == [(b"traceparent", b"00-1")]


def test_the_engine_gets_its_own_host_and_length_and_who_asked() -> None:
    headers: Headers = [
        (b"host", b"qwen.ai.svc"),
        (b"authorization", b"Bearer k"),
        (b"content-length", b"99"),
        (b"accept-encoding", b"gzip"),
        (b"expect", b"100-continue"),
        (b"x-forwarded-for", b"203.0.113.7"),
        (b"x-request-id", b"theirs"),
    ]
    assert for_upstream(headers, "10.0.0.1:8000", 5, "10.0.0.9", "http", "theirs") == [
        (b"host", b"10.0.0.1:8000"),
        (b"authorization", b"Bearer k"),
        (b"x-forwarded-for", b"203.0.113.7, 10.0.0.9"),
        (b"x-forwarded-host", b"qwen.ai.svc"),
        (b"x-forwarded-proto", b"http"),
        (b"x-request-id", b"theirs"),
        (b"content-length", b"5"),
    ]


def test_a_request_without_a_body_has_no_length() -> None:
    assert get(for_upstream([(b"host", b"a")], "b:1", None, "c", "http", "id"), b"content-length") is None


@pytest.mark.parametrize(("client", "link"), [("10.0.0.9", b"10.0.0.9"), ("fd00::9", b'"[fd00::9]"')])
def test_a_chain_of_forwarded_gets_its_next_link(client: str, link: bytes) -> None:
    headers: Headers = [(b"host", b"a"), (b"forwarded", b"for=203.0.113.7;proto=https")]
    assert [
        value for name, value in for_upstream(headers, "b:1", None, client, "http", "id") if name == b"forwarded"
    ] == [
        b"for=203.0.113.7;proto=https",
        b"for=" + link + b";proto=http",
    ]


def test_get_is_the_first() -> None:
    assert get([(b"a", b"1"), (b"a", b"2")], b"a") == b"1"
    assert get([], b"a") is None
