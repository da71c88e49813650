"""What a run shows: terminal text, Markdown, JSON and one HTML file, all from the same values.

Covers: the metric table, reasons, failures grouped by error type with prompt, reply and what was expected.
Does not cover: deciding anything (gate), writing files (runner). What a model or a case says is foreign text here:
it is shown with control characters made visible, fenced in Markdown and escaped in HTML.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.gate import ADAPTER_SIZE, LATENCY, NOT_ENOUGH, READINGS, UNITS, Decision, MetricRow, Require, State
from harness.metrics import Metrics, Rate
from harness.types import Case, ErrorType, ExpectedCall, Outcome, Verdict

HEADERS = ("metric", "k/n", "point", "bound", "bar", "state")
NOTHING = "–"
SHOWN = 3  # failures per error type in the terminal; files hold all of them
TEXT_LIMIT = 160
MARKDOWN_FAILURES = 20  # per error type: GitHub refuses summaries of more than a megabyte


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the formats show. ``decision`` is None for a run that only measured."""

    metrics: Metrics
    outcomes: Sequence[Outcome]
    cases: Mapping[str, Case]
    decision: Decision | None = None
    about: Mapping[str, str] = field(default_factory=dict)  # what was asked: target, adapter, profile …
    notes: Sequence[str] = ()

    @property
    def verdict(self) -> str:
        """One line: open, closed with the number of reasons, or only measured."""
        if self.decision is None:
            return "measured, no verdict"
        if self.decision.open:
            return f"gate open: profile {self.decision.profile}"
        count = len(self.decision.reasons)
        lacking = ", not enough evidence" if self.decision.verdict == NOT_ENOUGH else ""
        return f"gate closed{lacking}: profile {self.decision.profile}, {count} reason{'s' if count != 1 else ''}"

    def failures(self) -> dict[ErrorType, list[Outcome]]:
        """The outcomes that are not right, by error type, in the order of the types."""
        groups: dict[ErrorType, list[Outcome]] = {}
        for error in ErrorType:
            group = [o for o in self.outcomes if o.error_type is error]
            if group:
                groups[error] = group
        return groups

    def table(self) -> list[tuple[str, ...]]:
        """Rows of the metric table: those with a bar in the profile's order, then those that are only printed."""
        judged = self.decision.rows if self.decision else ()
        shown = {row.reading or row.metric for row in judged}
        rows = [_judged_row(row) for row in judged]
        rows += [_printed_row(name, rate) for name, rate in self.metrics.rates.items() if name not in shown]
        latency = self.metrics.latency
        if latency is not None and LATENCY not in shown:
            bound = NOTHING if latency.p95_upper is None else f"{latency.p95_upper:.3f} s"
            rows.append((LATENCY, str(latency.n), f"{latency.p95:.3f} s", bound, NOTHING, NOTHING))
        if self.metrics.adapter_bytes is not None and ADAPTER_SIZE not in shown:
            rows.append((ADAPTER_SIZE, NOTHING, f"{self.metrics.adapter_bytes / 1e6:.1f} MB", *[NOTHING] * 3))
        return rows


def render_terminal(report: Report, *, shown: int = SHOWN) -> str:
    """Text for a terminal: table, failures by error type, notes, reasons and the verdict, which comes last."""
    from tabulate import tabulate

    parts = []
    groups = report.failures()
    for error, outcomes in groups.items():
        lines = [f"{error.value} ({len(outcomes)})"]
        for outcome in outcomes[:shown]:
            lines += [f"  {name:>8}  {text}" for name, text in _failure_lines(report, outcome)]
        if len(outcomes) > shown:
            lines.append(f"            … and {len(outcomes) - shown} more")
        parts.append("\n".join(lines))
    parts.append(tabulate(report.table(), headers=HEADERS, tablefmt="simple", disable_numparse=True))
    measured = f"{report.metrics.right} of {report.metrics.total} cases right"
    if report.metrics.measured != report.metrics.total:
        measured += f", {report.metrics.total - report.metrics.measured} not measured"
    parts.append("\n".join([measured, *report.notes]))
    if report.decision is not None and report.decision.reasons:
        parts.append("\n".join(f"- {show_text(reason, 600)}" for reason in report.decision.reasons))
    parts.append(report.verdict)
    return "\n\n".join(parts)


def render_markdown(report: Report) -> str:
    """A summary for a pull request: verdict, table, reasons, failures folded by error type."""
    lines = [f"## Toolgate: {_inline(report.verdict)}", ""]
    if report.about:
        lines += [f"- {_inline(name)}: {_inline(value)}" for name, value in report.about.items()] + [""]
    lines += ["| " + " | ".join(HEADERS) + " |", "|" + "---|" * len(HEADERS)]
    lines += ["| " + " | ".join(map(_inline, row)) + " |" for row in report.table()] + [""]
    lines.append(f"{report.metrics.right} of {report.metrics.total} cases right.")
    lines += [_inline(note) for note in report.notes] + [""]
    if report.decision is not None and report.decision.reasons:
        lines += ["Reasons:", "", *(f"- {_inline(reason)}" for reason in report.decision.reasons), ""]
    for error, outcomes in report.failures().items():
        lines += [f"<details><summary>{error.value} ({len(outcomes)})</summary>", ""]
        for outcome in outcomes[:MARKDOWN_FAILURES]:
            body = "\n".join(f"{name}: {text}" for name, text in _failure_lines(report, outcome, limit=400))
            fence = "`" * (_longest_run(body) + 3)
            lines += [f"{fence}text", body, fence, ""]
        if len(outcomes) > MARKDOWN_FAILURES:
            lines.append(f"… and {len(outcomes) - MARKDOWN_FAILURES} more in outcomes.jsonl")
        lines += ["</details>", ""]
    return "\n".join(lines).rstrip() + "\n"


def metrics_dict(report: Report) -> dict[str, Any]:
    """The content of metrics.json: numbers and states that are the same for the same replies; no latency, no time."""
    rows = [row_dict(row) for row in report.decision.rows if row.metric != LATENCY] if report.decision else []
    return {"about": dict(report.about), **report.metrics.as_dict(), "bars": rows}


def decision_dict(report: Report) -> dict[str, Any]:
    """The verdict with every row and reason; it holds latency, so it varies from run to run."""
    decision = report.decision
    if decision is None:
        return {"open": None, "profile": None, "reasons": [], "rows": []}
    return {
        "open": decision.open,
        "verdict": decision.verdict,
        "profile": decision.profile,
        "reasons": list(decision.reasons),
        "rows": [row_dict(row) for row in decision.rows],
    }


def latency_dict(metrics: Metrics) -> dict[str, Any]:
    """The content of latency.json: all measurements, and what was made of them."""
    latency = metrics.latency
    if latency is None:
        return {"n": 0, "p50": None, "p95": None, "p95_upper": None, "seconds": []}
    seconds = list(latency.ranked)
    return {"n": latency.n, "p50": latency.p50, "p95": latency.p95, "p95_upper": latency.p95_upper, "seconds": seconds}


def row_dict(row: MetricRow) -> dict[str, Any]:
    """One row against its bar as plain values."""
    return {
        "metric": row.metric,
        "reading": row.reading,
        "k": row.k,
        "n": row.n,
        "value": row.value,
        "bound": row.bound,
        "bar": row.bar,
        "min_n": row.min_n,
        "require": row.require.value,
        "state": row.state.value,
        "reason": row.reason,
        "needed": row.needed,
    }


def read_decision(raw: Mapping[str, Any]) -> Decision | None:
    """The decision that ``decision_dict`` wrote; None where there was none.

    Raises:
        KeyError, TypeError, ValueError: it is not such a decision.
    """
    if raw["open"] is None:
        return None
    rows = tuple(
        MetricRow(**(row | {"state": State(row["state"]), "require": Require(row["require"])})) for row in raw["rows"]
    )
    return Decision(raw["profile"], tuple(raw["reasons"]), rows)


def render_html(report: Report) -> str:
    """One static page without scripts and without anything from elsewhere, for light and dark screens."""
    state = "none" if report.decision is None else "open" if report.decision.open else "closed"
    body = [f'<h1>Toolgate</h1><p class="verdict {state}">{_html(report.verdict)}</p>']
    if report.about:
        pairs = "".join(f"<dt>{_html(name)}</dt><dd>{_html(value)}</dd>" for name, value in report.about.items())
        body.append(f"<dl>{pairs}</dl>")
    body += [f"<p>{_html(note)}</p>" for note in report.notes]
    if report.decision is not None and report.decision.reasons:
        items = "".join(f"<li>{_html(reason)}</li>" for reason in report.decision.reasons)
        body.append(f"<h2>Reasons</h2><ul>{items}</ul>")
    body += ["<h2>Metrics</h2>", _html_table(HEADERS, report.table(), kind="metrics")]
    body.append(f"<p>{report.metrics.right} of {report.metrics.total} cases right.</p>")
    if report.metrics.per_tool:
        rows = [
            (tool, _fraction(r.precision), _point(r.precision), _fraction(r.recall), _point(r.recall))
            for tool, r in report.metrics.per_tool.items()
        ]
        headers = ("tool", "right / called", "precision", "right / expected", "recall")
        body += ["<h2>Tools</h2>", _html_table(headers, rows)]
    if report.metrics.confusion:
        body += ["<h2>Expected (rows) and called (columns)</h2>", _confusion_table(report.metrics.confusion)]
    failures = report.failures()
    if failures:
        body.append("<h2>Failures</h2>")
    for error, outcomes in failures.items():
        entries = "".join(_html_failure(report, outcome) for outcome in outcomes)
        body.append(f"<details><summary>{error.value} ({len(outcomes)})</summary>{entries}</details>")
    return _PAGE.format(title=_html(report.verdict), body="\n".join(body))


def show_text(text: str, limit: int = TEXT_LIMIT) -> str:
    """Foreign text as one printable line: control characters, also those that drive terminals, become visible."""
    # Cut before escaping, so that a megabyte of reply costs nothing.
    cut = text[: limit + 1]
    line = "".join(
        c if c.isprintable() else {"\n": "⏎", "\t": "⇥"}.get(c) or c.encode("unicode_escape").decode() for c in cut
    )
    return line if len(text) <= limit else line[:limit] + "…"


def show_prompt(case: Case | None) -> str:
    """What the user asked last, with a mark where a dialogue stands before it."""
    if case is None:
        return "(unknown case)"
    last = next((m["content"] for m in reversed(case.messages) if m["role"] == "user"), "")
    return f"[{len(case.messages)} turns] {last}" if len(case.messages) > 1 else last


def show_expected(case: Case | None) -> str:
    """What counts as right, in one line."""
    if case is None:
        return ""
    return " or ".join(_show_option(option) for option in (case.expect, *case.alternatives))


def _show_option(option: Sequence[ExpectedCall]) -> str:
    return " + ".join(_show_call(call) for call in option) or "plain text"


def _show_call(call: ExpectedCall) -> str:
    if call.params == "any":
        return f"{call.tool}(…)"
    params = [f"{name}={'|'.join(map(_show_value, values))}" for name, values in call.params.items()]
    return f"{call.tool}({', '.join(params)})"


def _show_value(value: Any) -> str:
    if value is None:
        return "nothing"
    return "anything" if value == {"any": True} else json.dumps(value, ensure_ascii=False)


def _failure_lines(report: Report, outcome: Outcome, limit: int = TEXT_LIMIT) -> list[tuple[str, str]]:
    case = report.cases.get(outcome.case_id)
    lines = [
        ("case", outcome.case_id),
        ("prompt", show_text(show_prompt(case), limit)),
        ("expected", show_text(show_expected(case), limit)),
    ]
    if outcome.verdict is not Verdict.ERROR:
        cut = " (cut off at max_tokens)" if outcome.truncated else ""
        lines.append(("reply", (show_text(outcome.text, limit) or "(empty)") + cut))
    lines.append(("why", show_text(outcome.detail, limit)))
    return lines


def _judged_row(row: MetricRow) -> tuple[str, ...]:
    unit = UNITS.get(row.metric, "")
    digits = {LATENCY: 3, ADAPTER_SIZE: 1}.get(row.metric, 4)
    sign = "<" if unit else ">"
    numbers = (NOTHING if n is None else f"{n:.{digits}f}{unit}" for n in (row.value, row.bound))
    count = NOTHING if row.metric == ADAPTER_SIZE else f"{row.k}/{row.n}"
    state = row.state.value
    if row.reason:
        state += f" (needs {row.require.value})" if row.state.value == "met" else " ✗"
    return (row.label, count, *numbers, f"{sign} {row.bar:g}{unit}", state)


def _printed_row(name: str, rate: Rate) -> tuple[str, ...]:
    label = f"negative_precision ({name})" if name in READINGS else name
    bound = NOTHING if rate.lower is None else f"{rate.lower:.4f}"
    return (label, _fraction(rate), _point(rate), bound, NOTHING, NOTHING)


def _fraction(rate: Rate) -> str:
    return f"{rate.k}/{rate.n}"


def _point(rate: Rate) -> str:
    return NOTHING if rate.value is None else f"{rate.value:.4f}"


def _longest_run(text: str) -> int:
    longest = run = 0
    for char in text:
        run = run + 1 if char == "`" else 0
        longest = max(longest, run)
    return longest


def _inline(text: str) -> str:
    """Text for a Markdown line or cell: nothing in it is markup."""
    shown = html.escape(show_text(text, 600), quote=False)
    return "".join(f"\\{c}" if c in "\\`*_[]|#!~" else c for c in shown)


def _html(text: str) -> str:
    # Half surrogate pairs and controls have no place in HTML.
    clean = "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
    return html.escape(clean)


def _html_table(headers: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    head = "".join(f"<th><span>{_html(name)}</span></th>" for name in headers)
    lines = []
    for row in rows:
        cells = []
        for name, cell in zip(headers, row, strict=True):
            mark = f' class="{cell.split()[0]}"' if name == "state" and cell[:1].isalpha() else ""
            # On a narrow screen a row of metrics stands as a block, and each cell has its header in front.
            label = f' data-name="{name}"' if kind == "metrics" else ""
            cells.append(f"<td{mark}{label}>{_html(cell)}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    return f'<div class="scroll {kind}">{table}</div>'


def _confusion_table(confusion: Mapping[str, Mapping[str, int]]) -> str:
    columns = sorted({called for row in confusion.values() for called in row})
    rows = [(expected, *(str(row.get(called, "")) for called in columns)) for expected, row in confusion.items()]
    return _html_table(("", *columns), rows, kind="confusion")


def _html_failure(report: Report, outcome: Outcome) -> str:
    case = report.cases.get(outcome.case_id)
    turns = case.messages if case else ()
    dialogue = "".join(f"<p><b>{_html(turn['role'])}</b> {_html(turn['content'])}</p>" for turn in turns)
    why = f"<p>Tests: {_html(case.why)}</p>" if case and case.why else ""
    cut = " (cut off at max_tokens)" if outcome.truncated else ""
    return (
        f"<article><h3>{_html(outcome.case_id)}</h3>{dialogue}{why}"
        f"<p>Expected: <code>{_html(show_expected(case))}</code></p>"
        f"<p>Reply{cut}:</p><pre>{_html(outcome.text) or '(empty)'}</pre><p>{_html(outcome.detail)}</p></article>"
    )


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Toolgate: {title}</title>
<style>
:root {{ color-scheme: light dark; --text: #1b1f24; --page: #ffffff; --soft: #f1f3f5; --line: #d0d7de;
  --good: #1a7f37; --bad: #c62828; --fair: #9a6700; }}
@media (prefers-color-scheme: dark) {{ :root {{ --text: #e6edf3; --page: #0d1117; --soft: #161b22; --line: #30363d;
  --good: #3fb950; --bad: #ff7b72; --fair: #d29922; }} }}
body {{ font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page); max-width: 70rem;
  margin: 2rem auto; padding: 0 1rem; }}
.verdict {{ font-size: 1.3rem; font-weight: 600; }}
.open, .proven {{ color: var(--good); }} .closed, .below, .too {{ color: var(--bad); }} .met {{ color: var(--fair); }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; }}
th, td {{ border: 1px solid var(--line); padding: .25rem .6rem; text-align: left; }}
th {{ background: var(--soft); }} td {{ font-variant-numeric: tabular-nums; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; }}
dd {{ margin: 0; overflow-wrap: anywhere; }}
pre, code {{ background: var(--soft); white-space: pre-wrap; overflow-wrap: anywhere; }} pre {{ padding: .6rem; }}
summary {{ cursor: pointer; font-weight: 600; padding: .3rem 0; }}
.confusion th span {{ writing-mode: vertical-rl; transform: rotate(180deg); white-space: nowrap; }}
.confusion th {{ vertical-align: bottom; padding: .5rem .25rem; }} .confusion td + td {{ text-align: right; }}
.confusion td:first-child {{ position: sticky; left: 0; background: var(--page); }}
@media (max-width: 40rem) {{
  .metrics thead {{ display: none; }} .metrics table {{ width: 100%; }}
  .metrics tr {{ display: grid; grid-template-columns: 1fr 1fr; padding: .4rem 0; border-top: 1px solid var(--line); }}
  .metrics td {{ border: 0; padding: .1rem 0; }}
  .metrics td:first-child, .metrics td:last-child {{ grid-column: 1 / -1; }}
  .metrics td:first-child {{ font-weight: 600; }}
  .metrics td + td::before {{ content: attr(data-name) " "; color: var(--text); opacity: .7; }}
}}
article {{ border-left: 3px solid var(--line); padding-left: 1rem; margin: 1rem 0; }} h3 {{ margin-bottom: 0; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""
