"""`python -m pool_manager doctor` tells the truth of real SDKs, one or two of a kind."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.sdks.conftest import GROUP

# What each is said to be, by which adapter, and what to do.
SAID = {
    "groq": ("pooled", "stainless", "pooled(groq.Groq, ...)"),
    "cerebras-cloud-sdk": ("pooled", "stainless", "pooled(cerebras.cloud.sdk.Cerebras, ...)"),
    "unstructured-client": ("pooled", "speakeasy", "pooled(unstructured_client.UnstructuredClient, ...)"),
    "deepgram-sdk": ("pooled", "fern", "pooled(deepgram.DeepgramClient, ...)"),
    "notion-client": ("by hand", None, "notion_client.Client(client=) takes what client() makes"),
    "supabase": ("by hand", None, "supabase.ClientOptions(httpx_client=) takes what client() makes"),
    "githubkit": ("by hand", None, "githubkit.GitHub(transport=) takes what transport() makes"),
    "langchain-anthropic": ("by hand", None, "through anthropic, langchain-core: pool that"),
    "authlib": ("by hand", None, "by client(), transport(), attach() or install()"),
    "stripe": (
        "by hand",
        None,
        "by client(), transport(), attach() or install(); what it sends by requests is not pooled",
    ),
    "tiktoken": ("not pooled", None, "it makes its requests by requests, not by httpx"),
}

SAID_OLDER = {
    "openai": ("pooled", "stainless", "pooled(openai.OpenAI, ...)"),
    "llama-index-llms-openai": (
        "by hand",
        None,
        "llama_index.llms.openai.OpenAI(http_client=) takes what client() makes",
    ),
}


@pytest.mark.parametrize("expected", [SAID] if GROUP == "sdks-all" else [SAID_OLDER], ids=[GROUP])
def test_the_doctor_tells_the_truth(expected: dict[str, tuple[str, str | None, str]]) -> None:
    """Which adapter serves an SDK, what takes a client, and what is not pooled, and why."""
    done = subprocess.run(
        [sys.executable, "-m", "pool_manager", "doctor", "--json", *expected],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    rows = {row["name"]: row for row in json.loads(done.stdout)["sdks"]}
    said = {name: (row["verdict"], row["adapter"], row["how"]) for name, row in rows.items()}
    assert said == expected
