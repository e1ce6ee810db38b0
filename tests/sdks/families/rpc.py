"""Just enough of a server of JSON-RPC for the clients of MCP and A2A."""

from __future__ import annotations

import json
from typing import Any

from tests.sdks.describing import as_json
from tests.support.counted import Answer, CountedRequest

_RESULTS: dict[str, Any] = {
    "initialize": {
        "protocolVersion": "2025-06-18",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "canned", "version": "1"},
    },
    "tools/list": {"tools": [{"name": "search", "inputSchema": {"type": "object"}}]},
    "tools/call": {"content": [{"type": "text", "text": "pooled"}]},
    "ping": {},
}


def mcp(request: CountedRequest) -> Answer:
    """Answer a client of MCP's streamable HTTP; it may not listen, and sessions have no number."""
    if request.method == "DELETE":
        return Answer(body=b"")
    if request.method != "POST":
        return Answer(status=405, body=b"")
    asked = json.loads(request.body)
    if "id" not in asked:
        return Answer(status=202, body=b"")
    if asked["method"] not in _RESULTS:
        return as_json(
            {"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -32601, "message": "no such method"}}
        )
    return as_json({"jsonrpc": "2.0", "id": asked["id"], "result": _RESULTS[asked["method"]]})
