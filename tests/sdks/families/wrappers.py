"""Packages around other SDKs, and SDKs with no way in: their clients are attached by attribute."""

from __future__ import annotations

from typing import Any

import attrs
import httpx
import httpx2

from pool_manager import PoolConfig
from tests.sdks.describing import Call, Case, Pool, Stream, as_json
from tests.sdks.families.stainless import CHAT, CHAT_STREAM, MESSAGE, MESSAGE_STREAM, MESSAGES
from tests.support import sdk_answers
from tests.support.counted import Answer

WRAPPER, NO_WAY_IN = "Around another SDK", "No way in"


# Around another SDK


def _langchain_openai(pool: Pool, url: str) -> Any:
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(
        model="canned",
        api_key="key",
        base_url=url,
        http_client=pool.client(httpx2.Client, timeout=None),
        http_async_client=pool.client(httpx2.AsyncClient, timeout=None),
    )


def _langchain_anthropic(pool: Pool, url: str) -> Any:
    import anthropic
    from langchain_anthropic import ChatAnthropic

    chat = ChatAnthropic(model="canned", api_key="key", base_url=url)
    # The slots of two cached properties.
    vars(chat)["_client"] = pool.pooled(anthropic.Anthropic, **chat._client_params)
    return chat


def _async_langchain_anthropic(pool: Pool, url: str) -> Any:
    import anthropic
    from langchain_anthropic import ChatAnthropic

    chat = ChatAnthropic(model="canned", api_key="key", base_url=url)
    vars(chat)["_async_client"] = pool.pooled(anthropic.AsyncAnthropic, **chat._client_params)
    return chat


def _llama_index(pool: Pool, url: str) -> Any:
    from llama_index.llms.openai import OpenAI

    return OpenAI(
        model="gpt-4o",
        api_key="key",
        api_base=url,
        http_client=pool.client(httpx.Client),
        async_http_client=pool.client(httpx.AsyncClient),
    )


class _PydanticAi:
    """An agent of pydantic-ai, and the SDK that it is made of."""

    def __init__(self, pool: Pool, url: str) -> None:
        from openai import AsyncOpenAI
        from pydantic_ai import Agent
        from pydantic_ai.models.openai import OpenAIChatModel
        from pydantic_ai.providers.openai import OpenAIProvider

        self._sdk = pool.pooled(AsyncOpenAI, api_key="key", base_url=url)
        model = OpenAIChatModel("canned", provider=OpenAIProvider(openai_client=self._sdk))
        self.run = Agent(model).run

    def close(self) -> Any:
        return self._sdk.close()


class _Agents:
    """An agent of openai-agents, and the SDK that it is made of."""

    def __init__(self, pool: Pool, url: str) -> None:
        from agents import Agent, OpenAIProvider, RunConfig
        from openai import AsyncOpenAI

        self._sdk = pool.pooled(AsyncOpenAI, api_key="key", base_url=url)
        provider = OpenAIProvider(openai_client=self._sdk, use_responses=False)
        self._config = RunConfig(model_provider=provider, tracing_disabled=True)
        self._agent = Agent(name="canned", model="canned")

    def run(self) -> Any:
        from agents import Runner

        return Runner.run(self._agent, "hello", run_config=self._config)

    def close(self) -> Any:
        return self._sdk.close()


class _Litellm:
    """LiteLLM, whose clients are two variables of its module."""

    def __init__(self, pool: Pool, url: str) -> None:
        import litellm

        self._url, self._litellm = url, litellm
        self._litellm.client_session = pool.client(httpx.Client, timeout=600, follow_redirects=True)
        self._litellm.aclient_session = pool.client(httpx.AsyncClient, timeout=600, follow_redirects=True)

    def complete(self, **options: Any) -> Any:
        return self._litellm.completion(
            "openai/canned", MESSAGES, api_base=self._url, api_key="key", **options
        )

    def acomplete(self, **options: Any) -> Any:
        return self._litellm.acompletion(
            "openai/canned", MESSAGES, api_base=self._url, api_key="key", **options
        )


_INVOKE = Call(
    ask=lambda sdk: sdk.invoke("hello"),
    answer=as_json(sdk_answers.CHAT_COMPLETION),
    read=lambda message: message.text,
    gives=sdk_answers.TEXT,
)
_INVOKE_STREAM = Stream(
    ask=lambda sdk: sdk.stream("hello"),
    answer=CHAT_STREAM.answer,
    read=lambda chunk: chunk.text,
    gives=sdk_answers.TEXT,
)
_COMPLETE = attrs.evolve(CHAT, ask=lambda sdk: sdk.complete())
_COMPLETE_STREAM = attrs.evolve(CHAT_STREAM, ask=lambda sdk: sdk.complete(stream=True))
_LLAMA = Call(
    ask=lambda sdk: sdk.complete("hello"),
    answer=CHAT.answer,
    read=lambda response: response.text,
    gives=sdk_answers.TEXT,
)
_LLAMA_STREAM = Stream(
    ask=lambda sdk: sdk.stream_complete("hello"),
    answer=CHAT_STREAM.answer,
    read=lambda part: part.delta,
    gives=sdk_answers.TEXT,
)

WRAPPERS = [
    Case(
        name="langchain-openai", family=WRAPPER, library="httpx2", how="`http_client=`, `http_async_client=`",
        sync=_langchain_openai, later=_langchain_openai, held_by="lease",
        call=_INVOKE, stream=_INVOKE_STREAM,
        later_call=attrs.evolve(_INVOKE, ask=lambda sdk: sdk.ainvoke("hello")),
        later_stream=attrs.evolve(_INVOKE_STREAM, ask=lambda sdk: sdk.astream("hello")),
    ),
    Case(
        name="langchain-anthropic", family=WRAPPER, library="httpx2",
        how='`vars(chat)["_client"] = pooled(Anthropic)`, `_async_client`',
        sync=_langchain_anthropic, later=_async_langchain_anthropic,
        close=lambda sdk: sdk._async_client.close() if "_async_client" in vars(sdk) else sdk._client.close(),
        call=attrs.evolve(_INVOKE, answer=MESSAGE.answer),
        stream=attrs.evolve(_INVOKE_STREAM, answer=MESSAGE_STREAM.answer),
        later_call=attrs.evolve(_INVOKE, answer=MESSAGE.answer, ask=lambda sdk: sdk.ainvoke("hello")),
        later_stream=attrs.evolve(
            _INVOKE_STREAM, answer=MESSAGE_STREAM.answer, ask=lambda sdk: sdk.astream("hello")
        ),
    ),
    Case(
        name="pydantic-ai-slim", family=WRAPPER, library="httpx2",
        how="`OpenAIProvider(openai_client=pooled(AsyncOpenAI))`",
        later=_PydanticAi,
        call=attrs.evolve(CHAT, ask=lambda sdk: sdk.run("hello"), read=lambda result: result.output),
    ),
    Case(
        name="openai-agents", family=WRAPPER, library="httpx2",
        how="`OpenAIProvider(openai_client=pooled(AsyncOpenAI))`",
        later=_Agents,
        call=attrs.evolve(CHAT, ask=lambda sdk: sdk.run(), read=lambda result: result.final_output),
    ),
    Case(
        name="litellm", family=WRAPPER, library="httpx", how="`litellm.client_session`, `.aclient_session`",
        sync=_Litellm, later=_Litellm, held_by="lease", group="sdks-older",
        call=_COMPLETE, stream=_COMPLETE_STREAM,
        later_call=attrs.evolve(_COMPLETE, ask=lambda sdk: sdk.acomplete()),
        later_stream=attrs.evolve(_COMPLETE_STREAM, ask=lambda sdk: sdk.acomplete(stream=True)),
    ),
    Case(
        name="llama-index-llms-openai", family=WRAPPER, library="httpx",
        how="`http_client=`, `async_http_client=`",
        sync=_llama_index, later=_llama_index, held_by="lease", group="sdks-older",
        call=_LLAMA, stream=_LLAMA_STREAM,
        later_call=attrs.evolve(_LLAMA, ask=lambda sdk: sdk.acomplete("hello")),
        later_stream=attrs.evolve(_LLAMA_STREAM, ask=lambda sdk: sdk.astream_complete("hello")),
    ),
]  # fmt: skip


# No way in: the httpx client inside is attached

POOLS_OWN = PoolConfig(trust_env=False)  # stripe trusts a bundle of its own, so it has to be said


def _stripe(pool: Pool, url: str) -> Any:
    import stripe

    own = stripe.HTTPXClient(allow_sync_methods=True)
    pool.attach(own._client, config=POOLS_OWN)
    return stripe.StripeClient("sk_test_1", base_addresses={"api": url}, http_client=own)


def _async_stripe(pool: Pool, url: str) -> Any:
    import stripe

    own = stripe.HTTPXClient()
    pool.attach(own._client_async, config=POOLS_OWN)
    return stripe.StripeClient("sk_test_1", base_addresses={"api": url}, http_client=own)


def _close_stripe(sdk: Any) -> Any:
    own = sdk._requestor._get_http_client()
    return own.close() if own._client is not None else own.close_async()


def _pinecone(pool: Pool, url: str) -> Any:
    from pinecone import Pinecone

    sdk = Pinecone("key", host=url)
    pool.attach(sdk._http._client)
    return sdk


def _async_pinecone(pool: Pool, url: str) -> Any:
    from pinecone import AsyncPinecone

    sdk = AsyncPinecone("key", host=url)
    pool.attach(sdk._http._ensure_client())
    return sdk


def _langsmith(pool: Pool, url: str) -> Any:
    from langsmith import AsyncClient

    sdk = AsyncClient(api_url=url, api_key="key")
    pool.attach(sdk._client)
    pool.attach(sdk._langsmith_api._client)
    return sdk


async def _close_langsmith(sdk: Any) -> None:
    await sdk.aclose()
    await sdk._langsmith_api.close()


def _assemblyai(pool: Pool, url: str) -> Any:
    import assemblyai

    sdk = assemblyai.Client(settings=assemblyai.Settings(api_key="key", base_url=url))
    pool.attach(sdk.http_client)
    return sdk


def _exa(pool: Pool, url: str) -> Any:
    from exa_py import AsyncExa

    sdk = AsyncExa("key", api_base=url)
    pool.attach(sdk.client)
    return sdk


def _langgraph(pool: Pool, url: str) -> Any:
    from langgraph_sdk import get_sync_client

    sdk = get_sync_client(url=url)
    pool.attach(sdk.http.client)
    return sdk


def _async_langgraph(pool: Pool, url: str) -> Any:
    from langgraph_sdk import get_client

    sdk = get_client(url=url)
    pool.attach(sdk.http.client)
    return sdk


CUSTOMER = {"object": "customer", "id": "cus_1"}
_LANGSMITH = {
    "id": "00000000-0000-0000-0000-000000000001", "tenant_id": "00000000-0000-0000-0000-000000000002",
    "name": "p", "start_time": "2026-01-01T00:00:00", "reference_dataset_id": None,
}  # fmt: skip

ATTACHED = [
    Case(
        name="stripe", family=NO_WAY_IN, library="httpx",
        how="`attach(http_client._client, config=)`, `._client_async` of `HTTPXClient`",
        sync=_stripe, later=_async_stripe, close=_close_stripe,
        call=Call(
            ask=lambda sdk: sdk.v1.customers.create(params={"name": "a"}),
            answer=as_json(CUSTOMER),
            read=lambda result: result.id, gives="cus_1",
        ),
        later_call=Call(
            ask=lambda sdk: sdk.v1.customers.create_async(params={"name": "a"}),
            answer=as_json(CUSTOMER),
            read=lambda result: result.id, gives="cus_1",
        ),
    ),
    Case(
        name="pinecone", family=NO_WAY_IN, library="httpx", how="`attach(pinecone._http._client)`",
        sync=_pinecone, later=_async_pinecone,
        call=Call(
            ask=lambda sdk: sdk.indexes.delete("a", timeout=-1), answer=Answer(status=202, body=b""),
            gives=None, method="DELETE",
        ),
    ),
    Case(
        name="langsmith", family=NO_WAY_IN, library="httpx2",
        how="`attach(client._client)`, `attach(client._langsmith_api._client)` (async; sync is requests)",
        later=_langsmith, close=_close_langsmith,
        call=Call(
            ask=lambda sdk: sdk.create_project("p"),
            answer=as_json(_LANGSMITH),
            read=lambda result: result.name, gives="p",
        ),
    ),
    Case(
        name="assemblyai", family=NO_WAY_IN, library="httpx", how="`attach(client.http_client)`",
        sync=_assemblyai, close=lambda sdk: sdk.http_client.close(),
        call=Call(
            ask=lambda sdk: sdk.http_client.post("/v2/transcript", json={}),
            read=lambda result: result.json(),
        ),
    ),
    Case(
        name="exa-py", family=NO_WAY_IN, library="httpx", how="`attach(exa.client)` (async; sync is requests)",
        later=_exa,
        call=Call(
            ask=lambda sdk: sdk.search("hello"), answer=as_json({"results": [], "requestId": "1"}),
            read=lambda result: result.results, gives=[],
        ),
    ),
    Case(
        name="langgraph-sdk", family=NO_WAY_IN, library="httpx", how="`attach(client.http.client)`",
        sync=_langgraph, later=_async_langgraph,
        call=Call(
            ask=lambda sdk: sdk.threads.create(), answer=as_json({"thread_id": "t1"}),
            read=lambda result: result["thread_id"], gives="t1",
        ),
    ),
]  # fmt: skip

CASES = [*WRAPPERS, *ATTACHED]
