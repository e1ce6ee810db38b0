"""Canned answers, complete enough for the real SDK classes to take them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

WORDS = ("Hello", " from", " the", " pool")
TEXT = "".join(WORDS)
TIME = 1_760_000_000  # any second will do, as long as it is always the same

# OpenAI and Groq

CHAT_COMPLETION: Mapping[str, object] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": TIME,
    "model": "canned",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": TEXT, "refusal": None},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 4, "total_tokens": 5},
}

MODELS: Mapping[str, object] = {
    "object": "list",
    "data": [{"id": "canned", "object": "model", "created": TIME, "owned_by": "tests"}],
}

# Anthropic

MESSAGE: Mapping[str, object] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "canned",
    "content": [{"type": "text", "text": TEXT}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 4},
}


def event(data: Mapping[str, object], name: str | None = None) -> bytes:
    """Write one server-sent event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()


def chat_completion_events() -> Iterator[bytes]:
    """Stream `TEXT` as OpenAI does, word by word."""
    for word in WORDS:
        yield event(_chat_chunk({"role": "assistant", "content": word}, None))
    yield event(_chat_chunk({}, "stop"))
    yield b"data: [DONE]\n\n"


def message_events() -> Iterator[bytes]:
    """Stream `TEXT` as Anthropic does, word by word."""
    begun: Mapping[str, object] = {**MESSAGE, "content": [], "stop_reason": None}
    yield _typed("message_start", message=begun)
    yield _typed("content_block_start", index=0, content_block={"type": "text", "text": ""})
    for word in WORDS:
        yield _typed("content_block_delta", index=0, delta={"type": "text_delta", "text": word})
    yield _typed("content_block_stop", index=0)
    ending = {"stop_reason": "end_turn", "stop_sequence": None}
    yield _typed("message_delta", delta=ending, usage={"output_tokens": 4})
    yield _typed("message_stop")


def devbox(name: str) -> Mapping[str, object]:
    """Describe a Runloop devbox that runs."""
    return {
        "id": name,
        "name": name,
        "status": "running",
        "capabilities": [],
        "create_time_ms": TIME * 1000,
        "launch_parameters": {},
        "metadata": {},
        "state_transitions": [],
    }


def _chat_chunk(delta: Mapping[str, object], finish: str | None) -> Mapping[str, object]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": TIME,
        "model": "canned",
        "choices": [choice],
    }


def _typed(name: str, **fields: object) -> bytes:
    return event({"type": name, **fields}, name)
