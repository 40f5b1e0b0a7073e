from hearth.activator.headers import end_to_end, for_engine, get


def test_fields_of_one_connection_are_left_out_and_those_that_connection_names() -> None:
    given = [(b"connection", b"close, X-Mine"), (b"x-mine", b"1"), (b"te", b"trailers"), (b"accept", b"*/*")]
    assert end_to_end(given) == [(b"accept", b"*/*")]


def test_the_engine_gets_its_own_host_and_length_and_who_asked() -> None:
    given = [
        (b"host", b"qwen.ai.svc"),
        (b"content-length", b"1"),
        (b"expect", b"100-continue"),
        (b"accept-encoding", b"gzip"),
        (b"x-forwarded-for", b"203.0.113.9"),
        (b"x-forwarded-proto", b"https"),
        (b"authorization", b"Bearer k"),
    ]
    sent = for_engine(given, "10.0.0.1:8000", 7, "192.0.2.1", "http", "r-1")
    assert sent == [
        (b"host", b"10.0.0.1:8000"),
        (b"authorization", b"Bearer k"),
        (b"content-length", b"7"),
        (b"x-forwarded-for", b"203.0.113.9, 192.0.2.1"),
        (b"x-forwarded-proto", b"http"),
        (b"x-request-id", b"r-1"),
    ]


def test_get_is_the_first() -> None:
    assert get([(b"a", b"1"), (b"a", b"2")], b"a") == b"1"
    assert get([], b"a") is None
