"""
What is told of the pools: the log, exporters, the live view of a running process.

Exporters say what `PoolManager.stats` says, to Prometheus and OpenTelemetry. Each needs its extra.
"""
