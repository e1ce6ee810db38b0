"""The classes of the SDKs read the canned answers."""

from __future__ import annotations

from typing import Any

import anthropic
import groq
import httpx
import httpx2
import openai
import pytest
import runloop_api_client

from tests.support import sdk_answers
from tests.support.hypercorn_server import HypercornServer


@pytest.mark.parametrize(
    ("sdk", "library"), [(openai.OpenAI, httpx2), (groq.Groq, httpx)], ids=["openai", "groq"]
)
def test_chat_completions(sdk: Any, library: Any, h2_server: HypercornServer) -> None:
    """The classes of OpenAI and Groq read them whole and streamed, and find the models."""
    with library.Client(verify=h2_server.client_context(), trust_env=False) as transport:
        llm = sdk(api_key="none", base_url=f"{h2_server.url}/any/v1", http_client=transport)
        ask = llm.chat.completions.create
        messages = [{"role": "user", "content": "hello"}]
        whole = ask(model="m", messages=messages).choices[0].message.content
        stream = ask(model="m", messages=messages, stream=True)
        streamed = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
        assert (whole, streamed) == (sdk_answers.TEXT, sdk_answers.TEXT)
        assert [model.id for model in llm.models.list().data] == ["canned"]


def test_messages(h2_server: HypercornServer) -> None:
    """The class of Anthropic reads them whole and streamed."""
    with httpx2.Client(verify=h2_server.client_context(), trust_env=False) as transport:
        llm = anthropic.Anthropic(api_key="none", base_url=h2_server.url, http_client=transport)
        messages: list[anthropic.types.MessageParam] = [{"role": "user", "content": "hello"}]
        whole = llm.messages.create(model="m", max_tokens=9, messages=messages)
        with llm.messages.stream(model="m", max_tokens=9, messages=messages) as stream:
            streamed = stream.get_final_text()
    assert [block.text for block in whole.content if block.type == "text"] == [sdk_answers.TEXT]
    assert streamed == sdk_answers.TEXT


def test_devboxes(h2_server: HypercornServer) -> None:
    """The class of Runloop reads them."""
    with httpx.Client(verify=h2_server.client_context(), trust_env=False) as transport:
        runloop = runloop_api_client.Runloop(
            bearer_token="none",  # noqa: S106 - none indeed
            base_url=h2_server.url,
            http_client=transport,
        )
        assert [devbox.id for devbox in runloop.devboxes.list()] == ["dbx_1", "dbx_2"]
        assert runloop.devboxes.retrieve("dbx_9").status == "running"
