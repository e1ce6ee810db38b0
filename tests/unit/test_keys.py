"""Who may share a connection with whom (rule 1)."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from pool_manager.core.keys import key_of
from pool_manager.core.messages import Request, TransportFailure

PLAIN = Request(
    method="GET",
    scheme="https",
    host="a.test",
    port=None,
    target=b"/",
    headers=[],
    body=b"",
    timeouts={},
    lane="default",
    lease="test",
    extensions={},
)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({}, ("https", "a.test", 443, None, "default")),
        ({"scheme": "http"}, ("http", "a.test", 80, None, "default")),
        ({"scheme": "ws"}, ("ws", "a.test", 80, None, "default")),
        ({"scheme": "wss"}, ("wss", "a.test", 443, None, "default")),
        ({"port": 0}, ("https", "a.test", 0, None, "default")),
        ({"port": 8443, "lane": "slow"}, ("https", "a.test", 8443, None, "slow")),
        ({"extensions": {"sni_hostname": "b.test"}}, ("https", "a.test", 443, "b.test", "default")),
        ({"extensions": {"sni_hostname": b"b.test"}}, ("https", "a.test", 443, "b.test", "default")),
        ({"extensions": {"sni_hostname": None}}, ("https", "a.test", 443, None, "default")),
        ({"headers": [(b"UPGRADE", b"x")]}, ("wss", "a.test", 443, None, "default")),
        ({"headers": [(b"upgrade", b"x")], "scheme": "http"}, ("http", "a.test", 80, None, "default")),
        ({"method": "POST", "lease": "other", "body": b"x"}, ("https", "a.test", 443, None, "default")),
    ],
)
def test_what_makes_the_key(changes: dict[str, Any], key: tuple[object, ...]) -> None:
    """Where to, what is asked for in TLS, the lane, and the wish to switch protocols; nothing else."""
    assert key == key_of(attrs.evolve(PLAIN, **changes))


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"scheme": "ftp"}, "UnsupportedProtocol"),
        ({"scheme": ""}, "UnsupportedProtocol"),
        ({"extensions": {"sni_hostname": 7}}, "LocalProtocolError"),
        ({"extensions": {"sni_hostname": "bücher".encode()}}, "LocalProtocolError"),
    ],
)
def test_what_has_no_key(changes: dict[str, Any], kind: str) -> None:
    """It fails as any other error of a request, before anything is asked for."""
    with pytest.raises(TransportFailure) as caught:
        key_of(attrs.evolve(PLAIN, **changes))
    assert kind == caught.value.kind
