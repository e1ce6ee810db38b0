"""I/O and nothing else: loops, threads, TLS, and what carries requests there."""
