"""SDKs that were written by hand and take a client of httpx."""

from __future__ import annotations

from typing import Any

import httpx
import httpx2

from tests.sdks.describing import Call, Case, Pool, as_json
from tests.sdks.families.rpc import mcp as answer_mcp
from tests.support.counted import Answer

FAMILY = "Takes a client"


def _supabase(pool: Pool, url: str) -> Any:
    from supabase import ClientOptions, create_client

    own = pool.client(httpx.Client, timeout=120, follow_redirects=True)
    return create_client(url, "key", options=ClientOptions(httpx_client=own))


async def _async_supabase(pool: Pool, url: str) -> Any:
    from supabase import AsyncClientOptions, acreate_client

    own = pool.client(httpx.AsyncClient, timeout=120, follow_redirects=True)
    return await acreate_client(url, "key", options=AsyncClientOptions(httpx_client=own))


def _notion(pool: Pool, url: str) -> Any:
    from notion_client import Client

    return Client(client=pool.client(httpx.Client), auth="key", base_url=url)


def _async_notion(pool: Pool, url: str) -> Any:
    from notion_client import AsyncClient

    return AsyncClient(client=pool.client(httpx.AsyncClient), auth="key", base_url=url)


def _tavily(pool: Pool, url: str) -> Any:
    from tavily import AsyncTavilyClient

    return AsyncTavilyClient("key", api_base_url=url, client=pool.client(httpx.AsyncClient))


def _corehttp(pool: Pool, url: str) -> Any:
    from corehttp.runtime import PipelineClient
    from corehttp.transport.httpx import HttpXTransport

    return PipelineClient(url, transport=HttpXTransport(client=pool.client(httpx.Client)))


def _async_corehttp(pool: Pool, url: str) -> Any:
    from corehttp.runtime import AsyncPipelineClient
    from corehttp.transport.httpx import AsyncHttpXTransport

    return AsyncPipelineClient(url, transport=AsyncHttpXTransport(client=pool.client(httpx.AsyncClient)))


def _ask_corehttp(sdk: Any) -> Any:
    from corehttp.rest import HttpRequest

    return sdk.send_request(HttpRequest("POST", sdk.format_url("/echo"), json={"a": 1}))


def _kiota(pool: Pool, url: str) -> Any:
    from kiota_abstractions.authentication import AnonymousAuthenticationProvider
    from kiota_http.httpx_request_adapter import HttpxRequestAdapter
    from kiota_http.kiota_client_factory import KiotaClientFactory

    own = pool.client(httpx.AsyncClient, timeout=httpx.Timeout(100, connect=30))
    with_middleware = KiotaClientFactory.create_with_default_middleware(client=own)
    adapter = HttpxRequestAdapter(AnonymousAuthenticationProvider(), http_client=with_middleware)
    adapter.base_url = url
    return adapter


def _ask_kiota(adapter: Any) -> Any:
    from kiota_abstractions.method import Method
    from kiota_abstractions.request_information import RequestInformation

    asked = RequestInformation(Method.POST, "{+baseurl}/echo", {"baseurl": adapter.base_url})
    return adapter.send_no_response_content_async(asked, {})


class _McpClient:
    """A user of MCP's client: what is pooled is the client under its transport."""

    def __init__(self, pool: Pool, url: str) -> None:
        self._url, self._own = url, pool.client(httpx2.AsyncClient, timeout=httpx2.Timeout(30, read=300))

    async def call(self) -> Any:
        """Open a session, call a tool, and end it."""
        from mcp import ClientSession
        from mcp.client.streamable_http import streamable_http_client

        async with (
            streamable_http_client(f"{self._url}/mcp", http_client=self._own) as streams,
            ClientSession(*streams[:2]) as session,
        ):
            await session.initialize()
            return await session.call_tool("search", {})

    def aclose(self) -> Any:
        return self._own.aclose()


def _fastmcp(pool: Pool, url: str) -> Any:
    from fastmcp import Client
    from fastmcp.client.transports import StreamableHttpTransport

    def factory(**options: Any) -> httpx2.AsyncClient:
        options.setdefault("timeout", httpx2.Timeout(30, read=300))
        return pool.client(httpx2.AsyncClient, **options)

    return Client(StreamableHttpTransport(f"{url}/mcp", httpx_client_factory=factory))


async def _ask_fastmcp(sdk: Any) -> Any:
    async with sdk:
        return await sdk.call_tool("search", {})


async def _a2a(pool: Pool, url: str) -> Any:
    from a2a.client import ClientConfig, ClientFactory
    from a2a.types import AgentCapabilities, AgentCard, AgentInterface

    card = AgentCard(
        name="canned", description="", version="1", default_input_modes=["text"],
        default_output_modes=["text"], skills=[], capabilities=AgentCapabilities(streaming=False),
        supported_interfaces=[AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version="1.0")],
    )  # fmt: skip
    config = ClientConfig(httpx_client=pool.client(httpx.AsyncClient), streaming=False)
    return ClientFactory(config).create(card)


async def _ask_a2a(sdk: Any) -> Any:
    from a2a.types import GetTaskRequest

    return await sdk.get_task(GetTaskRequest(id="t1"))


CASES = [
    Case(
        name="supabase", family=FAMILY, library="httpx", how="`ClientOptions(httpx_client=)`",
        sync=_supabase, later=_async_supabase, held_by="lease",
        call=Call(
            ask=lambda sdk: sdk.table("t").insert({"a": 1}).execute(), answer=as_json([{"a": 1}], 201),
            read=lambda result: result.data, gives=[{"a": 1}],
        ),
    ),
    Case(
        name="notion-client", family=FAMILY, library="httpx", how="`client=`",
        sync=_notion, later=_async_notion,
        call=Call(
            ask=lambda sdk: sdk.pages.create(parent={"page_id": "p"}, properties={}),
            answer=as_json({"object": "page", "id": "p1"}), read=lambda result: result["id"], gives="p1",
        ),
    ),
    Case(
        name="tavily-python", family=FAMILY, library="httpx", how="`client=` (async; sync is requests)",
        later=_tavily, held_by="lease",
        call=Call(
            ask=lambda sdk: sdk.search("hello"), answer=as_json({"query": "hello", "results": []}),
            read=lambda result: result["query"], gives="hello",
        ),
    ),
    Case(
        name="corehttp", family=FAMILY, library="httpx", how="`HttpXTransport(client=)`",
        sync=_corehttp, later=_async_corehttp,
        call=Call(ask=_ask_corehttp, read=lambda result: result.status_code, gives=200),
    ),
    Case(
        name="microsoft-kiota-http", family=FAMILY, library="httpx",
        how="`KiotaClientFactory.create_with_default_middleware(client=)`",
        later=_kiota, held_by="lease",
        call=Call(ask=_ask_kiota, answer=Answer(status=204, body=b""), gives=None),
    ),
    Case(
        name="mcp", family=FAMILY, library="httpx2", how="`streamable_http_client(http_client=)`",
        later=_McpClient,
        call=Call(
            ask=_McpClient.call, answer=answer_mcp, requests=4,
            read=lambda result: result.content[0].text, gives="pooled",
        ),
    ),
    Case(
        name="fastmcp", family=FAMILY, library="httpx2",
        how="`StreamableHttpTransport(httpx_client_factory=)`",
        later=_fastmcp, held_by="lease",
        call=Call(
            ask=_ask_fastmcp, answer=answer_mcp, requests=5,
            read=lambda result: result.content[0].text, gives="pooled",
        ),
    ),
    Case(
        name="a2a-sdk", family=FAMILY, library="httpx", how="`ClientConfig(httpx_client=)`",
        later=_a2a, held_by="lease",
        call=Call(
            ask=_ask_a2a,
            answer=as_json({"jsonrpc": "2.0", "id": "1", "result": {"id": "t1", "contextId": "c1"}}),
            read=lambda result: result.id, gives="t1",
        ),
    ),
]  # fmt: skip
