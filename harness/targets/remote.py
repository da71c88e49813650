"""What all targets behind a network share: repeating, keeping a pace, asking many prompts at once.

Covers: which failures urllib3 repeats, a token bucket for all threads of a target, a bounded pool that stops asking
when nothing can come of it.
Does not cover: what a server's answer means; each target knows its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Self

from urllib3.exceptions import ReadTimeoutError
from urllib3.util.retry import Retry

from harness.errors import TargetError
from harness.targets.base import Completion, Prompt

LONGEST_WAIT = 60  # seconds; a server that asks for more is asked again all the same


class Repeats(Retry):
    """Repeats what a server refused or dropped, but not what it took too long for: that would take as long again."""

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: Any = None,
        error: Exception | None = None,
        *rest: Any,
        **named: Any,
    ) -> Self:
        """As urllib3's; an error that took the whole timeout is raised."""
        if isinstance(error, ReadTimeoutError):
            raise error
        return super().increment(method, url, response, error, *rest, **named)

    def get_retry_after(self, response: Any) -> float | None:
        """Seconds that the server asks us to wait, up to a minute; None where it does not say."""
        wait = super().get_retry_after(response)
        return None if wait is None else min(wait, LONGEST_WAIT)


class Pace:
    """A token bucket: at most ``per_minute`` requests in any 60 seconds, by all threads together.

    ``burst`` requests may go at once; the others follow evenly, so that the window's count is burst + the even ones.
    """

    def __init__(
        self,
        per_minute: int,
        burst: int = 1,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        burst = max(1, min(burst, per_minute // 2))
        self._gap = 60 / max(1, per_minute - burst)  # seconds
        self._slack = (burst - 1) * self._gap
        self._due = self._hold = clock() - self._slack
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()

    def take(self) -> None:
        """Wait until the next request may go."""
        with self._lock:
            due = max(self._due, self._clock() - self._slack)
            self._due = due + self._gap
        # What is held back meanwhile is looked at again after each sleep.
        while (wait := max(due, self._hold) - self._clock()) > 0:
            self._sleep(wait)

    def pause(self, seconds: float) -> None:
        """Let no thread ask before so many seconds are over: the server said that there were too many requests."""
        with self._lock:
            self._hold = max(self._hold, self._clock() + seconds)


class GoneError(TargetError):
    """The target cannot answer any prompt: the others would only wait for the same."""


def ask_all(
    prompts: Sequence[Prompt], ask: Callable[[Prompt], Completion], concurrency: int, *, give_up: int | None = None
) -> Iterator[tuple[int, Completion | TargetError]]:
    """Ask ``concurrency`` prompts at once; each reply, or why there is none, comes as soon as it is known.

    After a GoneError, and after ``give_up`` failures in a row, the rest is not asked and has the same error.
    """
    ended: str | None = None
    failed = 0

    def guarded(prompt: Prompt) -> Completion | TargetError:
        nonlocal ended, failed
        if ended is not None:
            return TargetError(ended)
        try:
            reply = ask(prompt)
        except TargetError as error:
            failed += 1  # of several threads; a count that is one too low only asks once more
            if isinstance(error, GoneError) or (give_up is not None and failed >= give_up):
                ended = str(error)
            return error
        failed = 0
        return reply

    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="toolgate-asking")
    try:
        futures = {pool.submit(guarded, prompt): index for index, prompt in enumerate(prompts)}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        # An interrupted run must not wait for what is queued.
        pool.shutdown(wait=False, cancel_futures=True)
