"""
The native engine on asyncio and uvloop: I/O and waiting, and no decision.

    engine.py      a request from beginning to end; effects of the scheduler carried out
    exchanges.py   one request on one connection: what came, what is awaited
    carriers.py    what connections of both versions share; http1.py and http2.py are the two
    sleeping.py    futures and one timer for all
    uploading.py   a request's body on its way out
    loop.py        what a pool needs of its event loop

Everything here runs in the loop's own thread. Nothing is locked, and nothing that must happen is awaited:
whoever is cancelled leaves by `finally`, in one synchronous step.
"""
