"""Tests of the package with real SDKs and real servers."""
