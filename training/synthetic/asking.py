"""A plan, a ledger and a client: all requests answered, as far as the budget goes.

Covers: bounded concurrency, batches in rounds, the budget, Ctrl-C, going on where a killed run stopped.
Does not cover: the HTTP of one request (clients), what replies are worth (harvest).

The budget holds at every moment: a request is sent only when what is spent, what is on its way at most and what it may
cost at most fit together. So the last few cents of a budget stay unspent.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

from harness.errors import SetupError, ToolgateError
from training.synthetic.clients import ClaudeClient, Client, StoppedError, TryAgainError, with_retries
from training.synthetic.ledger import Ledger, read_reply, spent
from training.synthetic.models import refuse_openai
from training.synthetic.plan import Plan, Request

T = TypeVar("T")
CLOCK_SKEW = timedelta(minutes=2)  # between this machine and the server, when a batch is looked for by its time


@dataclass(frozen=True, slots=True)
class Hooks:
    """Where news go."""

    progress: Callable[[int, float], None]  # requests answered, dollars spent
    note: Callable[[str], None]


def unanswered(plan: Plan, ledger: Ledger) -> list[Request]:
    """The requests that no reply is there for."""
    return [request for request in plan.requests if request.id not in ledger.state.replies]


def ask_live(
    plan: Plan, ledger: Ledger, client: Client, *, budget: float, concurrency: int, hooks: Hooks
) -> str | None:
    """Ask one by one, some at once; why it stopped early ("budget", "interrupted"), or None when all are answered.

    After Ctrl-C nothing more is sent, and what is on its way is waited for, since it is paid.

    Raises:
        ToolgateError: the first error of a request; all others that were on their way are in the ledger.
    """
    stop = threading.Event()
    waiting = deque(unanswered(plan, ledger))
    running: dict[Future[None], Request] = {}
    cost = spent(plan, ledger.state)
    stopped: str | None = None
    failure: ToolgateError | None = None
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="toolgate-ask")
    try:
        while True:
            try:
                while waiting and not stop.is_set() and len(running) < concurrency:
                    reserved = sum(plan.at_most(request) for request in running.values())
                    if cost + reserved + plan.at_most(waiting[0]) > budget:
                        if not running:
                            stopped = "budget"
                            stop.set()
                        break  # a reply may cost less than is set aside for it
                    try:
                        ledger.check_room()
                    except ToolgateError as error:  # not raised here: replies on their way are still to be kept
                        failure = failure or error
                        stop.set()
                        break
                    request = waiting.popleft()
                    running[pool.submit(_ask_one, plan, ledger, client, request, stop, hooks)] = request
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    running.pop(future)
                    try:
                        future.result()
                    except StoppedError:
                        pass
                    except ToolgateError as error:
                        failure = failure or error
                        stop.set()
                cost = spent(plan, ledger.state)
                hooks.progress(len(ledger.state.replies), cost)
            except KeyboardInterrupt:
                if stopped == "interrupted":
                    raise  # pressed again
                stop.set()
                stopped = "interrupted"
                hooks.note(f"Waiting for {len(running)} replies that are paid; Ctrl-C again gives them up.")
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    if failure is not None:
        raise failure
    return stopped


def ask_batches(
    plan: Plan, ledger: Ledger, client: ClaudeClient, *,
    budget: float, hooks: Hooks, poll: float, cancel: bool = False, batch_id: str | None = None,
) -> str | None:  # fmt: skip
    """Ask in batches, as many requests in each as the budget allows; why it stopped early, or None.

    Ctrl-C leaves a batch to the server, which goes on with it; ``cancel`` ends it, and fetches what is there.

    Raises:
        ToolgateError: the server refuses, or a whole round brought no reply.
    """
    stop = threading.Event()
    try:
        if batch_id is not None and batch_id not in ledger.state.known:
            ledger.append("batch", id=batch_id, requests=[request.id for request in unanswered(plan, ledger)])
        elif ledger.state.orphan is not None:
            _find_orphan(ledger, client, stop, hooks)
        while True:
            for batch in list(ledger.state.batches):
                if cancel:
                    _retry(partial(client.cancel_batch, batch), stop, hooks)
                _collect(plan, ledger, client, batch, poll, stop, hooks)
            requests = unanswered(plan, ledger)
            if not requests:
                return None
            if cancel:
                return "cancelled"
            fitting = _fit_budget(plan, requests, budget - spent(plan, ledger.state))
            if not fitting:
                return "budget"
            _submit(ledger, client, fitting, stop, hooks)
    except KeyboardInterrupt:
        for batch in ledger.state.batches:
            hooks.note(f"Batch {batch} goes on at the server, and is paid; --resume fetches it, with --cancel ends it.")
        return "interrupted"


def _ask_one(plan: Plan, ledger: Ledger, client: Client, request: Request, stop: threading.Event, hooks: Hooks) -> None:
    body = with_retries(
        lambda: client.ask(request),
        stop,
        on_wait=lambda why, seconds: hooks.note(f"{why}; request {request.id} waits {seconds:.1f} s."),
        on_lost=lambda why: ledger.append("lost", request=request.id, why=why),
    )
    ledger.append("reply", request=request.id, body=body)
    refuse_openai(read_reply(body).model)  # a server may serve it under another name


def _collect(
    plan: Plan, ledger: Ledger, client: ClaudeClient, batch: str, poll: float, stop: threading.Event, hooks: Hooks
) -> None:
    """Wait for a batch and put its results into the ledger."""
    asked = ledger.state.batches[batch]
    hooks.note(f"Batch {batch}: waiting for {len(asked)} replies. Ctrl-C leaves it to the server.")
    while not _retry(lambda: client.batch_ended(batch), stop, hooks):
        stop.wait(poll)

    def fetch() -> None:
        count = 0
        for line in client.batch_results(batch):
            count += 1
            if line not in ledger.state.results:
                ledger.append("result", body=line)
                hooks.progress(len(ledger.state.replies), spent(plan, ledger.state))
        if count < len(asked):
            raise TryAgainError(f"Batch {batch} has {len(asked)} results and {count} came")

    _retry(fetch, stop, hooks)
    ledger.append("done", id=batch)
    got = [name for name in asked if name in ledger.state.replies]
    wrong = {name: ledger.state.failed.get(name, "no result") for name in asked if name not in ledger.state.replies}
    refused = [why for why in wrong.values() if "invalid_request" in why]
    if refused or (not got and not any(why.startswith("canceled") for why in wrong.values())):
        why = refused[0] if refused else next(iter(wrong.values()))
        raise SetupError(f"Batch {batch}: {len(wrong)} of {len(asked)} requests were not answered: {why}.")


def _submit(
    ledger: Ledger, client: ClaudeClient, requests: Sequence[Request], stop: threading.Event, hooks: Hooks
) -> None:
    """Make a batch, once: where nobody knows whether it was made, it is looked for."""
    names = [request.id for request in requests]
    ledger.check_room()

    def create() -> None:
        ledger.append("submit", requests=names, at=datetime.now(UTC).isoformat())
        try:
            ledger.append("batch", id=client.create_batch(list(requests)), requests=names)
        except SetupError as error:
            ledger.append("refused", why=str(error))
            raise
        except TryAgainError as error:
            if not _find_orphan(ledger, client, stop, hooks):
                raise TryAgainError(error.why, error.after) from None

    _retry(create, stop, hooks)


def _find_orphan(ledger: Ledger, client: ClaudeClient, stop: threading.Event, hooks: Hooks) -> bool:
    """Look for a batch that was made while nobody heard of it; True when there is one.

    Raises:
        SetupError: there are several; a person has to choose.
    """
    orphan = ledger.state.orphan or {}
    since = datetime.fromisoformat(orphan["at"]) - CLOCK_SKEW
    found = _retry(lambda: client.batches_since(since, len(orphan["requests"])), stop, hooks)
    found = [batch for batch in found if batch not in ledger.state.known]
    if len(found) > 1:
        raise SetupError(
            f"A batch was made at {orphan['at']} and its id is not known; it may be {' or '.join(found)}. "
            "Give the right one with --resume --batch-id."
        )
    if not found:
        ledger.append("refused", why="the server has no such batch")
        return False
    hooks.note(f"Batch {found[0]} was made by this run before it was killed.")
    ledger.append("batch", id=found[0], requests=orphan["requests"])
    return True


def _fit_budget(plan: Plan, requests: Sequence[Request], left: float) -> list[Request]:
    fitting = []
    for request in requests:
        left -= plan.at_most(request)
        if left < 0:
            break
        fitting.append(request)
    return fitting[:100_000]  # more do not go into one batch


def _retry(call: Callable[[], T], stop: threading.Event, hooks: Hooks) -> T:
    return with_retries(call, stop, on_wait=lambda why, seconds: hooks.note(f"{why}; waiting {seconds:.1f} s."))
