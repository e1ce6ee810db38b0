"""
The native engine of whatever runs tasks in one thread: I/O and waiting, and no decision.

    port.py        all that is asked of asyncio, uvloop or trio
    engine.py      a request from beginning to end; effects of the scheduler carried out
    exchanges.py   one request on one connection: what came, what is awaited
    carriers.py    what connections of both versions share; http1.py and http2.py are the two
    sleeping.py    futures and one timer for all
    uploading.py   a request's body on its way out

Everything here runs in the loop's own thread. Nothing is locked, and nothing that must happen is awaited:
whoever is cancelled leaves by `finally`, in one synchronous step.
"""
