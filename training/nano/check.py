"""Measure an adapter on real people's requests that nothing learnt from.

Covers: the sample (at least 60 rows per tool where they exist, at least 600 without a tool, drawn by seed), the run through
the harness, tool selection, precision of plain text, and the confusion table.
Does not cover: parameters (the utterances come without them). The file of utterances is not part of the repository.

    python -m training.nano.check --folder ../shared/data --out runs/human [--adapter DIR] [--base DIR]
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from harness.metrics import clopper_pearson_lower
from training.nano.human import NONE, Utterance, read_utterances, split_utterances

NOW = "2026-03-03T10:30:00+00:00"


def sample_rows(rows: Sequence[Utterance], *, seed: int, per_tool: int, none: int) -> list[Utterance]:
    """Up to ``per_tool`` rows of each tool and ``none`` rows without one, drawn by ``seed``."""
    rng = random.Random(seed)
    chosen: list[Utterance] = []
    for tool in sorted({row.tool for row in rows}):
        found = sorted((row for row in rows if row.tool == tool), key=lambda row: row.key)
        count = min(len(found), none if tool == NONE else per_tool)
        chosen += rng.sample(found, count)
    return chosen


def case_line(number: int, row: Utterance) -> dict[str, Any]:
    """The row as a case that scores the tool alone."""
    return {
        "id": f"human-{number:04d}",
        "suite": "human",
        "messages": [{"role": "user", "content": row.text}],
        "now": NOW,
        "expect": [] if row.tool == NONE else [{"tool": row.tool, "params": "any"}],
        "tags": [row.source],
        "why": row.label,
        "source": row.source,
    }


def summarise(rows: Sequence[Utterance], outcomes: Sequence[Mapping[str, Any]]) -> str:
    """The two rates with their bounds, and what each kind of request was answered with."""
    table: dict[str, Counter[str]] = {}
    for row, outcome in zip(rows, outcomes, strict=True):
        answer = "+".join(outcome["called"]) or ("malformed" if outcome["kind"] == "malformed" else NONE)
        table.setdefault(row.tool, Counter())[answer] += 1
    tools = [tool for tool in table if tool != NONE]
    right = sum(table[tool][tool] for tool in tools)
    asked = sum(sum(table[tool].values()) for tool in tools)
    plain_right = table.get(NONE, Counter())[NONE]
    plain_all = sum(table.get(NONE, Counter()).values())
    plain_said = sum(counts[NONE] for counts in table.values())
    lines = [
        f"{name}: {k}/{n} = {k / n:.3f}, one-sided 95 % bound {clopper_pearson_lower(k, n):.3f}"
        for name, k, n in (
            ("tool_selection", right, asked),
            ("negative_precision, no call / no-tool rows", plain_right, plain_all),
            ("negative_precision, truly no tool / plain replies", plain_right, plain_said),
        )
        if n
    ]
    answers = [*sorted({answer for counts in table.values() for answer in counts if answer in table}), "other"]
    body = [[tool, *(table[tool][a] or "" if a != "other" else sum(v for k, v in table[tool].items() if k not in table) or "" for a in answers)] for tool in table]
    return "\n".join(lines) + "\n\n" + tabulate(body, headers=["asked for", *answers], tablefmt="github")


def main() -> None:
    """Draw the sample, run it, print the table and the wrong answers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="holds human_utterances.jsonl.gz")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--base")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--per-tool", type=int, default=75)
    parser.add_argument("--none", type=int, default=700)
    parser.add_argument("--dev", action="store_true", help="the rows for trying out instead of those of the check")
    parser.add_argument("--wrong", type=int, default=40, help="how many wrong answers to print")
    arguments = parser.parse_args()
    _, dev, check = split_utterances(read_utterances(arguments.folder / "human_utterances.jsonl.gz"))
    rows = sample_rows(dev if arguments.dev else check, seed=arguments.seed, per_tool=arguments.per_tool, none=arguments.none)
    arguments.out.mkdir(parents=True, exist_ok=True)
    cases = arguments.out / "cases.jsonl"
    cases.write_text("".join(json.dumps(case_line(i, row), ensure_ascii=False) + "\n" for i, row in enumerate(rows)), encoding="utf-8")
    command = [sys.executable, "-m", "harness", "run", "--cases", str(cases), "--target", "local", "--out", str(arguments.out / "run")]
    for option, value in (("--adapter", arguments.adapter), ("--base", arguments.base)):
        command += [option, str(value)] if value else []
    subprocess.run(command, check=True)
    by_id = {line["case_id"]: line for line in map(json.loads, (arguments.out / "run" / "outcomes.jsonl").read_text(encoding="utf-8").splitlines())}
    outcomes = [by_id[f"human-{i:04d}"] for i in range(len(rows))]
    print(summarise(rows, outcomes))
    wrong = [(row, outcome) for row, outcome in zip(rows, outcomes, strict=True) if outcome["verdict"] != "right"]
    for row, outcome in wrong[: arguments.wrong]:
        print(f"- {row.tool} ({row.source} {row.label}): {row.text!r} -> {outcome['text'][:160]!r}")


if __name__ == "__main__":
    main()
