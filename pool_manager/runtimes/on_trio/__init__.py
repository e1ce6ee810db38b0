"""
trio, as the engine in `runtimes/in_loops` needs it (`in_loops/port.py`). Imported only where trio runs.

    engine.py      the engine: trio's clock, and a checkpoint wherever something is awaited
    loop.py        turns and timers, by one system task
    futures.py     what one task waits for
    transports.py  sockets that read by themselves, with TLS or without
    dialing.py     from a host and a port to a connection; racing.py and flights.py help
    run.py         what a pool needs of its run

What runs in the background are system tasks: no nursery of the user's waits for them, and they end with the
run. An exception in one of them would end the run as well, so that none gets out.
"""
