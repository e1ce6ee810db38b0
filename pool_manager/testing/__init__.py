"""
For users' tests: a manager of the test's own, a server in memory, and a look for what was left open.

With pytest the fixtures `isolated_manager` and `no_leaks` are there by themselves.
"""

from pool_manager.testing.isolating import Isolation, isolated
from pool_manager.testing.leaks import LeakError, no_leaks
from pool_manager.testing.memory import Server

__all__ = ["Isolation", "LeakError", "Server", "isolated", "no_leaks"]
