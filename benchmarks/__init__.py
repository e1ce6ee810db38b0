"""
What clients on the pool cost, beside their peers: ``python -m benchmarks``.

The server has one core and the client the other. Each measurement is a fresh
process; a round measures every contender of a scenario once, one after another,
so that a machine that slows down slows all of them. What is compared is the
ratio within a round, and what is believed is the median over the rounds.

    __main__     what may be asked for
    measure      rounds, subprocesses, interleaving
    child        one measurement, alone in its process
    scenarios/   what is done, and with whom: a module for each idea
    contenders   clients of httpx's shape on asyncio; `own_apis` has the others
    threads      those for threads; `sdks` has SDKs
    peers        who may not be there, and who has to be apart
    terms        what is asked of a client, and how it is used
    driving      keeps requests in flight and counts
    servers      nginx; `holding` keeps long polls waiting behind it
    results      medians, spreads, ratios
    targets      what has to be reached
    report       JSON and tables; `chart` draws; `page` writes Markdown
"""
