"""Exporters: what `PoolManager.stats` says, for Prometheus and OpenTelemetry. Each needs its extra."""
