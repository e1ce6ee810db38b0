"""What is left of a request or of its answer when nobody waits for it (rule 16, RFC 9112, 9.3)."""

from __future__ import annotations

import pytest

from pool_manager.core.http1 import Http1Connection
from pool_manager.core.leftovers import MAX_DRAINED, is_worth_reading, refuses_the_rest
from tests.support.http1 import request


@pytest.mark.parametrize(
    ("head", "worth_it"),
    [
        (b"content-length: %d" % MAX_DRAINED, True),
        (b"content-length: %d" % (MAX_DRAINED + 1), False),
        (b"content-length: 3\r\nconnection: close", False),
        (b"transfer-encoding: chunked", True),
        (b"content-type: text/plain", False),  # it ends with the connection
    ],
)
def test_an_answer_is_read_to_its_end_if_that_is_near(head: bytes, worth_it: bool) -> None:
    """And if the connection can carry another request then."""
    http = Http1Connection()
    http.start(request())
    http.end_of_body()
    http.receive(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n")
    assert is_worth_reading(http) == worth_it


def test_what_is_left_counts_and_not_what_there_was() -> None:
    """A long answer is worth reading when most of it was read."""
    http = Http1Connection()
    http.start(request())
    http.end_of_body()
    http.receive(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (MAX_DRAINED + 10))
    http.receive(b"x" * 9)
    assert not is_worth_reading(http)
    http.receive(b"x")
    assert is_worth_reading(http)


@pytest.mark.parametrize(
    ("status", "refuses"), [(0, False), (200, False), (399, False), (400, True), (503, True)]
)
def test_an_early_answer_that_refuses(status: int, refuses: bool) -> None:
    """Only an error makes the rest of a request needless; no answer yet does not."""
    assert refuses_the_rest(status) == refuses
