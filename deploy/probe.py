"""Proof that the adapter acts on the served model, and not a silent base in its place.

Covers: the base asked twice (equal, or no difference would mean anything), the adapter (another reply, in the reply
contract), an adapter that does not exist (refused); messages with and without raw beside it.
Does not cover: how good the replies are, or whether they are those of the local adapter (parity).

The prompt is rendered by us and sent with raw, as the documentation advises for LoRAs. With messages the platform's own
template is put around the same conversation (it stamps a date in); the published schema of messages knows no lora, the
API takes it, and whether the adapter then acts was never shown: so those two ways are asked and reported.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.api import Answer, WorkersAI
from deploy.preflight import Finding, findings_dict, refusal
from harness.parsing import parse_reply
from harness.prompt import PromptSpec
from harness.report import show_text
from harness.store import write_file
from harness.targets.workers_ai_codes import NO_FINETUNE, ApiError
from harness.types import Message, ReplyKind

RECORD = "probe.json"
NOW = "2026-03-02T09:00:00+00:00"
# Requests that only a call answers: there an adapter differs most from a base that never learnt the format.
QUESTIONS = (
    "Please put a reminder on my list to defrost the freezer.",
    "Put a visit to the optician on my calendar for 14 May 2026 at 10:00.",
    "How warm will it be in Lisbon?",
)
MAX_TOKENS = 256
SEED = 1  # the smallest that the API takes
RAW, RAW_MESSAGES, MESSAGES = "prompt, raw", "messages, raw", "messages"


@dataclass(frozen=True, slots=True)
class Probe:
    """What was found. ``replies`` maps a way of asking to the adapter's texts, ``base`` are the base's to RAW."""

    model: str
    lora: str
    findings: tuple[Finding, ...]
    base: tuple[str, ...]
    replies: Mapping[str, tuple[str, ...]]
    neurons: float | None

    @property
    def ok(self) -> bool:
        """True when the adapter acts."""
        return bool(self.findings) and all(finding.state != "fail" for finding in self.findings)


def probe_adapter(
    api: WorkersAI,
    model: str,
    lora: str,
    prompt: PromptSpec,
    *,
    on_step: Callable[[str, int, int], None] = lambda *_: None,
) -> Probe:
    """Ask; 3 questions are asked 5 times each, and one of an adapter that does not exist.

    Raises:
        ApiError: the base itself cannot be asked. What only the adapter's requests meet is a finding.
    """
    asked = [_shape_inputs(prompt, question) for question in QUESTIONS]
    total, done = 5 * len(asked) + 1, 0
    spent: list[Answer] = []

    def ask(inputs: Mapping[str, object]) -> str:
        nonlocal done
        done += 1
        on_step("probing", done, total)
        answer = api.run(model, inputs)
        spent.append(answer)
        return answer.text

    base = tuple(ask(ways[RAW]) for ways in asked)
    again = tuple(ask(ways[RAW]) for ways in asked)
    findings = [_judge_base(base, again)]
    replies: dict[str, tuple[str, ...]] = {}
    try:
        replies[RAW] = tuple(ask({**ways[RAW], "lora": lora}) for ways in asked)
        findings += [_judge_difference(base, replies[RAW]), _judge_contract(replies[RAW])]
    except ApiError as error:
        findings.append(refusal("adapter", error))
    findings.append(_probe_unknown(ask, asked[0][RAW]))
    for way in (MESSAGES, RAW_MESSAGES) if RAW in replies else ():
        try:
            replies[way] = tuple(ask({**ways[way], "lora": lora}) for ways in asked)
        except ApiError as error:
            findings.append(Finding("note", way, error.what))
            continue
        same = sum(a == b for a, b in zip(replies[way], replies[RAW], strict=True))
        findings.append(Finding("note", way, f"{same} of {len(asked)} replies equal those of the rendered prompt"))
    told = [answer.neurons for answer in spent if answer.neurons is not None]
    return Probe(model, lora, tuple(findings), base, replies, sum(told) if told else None)


def write_probe(path: Path, probe: Probe, facts: Mapping[str, object]) -> dict[str, Any]:
    """Keep what was found, with ``facts`` (name, id, adapter, when) that tie it to the bytes; returns the record.

    Raises:
        StoreError: it cannot be written.
    """
    record = {
        "kind": "toolgate-probe",
        **facts,
        "model": probe.model,
        "lora": probe.lora,
        **findings_dict(probe.findings),
        "questions": list(QUESTIONS),
        "base": list(probe.base),
        "replies": {way: list(texts) for way, texts in probe.replies.items()},
        "neurons": probe.neurons,
    }
    write_file(path, json.dumps(record, indent=2, sort_keys=True).encode() + b"\n")
    return record


def _shape_inputs(prompt: PromptSpec, question: str) -> dict[str, dict[str, object]]:
    """One question in each way of asking."""
    conversation = [Message(role="user", content=question)]
    drawn = {"max_tokens": MAX_TOKENS, "temperature": 0, "seed": SEED}
    messages = prompt.messages(conversation, NOW)
    return {
        RAW: {"prompt": prompt.render(conversation, NOW), "raw": True, **drawn},
        RAW_MESSAGES: {"messages": messages, "raw": True, **drawn},
        MESSAGES: {"messages": messages, **drawn},
    }


def _judge_base(base: tuple[str, ...], again: tuple[str, ...]) -> Finding:
    changed = sum(a != b for a, b in zip(base, again, strict=True))
    if changed:
        what = f"{changed} of {len(base)} replies changed when asked again: no difference proves anything"
        return Finding("fail", "base", what, "Probe again later; temperature 0 with a seed gave equal replies before")
    return Finding("ok", "base", f"{len(base)} replies, twice equal")


def _judge_difference(base: tuple[str, ...], adapted: tuple[str, ...]) -> Finding:
    differing = sum(a != b for a, b in zip(base, adapted, strict=True))
    if not differing:
        what = f"all {len(base)} replies are the base's: it does not act"
        return Finding("fail", "adapter", what, "Look at its id with python -m deploy list, and upload it again")
    return Finding("ok", "adapter", f"{differing} of {len(base)} replies differ from the base's")


def _judge_contract(texts: tuple[str, ...]) -> Finding:
    kinds = [parse_reply(text).kind for text in texts]
    calls = sum(kind is ReplyKind.CALL for kind in kinds)
    what = f"{calls} of {len(texts)} replies are calls"
    broken = next((t for t, k in zip(texts, kinds, strict=True) if k is ReplyKind.MALFORMED or not t.strip()), None)
    if broken is not None or not calls:
        shown = show_text(broken if broken is not None else texts[0], 120)
        fix = "Compare with the local replies: python -m deploy parity"
        return Finding("fail", "contract", f"{what}; e.g. {shown or 'nothing'}", fix)
    return Finding("ok", "contract", f"{what}, none is malformed")


def _probe_unknown(ask: Callable[[Mapping[str, object]], str], inputs: Mapping[str, object]) -> Finding:
    try:
        ask({**inputs, "lora": str(uuid.uuid4())})
    except ApiError as error:
        if error.code in NO_FINETUNE:
            return Finding("ok", "unknown adapter", f"refused with code {error.code}")
        return Finding("fail", "unknown adapter", f"refused for another reason: {error.what}", error.fix)
    what = "it was answered: a base reply may pass for an adapter's"
    return Finding("fail", "unknown adapter", what, "Do not switch; ask again later and tell Cloudflare")


def probe_dict(probe: Probe) -> dict[str, Any]:
    """The findings for a program."""
    return {"model": probe.model, "lora": probe.lora, **findings_dict(probe.findings), "neurons": probe.neurons}
