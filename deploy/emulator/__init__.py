"""A local Workers AI, faithful to what is known of the live one: ``python -m deploy emulate``.

Covers: see ``app`` (HTTP), ``state`` (finetunes on disk), ``inference`` (replies), ``faults``, ``quirks`` (the facts).
"""
