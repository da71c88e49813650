"""The plan's targets for a training set, what a set has of them, what to write next, and all that as a report.

Covers: counts by kind, tool and source, shares, sizes, one line of advice for every target that is missed, Markdown.
Does not cover: whether the examples are good; a person reads them.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.toolset import Toolset
from training.converters import CONVERTERS
from training.data import Dataset
from training.examples import Example
from training.split import TRAIN, VALIDATION, LeftOut

LISTED = 500  # left-out examples that the report names per reason; the counts are of all
SIZES = (300, 500, 800, 1500)  # examples: a first try, and three steps from there
PER_TOOL, PER_ID_TOOL, PAIRS, BOTH = 20, 50, 80, 1
KINDS = {"negative": 120, "multi_turn": 100, "compound": 50}
# Least, aim, most.
SHARES = {"negative": (0.10, 0.125, 0.15), "general": (0.08, 0.10, 0.12), "public": (0.25, 0.30, 0.35)}
PUBLIC = frozenset(CONVERTERS) | {"sharegpt"}
PAIR = {"createTask", "createCalendarEvent"}


@dataclass(frozen=True, slots=True)
class Row:
    """One target: how many there are, what the plan wants, and what to do where that is missed ("" where it is met)."""

    name: str
    count: int
    wanted: str
    advice: str = ""


def compare_plan(examples: Sequence[Example], toolset: Toolset) -> list[Row]:
    """A row for every target of the plan."""
    total = len(examples)
    kinds = Counter(example.kind for example in examples)
    public = sum(example.source in PUBLIC for example in examples)
    rows = [_size(total)]
    rows += [
        _share("share of public sources", public, total, "public", "convert", "python -m training convert SOURCE FILE"),
        _share("share of negatives", kinds["negative"], total, "negative", "write", "requests that no tool serves"),
        _share("share of general chat", kinds["general"], total, "general", "write or convert", "plain talk"),
    ]
    rows += [_least(f"kind {kind}", kinds[kind], least, kind) for kind, least in KINDS.items()]
    pairs = _pairs(examples)
    rows.append(_least(f"pairs {' / '.join(sorted(PAIR))}", pairs, PAIRS, "pairs that differ in a few words"))
    both = sum(example.kind == "contrastive" and set(example.tools) >= PAIR for example in examples)
    rows.append(_least("contrastive with both tools", both, BOTH, 'such as "book it and remind me"'))
    for name, tool in toolset.tools.items():
        by_id = any(param.endswith("Id") for param in tool.parameters["properties"])
        kind, least = ("crud", PER_ID_TOOL) if by_id else ("single", PER_TOOL)
        count = sum(example.kind == kind and name in example.tools for example in examples)
        rows.append(_least(f"{kind} {name}", count, least, f"{kind} examples that call {name}"))
    return rows


def count_sources(examples: Iterable[Example]) -> list[tuple[str, str, str, int]]:
    """(source, public or custom, licence, examples), sorted."""
    found = Counter((e.source, "public" if e.source in PUBLIC else "custom", e.licence) for e in examples)
    return [(*key, count) for key, count in sorted(found.items())]


def format_report(
    dataset: Dataset,
    rows: Sequence[Row],
    warnings: Sequence[str],
    left_out: Sequence[LeftOut],
    problems: Sequence[str],
    manifest: dict[str, Any],
) -> str:
    """The report as Markdown; no times and no paths, so that the same inputs give the same bytes."""
    sides, counts, facts = manifest["examples"], manifest["counts"], manifest["tokens"]
    total = sum(sides.values())
    held = f"{sides[VALIDATION]:,} held out ({sides[VALIDATION] / total:.1%})"
    lines = [f"# {total:,} examples: {sides[TRAIN]:,} to train on, {held}", "", "## What to write next", ""]
    lines += [f"- {text}" for text in warnings or ["Nothing: every target of the plan is met."]]
    lines += ["", "## Against the plan", ""]
    lines += _table(
        ("target", "there are", "share", "wanted", ""),
        [(r.name, r.count, f"{r.count / total:.1%}", r.wanted, "missed" if r.advice else "met") for r in rows],
    )
    for group in ("kind", "tool"):
        names = sorted(counts[TRAIN][group] | counts[VALIDATION][group])
        both = [(n, counts[TRAIN][group].get(n, 0), counts[VALIDATION][group].get(n, 0)) for n in names]
        lines += ["", f"## By {group}", ""]
        head = (group, "train", "held out", "share held out")
        lines += _table(head, [(*row, f"{row[2] / (row[1] + row[2]):.1%}") for row in both])
    lines += ["", "## By source", ""]
    sources = count_sources([*dataset.examples, *dataset.validation])
    columns = ("source", "is", "licence", "examples", "share")
    lines += _table(columns, [(*row, f"{row[3] / total:.1%}") for row in sources])
    lines += ["", "## Tokens", ""]
    lines += _table(("fact", "value"), [(name, f"`{value}`") for name, value in facts.items()])
    lines += ["", "## Left out", ""]
    lines += _table(("reason", "examples"), manifest["left_out"].items())
    for reason in sorted({name_reason(item) for item in left_out}):
        here = [item for item in left_out if name_reason(item) == reason]
        lines += ["", f"### {reason}", ""]
        lines += [f"- `{i.id}`: {i.why}" + (f", `{i.other}`" if i.other else "") for i in here[:LISTED]]
        lines += [f"- and {len(here) - LISTED:,} more"] if len(here) > LISTED else []
    if problems:
        lines += ["", "### broken lines", "", *(f"- {problem}" for problem in problems[:LISTED])]
    return "\n".join(lines) + "\n"


def name_reason(item: LeftOut) -> str:
    """Why it was left out, as one of few reasons that can be counted."""
    return "too long" if " tokens, more than " in item.why else item.why


def _size(total: int) -> Row:
    wanted = " / ".join(f"{size:,}" for size in SIZES)
    following = next((size for size in SIZES if total < size), None)
    return Row("examples", total, wanted, f"{following - total} more to reach {following:,}" if following else "")


def _least(name: str, count: int, least: int, what: str) -> Row:
    return Row(name, count, f"≥ {least}", f"write {least - count} more: {what}" if count < least else "")


def _share(name: str, count: int, total: int, key: str, verb: str, what: str) -> Row:
    least, aim, most = SHARES[key]
    wanted = f"{least:.0%} to {most:.0%}"
    share = count / total if total else 0.0
    advice = ""
    if share < least:
        more = math.ceil((aim * total - count) / (1 - aim)) or 1
        advice = f"{share:.1%}: {verb} about {more:,} more: {what}"
    elif share > most:
        # Leaving out some and adding others are two ways to the same share.
        advice = (
            f"{share:.1%}: add about {math.ceil(count / most) - total:,} others, or leave out about "
            f"{math.ceil((count - most * total) / (1 - most)):,}"
        )
    return Row(name, count, wanted, advice)


def _pairs(examples: Iterable[Example]) -> int:
    halves: dict[tuple[str, str], list[frozenset[str]]] = defaultdict(list)
    for example in examples:
        if example.pair is not None:
            halves[example.source, example.pair].append(frozenset(example.tools))
    return sum({frozenset({tool}) for tool in PAIR} <= set(found) for found in halves.values())


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    shown = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in [list(head), ["---"] * len(head), *shown]]
