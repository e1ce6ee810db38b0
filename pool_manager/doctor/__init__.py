"""
The command ``doctor``: what is installed, what of it is served by which adapter, and what is not pooled.

`surroundings` looks at this process, `distributions` at what pip installed, without an
import; `looking` imports one SDK in a child, and asks the adapters; `report` tells it.
"""
