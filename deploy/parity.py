"""Is the served adapter the one that was judged? The same cases, locally and served, reply against reply.

Covers: what the reader makes of both replies to each case, the rate of disagreement with its exact bound, the list, the
record that a switch asks for.
Does not cover: whether either is right (the gate); the verdicts stand beside each other for information.

Two replies agree when a user would get the same: the same calls with the same arguments in the same order, or text
where the other is text. Wording may differ, since the platform computes in a precision of its own; how many replies are
equal letter by letter is told as well. The bound is Clopper-Pearson's, one-sided, 95 %: what is not shown to be rare
counts as frequent, so few cases prove nothing (59 without a disagreement show 5 % or less).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import DataError, SetupError, TargetError
from harness.metrics import clopper_pearson_lower, mcnemar_exact
from harness.parsing import parse_reply
from harness.prompt import PromptSpec
from harness.runner import Answer, Progress, answer_prompts, build_prompts, score_answer
from harness.store import ReplyStore, write_file
from harness.targets import Decoding, LazyTarget
from harness.types import Case, Reply, ReplyKind, Verdict

RECORD = "parity.json"
LIMIT = 0.05  # of 200 cases 4 may disagree: the bound is 4.5 %, with 5 it is 5.2 %


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One case that is answered otherwise when served; the replies as they came."""

    case_id: str
    why: str
    local: str
    served: str
    local_right: bool
    served_right: bool


@dataclass(frozen=True, slots=True)
class Parity:
    """What was found over ``cases`` cases. ``unmeasured`` has a line for each reply that did not come."""

    served: Mapping[str, str]
    local: Mapping[str, str]
    cases: int
    disagreements: tuple[Disagreement, ...]
    same_text: int
    right_local: int
    right_served: int
    p: float  # exact McNemar over the verdicts
    unmeasured: tuple[str, ...]
    limit: float
    asked: int = 0  # replies that the served adapter gave now; the others were stored by an earlier run

    @property
    def bound(self) -> float | None:
        """The highest rate of disagreement that fits what was seen; None where nothing was compared."""
        return bound_rate(len(self.disagreements), self.cases)

    @property
    def reasons(self) -> list[str]:
        """Why it is not proven; empty when it is."""
        found, bound = len(self.disagreements), self.bound
        if self.unmeasured:
            return [f"{len(self.unmeasured)} cases were not measured, e.g. {self.unmeasured[0]}"]
        if bound is None:
            return ["no cases: a comparison of nothing proves nothing"]
        told = f"{found} of {self.cases} cases disagree ({found / self.cases:.1%}, at most {bound:.1%})"
        if found / self.cases > self.limit:
            return [f"{told}; the limit is {self.limit:.1%}"]
        if bound > self.limit:
            return [f"{told}; too few cases to show less than {self.limit:.1%}: raise --sample"]
        return []

    @property
    def ok(self) -> bool:
        """True when the rate is shown to be at or below the limit."""
        return not self.reasons


def bound_rate(k: int, n: int) -> float | None:
    """The exact one-sided 95 % upper bound of k in n; None for n = 0."""
    lower = clopper_pearson_lower(n - k, n)
    return None if lower is None else 1 - lower


def compare_sides(
    cases: Sequence[Case],
    local: LazyTarget,
    served: LazyTarget,
    prompt: PromptSpec,
    store: ReplyStore,
    decoding: Decoding,
    *,
    limit: float = LIMIT,
    on_step: Callable[[str, int, int], None] = lambda *_: None,
) -> Parity:
    """Ask both, through the store: what a run of pytest has asked before is not asked, and not paid, again.

    Raises:
        SetupError: a target cannot be loaded, or the limit is no rate.
        StoreError: a reply cannot be kept.
    """
    if not 0 < limit < 1:
        raise SetupError(f"The limit is {limit}; give a rate between 0 and 1, e.g. --limit {LIMIT}.")
    prompts = build_prompts(cases, prompt)
    sides: list[list[Answer]] = []
    asked = {"local": 0, "served": 0}
    for name, target in (("local", local), ("served", served)):

        def show(progress: Progress, name: str = name) -> None:
            if progress.phase == "loading":
                asked[name] = progress.total - progress.done
            on_step(f"{name}: {progress.phase}", progress.done, progress.total)

        with target:
            sides.append(answer_prompts(prompts, target, store, decoding, on_progress=show))
    before, after = sides
    found = judge_answers(cases, before, after, prompt, local.identity, served.identity, limit)
    return replace(found, asked=asked["served"])


def judge_answers(
    cases: Sequence[Case],
    local: Sequence[Answer],
    served: Sequence[Answer],
    prompt: PromptSpec,
    local_identity: Mapping[str, str],
    served_identity: Mapping[str, str],
    limit: float,
) -> Parity:
    """Compare two answers to each case."""
    found, unmeasured = [], []
    same_text = right_local = right_served = only_local = only_served = 0
    for case, a, b in zip(cases, local, served, strict=True):
        if isinstance(a, TargetError) or isinstance(b, TargetError):
            unmeasured.append(f"{case.id}: {a if isinstance(a, TargetError) else b}")
            continue
        rights = [score_answer(case, answer, prompt).verdict is Verdict.RIGHT for answer in (a, b)]
        right_local, right_served = right_local + rights[0], right_served + rights[1]
        only_local += rights == [True, False]
        only_served += rights == [False, True]
        same_text += a.text == b.text
        why = find_difference(parse_reply(a.text), parse_reply(b.text))
        if why:
            found.append(Disagreement(case.id, why, a.text, b.text, *rights))
    return Parity(
        served_identity,
        local_identity,
        len(cases) - len(unmeasured),
        tuple(found),
        same_text,
        right_local,
        right_served,
        mcnemar_exact(only_local, only_served),
        tuple(unmeasured),
        limit,
    )


def find_difference(local: Reply, served: Reply) -> str:
    """What a user would get differently; empty where it is the same."""
    before, after = _name(local), _name(served)
    if before != after:
        return f"{before} became {after}"
    if [call.tool for call in local.calls] != [call.tool for call in served.calls]:
        return "other tools"
    if _params(local) != _params(served):
        return "other arguments"
    return ""


def check_adapter(facts: Mapping[str, object], digest: str, name: str) -> None:
    """Compare the local adapter (``sha256:<hex>`` of its folder) with what the journal says was uploaded.

    Raises:
        DataError: it is another one.
    """
    told = facts.get("adapter")
    if told is not None and told != digest:
        raise DataError(
            f"{name} was uploaded from adapter {str(told)[:19]}…, and the local one is {digest[:19]}…. "
            "Give the promoted one with --adapter DIR."
        )


def parity_dict(parity: Parity) -> dict[str, Any]:
    """What was found, for a program."""
    return {
        "ok": parity.ok,
        "reasons": parity.reasons,
        "cases": parity.cases,
        "asked": parity.asked,
        "disagreements": len(parity.disagreements),
        "rate": len(parity.disagreements) / parity.cases if parity.cases else None,
        "bound": parity.bound,
        "limit": parity.limit,
        "same_text": parity.same_text,
        "right_local": parity.right_local,
        "right_served": parity.right_served,
        "p": parity.p,
        "unmeasured": list(parity.unmeasured),
        "list": [asdict(one) for one in parity.disagreements],
        "local": dict(parity.local),
        "served": dict(parity.served),
    }


def write_parity(path: Path, parity: Parity, facts: Mapping[str, object]) -> dict[str, Any]:
    """Keep what was found, with ``facts`` (name, id, adapter, when) that tie it to the bytes; returns the record.

    Raises:
        StoreError: it cannot be written.
    """
    record = {"kind": "toolgate-parity", **facts, **parity_dict(parity)}
    write_file(path, json.dumps(record, indent=2, sort_keys=True).encode() + b"\n")
    return record


def _name(reply: Reply) -> str:
    if reply.kind is ReplyKind.NONE:
        return "text" if reply.text.strip() else "silence"
    return "a call" if reply.kind is ReplyKind.CALL else "a malformed call"


def _params(reply: Reply) -> list[str]:
    # As JSON, where true is not 1.
    return [json.dumps(dict(call.params), sort_keys=True) for call in reply.calls]
