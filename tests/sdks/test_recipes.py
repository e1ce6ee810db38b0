"""The recipes of docs/sdks.md run, and what they make shares one connection."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.sdks.conftest import GROUP
from tests.sdks.describing import as_json, by_path
from tests.sdks.families import forwarding, generated, wrappers
from tests.sdks.families.rpc import mcp
from tests.support import sdk_answers
from tests.support.counted import Answer, CountedRequest
from tests.support.counting_server import CountingServer
from tests.support.pages import ROOT, blocks_of, run_block

_OLDER = re.compile(r"\b(litellm|llama_index)\b")  # what only the other environment has

RECIPES = {
    name: block
    for name, block in blocks_of(ROOT / "docs" / "sdks.md").items()
    if bool(_OLDER.search(block)) == (GROUP == "sdks-older")
}

_COMPLETION = {**sdk_answers.CHAT_COMPLETION, "system_fingerprint": None}
_BY_PATH = by_path(
    {
        "/chat/completions": as_json(_COMPLETION),
        "/v1/messages": as_json(sdk_answers.MESSAGE),
        "/v2/chat": as_json(generated.COHERE),
        "/v1/pages": as_json({"object": "page", "id": "p1"}),
        "/rest/v1/things": as_json([{"a": 1}], 201),
        "/search": as_json({"query": "hello", "results": []}),
        "/nothing": Answer(status=204, body=b""),
        "/api/chat": as_json(forwarding.OLLAMA),
        "/points/count": as_json({"result": {"count": 3}, "status": "ok", "time": 0.1}),
        ":generateContent": as_json(forwarding.GEMINI),
        "/graphql": as_json({"data": {"a": 1}}),
        "/predictions": as_json(forwarding.PREDICTION, 201),
        "/getMe": as_json(forwarding.ME),
        "/indexes/a": Answer(status=202, body=b""),
        "/threads": as_json({"thread_id": "t1"}),
        "/v1/customers": as_json(wrappers.CUSTOMER),
        "/echo": as_json({"ok": True}),
        "/v2/transcript": as_json({"ok": True}),
    }
)


def respond(request: CountedRequest) -> Answer:
    """Answer whatever a recipe asks for."""
    return mcp(request) if request.path == "/mcp" else _BY_PATH(request)


@pytest.mark.parametrize("block", RECIPES.values(), ids=RECIPES)
def test_a_recipe_runs_on_one_connection(block: str, counting_server: CountingServer, tmp_path: Path) -> None:
    """A recipe works as it stands, leaves nothing open, and all that it makes shares a connection."""
    counting_server.respond = respond
    run_block(block, tmp_path, counting_server.url, {"LITELLM_LOCAL_MODEL_COST_MAP": "True"})
    assert counting_server.requests
    assert counting_server.connections == 1
