"""
The cases of users, and the defects of today's pools, each as it was reported.

Case F, which is of threads, and J, which is of forks, are in `tests/contract`.
"""

from __future__ import annotations

import asyncio
import gc
import os
import ssl
import threading
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import patch

import anyio
import certifi
import pytest
from hyperframe.frame import PingFrame

import pool_manager
from pool_manager import Limits, PoolConfig, PoolManager
from tests.support.scripted import Gate, until
from tests.support.scripted_http1 import Http1Peer, ScriptedHttp1, response
from tests.support.scripted_http2 import CANCEL, LAST_STREAM, MAX_CONCURRENT_STREAMS, Http2Peer, ScriptedHttp2
from tests.support.worlds import ONE_CONNECTION, World, cancel, config_for


async def get_many(client: Any, count: int) -> set[int]:
    """Send requests at once; give their statuses."""
    statuses: set[int] = set()

    async def get(number: int) -> None:
        statuses.add((await client.get(f"/{number}")).status_code)

    async with anyio.create_task_group() as group:
        for number in range(count):
            group.start_soon(get, number)
    return statuses


# Loops


@pytest.mark.parametrize("kind", [ScriptedHttp1, ScriptedHttp2], ids=["h1", "h2"])
def test_case_a_one_client_in_six_loops(world: World, kind: Any) -> None:
    """Six POSTs of one client in six loops: six answers, and the server has processed six."""
    with kind() as server, PoolManager(config_for(server)) as manager:
        client = manager.client(world.library.AsyncClient, base_url=server.url)
        seen = []

        async def post() -> None:
            seen.append((await client.post("/", content=b"mine")).status_code)

        for _ in range(6):
            world.run_alone(post())
        assert ([200] * 6, 6, 6) == (seen, server.processed("POST"), server.connections)
        assert 0 == server.open_connections
        world.run_alone(client.aclose())


def test_case_l_clients_of_finished_loops(world: World) -> None:
    """Twenty clients, each used in a loop that has ended and never closed: no socket is left."""
    with ScriptedHttp1() as server, PoolManager(config_for(server)) as manager:
        clients = [manager.client(world.library.AsyncClient, base_url=server.url) for _ in range(20)]

        async def use(client: Any) -> None:
            assert 200 == (await client.get("/")).status_code

        for client in clients:
            world.run_alone(use(client))
        assert (20, 0) == (server.connections, server.open_connections)
        for client in clients:
            world.run_alone(client.aclose())


@pytest.mark.parametrize("kind", [ScriptedHttp1, ScriptedHttp2], ids=["h1", "h2"])
def test_case_n_live_loops_at_once(world: World, kind: Any) -> None:
    """Three live loops, eight requests each, two connections at most: 24 answers."""
    with kind() as server, PoolManager(config_for(server), limits=Limits(max_connections=2)) as manager:
        client = manager.client(world.library.AsyncClient, base_url=server.url, timeout=5)
        together = threading.Barrier(3)
        seen: list[set[int]] = []

        async def many() -> None:
            together.wait()
            seen.append(await get_many(client, 8))

        threads = [threading.Thread(target=lambda: world.run_alone(many())) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ([{200}] * 3, 24) == (seen, server.processed("GET"))
        assert server.connections <= 6
        world.run_alone(client.aclose())


# Clients


@pytest.mark.parametrize("kind", [ScriptedHttp1, ScriptedHttp2], ids=["h1", "h2"])
def test_case_b_cancelled_in_their_first_moments(world: World, kind: Any) -> None:
    """Two requests that are cancelled after one turn of the loop do not take the one connection with them."""

    async def main(client: Any) -> None:
        tasks = [asyncio.create_task(client.get(f"/{number}")) for number in range(2)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)  # a thread may have its answer by then
        assert 200 == (await client.get("/next")).status_code

    with kind() as server:
        world.play(server, main, limits=Limits(max_connections=1))


class Sdk:
    """A client in the manner of SDKs that close theirs when they are collected."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def __del__(self) -> None:
        self.closing = asyncio.get_running_loop().create_task(self.client.aclose())


def test_case_c_a_client_collected_in_mid_stream(world: World) -> None:
    """An SDK closes its client as it is collected: the answer that is open is read to its end."""
    begun = Gate()

    def story(peer: Http1Peer) -> None:
        peer.read_request()
        peer.send(response(b"first")[:-5].replace(b"length: 5", b"length: 10") + b"first")
        peer.wait(begun)
        peer.send(b"after")

    async def main() -> None:
        client = manager.client(world.library.AsyncClient, base_url=server.url)
        sdk = Sdk(client)
        async with client.stream("GET", "/") as answer:
            parts: AsyncIterator[bytes] = answer.aiter_raw()
            assert b"first" == await anext(parts)
            del sdk
            gc.collect()
            while not client.is_closed:
                await asyncio.sleep(0)
            begun.open()
            assert b"after" == await anext(parts)

    with ScriptedHttp1(story) as server, PoolManager(config_for(server)) as manager:
        world.run(main())


def test_case_d_the_proxy_of_the_environment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pooled client sends by the proxy that ``HTTP_PROXY`` names, though it has a transport of its own."""
    with ScriptedHttp1() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)

        async def main() -> None:
            async with (
                PoolManager(PoolConfig()) as manager,
                manager.client(world.library.AsyncClient) as client,
            ):
                assert 200 == (await client.get("http://nowhere.test/here")).status_code

        world.run(main())
        assert ["http://nowhere.test/here"] == [request.target for request in proxy.requests]


def test_case_e_cookies_of_tenants(world: World) -> None:
    """The cookie that one tenant was given is sent by it alone, though another uses the same connection."""

    def story(peer: Http1Peer) -> None:
        peer.read_request()
        peer.answer(b"ok", b"set-cookie: session=first; Path=/")
        peer.serve()

    async def main() -> None:
        async with (
            manager.client(world.library.AsyncClient, base_url=server.url) as first,
            manager.client(world.library.AsyncClient, base_url=server.url) as second,
        ):
            for client in (first, second, first):
                await client.get("/")

    with ScriptedHttp1(story) as server, PoolManager(config_for(server)) as manager:
        world.run(main())
        assert [None, None, "session=first"] == [
            dict(request.headers).get("cookie") for request in server.requests
        ]
        assert 1 == server.connections


def test_case_m_what_a_client_costs(world: World) -> None:
    """Fifty clients are made without a TLS context, which is nearly all that making one costs."""
    library, made = world.library, ssl.create_default_context
    with (
        patch.dict(os.environ, SSL_CERT_FILE=certifi.where()),  # then both libraries make theirs by this
        patch.object(ssl, "create_default_context", side_effect=made) as contexts,
        PoolManager() as manager,
    ):
        library.Client().close()
        own = contexts.call_count
        clients = [manager.client(library.Client) for _ in range(50)]
        assert (1, own) == (own, contexts.call_count)
        for client in clients:
            client.close()


# GOAWAY


@pytest.mark.parametrize("last", ["exact", "any"])
def test_case_g_graceful_goaway(world: World, last: str) -> None:
    """Three accepted streams are being answered when GOAWAY comes: all three are answered."""

    def story(peer: Http2Peer) -> None:
        three = peer.read_requests(3)
        peer.goaway(three[-1] if last == "exact" else LAST_STREAM)
        for request in three:
            peer.answer(request)

    async def main(client: Any) -> None:
        assert {200} == await get_many(client, 3)

    with ScriptedHttp2(story) as server:
        world.play(server, main, limits=ONE_CONNECTION)
        assert {1: 3, 2: 1} == server.per_connection()
        assert "FIN" == server.peers[0].ended


@pytest.mark.usefixtures("hasty")
def test_case_g_goaway_every_five_requests(world: World) -> None:
    """Twenty POSTs at once, each connection drained after five: twenty answers, each processed once."""

    def five(peer: Http2Peer) -> None:
        # By their heads, which come in order; a later stream may be whole first.
        requests = [peer.read_body(peer.read_head()) for _ in range(5)]
        peer.goaway(requests[-1])
        for request in requests:
            peer.answer(request)

    async def main(client: Any) -> None:
        answers = await asyncio.gather(*(client.post("/", content=b"mine") for _ in range(20)))
        assert {200} == {answer.status_code for answer in answers}

    with ScriptedHttp2(*[five] * 4) as server:
        world.play(server, main, limits=ONE_CONNECTION)
        assert 20 == server.processed("POST")


def test_defect_d_goaway_lets_accepted_streams_finish(world: World) -> None:
    """GOAWAY in the middle of an answer: the rest of it arrives."""

    def story(peer: Http2Peer) -> None:
        request = peer.read_request()
        peer.head(request)
        peer.data(request, b"first, ")
        peer.goaway(request)
        peer.wait(going)
        peer.data(request, b"second", end=True)

    going = Gate()

    async def main(client: Any) -> None:
        async with client.stream("GET", "/") as answer:
            parts = answer.aiter_raw()
            assert b"first, " == await anext(parts)
            going.open()
            assert [b"second"] == [part async for part in parts]

    with ScriptedHttp2(story) as server:
        world.play(server, main)


def test_defect_d_goaway_0_is_sent_again(world: World) -> None:
    """GOAWAY(0): nothing was processed, and everything is sent again on a new connection."""

    def story(peer: Http2Peer) -> None:
        peer.read_requests(3)
        peer.goaway(0)

    async def main(client: Any) -> None:
        assert {200} == await get_many(client, 3)

    with ScriptedHttp2(story) as server:
        world.play(server, main, limits=ONE_CONNECTION)
        assert {1: 3, 2: 4} == server.per_connection()


# The number of streams


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "new"])
def test_defect_a_settings_without_a_limit(world: World, warm: bool) -> None:
    """A server that names no limit is asked ten things at once, on one connection."""

    def story(peer: Http2Peer) -> None:
        peer.greet({})
        if warm:
            peer.answer(peer.read_request())
        for request in peer.read_requests(10):  # none is answered before all are there
            peer.answer(request)

    async def main(client: Any) -> None:
        if warm:
            await client.get("/before")
        assert {200} == await get_many(client, 10)

    with ScriptedHttp2(story) as server:
        world.play(server, main, limits=ONE_CONNECTION)
        assert 1 == server.connections


def test_defect_b_more_connections(world: World) -> None:
    """Two streams each, ten requests: all ten are under way at once, on five connections or a few more."""
    go = Gate()

    def two(peer: Http2Peer) -> None:
        peer.greet({MAX_CONCURRENT_STREAMS: 2})
        if peer.number == 1:
            peer.answer(peer.read_request())
        peer.wait(go)

    async def main(client: Any) -> None:
        await client.get("/before")
        requests = asyncio.create_task(get_many(client, 10))
        await until(lambda: len(server.requests) == 11)
        go.open()
        assert {200} == await requests

    with ScriptedHttp2(*[two] * 10) as server:
        world.play(server, main)
        assert 5 <= server.connections <= 6


def test_defect_c_waiting_for_a_stream_has_a_timeout(world: World) -> None:
    """Whoever waits for an HTTP/2 stream is under its pool timeout, and is told what it waited for."""
    go = Gate()

    def one(peer: Http2Peer) -> None:
        peer.greet({MAX_CONCURRENT_STREAMS: 1})
        peer.answer(peer.read_request())
        peer.wait(go)

    async def main(client: Any) -> None:
        await client.get("/before")
        first = asyncio.create_task(client.get("/first"))
        await until(lambda: len(server.requests) == 2)
        with pytest.raises(world.library.PoolTimeout) as caught:
            await client.get("/second", timeout=world.library.Timeout(5, pool=0.05))
        assert isinstance(caught.value, pool_manager.PoolTimeout)
        go.open()
        assert 200 == (await first).status_code

    with ScriptedHttp2(one) as server:
        world.play(server, main, limits=ONE_CONNECTION)
        assert ["/before", "/first", "/afterwards"] == [request.target for request in server.requests]


def test_case_h_a_limit_lowered_in_flight(world: World) -> None:
    """From four streams to one while four are under way: all are answered, and then one at a time."""
    waiting = Gate()

    def story(peer: Http2Peer) -> None:
        peer.greet({MAX_CONCURRENT_STREAMS: 4})
        peer.answer(peer.read_request())
        four = peer.read_requests(4)
        peer.settings({MAX_CONCURRENT_STREAMS: 1})
        peer.wait(waiting)
        for request in four:
            peer.answer(request)
        for _ in range(3):
            request = peer.read_request()
            peer.ping()
            peer.want(PingFrame, flag="ACK")  # what was sent along with it would be here by now
            assert request is list(peer.requests.values())[-1]
            peer.answer(request)

    async def main(client: Any) -> None:
        await client.get("/before")
        tasks = [asyncio.create_task(client.get(f"/{number}")) for number in range(4)]
        await until(lambda: len(server.requests) == 5)
        tasks += [asyncio.create_task(client.get(f"/{number}")) for number in range(4, 7)]
        await until(lambda: world.pool.waiting == 3)
        waiting.open()
        assert [200] * 7 == [(await task).status_code for task in tasks]

    with ScriptedHttp2(story) as server:
        world.play(server, main, limits=ONE_CONNECTION)
        assert 1 == server.connections


def test_case_i_more_cancelled_than_allowed(world: World) -> None:
    """Thirty cancelled where twenty are allowed: RST_STREAM for each that was sent, the next is served."""

    def story(peer: Http2Peer) -> None:
        peer.greet({MAX_CONCURRENT_STREAMS: 20})
        peer.answer(peer.read_request())
        peer.read_requests(20)

    async def main(client: Any) -> None:
        await client.get("/before")
        tasks = [asyncio.create_task(client.get(f"/{number}")) for number in range(30)]
        await until(lambda: len(server.requests) == 21)
        for task in reversed(tasks):  # those who wait first, or they would be sent
            await cancel(task)
        assert 200 == (await client.get("/next")).status_code

    with ScriptedHttp2(story) as server:
        world.play(server, main, limits=ONE_CONNECTION)
        assert [CANCEL] * 20 == list(server.peers[0].resets.values())
        assert {1: 23} == server.per_connection()


def test_case_k_long_polls_and_a_short_call(world: World) -> None:
    """Forty long polls at ten streams a connection: the short call is answered while all of them wait."""
    go = Gate()

    def poll(peer: Http2Peer) -> None:
        peer.greet({MAX_CONCURRENT_STREAMS: 10})
        polls = []
        while len(polls) < 10:
            request = peer.read_request()
            if request.target == "/poll":
                polls.append(request)
            else:
                peer.answer(request)
        peer.wait(go)
        for request in polls:
            peer.answer(request)

    async def main(client: Any) -> None:
        await client.get("/before")
        polls = [asyncio.create_task(client.get("/poll", timeout=10)) for _ in range(40)]
        await until(lambda: len(server.requests) == 41)
        assert 200 == (await client.get("/short")).status_code
        assert not any(task.done() for task in polls)
        go.open()
        assert [200] * 40 == [(await task).status_code for task in polls]

    with ScriptedHttp2(*[poll] * 10) as server:
        world.play(server, main)
        assert server.connections <= 6


# Streams given up, and idle connections


def test_defect_e_refused_streams_are_sent_again(world: World) -> None:
    """Five POSTs, all refused once: five answers, each processed once."""

    def story(peer: Http2Peer) -> None:
        for request in peer.read_requests(5):
            peer.refuse(request)

    async def main(client: Any) -> None:
        answers = await asyncio.gather(*(client.post("/", content=b"mine") for _ in range(5)))
        assert {200} == {answer.status_code for answer in answers}

    with ScriptedHttp2(story) as server:
        world.play(server, main, limits=ONE_CONNECTION)
        assert 5 == server.processed("POST")
        assert [b"mine"] * 10 == [request.body for request in server.requests][:10]


def test_defect_f_abandoned_streams_give_back_their_credit(world: World) -> None:
    """Bodies of 1 MB left unread, more of them than the connection's window holds: the next one is whole."""
    megabyte = bytes(1_000_000)
    count = 70  # the window of a connection is 64 MiB

    def story(peer: Http2Peer) -> None:
        for _ in range(count):
            request = peer.read_request()
            peer.head(request)
            peer.body(request, megabyte, stubborn=True)  # a server that has written it all to its kernel
        peer.answer(peer.read_request(), megabyte)

    async def main(client: Any) -> None:
        for _ in range(count):
            async with client.stream("GET", "/abandoned"):
                pass
        assert megabyte == (await client.get("/whole")).content

    with ScriptedHttp2(story) as server:
        world.play(server, main, limits=ONE_CONNECTION)
        assert (1, {CANCEL}) == (server.connections, set(server.peers[0].resets.values()))


def test_defect_g_the_end_of_an_idle_connection(world: World) -> None:
    """The server closes an idle HTTP/2 connection: the next request knows, and takes a new one."""
    now, done = Gate(), Gate()

    def story(peer: Http2Peer) -> None:
        peer.answer(peer.read_request())
        peer.wait(now)
        done.open()
        peer.close()

    async def main(client: Any) -> None:
        await client.get("/")
        now.open()
        await done.opened()
        await until(world.has_news_on_idle)
        assert 200 == (await client.post("/")).status_code

    with ScriptedHttp2(story) as server:
        world.play(server, main, limits=Limits(max_connections=1))
        assert [1, 2, 2] == [request.connection for request in server.requests]


def test_defect_h_ping_on_an_idle_connection(loop_world: World) -> None:
    """The server asks whether an idle connection lives, three times, and is answered."""
    # Nobody reads from an idle connection of threads until the next request.
    answered = Gate()

    def story(peer: Http2Peer) -> None:
        peer.answer(peer.read_request())
        for data in (b"11111111", b"22222222", b"33333333"):
            peer.ping(data)
            while data not in peer.pongs:
                peer.read()
        answered.open()

    async def main(client: Any) -> None:
        await client.get("/")
        await answered.opened()

    with ScriptedHttp2(story) as server:
        loop_world.play(server, main)
        assert 1 == server.connections
