"""One question at a time: callers share an answer, and a cancelled one takes nothing from the others."""

from __future__ import annotations

import asyncio

import pytest

from pool_manager.runtimes.flights import Flights
from tests.support.leaks import pending_tasks


class Oracle:
    """Answers when it is told to, and counts the questions."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def ask(self) -> str:
        """Wait for the answer."""
        self.asked += 1
        return await self.answer


async def turns(count: int = 5) -> None:
    """Let whatever is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


def test_callers_share_an_answer_and_none_is_kept() -> None:
    """Callers at the same time ask once; a later one asks again; other keys ask for themselves."""

    async def main() -> None:
        oracle, flights = Oracle(), Flights[str]()
        callers = [asyncio.ensure_future(flights.join("a", oracle.ask)) for _ in range(5)]
        callers.append(asyncio.ensure_future(flights.join("b", oracle.ask)))
        await turns()
        oracle.answer.set_result("yes")
        assert await asyncio.gather(*callers) == ["yes"] * 6
        assert oracle.asked == 2
        assert await flights.join("a", oracle.ask) == "yes"
        assert oracle.asked == 3

    asyncio.run(main())


def test_an_error_is_everybody_s_and_is_not_kept() -> None:
    """Each caller gets the error; the next one asks again."""

    async def main() -> None:
        oracle, flights = Oracle(), Flights[str]()
        callers = [asyncio.ensure_future(flights.join("a", oracle.ask)) for _ in range(3)]
        await turns()
        oracle.answer.set_exception(OSError("no"))
        assert [str(error) for error in await asyncio.gather(*callers, return_exceptions=True)] == ["no"] * 3
        again = Oracle()
        again.answer.set_result("yes")
        assert await flights.join("a", again.ask) == "yes"

    asyncio.run(main())


def test_a_cancelled_caller_leaves_the_others_waiting() -> None:
    """One of three is cancelled, the first that asked: the other two are answered."""

    async def main() -> None:
        oracle, flights = Oracle(), Flights[str]()
        callers = [asyncio.ensure_future(flights.join("a", oracle.ask)) for _ in range(3)]
        await turns()
        callers[0].cancel()
        await turns()
        assert callers[0].cancelled()
        oracle.answer.set_result("yes")
        assert await asyncio.gather(*callers[1:]) == ["yes"] * 2
        assert oracle.asked == 1

    asyncio.run(main())


@pytest.mark.parametrize("answered", [True, False])
def test_with_the_last_caller_the_question_goes(*, answered: bool) -> None:
    """When all are cancelled so is the question, and the next caller asks anew; no error goes unseen."""

    async def main() -> None:
        oracle, flights = Oracle(), Flights[str]()
        callers = [asyncio.ensure_future(flights.join("a", oracle.ask)) for _ in range(2)]
        await turns()
        if answered:  # at the same moment, and by an error that asyncio would log if nobody looked at it
            oracle.answer.set_exception(OSError("no"))
            await turns(1)
        for caller in callers:
            caller.cancel()
        await turns()
        assert all(caller.cancelled() for caller in callers)
        assert list(pending_tasks()) == [asyncio.current_task()]
        assert oracle.answer.cancelled() is not answered
        again = Oracle()
        again.answer.set_result("yes")
        assert await flights.join("a", again.ask) == "yes"

    complaints: list[object] = []
    with asyncio.Runner() as runner:
        runner.get_loop().set_exception_handler(lambda _, context: complaints.append(context))
        runner.run(main())
    assert complaints == []
