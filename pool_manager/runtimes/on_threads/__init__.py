"""
The native engine on threads: I/O and waiting, and no decision.

    engine.py      a request from beginning to end; the one lock around the scheduler; its effects carried out
    queueing.py    threads that wait for a connection; opening.py: the dials that bring one
    waiting.py     a thread that sleeps until somebody wakes it
    exchanges.py   one request on one connection: what came, what is awaited
    carriers.py    what connections of both versions share; http1.py and http2.py are the two
    steps.py       how the threads on an HTTP/2 connection change it; hearing.py: what its server says;
                   sending.py: how they send, and how it ends
    timekeeping.py what falls due while nobody is there
    leading.py     which thread on an HTTP/2 connection reads for all
    wires.py       a socket, with TLS or without; waiting for it
    dialing.py     from a host and a port to a wire; racing.py tries several addresses
    uploading.py   a request's body on its way out
    upgraded.py    a connection that is no longer HTTP
    tracing.py     the `trace` extension
    runtime.py     what a pool needs of threads

Rule 1: no lock is held across I/O, a wait or foreign code.
Rule 2: whoever is interrupted, wherever it strikes, leaves by one step that does not wait. Where an interrupt
strikes in the middle of a move of the scheduler or of an HTTP/2 connection, what was being moved is given up.
Rule 3: no thread is needed for anything but dials, which belong to the pool, and for what falls due while
nobody is there: idle connections end in time (rule 13 of the pool). Else whoever waits or comes next does it.
"""
