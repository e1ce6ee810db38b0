"""
asyncio and uvloop, as the engine in `runtimes/in_loops` needs them.

Their loops and transports are what `in_loops/port.py` asks for: nothing stands between.

    engine.py      the engine, with dials of asyncio's (`runtimes/dialing.py`)
    letting_go.py  sockets that outlive their loop
    loop.py        what a pool needs of its event loop
"""
