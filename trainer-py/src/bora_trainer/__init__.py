"""The trainer: one process that answers gRPC without torch, and one child that trains without gRPC."""

__version__ = "0.1.0"
