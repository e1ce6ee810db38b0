"""SDKs that Speakeasy and Fern generate."""

from __future__ import annotations

from typing import Any

import httpx
import httpx2

from tests.sdks.describing import Call, Case, Pool, Stream, as_events, as_json
from tests.sdks.families.stainless import MESSAGES
from tests.support import sdk_answers
from tests.support.counted import Answer

CHAT_EVENTS = b"".join(sdk_answers.chat_completion_events())


# Speakeasy: takes two clients and closes neither


def _mistral(pool: Pool, url: str) -> Any:
    from mistralai.client import Mistral

    return Mistral(
        api_key="key",
        server_url=url,
        client=pool.client(httpx2.Client, follow_redirects=True),
        async_client=pool.client(httpx2.AsyncClient, follow_redirects=True),
    )


def _openrouter(pool: Pool, url: str) -> Any:
    from openrouter import OpenRouter

    return OpenRouter(
        api_key="key",
        server_url=url,
        client=pool.client(httpx.Client, follow_redirects=True),
        async_client=pool.client(httpx.AsyncClient, follow_redirects=True),
    )


def _clerk(pool: Pool, url: str) -> Any:
    from clerk_backend_api import Clerk

    return Clerk(
        bearer_auth="key",
        server_url=url,
        client=pool.client(httpx.Client, follow_redirects=True),
        async_client=pool.client(httpx.AsyncClient, follow_redirects=True),
    )


def _unstructured(pool: Pool, url: str) -> Any:
    from unstructured_client import UnstructuredClient

    return UnstructuredClient(
        api_key_auth="key",
        server_url=url,
        client=pool.client(httpx.Client),
        async_client=pool.client(httpx.AsyncClient),
    )


SPEAKEASY = [
    Case(
        name="mistralai", family="Speakeasy", library="httpx2", how="`client=`, `async_client=`",
        sync=_mistral, later=_mistral, held_by="lease",
        call=Call(
            ask=lambda sdk: sdk.chat.complete(model="canned", messages=MESSAGES),
            answer=as_json(sdk_answers.CHAT_COMPLETION),
            read=lambda result: result.choices[0].message.content, gives=sdk_answers.TEXT,
        ),
        stream=Stream(
            ask=lambda sdk: sdk.chat.stream(model="canned", messages=MESSAGES),
            answer=as_events(CHAT_EVENTS),
            read=lambda event: event.data.choices[0].delta.content, gives=sdk_answers.TEXT,
        ),
    ),
    Case(
        name="openrouter", family="Speakeasy", library="httpx", how="`client=`, `async_client=`",
        sync=_openrouter, later=_openrouter, held_by="lease",
        call=Call(
            ask=lambda sdk: sdk.chat.send(model="canned", messages=MESSAGES),
            answer=as_json({**sdk_answers.CHAT_COMPLETION, "system_fingerprint": None}),
            read=lambda result: result.choices[0].message.content, gives=sdk_answers.TEXT,
        ),
    ),
    Case(
        name="clerk-backend-api", family="Speakeasy", library="httpx", how="`client=`, `async_client=`",
        sync=_clerk, later=_clerk, held_by="lease",
        call=Call(
            ask=lambda sdk: sdk.blocklist_identifiers.create(request={"identifier": "a@b.c"}),
            answer=as_json({"object": "blocklist_identifier", "id": "b1", "identifier": "a@b.c"}),
            read=lambda result: result.id, gives="b1",
        ),
    ),
    Case(
        name="unstructured-client", family="Speakeasy", library="httpx", how="`client=`, `async_client=`",
        sync=_unstructured, later=_unstructured, held_by="lease",
        call=Call(
            ask=lambda sdk: sdk.general.partition(
                request={"partition_parameters": {"files": {"content": b"hi", "file_name": "a.txt"}}}
            ),
            answer=as_json([{"type": "Title", "text": "hi"}]),
            read=lambda result: result.elements[0]["text"], gives="hi",
        ),
    ),
]  # fmt: skip


# Fern: takes one client, and has no close


def _cohere(pool: Pool, url: str) -> Any:
    import cohere

    own = pool.client(httpx.Client, timeout=300, follow_redirects=True)
    return cohere.ClientV2("key", base_url=url, httpx_client=own)


def _async_cohere(pool: Pool, url: str) -> Any:
    import cohere

    own = pool.client(httpx.AsyncClient, timeout=300, follow_redirects=True)
    return cohere.AsyncClientV2("key", base_url=url, httpx_client=own)


def _environment(url: str) -> Any:
    from deepgram.environment import DeepgramClientEnvironment

    return DeepgramClientEnvironment(base=url, production=url, agent=url, agent_rest=url)


def _deepgram(pool: Pool, url: str) -> Any:
    from deepgram import DeepgramClient

    own = pool.client(httpx.Client, timeout=60, follow_redirects=True)
    return DeepgramClient(api_key="key", environment=_environment(url), httpx_client=own)


def _async_deepgram(pool: Pool, url: str) -> Any:
    from deepgram import AsyncDeepgramClient

    own = pool.client(httpx.AsyncClient, timeout=60, follow_redirects=True)
    return AsyncDeepgramClient(api_key="key", environment=_environment(url), httpx_client=own)


def _elevenlabs(pool: Pool, url: str) -> Any:
    from elevenlabs.client import ElevenLabs

    own = pool.client(httpx.Client, timeout=240, follow_redirects=True)
    return ElevenLabs(api_key="key", base_url=url, httpx_client=own)


def _async_elevenlabs(pool: Pool, url: str) -> Any:
    from elevenlabs.client import AsyncElevenLabs

    own = pool.client(httpx.AsyncClient, timeout=240, follow_redirects=True)
    return AsyncElevenLabs(api_key="key", base_url=url, httpx_client=own)


def _langfuse(pool: Pool, url: str) -> Any:
    from langfuse.api.client import LangfuseAPI

    return LangfuseAPI(base_url=url, username="key", password="key", httpx_client=pool.client(httpx.Client))


def _async_langfuse(pool: Pool, url: str) -> Any:
    from langfuse.api.client import AsyncLangfuseAPI

    own = pool.client(httpx.AsyncClient)
    return AsyncLangfuseAPI(base_url=url, username="key", password="key", httpx_client=own)


_COHERE = {
    "id": "1",
    "finish_reason": "COMPLETE",
    "message": {"role": "assistant", "content": [{"type": "text", "text": sdk_answers.TEXT}]},
}
_COHERE_EVENTS = b"".join(
    [
        *(
            sdk_answers.event(
                {
                    "type": "content-delta",
                    "index": 0,
                    "delta": {"message": {"content": {"text": word}}},
                }
            )
            for word in sdk_answers.WORDS
        ),
        b"data: [DONE]\n\n",
    ]
)
_DEEPGRAM = {
    "metadata": {
        "request_id": "1", "sha256": "0", "created": "2026-01-01T00:00:00Z", "duration": 1.0, "channels": 1,
        "models": [], "model_info": {},
    },
    "results": {"channels": [{"alternatives": [{"transcript": "hello"}]}]},
}  # fmt: skip

FERN = [
    Case(
        name="cohere", family="Fern", library="httpx", how="`httpx_client=`",
        sync=_cohere, later=_async_cohere, held_by="lease",
        call=Call(
            ask=lambda sdk: sdk.chat(model="canned", messages=MESSAGES),
            answer=as_json(_COHERE),
            read=lambda result: result.message.content[0].text, gives=sdk_answers.TEXT,
        ),
        stream=Stream(
            ask=lambda sdk: sdk.chat_stream(model="canned", messages=MESSAGES),
            answer=as_events(_COHERE_EVENTS),
            read=lambda event: event.delta.message.content.text, gives=sdk_answers.TEXT,
        ),
    ),
    Case(
        name="deepgram-sdk", family="Fern", library="httpx", how="`httpx_client=`",
        sync=_deepgram, later=_async_deepgram, held_by="lease",
        call=Call(
            ask=lambda sdk: sdk.listen.v1.media.transcribe_url(url="https://example.com/a.wav"),
            answer=as_json(_DEEPGRAM),
            read=lambda result: result.results.channels[0].alternatives[0].transcript, gives="hello",
        ),
    ),
    Case(
        name="elevenlabs", family="Fern", library="httpx", how="`httpx_client=`",
        sync=_elevenlabs, later=_async_elevenlabs, held_by="lease",
        call=Call(
            ask=lambda sdk: sdk.text_to_speech.convert_with_timestamps(voice_id="v", text="hello"),
            answer=as_json({"audio_base64": "aGVsbG8="}),
            read=lambda result: result.audio_base_64, gives="aGVsbG8=",
        ),
        stream=Stream(
            ask=lambda sdk: sdk.text_to_speech.stream(voice_id="v", text="hello"),
            answer=Answer(body=b"sound" * 1000, headers=(("content-type", "audio/mpeg"),)),
            read=bytes.decode, gives="sound" * 1000,
        ),
    ),
    Case(
        name="langfuse", family="Fern", library="httpx", how="`httpx_client=` of `LangfuseAPI`",
        sync=_langfuse, later=_async_langfuse, held_by="lease",
        call=Call(
            ask=lambda sdk: sdk.health.health(),
            answer=as_json({"version": "1", "status": "OK"}), method="GET",
            read=lambda result: result.status, gives="OK",
        ),
    ),
]  # fmt: skip

CASES = [*SPEAKEASY, *FERN]
