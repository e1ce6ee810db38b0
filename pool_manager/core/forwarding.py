"""
What a proxy wants of requests that it passes on itself: those to http:// (RFC 9112, 3.2.2).

An HTTP proxy is asked for the whole URL, in HTTP/1.1, and told with each request who we are. All else goes
through a tunnel, of which it sees the target alone: https, WebSockets (RFC 6455, 4.1), and whatever a SOCKS
proxy carries.
"""

from __future__ import annotations

import base64
from typing import Final

import attrs

from pool_manager.config import Proxy
from pool_manager.core.messages import Headers, Request, names_of

# Seconds for which nothing is written after an answer of a proxy's. Some (tinyproxy) pass on an answer as it
# is, hang up behind it, and do not say so: what was not written yet may be sent again, whatever it is.
SETTLING_TIME: Final = 0.002


def forwards(proxy: Proxy | None, scheme: str) -> bool:
    """Tell whether requests of *scheme* are passed on by the proxy, not sent through a tunnel."""
    return proxy is not None and scheme == "http" and not proxy.url.startswith("socks")


def forwarded(request: Request, proxy: Proxy) -> Request:
    """Give *request* as *proxy* wants it: as it is, where it goes through a tunnel."""
    if not forwards(proxy, request.scheme):
        return request
    headers = overridden(proxy_headers(proxy), request.headers)
    return attrs.evolve(request, target=_absolute(request), headers=headers)


def is_forwarded(request: Request) -> bool:
    """Tell whether `forwarded` has made it, so that a proxy answers."""
    return request.target.startswith(b"http://")


def proxy_headers(proxy: Proxy) -> Headers:
    """Give the headers for the proxy alone: who we are first, unless one of the others says so itself."""
    if proxy.auth is None:
        return [*proxy.headers]
    credentials = b"Basic " + base64.b64encode(b":".join(proxy.auth))
    return overridden([(b"Proxy-Authorization", credentials)], [*proxy.headers])


def overridden(defaults: Headers, headers: Headers) -> Headers:
    """Give both, without the defaults that are among *headers* anyway."""
    named = {*names_of(headers)}
    return [(name, value) for name, value in defaults if name.lower() not in named] + headers


def authority(host: str, port: int | None) -> bytes:
    """Write a host and its port as URLs have them, IPv6 in brackets (RFC 3986, 3.2)."""
    bracketed = f"[{host}]" if ":" in host else host
    # What is no ASCII is refused where the target is checked: by its name, and not here by an UnicodeError.
    return f"{bracketed}{'' if port is None else f':{port}'}".encode()


def _absolute(request: Request) -> bytes:
    target = request.target
    if target != b"*" and not target.startswith(b"/"):
        return target  # the caller wrote it as the proxy is to have it
    root = b"%b://%b" % (request.scheme.encode(), authority(request.host, request.port))
    return root if target == b"*" else root + target  # RFC 9112, 3.2.4: no path stands for "*"
