"""The tests of pool_manager. `tests.support` has the servers they talk to."""
