"""The frozen-prefix cache as a trade: validation nats against wall time. docs/performance.md."""
