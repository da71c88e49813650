"""Toolgate's harness: ask a target, read its reply, score it, decide. Imports nothing of ours outside this package."""

__version__ = "0.1.0"
