"""Decisions. No I/O, no clock, no lock, no await, no httpx: a test holds it to that."""
