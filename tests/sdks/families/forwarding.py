"""SDKs that forward what they do not know to httpx: they get a transport, or are clients themselves."""

from __future__ import annotations

from typing import Any

import httpx
import httpx2

from tests.sdks.describing import Call, Case, Pool, Stream, as_events, as_json
from tests.sdks.families.stainless import MESSAGES
from tests.support import sdk_answers
from tests.support.counted import Answer

FAMILY = "Forwards arguments to httpx"


def _genai(pool: Pool, url: str) -> Any:
    from google import genai

    transport = {"transport": pool.transport(httpx2)}
    return genai.Client(
        api_key="key",
        http_options={"base_url": url, "client_args": transport, "async_client_args": transport},
    )


def _ollama(pool: Pool, url: str) -> Any:
    import ollama

    return ollama.Client(url, transport=pool.transport(httpx))


def _async_ollama(pool: Pool, url: str) -> Any:
    import ollama

    return ollama.AsyncClient(url, transport=pool.transport(httpx))


def _qdrant(pool: Pool, url: str) -> Any:
    from qdrant_client import QdrantClient

    return QdrantClient(url, transport=pool.transport(httpx), check_compatibility=False)


def _async_qdrant(pool: Pool, url: str) -> Any:
    from qdrant_client import AsyncQdrantClient

    return AsyncQdrantClient(url, transport=pool.transport(httpx), check_compatibility=False)


def _replicate(pool: Pool, url: str) -> Any:
    from replicate.client import Client

    return Client("key", base_url=url, transport=pool.transport(httpx))


def _githubkit(pool: Pool, url: str) -> Any:
    from githubkit import GitHub

    return GitHub("key", base_url=url, transport=pool.transport(httpx), async_transport=pool.transport(httpx))


def _gql(pool: Pool, url: str) -> Any:
    from gql import Client
    from gql.transport.httpx import HTTPXTransport

    return Client(transport=HTTPXTransport(url, transport=pool.transport(httpx2)))


def _async_gql(pool: Pool, url: str) -> Any:
    from gql import Client
    from gql.transport.httpx import HTTPXAsyncTransport

    return Client(transport=HTTPXAsyncTransport(url, transport=pool.transport(httpx2)))


def _ask_gql(sdk: Any) -> Any:
    from gql import gql

    return sdk.execute(gql("{a}"))


def _ask_async_gql(sdk: Any) -> Any:
    from gql import gql

    return sdk.execute_async(gql("{a}"))


async def _telegram(pool: Pool, url: str) -> Any:
    from telegram import Bot
    from telegram.request import HTTPXRequest

    requests = [HTTPXRequest(httpx_kwargs={"transport": pool.transport(httpx)}) for _ in range(2)]
    bot = Bot("1:key", base_url=f"{url}/bot", get_updates_request=requests[0], request=requests[1])
    await bot.initialize()
    return bot


def _authlib(pool: Pool, url: str) -> Any:
    from authlib.integrations.httpx_client import OAuth2Client

    return pool.client(OAuth2Client, client_id="us", token=_TOKEN, base_url=url)


def _async_authlib(pool: Pool, url: str) -> Any:
    from authlib.integrations.httpx_client import AsyncOAuth2Client

    return pool.client(AsyncOAuth2Client, client_id="us", token=_TOKEN, base_url=url)


_TOKEN = {"access_token": "key", "token_type": "Bearer"}


def _huggingface(pool: Pool, url: str) -> Any:
    import huggingface_hub
    from huggingface_hub.utils import _http

    def factory() -> httpx2.Client:
        hooks = {"request": [_http.hf_request_event_hook]}
        return pool.client(httpx2.Client, event_hooks=hooks, follow_redirects=True, timeout=None)

    huggingface_hub.set_client_factory(factory)
    return huggingface_hub.InferenceClient(base_url=url, api_key="key")


def _async_huggingface(pool: Pool, url: str) -> Any:
    import huggingface_hub
    from huggingface_hub.utils import _http

    def factory() -> httpx2.AsyncClient:
        return pool.client(
            httpx2.AsyncClient,
            event_hooks={
                "request": [_http.async_hf_request_event_hook],
                "response": [_http.async_hf_response_event_hook],
            },
            follow_redirects=True,
            timeout=None,
        )

    huggingface_hub.set_async_client_factory(factory)
    return huggingface_hub.AsyncInferenceClient(base_url=url, api_key="key")


def _close_huggingface(sdk: Any) -> Any:
    import huggingface_hub

    if hasattr(sdk, "__aenter__"):
        return sdk.close()
    return huggingface_hub.close_session()


PREDICTION = {"id": "p1", "model": "m", "version": "v", "status": "starting", "input": {}, "urls": {}}
GEMINI = {"candidates": [{"content": {"role": "model", "parts": [{"text": sdk_answers.TEXT}]}}]}
_GEMINI_EVENTS = b"".join(
    sdk_answers.event({"candidates": [{"content": {"role": "model", "parts": [{"text": word}]}}]})
    for word in sdk_answers.WORDS
)
OLLAMA = {"model": "canned", "message": {"role": "assistant", "content": sdk_answers.TEXT}, "done": True}
_OLLAMA_LINES = b"".join(
    as_json({"model": "canned", "message": {"role": "assistant", "content": word}, "done": False}).body
    + b"\n"
    for word in sdk_answers.WORDS
)
ME = {"ok": True, "result": {"id": 1, "is_bot": True, "first_name": "pooled", "username": "pooled_bot"}}
_HF_STREAM = Stream(
    ask=lambda sdk: sdk.chat_completion(MESSAGES, model="canned", stream=True),
    answer=as_events(b"".join(sdk_answers.chat_completion_events())),
    read=lambda chunk: chunk.choices[0].delta.content, gives=sdk_answers.TEXT,
)  # fmt: skip

CASES = [
    Case(
        name="google-genai", family=FAMILY, library="httpx2",
        how="`HttpOptions(client_args=, async_client_args=)`",
        sync=_genai, later=lambda pool, url: _genai(pool, url).aio,
        call=Call(
            ask=lambda sdk: sdk.models.generate_content(model="canned", contents="hello"),
            answer=as_json(GEMINI), read=lambda result: result.text, gives=sdk_answers.TEXT,
        ),
        stream=Stream(
            ask=lambda sdk: sdk.models.generate_content_stream(model="canned", contents="hello"),
            answer=as_events(_GEMINI_EVENTS), read=lambda chunk: chunk.text, gives=sdk_answers.TEXT,
        ),
    ),
    Case(
        name="ollama", family=FAMILY, library="httpx", how="`transport=`",
        sync=_ollama, later=_async_ollama,
        call=Call(
            ask=lambda sdk: sdk.chat("canned", messages=MESSAGES), answer=as_json(OLLAMA),
            read=lambda result: result.message.content, gives=sdk_answers.TEXT,
        ),
        stream=Stream(
            ask=lambda sdk: sdk.chat("canned", messages=MESSAGES, stream=True),
            answer=Answer(body=_OLLAMA_LINES),
            read=lambda part: part.message.content, gives=sdk_answers.TEXT,
        ),
    ),
    Case(
        name="qdrant-client", family=FAMILY, library="httpx", how="`transport=`",
        sync=_qdrant, later=_async_qdrant,
        call=Call(
            ask=lambda sdk: sdk.count("things"),
            answer=as_json({"result": {"count": 3}, "status": "ok", "time": 0.1}),
            read=lambda result: result.count, gives=3,
        ),
    ),
    Case(
        name="replicate", family=FAMILY, library="httpx", how="`transport=`",
        sync=_replicate, later=_replicate, held_by="lease",
        call=Call(
            ask=lambda sdk: sdk.predictions.create(version="v", input={}),
            answer=as_json(PREDICTION, 201),
            read=lambda result: result.id, gives="p1",
        ),
        later_call=Call(
            ask=lambda sdk: sdk.predictions.async_create(version="v", input={}),
            answer=as_json(PREDICTION, 201), read=lambda result: result.id, gives="p1",
        ),
    ),
    Case(
        name="githubkit", family=FAMILY, library="httpx", how="`transport=`, `async_transport=`",
        sync=_githubkit, later=_githubkit, held_by="lease",
        call=Call(
            ask=lambda sdk: sdk.request("POST", "/echo", json={}), read=lambda result: result.json(),
        ),
        later_call=Call(
            ask=lambda sdk: sdk.arequest("POST", "/echo", json={}), read=lambda result: result.json(),
        ),
    ),
    Case(
        name="gql", family=FAMILY, library="httpx2", how="`HTTPXTransport(transport=)`",
        sync=_gql, later=_async_gql, held_by="lease",
        call=Call(ask=_ask_gql, answer=as_json({"data": {"a": 1}}), gives={"a": 1}),
        later_call=Call(ask=_ask_async_gql, answer=as_json({"data": {"a": 1}}), gives={"a": 1}),
    ),
    Case(
        name="python-telegram-bot", family=FAMILY, library="httpx",
        how='`HTTPXRequest(httpx_kwargs={"transport": ...})`',
        later=_telegram, close=lambda sdk: sdk.shutdown(),
        call=Call(
            ask=lambda sdk: sdk.get_me(), answer=as_json(ME),
            read=lambda result: result.first_name, gives="pooled",
        ),
    ),
    Case(
        name="authlib", family=FAMILY, library="httpx2", how="`client(OAuth2Client)`",
        sync=_authlib, later=_async_authlib,
        call=Call(ask=lambda sdk: sdk.post("/echo"), read=lambda result: result.json()),
    ),
    Case(
        name="huggingface-hub", family=FAMILY, library="httpx2",
        how="`set_client_factory`, `set_async_client_factory`",
        sync=_huggingface, later=_async_huggingface, close=_close_huggingface,
        call=Call(
            ask=lambda sdk: sdk.chat_completion(MESSAGES, model="canned"),
            answer=as_json(sdk_answers.CHAT_COMPLETION),
            read=lambda result: result.choices[0].message.content, gives=sdk_answers.TEXT,
        ),
        stream=_HF_STREAM,
    ),
]  # fmt: skip
