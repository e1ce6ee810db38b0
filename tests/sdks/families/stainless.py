"""SDKs that Stainless generates: `pooled` makes them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from tests.sdks.describing import Call, Case, Library, Pool, Stream, as_events, as_json
from tests.support import sdk_answers

MESSAGES = [{"role": "user", "content": "hello"}]

CHAT = Call(
    ask=lambda sdk: sdk.chat.completions.create(model="canned", messages=MESSAGES),
    answer=as_json(sdk_answers.CHAT_COMPLETION),
    read=lambda result: result.choices[0].message.content,
    gives=sdk_answers.TEXT,
)
CHAT_STREAM = Stream(
    ask=lambda sdk: sdk.chat.completions.create(model="canned", messages=MESSAGES, stream=True),
    answer=as_events(b"".join(sdk_answers.chat_completion_events())),
    read=lambda chunk: chunk.model_dump()["choices"][0]["delta"].get("content"),
    gives=sdk_answers.TEXT,
)
MESSAGE = Call(
    ask=lambda sdk: sdk.messages.create(model="canned", max_tokens=9, messages=MESSAGES),
    answer=as_json(sdk_answers.MESSAGE),
    read=lambda result: result.content[0].text,
    gives=sdk_answers.TEXT,
)
MESSAGE_STREAM = Stream(
    ask=lambda sdk: sdk.messages.create(model="canned", max_tokens=9, messages=MESSAGES, stream=True),
    answer=as_events(b"".join(sdk_answers.message_events())),
    read=lambda event: getattr(getattr(event, "delta", None), "text", ""),
    gives=sdk_answers.TEXT,
)
# What every class of the family has, for SDKs whose own answers would say no more.
PLAIN = Call(ask=lambda sdk: sdk.post("/echo", cast_to=object, body={"a": 1}))


def _copies(**options: object) -> Mapping[str, Callable[[Any], Any]]:
    return {
        "with_options": lambda sdk: sdk.with_options(timeout=20, **options),
        "copy": lambda sdk: sdk.copy(max_retries=1, **options),
    }


def stainless(
    name: str,
    path: str,
    *,
    library: Library = "httpx",
    call: Call = PLAIN,
    stream: Stream | None = None,
    copies: Mapping[str, Callable[[Any], Any]] | None = None,
    group: str = "sdks-all",
    **options: object,
) -> Case:
    """Describe one: *path* is its class, the async one is called Async..."""
    module, _, kind = path.rpartition(".")
    options = options or {"api_key": "key"}

    def maker(class_name: str) -> Callable[[Pool, str], Any]:
        def make(pool: Pool, url: str) -> Any:
            return pool.pooled(getattr(importlib.import_module(module), class_name), base_url=url, **options)

        return make

    return Case(
        name=name,
        family="Stainless",
        library=library,
        pooled=True,
        how=f"`pooled({kind})`",
        sync=maker(kind),
        later=maker(f"Async{kind}"),
        call=call,
        stream=stream,
        copies=_copies() if copies is None else copies,
        group=group,
    )


CASES = [
    stainless("openai", "openai.OpenAI", library="httpx2", call=CHAT, stream=CHAT_STREAM),
    stainless(
        "anthropic", "anthropic.Anthropic", library="httpx2", call=MESSAGE, stream=MESSAGE_STREAM
    ),
    stainless("groq", "groq.Groq", call=CHAT, stream=CHAT_STREAM),
    stainless("together", "together.Together", call=CHAT, stream=CHAT_STREAM),
    stainless(  # to warm up, an async one makes a sync one that nobody pools
        "cerebras-cloud-sdk", "cerebras.cloud.sdk.Cerebras", call=CHAT, stream=CHAT_STREAM,
        copies=_copies(warm_tcp_connection=False), api_key="key", warm_tcp_connection=False,
    ),
    stainless("perplexityai", "perplexity.Perplexity", call=CHAT, stream=CHAT_STREAM),
    stainless("fireworks-ai", "fireworks.Fireworks", call=CHAT, stream=CHAT_STREAM),
    stainless("runloop-api-client", "runloop_api_client.Runloop", bearer_token="key"),
    stainless("cloudflare", "cloudflare.Cloudflare", api_token="key"),
    stainless("turbopuffer", "turbopuffer.Turbopuffer", library="httpx2", api_key="key"),
    stainless("parallel-web", "parallel.Parallel"),
    stainless("browserbase", "browserbase.Browserbase"),
    stainless("steel-sdk", "steel.Steel", steel_api_key="key"),
    stainless("lithic", "lithic.Lithic"),
    stainless("modern-treasury", "modern_treasury.ModernTreasury", api_key="key", organization_id="us"),
    stainless("letta-client", "letta_client.Letta"),
    stainless("cartesia", "cartesia.Cartesia"),
    stainless("retell-sdk", "retell.Retell"),
    stainless("openai", "openai.OpenAI", call=CHAT, stream=CHAT_STREAM, group="sdks-older"),
]  # fmt: skip
