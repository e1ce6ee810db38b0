"""The SDKs, a module for each family or two."""

from __future__ import annotations

from tests.sdks.families import forwarding, generated, handmade, stainless, wrappers

CASES = (*stainless.CASES, *generated.CASES, *handmade.CASES, *forwarding.CASES, *wrappers.CASES)
