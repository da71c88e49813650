"""The API's error codes, under the name by which deploy knows them; they stand beside the client that reads them.

Covers: handing on what deploy uses of them.
Does not cover: the table itself (harness.targets.workers_ai_codes).
"""

from harness.targets.workers_ai_codes import (
    CODES,
    NO_CAPACITY,
    NO_FINETUNE,
    NO_NEURONS,
    NO_ROUTE,
    ApiError,
)

__all__ = ["CODES", "NO_CAPACITY", "NO_FINETUNE", "NO_NEURONS", "NO_ROUTE", "ApiError"]
