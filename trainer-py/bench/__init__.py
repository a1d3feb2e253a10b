"""Throughput of training many adapters at once, beside what else one could run and what the machine allows.

`python -m bench` in trainer-py, or `npx nx run trainer-py:bench`. docs/performance.md says how to read it.
"""
