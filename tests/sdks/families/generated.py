"""SDKs that Speakeasy and Fern generate: `pooled` makes them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import attrs

from tests.sdks.describing import Call, Case, Library, Pool, Stream, as_events, as_json
from tests.sdks.families.stainless import CHAT, MESSAGES
from tests.support import sdk_answers
from tests.support.counted import Answer

CHAT_EVENTS = b"".join(sdk_answers.chat_completion_events())


def maker(path: str, **options: object) -> Callable[[Pool, str], Any]:
    """Give what makes the class at *path* by `pooled`; options that are functions take the URL."""
    module, _, kind = path.rpartition(".")

    def make(pool: Pool, url: str) -> Any:
        told = {name: value(url) if callable(value) else value for name, value in options.items()}
        return pool.pooled(getattr(importlib.import_module(module), kind), **told)

    return make


def speakeasy(
    name: str,
    path: str,
    key: str,
    call: Call,
    ask_async: Callable[[Any], object],
    *,
    library: Library = "httpx",
    **described: Any,
) -> Case:
    """Describe one: a class with both faces, the methods of the async one by names of their own."""
    make = maker(path, server_url=str, **{key: "key"})
    return Case(
        name=name,
        family="Speakeasy",
        library=library,
        pooled=True,
        how=f"`pooled({path.rpartition('.')[2]})`",
        sync=make,
        later=make,
        call=call,
        later_call=attrs.evolve(call, ask=ask_async),
        **{"held_by": "with", **described},
    )


def fern(name: str, path: str, **described: Any) -> Case:
    """Describe one that has a class for each face."""
    module, _, kind = path.rpartition(".")
    options = described.pop("options", {"api_key": "key", "base_url": str})
    return Case(
        name=name,
        family="Fern",
        library="httpx",
        pooled=True,
        how=f"`pooled({kind})`",
        sync=maker(path, **options),
        later=maker(f"{module}.Async{kind}", **options),
        **{"held_by": "collector", **described},
    )


_FILES = {"partition_parameters": {"files": {"content": b"hi", "file_name": "a.txt"}}}
_MISTRAL_STREAM = Stream(
    ask=lambda sdk: sdk.chat.stream(model="canned", messages=MESSAGES),
    answer=as_events(CHAT_EVENTS),
    read=lambda event: event.data.choices[0].delta.content,
    gives=sdk_answers.TEXT,
)

SPEAKEASY = [
    speakeasy(
        "mistralai", "mistralai.client.Mistral", "api_key", library="httpx2",
        call=attrs.evolve(CHAT, ask=lambda sdk: sdk.chat.complete(model="canned", messages=MESSAGES)),
        ask_async=lambda sdk: sdk.chat.complete_async(model="canned", messages=MESSAGES),
        stream=_MISTRAL_STREAM,
        later_stream=attrs.evolve(
            _MISTRAL_STREAM, ask=lambda sdk: sdk.chat.stream_async(model="canned", messages=MESSAGES)
        ),
    ),
    speakeasy(
        "openrouter", "openrouter.OpenRouter", "api_key",
        call=attrs.evolve(
            CHAT,
            ask=lambda sdk: sdk.chat.send(model="canned", messages=MESSAGES),
            answer=as_json({**sdk_answers.CHAT_COMPLETION, "system_fingerprint": None}),
        ),
        ask_async=lambda sdk: sdk.chat.send_async(model="canned", messages=MESSAGES),
    ),
    speakeasy(
        "clerk-backend-api", "clerk_backend_api.Clerk", "bearer_auth",
        call=Call(
            ask=lambda sdk: sdk.blocklist_identifiers.create(request={"identifier": "a@b.c"}),
            answer=as_json({"object": "blocklist_identifier", "id": "b1", "identifier": "a@b.c"}),
            read=lambda result: result.id, gives="b1",
        ),
        ask_async=lambda sdk: sdk.blocklist_identifiers.create_async(request={"identifier": "a@b.c"}),
    ),
    speakeasy(
        "unstructured-client", "unstructured_client.UnstructuredClient", "api_key_auth", held_by="collector",
        call=Call(
            ask=lambda sdk: sdk.general.partition(request=_FILES),
            answer=as_json([{"type": "Title", "text": "hi"}]),
            read=lambda result: result.elements[0]["text"], gives="hi",
        ),
        ask_async=lambda sdk: sdk.general.partition_async(request=_FILES),
    ),
]  # fmt: skip


def _environment(url: str) -> Any:
    from deepgram.environment import DeepgramClientEnvironment

    return DeepgramClientEnvironment(base=url, production=url, agent=url, agent_rest=url)


COHERE = {
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
    fern(
        "cohere", "cohere.ClientV2", held_by="with",
        call=Call(
            ask=lambda sdk: sdk.chat(model="canned", messages=MESSAGES),
            answer=as_json(COHERE),
            read=lambda result: result.message.content[0].text, gives=sdk_answers.TEXT,
        ),
        stream=Stream(
            ask=lambda sdk: sdk.chat_stream(model="canned", messages=MESSAGES),
            answer=as_events(_COHERE_EVENTS),
            read=lambda event: event.delta.message.content.text, gives=sdk_answers.TEXT,
        ),
    ),
    fern(
        "deepgram-sdk", "deepgram.DeepgramClient", options={"api_key": "key", "environment": _environment},
        call=Call(
            ask=lambda sdk: sdk.listen.v1.media.transcribe_url(url="https://example.com/a.wav"),
            answer=as_json(_DEEPGRAM),
            read=lambda result: result.results.channels[0].alternatives[0].transcript, gives="hello",
        ),
    ),
    fern(
        "elevenlabs", "elevenlabs.client.ElevenLabs",
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
    fern(
        "langfuse", "langfuse.api.client.LangfuseAPI",
        options={"base_url": str, "username": "key", "password": "key"},
        call=Call(
            ask=lambda sdk: sdk.health.health(),
            answer=as_json({"version": "1", "status": "OK"}), method="GET",
            read=lambda result: result.status, gives="OK",
        ),
    ),
]  # fmt: skip

CASES = [*SPEAKEASY, *FERN]
