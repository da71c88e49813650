"""Production without labels: is the served adapter still what the evals measured?

Covers: rates over logged replies (unreadable, unknown tool, outside the schema, empty, failed), calls, latency, the mix
of tools against an eval run; a sequential test of each rate; the table, the webhook's body, the file of candidates.
Does not cover: whether an answer is right (that needs labels), the formats of logs (deploy.traffic), switching back.

The test. A rate p may be at most p0. For alternatives q_1..q_m above p0 the monitor keeps, after k of n replies,

    E = mean over j of (q_j / p0)^k * ((1 - q_j) / (1 - p0))^(n - k)

While p <= p0, whatever came before, each factor has an expected value of at most 1, so E is a nonnegative
supermartingale that starts at 1, and the probability that it ever reaches 1 / alpha is at most alpha (Ville, Étude
critique de la notion de collectif, 1939; Ramdas et al., Game-theoretic statistics and safe anytime-valid inference,
Statistical Science 38, 2023). So one may look after every reply and stop whenever one likes. With T rates each is
tested at alpha / T: the probability that a healthy adapter is ever reported is at most alpha, for all rates together.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deploy.traffic import Lines, LoggedReply, make_candidate
from harness.errors import SetupError, StoreError
from harness.metrics import clopper_pearson_lower
from harness.parsing import parse_reply
from harness.report import show_text
from harness.runner import Run
from harness.store import write_file
from harness.toolset import Toolset
from harness.types import Reply, ReplyKind, Verdict

PROBLEMS = ("failed", "malformed", "unknown tool", "schema violation", "empty")
ALPHA = 0.01  # probability that a healthy adapter is ever reported
ALLOWED = 0.02  # least rate that is tested against: the JSON bar of the gate is 98 %
DRIFT = 0.5  # what the share of one tool may have grown by: users of another habit are no regression
ODDS = (1.5, 2.0, 4.0, 8.0, 16.0, 64.0)  # the alternatives, as multiples of the allowed odds
NO_CALL, OTHER = "no call", "other tools"
CANDIDATES = 1000  # the file of candidates holds at most these
STEP = 0.02  # a latency is kept to 2 %


@dataclass(slots=True)
class RateTest:
    """The sequential test of one rate: ``evidence`` is the logarithm of E, ``alarm`` stays once it was given."""

    allowed: float  # p0, in (0, 1)
    alpha: float
    count: int = 0  # k
    total: int = 0  # n
    alarm: bool = False
    alarmed_at: int = 0  # n at the alarm

    def add(self, bad: bool) -> None:
        """Take one more reply into account."""
        self.count += bad
        self.total += 1
        # A good reply lowers the evidence: only a bad one can carry it over the threshold.
        if bad and not self.alarm and self.evidence >= -math.log(self.alpha):
            self.alarm, self.alarmed_at = True, self.total

    @property
    def evidence(self) -> float:
        """The logarithm of E; above 0 the replies speak against the allowed rate."""
        p = self.allowed
        logs = []
        for factor in ODDS:
            q = factor * p / (1 - p + factor * p)
            logs.append(self.count * math.log(q / p) + (self.total - self.count) * math.log((1 - q) / (1 - p)))
        top = max(logs)
        return top + math.log(sum(math.exp(one - top) for one in logs) / len(logs))


@dataclass(slots=True)
class Latencies:
    """Quantiles in constant memory: counts per 2 % of a second's logarithm, from 1 ms to 1,000 s."""

    counts: Counter[int] = field(default_factory=Counter)
    total: int = 0

    def add(self, seconds: float) -> None:
        """Count one latency."""
        self.counts[math.ceil(math.log(min(max(seconds, 0.001), 1000.0)) / STEP)] += 1
        self.total += 1

    def quantile(self, share: float) -> float | None:
        """The nearest-rank quantile in seconds, at most 2 % above the measured one; None without a latency."""
        rank, seen = math.ceil(share * self.total), 0
        for step in sorted(self.counts):
            seen += self.counts[step]
            if seen >= rank:
                return math.exp(step * STEP)
        return None


@dataclass(frozen=True, slots=True)
class Baseline:
    """What an eval run allows: rates as exact 95 % upper bounds, and the share of each tool and of no call."""

    rates: Mapping[str, float]
    shares: Mapping[str, float]
    about: str


def read_baseline(run: Run, toolset: Toolset) -> Baseline:
    """The baseline of a run that ``harness.runner.read_run`` has read and compared with its manifest.

    Raises:
        SetupError: the run measured nothing.
    """
    measured = [outcome for outcome in run.outcomes if outcome.verdict is not Verdict.ERROR]
    if not measured:
        raise SetupError(f"{run.folder} measured nothing. Give a run with replies.")
    found: Counter[str] = Counter()
    shares: Counter[str] = Counter()
    for outcome in measured:
        problem, _, mix = judge_text(outcome.text, toolset)
        found[problem] += 1
        shares[mix] += 1
    n = len(measured)
    # One-sided Clopper-Pearson of the rate from above is one minus that of its complement from below.
    rates = {name: 1 - (clopper_pearson_lower(n - found[name], n) or 0.0) for name in PROBLEMS if name != "failed"}
    return Baseline(rates, {name: count / n for name, count in shares.items()}, f"{run.folder.name}, {n} replies")


class Monitor:
    """Counts over replies; memory does not grow with their number."""

    def __init__(
        self,
        toolset: Toolset,
        baseline: Baseline | None = None,
        *,
        adapter: str = "",
        alpha: float = ALPHA,
        allowed: float = ALLOWED,
        drift: float = DRIFT,
        keep: bool = False,
    ) -> None:
        """Set the tests up.

        ``adapter`` leaves the replies of others out; ``keep`` keeps the first 1,000 regressions as candidates.

        Raises:
            SetupError: alpha, allowed or drift is out of its range.
        """
        for name, value in (("--alpha", alpha), ("--allow", allowed), ("--drift", drift)):
            if not 0 < value < 1:
                raise SetupError(f"{name} {value} is not between 0 and 1. Try {name} 0.01.")
        self.toolset, self.baseline, self.adapter, self.alpha = toolset, baseline, adapter, alpha
        self.replies = self.left_out = self.judged = self.calls = self.without_text = 0
        self.adapters: set[str] = set()
        self.first = self.last = ""
        self.mix: Counter[str] = Counter()
        self.latencies = Latencies()
        self.candidates: dict[str, dict[str, Any]] = {}
        self._keep = keep
        rates = {name: max(allowed, baseline.rates.get(name, 0.0) if baseline else 0.0) for name in PROBLEMS}
        limits = {}
        if baseline is not None:
            kinds = (*toolset.tools, NO_CALL)
            limits = {name: baseline.shares.get(name, 0.0) + drift for name in kinds}
        # Where a share may be everything there is nothing to test.
        limits = {name: limit for name, limit in limits.items() if limit < 1}
        each = alpha / (len(rates) + len(limits))
        self.problems = {name: RateTest(min(rate, 0.99), each) for name, rate in rates.items()}
        self.shares = {name: RateTest(limit, each) for name, limit in limits.items()}

    def add(self, reply: LoggedReply) -> None:
        """Judge one reply and count it."""
        if self.adapter and reply.adapter != self.adapter:
            self.left_out += 1
            return
        problem, detail, mix = judge_reply(reply, self.toolset)
        self.replies += 1
        if len(self.adapters) < 20:
            self.adapters.add(reply.adapter)
        if reply.at:
            self.first, self.last = self.first or reply.at, reply.at
        if reply.seconds is not None:
            self.latencies.add(reply.seconds)
        self.problems["failed"].add(problem == "failed")
        if problem in ("failed", "unknown"):
            self.without_text += problem == "unknown"
            return
        self.judged += 1
        self.calls += mix != NO_CALL and not problem
        for name, test in self.problems.items():
            if name != "failed":
                test.add(problem == name)
        if not problem:
            self.mix[mix] += 1
            for name, test in self.shares.items():
                test.add(mix == name)
        elif self._keep and reply.text is not None and len(self.candidates) < CANDIDATES:
            case = make_candidate(reply, problem, detail)
            self.candidates.setdefault(case["id"], case)

    @property
    def alarms(self) -> tuple[str, ...]:
        """What the tests report, with the numbers; empty while nothing is shown to be wrong."""
        tests = [*self.problems.items(), *((f"share of {name}", test) for name, test in self.shares.items())]
        return tuple(
            f"{name}: {test.count} of {test.total}, allowed {test.allowed:.1%} (shown after {test.alarmed_at})"
            for name, test in tests
            if test.alarm
        )

    @property
    def drift(self) -> float | None:
        """Total variation distance between the mix of tools and the eval run's, 0 to 1; None without both."""
        total = sum(self.mix.values())
        if self.baseline is None or not total:
            return None
        names = self.mix.keys() | self.baseline.shares.keys()
        gaps = (abs(self.mix[name] / total - self.baseline.shares.get(name, 0.0)) for name in names)
        return sum(gaps) / 2


def judge_reply(reply: LoggedReply, toolset: Toolset) -> tuple[str, str, str]:
    """Problem ("" for none), why in one line, and what the reply counts as in the mix of tools.

    The text is read anew where it was logged; else the Worker's own finding counts, which has the same reader.
    A reply without either is "unknown".
    """
    if reply.kind == "error":
        return "failed", "no reply", NO_CALL
    if reply.text is not None:
        return judge_text(reply.text, toolset)
    if reply.kind == "call":
        unknown = [tool for tool in reply.tools if tool not in toolset.tools]
        mix = _mix_of(reply.tools, toolset)
        if unknown:
            return "unknown tool", unknown[0], mix
        return ("schema violation" if reply.errors else "", "", mix)
    if reply.kind in ("malformed", "empty"):
        return reply.kind, "", NO_CALL
    return ("" if reply.kind == "none" else "unknown"), "", NO_CALL


def judge_text(text: str, toolset: Toolset) -> tuple[str, str, str]:
    """The same for a reply's text."""
    reply: Reply = parse_reply(text)
    mix = _mix_of([call.tool for call in reply.calls], toolset)
    if reply.kind is ReplyKind.MALFORMED:
        return "malformed", reply.malformed[0].why, mix
    if reply.kind is ReplyKind.NONE:
        return ("" if reply.text else "empty"), "", mix
    for call in reply.calls:
        if call.tool not in toolset.tools:
            return "unknown tool", call.tool, mix
    errors = [error for call in reply.calls for error in toolset.schema_errors(call.tool, call.params)]
    return ("schema violation" if errors else ""), (errors[0] if errors else ""), mix


def report_dict(monitor: Monitor, lines: Lines) -> dict[str, Any]:
    """Everything that was counted, for a program; holds no text of a reply."""
    rates = {
        name: {
            "count": test.count,
            "replies": test.total,
            "allowed": test.allowed,
            "log_e": round(test.evidence, 4),
            "alarm_at": -math.log(test.alpha),
            "alarm": test.alarm,
        }
        for name, test in monitor.problems.items()
    }
    total = sum(monitor.mix.values())
    return {
        "healthy": not monitor.alarms,
        "alarms": list(monitor.alarms),
        "false_alarm_rate": monitor.alpha,
        "adapters": sorted(show_text(name, 100) for name in monitor.adapters),
        "from": show_text(monitor.first, 40),
        "to": show_text(monitor.last, 40),
        "replies": monitor.replies,
        "left_out": monitor.left_out,
        "not_judged": monitor.without_text,
        "rates": rates,
        "call_rate": monitor.calls / monitor.judged if monitor.judged else None,
        "latency": {"p50": monitor.latencies.quantile(0.5), "p95": monitor.latencies.quantile(0.95)},
        "mix": {name: count / total for name, count in monitor.mix.most_common()},
        "drift": monitor.drift,
        "baseline": monitor.baseline.about if monitor.baseline else None,
        "lines": {"read": lines.read, "other": lines.other, "bad": lines.bad, "named": list(lines.named)},
    }


def table_rows(monitor: Monitor) -> list[tuple[str, str, str, str]]:
    """Rows of what, found, allowed, state."""
    rows = []
    for name, test in monitor.problems.items():
        found = f"{test.count} of {test.total}" + (f" ({test.count / test.total:.1%})" if test.total else "")
        rows.append((name, found, f"{test.allowed:.1%}", "ALARM" if test.alarm else "ok"))
    calls = f"{monitor.calls} of {monitor.judged}"
    rows.append(("with a call", calls, "", ""))
    for share in (0.5, 0.95):
        value = monitor.latencies.quantile(share)
        rows.append((f"latency p{share:.0%}".rstrip("%"), "" if value is None else f"{value:.2f} s", "", ""))
    total = sum(monitor.mix.values())
    expected = monitor.baseline.shares if monitor.baseline else {}
    for name, count in monitor.mix.most_common():
        share_test = monitor.shares.get(name)
        state = "" if share_test is None else "ALARM" if share_test.alarm else "ok"
        evals = f"evals {expected.get(name, 0.0):.1%}" if monitor.baseline else ""
        rows.append((f"share of {name}", f"{count / total:.1%}", evals, state))
    if monitor.drift is not None:
        rows.append(("drift of the mix", f"{monitor.drift:.2f}", "", ""))
    return rows


def check_webhook(url: str) -> str:
    """The address as it was given, for https alone.

    Raises:
        SetupError: another scheme, no host, or a name and password in it. The address itself is a secret of most
            services, so only its scheme is named.
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme == "https" and bool(parts.hostname) and parts.username is None and parts.password is None
    except ValueError:
        good = False
    if not good:
        raise SetupError("--webhook needs https://HOST/PATH, without a name and password in it.")
    return url


def send_alarm(url: str, report: Mapping[str, Any]) -> str:
    """Tell a webhook; "" when it was taken, else why not, without the address. Counts only, no text of a reply."""
    import requests

    told = ("alarms", "false_alarm_rate", "adapters", "from", "to", "replies")
    text = "Toolgate: " + "; ".join(report["alarms"])
    body = {"event": "toolgate.alarm", "text": text, **{name: report[name] for name in told}}
    try:
        answer = requests.post(check_webhook(url), json=body, timeout=10, allow_redirects=False)
    except requests.RequestException as error:
        return f"{urlsplit(url).hostname} was not reached ({type(error).__name__})"
    return "" if answer.ok else f"{urlsplit(url).hostname} answered {answer.status_code}"


def check_export(path: Path) -> Path:
    """The file of candidates, which must be new and not among the exam questions.

    Raises:
        SetupError: it exists, or lies in a folder named evals.
    """
    if "evals" in path.resolve().parts:
        raise SetupError(f"{path} lies in evals, and a candidate is no case yet. Give a file elsewhere.")
    if path.exists():
        raise SetupError(f"{path} exists already. Give a new file.")
    return path


def write_candidates(path: Path, monitor: Monitor) -> int:
    """Write the candidates, one JSON object per line, and return how many.

    Raises:
        SetupError: as ``check_export``.
        StoreError: it cannot be written.
    """
    lines = [json.dumps(case, ensure_ascii=True) for case in monitor.candidates.values()]
    try:
        write_file(check_export(path), "".join(f"{line}\n" for line in lines).encode())
    except StoreError as error:
        raise StoreError(f"Cannot write {path}: {error.__cause__}. Give another place with --export.") from None
    return len(lines)


def _mix_of(tools: Sequence[str], toolset: Toolset) -> str:
    """The first tool of a reply stands for it, so that shares add up to one."""
    return NO_CALL if not tools else tools[0] if tools[0] in toolset.tools else OTHER
