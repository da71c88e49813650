"""The adapter on the small model against the large model without one: the same prompts, side by side.

Covers: JSON validity, right tools, whole answers, latency, cost per 1,000 requests; exact paired tests of each.
Does not cover: a verdict. It is for a person who decides whether the large model may be replaced.

Both get the same rendered prompt: Llama 3.3 has the text format of Llama 3. They are asked in turns, one request at a
time, so that hour and network are the same for both and a latency is what one user waits for. Nothing comes from the
store; what is known of an unfinished comparison is kept beside its record, and the same command goes on from there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from harness.errors import SetupError, StoreError, TargetError
from harness.metrics import Quantiles, Rate, count_rate, find_quantiles, mcnemar_exact
from harness.prompt import PromptSpec
from harness.runner import build_prompts, score_answer
from harness.store import StoredReply, write_file
from harness.targets import Decoding, Prompt
from harness.targets.neurons import DOLLARS
from harness.targets.remote import GoneError
from harness.targets.workers_ai import Answer
from harness.toolset import digest_json
from harness.types import Case, Outcome, ReplyKind, Verdict

RECORD, UNFINISHED = "ab.json", "ab.unfinished.jsonl"
GIVE_UP = 5  # failures in a row
SIDES = ("adapter", "rival")


class Side(Protocol):
    """What is asked: a CloudflareTarget."""

    # ruff: noqa: D102  # the target says what they do

    identity: Mapping[str, str]

    def ask(self, prompt: Prompt, decoding: Decoding) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Row:
    """One quality of both, over the prompts that have it; the test counts those that only one of them has right."""

    name: str
    adapter: Rate
    rival: Rate
    only_adapter: int
    only_rival: int
    p: float  # exact McNemar; for latency that is the sign test


@dataclass(frozen=True, slots=True)
class Costs:
    """What one side took: seconds per reply, and means per request; None where neurons are not told."""

    latency: Quantiles | None
    prompt_tokens: float
    reply_tokens: float
    neurons: float | None

    @property
    def dollars(self) -> float | None:
        """Of 1,000 requests, before what is free."""
        return None if self.neurons is None else 1000 * self.neurons * DOLLARS


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both sides over ``prompts`` prompts that both answered."""

    models: Mapping[str, Mapping[str, str]]
    prompts: int
    rows: tuple[Row, ...]
    costs: Mapping[str, Costs]
    replies: Mapping[str, Mapping[str, str]]  # case id -> side -> text
    unmeasured: tuple[str, ...]


def compare_models(
    cases: Sequence[Case],
    adapter: Side,
    rival: Side,
    prompt: PromptSpec,
    decoding: Decoding,
    unfinished: Path,
    *,
    on_step: Callable[[str, int, int], None] = lambda *_: None,
) -> Comparison:
    """Ask both all cases, in turns; which of them is asked first changes from case to case.

    Raises:
        TargetError: one of them cannot be asked at all; the same call goes on from what ``unfinished`` holds.
        StoreError: that file cannot be written.
    """
    prompts = build_prompts(cases, prompt)
    sides = dict(zip(SIDES, (adapter, rival), strict=True))
    key = digest_json([[p.digest for p in prompts], asdict(decoding), dict(adapter.identity), dict(rival.identity)])
    kept = _Kept(unfinished, key)
    answers = kept.read()
    failures: dict[str, str] = {}
    in_a_row = 0
    for number, (case, one) in enumerate(zip(cases, prompts, strict=True)):
        for name in SIDES if number % 2 == 0 else reversed(SIDES):
            if (case.id, name) in answers:
                continue
            try:
                answer = sides[name].ask(one, decoding)
            except TargetError as error:
                failures[case.id] = f"{case.id}: {name}: {error}"
                in_a_row += 1
                if isinstance(error, GoneError) or in_a_row == GIVE_UP:
                    raise
                continue
            in_a_row = 0
            answers[case.id, name] = answer
            kept.add(case.id, name, answer)
        on_step("comparing", number + 1, len(cases))
    both = [case for case in cases if all((case.id, name) in answers for name in SIDES)]
    models = {name: sides[name].identity for name in SIDES}
    return judge_sides(both, answers, prompt, decoding, models, tuple(failures.values()))


def judge_sides(
    cases: Sequence[Case],
    answers: Mapping[tuple[str, str], Answer],
    prompt: PromptSpec,
    decoding: Decoding,
    models: Mapping[str, Mapping[str, str]],
    unmeasured: tuple[str, ...],
) -> Comparison:
    """Score and count what both answered."""
    outcomes: dict[str, list[Outcome]] = {name: [] for name in SIDES}
    for case in cases:
        for name in SIDES:
            answer = answers[case.id, name]
            cut = answer.completion_tokens >= decoding.max_tokens
            outcomes[name].append(score_answer(case, StoredReply(answer.text, cut, answer.completion_tokens), prompt))
    taken = {name: [answers[case.id, name].seconds for case in cases] for name in SIDES}
    faster = [a < b for a, b in zip(*taken.values(), strict=True)]
    slower = [b < a for a, b in zip(*taken.values(), strict=True)]
    rows = (
        _pair("json_validity", outcomes, _is_valid),
        _pair("right tools, or rightly none", outcomes, lambda outcome: outcome.tools_right),
        _pair("right answer", outcomes, lambda outcome: outcome.verdict is Verdict.RIGHT),
        _pair_flags("faster", faster, slower),
    )
    costs = {name: _count_costs([answers[case.id, name] for case in cases]) for name in SIDES}
    replies = {case.id: {name: answers[case.id, name].text for name in SIDES} for case in cases}
    return Comparison(models, len(cases), rows, costs, replies, unmeasured)


def table_rows(found: Comparison) -> list[tuple[str, str, str, str]]:
    """What is compared, both sides, the paired test."""

    def show(rate: Rate) -> str:
        return f"{rate.k}/{rate.n}" + ("" if rate.value is None else f" ({rate.value:.0%}, at least {rate.lower:.0%})")

    rows: list[tuple[str, str, str, str]] = []
    for row in found.rows:
        test = f"only one: {row.only_adapter} : {row.only_rival}, p = {row.p:.3g}"
        rows.append((row.name, show(row.adapter), show(row.rival), test))
    one, other = (found.costs[name] for name in SIDES)
    cheaper = f"{other.neurons / one.neurons:.1f} times" if one.neurons and other.neurons else ""
    rows.append(("latency p50 / p95", _show_latency(one), _show_latency(other), ""))
    rows.append(("tokens per request", _show_tokens(one), _show_tokens(other), ""))
    rows.append(("cost per 1,000 requests", _show_money(one), _show_money(other), cheaper))
    return rows


def comparison_dict(found: Comparison) -> dict[str, Any]:
    """The whole comparison for a program."""
    return {
        "models": {name: dict(identity) for name, identity in found.models.items()},
        "prompts": found.prompts,
        "rows": [asdict(row) for row in found.rows],
        "costs": {
            name: {
                "p50": one.latency.p50 if one.latency else None,
                "p95": one.latency.p95 if one.latency else None,
                "seconds": list(one.latency.ranked) if one.latency else [],
                "prompt_tokens": one.prompt_tokens,
                "reply_tokens": one.reply_tokens,
                "neurons": one.neurons,
                "dollars_per_1000": one.dollars,
            }
            for name, one in found.costs.items()
        },
        "unmeasured": list(found.unmeasured),
        "replies": {case_id: dict(texts) for case_id, texts in found.replies.items()},
    }


def write_comparison(folder: Path, found: Comparison, facts: Mapping[str, object]) -> dict[str, Any]:
    """Keep a comparison, and remove what was kept of it while it was unfinished; returns the record.

    Raises:
        StoreError: it cannot be written.
    """
    record = {"kind": "toolgate-ab", **facts, **comparison_dict(found)}
    write_file(folder / RECORD, json.dumps(record, indent=2, sort_keys=True).encode() + b"\n")
    (folder / UNFINISHED).unlink(missing_ok=True)
    return record


class _Kept:
    """Replies of an unfinished comparison: one JSON line each, after a line that says of which comparison."""

    def __init__(self, path: Path, key: str) -> None:
        self._path, self._key = path, key

    def read(self) -> dict[tuple[str, str], Answer]:
        """What is there of this comparison; of another one nothing. A line cut by a kill is dropped."""
        found: dict[tuple[str, str], Answer] = {}
        head = json.dumps({"comparison": self._key})
        try:
            lines = self._path.read_text(encoding="utf-8").split("\n")[:-1]
        except (OSError, UnicodeDecodeError):
            lines = []
        if lines[:1] == [head]:
            try:
                for line in lines[1:]:
                    row = json.loads(line)
                    found[row["case"], row["side"]] = Answer(**row["answer"])
            except (ValueError, KeyError, TypeError):
                found = {}
        # Written whole: the end of a file that a kill cut must not run into what is added.
        body = [head, *(_line(*place, answer) for place, answer in found.items())]
        write_file(self._path, "".join(f"{line}\n" for line in body).encode())
        return found

    def add(self, case_id: str, side: str, answer: Answer) -> None:
        """Keep one reply."""
        try:
            with self._path.open("ab") as file:
                file.write(_line(case_id, side, answer).encode() + b"\n")
        except OSError as error:
            raise StoreError(f"Cannot write {self._path}: {error.strerror}. Choose another --state DIR.") from None


def _line(case_id: str, side: str, answer: Answer) -> str:
    return json.dumps({"case": case_id, "side": side, "answer": asdict(answer)})


def _is_valid(outcome: Outcome) -> bool | None:
    """None where no call was attempted."""
    return None if outcome.kind is ReplyKind.NONE else outcome.kind is ReplyKind.CALL


def _pair(name: str, outcomes: Mapping[str, Sequence[Outcome]], judge: Callable[[Outcome], bool | None]) -> Row:
    return _pair_flags(name, *([judge(outcome) for outcome in outcomes[side]] for side in SIDES))


def _pair_flags(name: str, adapter: Sequence[bool | None], rival: Sequence[bool | None]) -> Row:
    pairs = [(a, b) for a, b in zip(adapter, rival, strict=True) if a is not None and b is not None]
    only_a, only_b = sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
    return Row(name, _rate(adapter), _rate(rival), only_a, only_b, mcnemar_exact(only_a, only_b))


def _rate(flags: Sequence[bool | None]) -> Rate:
    known = [flag for flag in flags if flag is not None]
    return count_rate(sum(known), len(known))


def _count_costs(answers: Sequence[Answer]) -> Costs:
    count = max(1, len(answers))
    told = [answer.neurons for answer in answers if answer.neurons is not None]
    return Costs(
        find_quantiles([answer.seconds for answer in answers]),
        sum(answer.prompt_tokens for answer in answers) / count,
        sum(answer.completion_tokens for answer in answers) / count,
        sum(told) / count if answers and len(told) == len(answers) else None,
    )


def _show_latency(costs: Costs) -> str:
    return "-" if costs.latency is None else f"{costs.latency.p50:.3f} s / {costs.latency.p95:.3f} s"


def _show_tokens(costs: Costs) -> str:
    return f"{costs.prompt_tokens:.0f} + {costs.reply_tokens:.0f}"


def _show_money(costs: Costs) -> str:
    if costs.neurons is None or costs.dollars is None:
        return "not told"
    return f"${costs.dollars:.4f} ({costs.neurons:.2f} neurons each)"


def check_measured(found: Comparison) -> None:
    """A comparison of nothing is none.

    Raises:
        SetupError: no prompt was answered by both.
    """
    if not found.prompts:
        why = f" {found.unmeasured[0]}" if found.unmeasured else ""
        raise SetupError(f"Neither model can be compared: no prompt was answered by both.{why}")
