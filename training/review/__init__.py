"""A person reads a sample of the synthetic examples before any of them may enter a build.

- decisions.py: the sample, the file of decisions, the check that a build runs; neither server nor torch
- server.py: the page on 127.0.0.1 where the sample is read, made of page.html, page.css and page.js
- command.py: ``python -m training review``
"""

from training.review.decisions import ReviewError, check_review, content_hash, read_decisions

__all__ = ["ReviewError", "check_review", "content_hash", "read_decisions"]
