"""
Engines that borrow httpx's own transports, until ours replace them.

httpcore keeps the connections, and has defects that no caller can cure: a
cancelled request leaves its slot taken, a cancelled HTTP/2 stream is never
reset. So a transport is *retired* whenever a request on it ends before its
answer does: requests that are out finish there, new ones get a new transport,
and the last one out closes it. One transport carries one origin in one lane, so
that a fault in one is felt in no other.
"""
