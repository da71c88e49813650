"""Decide whether an adapter may reach users: expected ids, outcomes, numbers and bars in, reasons to refuse out.

Covers: profiles and bars from gate.toml, the state of each metric, missing, doubled, foreign and unmeasured cases,
suites left out, zero denominators, an unmeasured latency, an adapter of unknown size, how many more prompts would
decide, and what is lost for certain while cases are still to be asked.
Does not cover: whether the adapter acts at all (liveness), comparing with the champion (comparison), signing
(attestation).

The gate fails closed: it is open exactly when there is no reason to refuse, and nothing to check is a reason.
A rate must be above its bar, latency and size must be under theirs; equal is not enough. A closed gate against which
nothing speaks but that too little was asked is "not enough evidence": closed all the same, with what would decide.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any

from harness.errors import DataError, SetupError
from harness.metrics import LATENCY_QUANTILE, RATES, Metrics, Quantiles, Rate, compute_metrics, count_rate
from harness.planning import LIMIT, further_prompts
from harness.types import Case, Outcome, Verdict

NEGATIVE_PRECISION = "negative_precision"
LATENCY = "latency_p95"
ADAPTER_SIZE = "adapter_size"
READINGS = ("no_tool_recall", "no_tool_precision")  # negative_precision is both, and both must clear the bar
RATE_METRICS = (*RATES, NEGATIVE_PRECISION)
KNOWN_METRICS = (*RATE_METRICS, LATENCY, ADAPTER_SIZE)
MEGABYTE = 1_000_000  # the platform's limit is stated in MB, not MiB
NAMED = 8  # how many ids a reason spells out
UNITS = {LATENCY: " s", ADAPTER_SIZE: " MB"}
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
OPEN, CLOSED, NOT_ENOUGH = VERDICTS = ("open", "closed", "not enough evidence")


class Require(StrEnum):
    """What a metric must reach: its point clears the bar, or its 95 % bound does too."""

    MET = "met"
    PROVEN = "proven"


class State(StrEnum):
    """Where a metric stands against its bar."""

    BELOW = "below"  # the point does not clear the bar
    MET = "met"  # the point clears it
    PROVEN = "proven"  # the bound clears it
    TOO_FEW = "too few"  # n is under min_n, whatever the point


@dataclass(frozen=True, slots=True)
class Bar:
    """The bar of one metric: to be cleared on at least ``min_n`` counts, by its point or by its bound."""

    bar: float
    min_n: int = 1
    require: Require = Require.MET


@dataclass(frozen=True, slots=True)
class Sealed:
    """A suite that only a promotion opens: the digest of its cases, and rates that it must show on its own."""

    digest: str  # sha256:<hex>, of harness.cases.digest_cases
    metrics: Mapping[str, Bar]
    min_cases: int = 1


@dataclass(frozen=True, slots=True)
class Profile:
    """Which cases are run and what they must show.

    ``suites`` maps each suite to its least number of cases; empty means every suite. ``tags``: a case needs all.
    ``max_regressions`` maps suites to how many cases that the champion gets right a candidate may lose; empty sets no
    limit.
    """

    name: str
    metrics: Mapping[str, Bar]
    suites: Mapping[str, int]
    tags: tuple[str, ...] = ()
    min_cases: int = 1
    max_regressions: Mapping[str, int] = field(default_factory=dict)
    sealed: Sealed | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """The profiles of one gate file; ``digest`` is the sha256 of its bytes."""

    profiles: Mapping[str, Profile]
    digest: str
    path: str = ""

    def profile(self, name: str) -> Profile:
        """The profile of this name.

        Raises:
            SetupError: there is none; lists those there are.
        """
        if name not in self.profiles:
            raise SetupError(f"Unknown profile {name!r}. Profiles of {self.path}: {', '.join(self.profiles)}.")
        return self.profiles[name]


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric against its bar. ``value`` and ``bound`` are seconds for latency_p95 and MB for adapter_size."""

    metric: str
    k: int
    n: int
    value: float | None
    bound: float | None
    bar: float
    state: State
    require: Require = Require.MET
    min_n: int = 1
    reading: str = ""  # which of the two readings of negative_precision
    reason: str = ""  # why this row closes the gate; empty when it does not
    needed: int | None = None  # how many more counts would decide at the observed rate

    @property
    def label(self) -> str:
        """The metric's name for a table, with its reading."""
        return f"{self.metric} ({self.reading})" if self.reading else self.metric


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict: open, or closed with at least one reason; a contradiction cannot be built."""

    profile: str
    reasons: tuple[str, ...]
    rows: tuple[MetricRow, ...]

    def __post_init__(self) -> None:
        if silent := [row.label for row in self.rows if row.reason and row.reason not in self.reasons]:
            raise ValueError(f"{', '.join(silent)}: a row closes the gate and the decision does not say so.")

    @property
    def open(self) -> bool:
        """True exactly when nothing speaks against it."""
        return not self.reasons

    @property
    def verdict(self) -> str:
        """One of VERDICTS; not enough evidence is closed as well."""
        if self.open:
            return OPEN
        lacking = {row.reason for row in self.rows if row.reason and row.state in (State.TOO_FEW, State.MET)}
        return NOT_ENOUGH if lacking >= set(self.reasons) else CLOSED


def load_gate(path: Path) -> Gate:
    """Read profiles and bars.

    Raises:
        SetupError: the file is missing.
        DataError: it is not TOML, or names something unknown or impossible; the message starts with the path.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SetupError(f"Cannot read the gate {path}: {error.strerror}. Shipped is evals/gate.toml.") from None
    try:
        raw = tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not TOML: {error}. Correct the file.") from None
    try:
        return Gate(_read_profiles(raw), "sha256:" + sha256(content).hexdigest(), str(path))
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def select_cases(profile: Profile, cases: Iterable[Case]) -> list[Case]:
    """The cases that a profile asks for, in their order."""
    return [
        case
        for case in cases
        if (not profile.suites or case.suite in profile.suites) and all(tag in case.tags for tag in profile.tags)
    ]


def decide(
    expected_ids: Sequence[str],
    outcomes: Sequence[Outcome],
    metrics: Metrics,
    profile: Profile,
    *,
    has_adapter: bool = True,
) -> Decision:
    """Whether the gate is open, and every reason why not.

    ``expected_ids`` are the cases that had to be measured; ``metrics`` must come from these very outcomes.
    ``has_adapter`` is False only for a base model on its own: then there is no adapter to weigh, and no row for it.
    """
    reasons = _check_cases(expected_ids, outcomes, profile)
    recounted = compute_metrics(outcomes, retention=metrics.rates.get("general_retention"))
    if recounted.rates != metrics.rates:
        differing = [n for n in RATES if recounted.rates[n] != metrics.rates.get(n)]
        reasons.append(f"{', '.join(differing)}: the numbers are not those of the outcomes. Compute them again.")
    if not profile.metrics:
        reasons.append(f"profile {profile.name} has no bars: a gate with nothing to check is closed.")
    rows = [
        row
        for name, bar in profile.metrics.items()
        if name != ADAPTER_SIZE or has_adapter
        for row in _judge_metric(name, bar, metrics)
    ]
    reasons += [row.reason for row in rows if row.reason]
    return Decision(profile.name, tuple(reasons), tuple(rows))


def find_lost(
    outcomes: Sequence[Outcome], left: Iterable[Case], profile: Profile, adapter_bytes: int | None = None
) -> list[str]:
    """Why the gate stays closed whatever the cases that are ``left`` may still show; empty while it can open.

    Every rate is taken as if each case that may count in it came out right, in the most calls it accepts. Latency and
    retention are not known before the end and are left out.
    """
    failed = [o for o in outcomes if o.verdict is Verdict.ERROR]
    reasons = [f"no reply: {_name_ids([o.case_id for o in failed])}"] if failed else []
    found, hopes = compute_metrics(outcomes).rates, _hope(left)
    best = {name: count_rate(found[name].k + hopes[name], found[name].n + hopes[name]) for name in hopes}
    metrics = Metrics(rates=best, latency=None, adapter_bytes=adapter_bytes)
    for name, bar in profile.metrics.items():
        if name in best or name == NEGATIVE_PRECISION or (name == ADAPTER_SIZE and adapter_bytes is not None):
            rows = [row for row in _judge_metric(name, bar, metrics) if row.reason]
            reasons += [_say_lost(row) for row in rows]
    return reasons


def _say_lost(row: MetricRow) -> str:
    if row.metric == ADAPTER_SIZE:
        return row.reason
    bound = "" if row.bound is None or row.require is Require.MET else f" with the bound {row.bound:.4f}"
    few = f", and min_n is {row.min_n}" if row.n < row.min_n else ""
    return f"{row.label}: at best {row.k}/{row.n}{bound}, not above the bar {row.bar:g}{few}."


def _hope(left: Iterable[Case]) -> dict[str, int]:
    """By how much k and n of each rate can still grow."""
    grow: Counter[str] = Counter()
    for case in left:
        options = (case.expect, *case.alternatives)
        grow["tool_selection"] += any(options)
        grow["disambiguation"] += case.pair is not None
        grow["disambiguation_pairs"] += case.pair is not None
        grow["no_tool_recall"] += not all(options)
        grow["no_tool_precision"] += not all(options)
        grow["argument_accuracy"] += max(map(len, options))
        grow["json_validity"] += 1
        grow["schema_validity"] += 1
    return {name: grow[name] for name in RATES if name != "general_retention"}


def _check_cases(expected_ids: Sequence[str], outcomes: Sequence[Outcome], profile: Profile) -> list[str]:
    """Reasons from what was measured, not from how it came out."""
    expected, found = Counter(expected_ids), Counter(o.case_id for o in outcomes)
    reasons = []
    if not expected:
        reasons.append("no cases: a gate with nothing to check is closed.")
    elif len(expected) < profile.min_cases:
        reasons.append(f"{len(expected)} cases are too few: profile {profile.name} asks for {profile.min_cases}.")
    by_reason = {
        "expected twice": [i for i, count in expected.items() if count > 1],
        "not measured": [i for i in expected if i not in found],
        "measured twice": [i for i, count in found.items() if count > 1],
        "measured and not expected": [i for i in found if i not in expected],
    }
    reasons += [f"{what}: {_name_ids(ids)}" for what, ids in by_reason.items() if ids]
    failed = [o for o in outcomes if o.verdict is Verdict.ERROR]
    if failed:
        reasons.append(f"no reply: {_name_ids([o.case_id for o in failed])} The first says: {failed[0].detail}")
    sizes = Counter(o.suite for o in outcomes)
    for suite, least in profile.suites.items():
        if sizes[suite] == 0:
            reasons.append(f"suite {suite} has no outcome: profile {profile.name} asks for {least} cases of it.")
        elif sizes[suite] < least:
            reasons.append(f"suite {suite} has {sizes[suite]} outcomes: profile {profile.name} asks for {least}.")
    return reasons


def _judge_metric(name: str, bar: Bar, metrics: Metrics) -> list[MetricRow]:
    if name == LATENCY:
        return [_judge_latency(bar, metrics.latency)]
    if name == ADAPTER_SIZE:
        return [_judge_size(bar, metrics.adapter_bytes)]
    if name == NEGATIVE_PRECISION:
        return [_judge_rate(name, bar, metrics.rates.get(reading), reading) for reading in READINGS]
    return [_judge_rate(name, bar, metrics.rates.get(name))]


def _judge_rate(name: str, bar: Bar, rate: Rate | None, reading: str = "") -> MetricRow:
    k, n, value, lower = (rate.k, rate.n, rate.value, rate.lower) if rate else (0, 0, None, None)
    label = f"{name} ({reading})" if reading else name
    reason, needed = "", None
    if value is None or lower is None:
        state, reason = State.TOO_FEW, f"{label}: nothing to count (0/0), so it says nothing."
    elif n < bar.min_n:
        state, reason = State.TOO_FEW, f"{label}: {k}/{n} is too few to judge; min_n is {bar.min_n}."
    elif not value > bar.bar:  # written so that NaN does not pass
        state, reason = State.BELOW, f"{label}: {k}/{n} = {value:.4f} is not above the bar {bar.bar:g}."
    elif lower > bar.bar:
        state = State.PROVEN
    else:
        state = State.MET
        if bar.require is Require.PROVEN:
            reason = (
                f"{label}: {k}/{n} = {value:.4f} is above {bar.bar:g}, but not proven: its 95 % bound is {lower:.4f}."
            )
    if reason and n and state is not State.BELOW:
        proven = bar.require is Require.PROVEN
        needed = further_prompts(k, n, bar.bar, min_n=bar.min_n, proven=proven)
        reason += _say_needed(needed, k / n)
    return MetricRow(name, k, n, value, lower, bar.bar, state, bar.require, bar.min_n, reading, reason, needed)


def _judge_latency(bar: Bar, latency: Quantiles | None) -> MetricRow:
    if latency is None:
        reason = f"{LATENCY}: latency was not measured. Measure it one request at a time."
        return MetricRow(LATENCY, 0, 0, None, None, bar.bar, State.TOO_FEW, bar.require, bar.min_n, reason=reason)
    n, p95, upper = latency.n, latency.p95, latency.p95_upper
    reason, needed = "", None
    if n < bar.min_n:
        state, reason = State.TOO_FEW, f"{LATENCY}: {n} measurements are too few; min_n is {bar.min_n}."
    elif not p95 < bar.bar:
        state, reason = State.BELOW, f"{LATENCY}: p95 of {n} replies is {p95:.3f} s, not under {bar.bar:g} s."
    elif upper is not None and upper < bar.bar:
        state = State.PROVEN
    else:
        state = State.MET
        if bar.require is Require.PROVEN:
            bound = "no bound from so few" if upper is None else f"its 95 % bound is {upper:.3f} s"
            reason = f"{LATENCY}: p95 of {n} replies is {p95:.3f} s, under {bar.bar:g} s, but not proven: {bound}."
    under = latency.under(bar.bar)
    if reason and state is not State.BELOW:
        # The bound of a quantile is that of the share of replies under the bar.
        proven = bar.require is Require.PROVEN
        needed = further_prompts(under, n, LATENCY_QUANTILE, min_n=bar.min_n, proven=proven)
        reason += _say_needed(needed, under / n)
    return MetricRow(
        LATENCY, under, n, p95, upper, bar.bar, state, bar.require, bar.min_n, reason=reason, needed=needed
    )


def _say_needed(needed: int | None, rate: float) -> str:
    if needed is None:
        return f" More than {LIMIT} further prompts would be needed at {rate:.4f}."
    return f" {needed} further prompts would decide at {rate:.4f}."


def _judge_size(bar: Bar, adapter_bytes: int | None) -> MetricRow:
    if adapter_bytes is None or adapter_bytes <= 0:
        state = State.TOO_FEW
        reason = (
            f"{ADAPTER_SIZE}: the size of the adapter is unknown."
            if adapter_bytes is None
            else (f"{ADAPTER_SIZE}: the adapter holds {adapter_bytes} bytes, so there is no adapter.")
        )
        return MetricRow(ADAPTER_SIZE, 0, 0, None, None, bar.bar, state, bar.require, bar.min_n, reason=reason)
    size = adapter_bytes / MEGABYTE
    # A size is read, not sampled: what clears the bar is proven.
    fits = size < bar.bar
    reason = "" if fits else f"{ADAPTER_SIZE}: {size:.1f} MB is not under {bar.bar:g} MB."
    state = State.PROVEN if fits else State.BELOW
    return MetricRow(ADAPTER_SIZE, int(fits), 1, size, size, bar.bar, state, bar.require, bar.min_n, reason=reason)


def _read_profiles(raw: Mapping[str, Any]) -> dict[str, Profile]:
    _check_keys(raw, ("profiles",), "the file")
    profiles = raw.get("profiles")
    if not isinstance(profiles, dict) or not profiles:
        raise DataError("it has no profile. Expected a table such as [profiles.release].")
    return {name: _read_profile(name, body) for name, body in profiles.items()}


def _read_profile(name: str, raw: Any) -> Profile:
    where = f"profile {name}"
    if not isinstance(raw, dict):
        raise DataError(f"{where} is not a table. Expected [profiles.{name}].")
    _check_keys(raw, ("tags", "suites", "min_cases", "metrics", "max_regressions", "sealed"), where)
    tags, suites, metrics = raw.get("tags", []), raw.get("suites", {}), raw.get("metrics", {})
    limits = raw.get("max_regressions", {})
    if not isinstance(tags, list) or not all(isinstance(tag, str) and tag for tag in tags):
        raise DataError(f'{where}: tags is {tags!r}. Expected a list of words, e.g. ["core"].')
    if not isinstance(suites, dict):
        raise DataError(f"{where}: suites is {suites!r}. Expected least numbers of cases, e.g. suites.crud = 60.")
    if not isinstance(metrics, dict) or not metrics:
        raise DataError(
            f"{where} has no bars: a gate with nothing to check is closed. Give it [profiles.{name}.metrics]."
        )
    if not isinstance(limits, dict):
        raise DataError(f"{where}: max_regressions is {limits!r}. Expected a number per suite, e.g. crud = 2.")
    for suite in limits:
        if suites and suite not in suites:
            raise DataError(f"{where}: max_regressions.{suite}: the profile does not ask for that suite. Remove it.")
    return Profile(
        name=name,
        metrics={metric: _read_bar(metric, body, where) for metric, body in metrics.items()},
        suites={suite: _read_count(least, f"{where}: suites.{suite}") for suite, least in suites.items()},
        tags=tuple(tags),
        min_cases=_read_count(raw.get("min_cases", 1), f"{where}: min_cases"),
        max_regressions={
            suite: _read_count(limit, f"{where}: max_regressions.{suite}", least=0) for suite, limit in limits.items()
        },
        sealed=_read_sealed(raw["sealed"], metrics, where) if "sealed" in raw else None,
    )


def _read_sealed(raw: Any, judged: Mapping[str, Any], where: str) -> Sealed:
    where = f"{where}: sealed"
    if not isinstance(raw, dict):
        raise DataError(f"{where} is {raw!r}. Expected a table with digest, min_cases and metrics.")
    _check_keys(raw, ("digest", "min_cases", "metrics"), where)
    digest, metrics = raw.get("digest"), raw.get("metrics")
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise DataError(f"{where}: digest is {digest!r}. Expected sha256:<64 hex digits> of the sealed cases.")
    if not isinstance(metrics, dict) or not metrics:
        raise DataError(f"{where} has no bars: a suite that must show nothing is not opened. Give it metrics.")
    for metric in metrics:
        if metric not in judged:
            raise DataError(f"{where}: {metric} has no bar in the profile itself. Give it one there first.")
        if metric not in RATE_METRICS or metric == "general_retention":
            raise DataError(f"{where}: {metric} is no rate of the suite's own replies. Remove it.")
    bars = {metric: _read_bar(metric, body, where) for metric, body in metrics.items()}
    return Sealed(digest, bars, _read_count(raw.get("min_cases", 1), f"{where}: min_cases"))


def _read_bar(metric: str, raw: Any, where: str) -> Bar:
    where = f"{where}: {metric}"
    if metric not in KNOWN_METRICS:
        raise DataError(f"{where}: unknown metric {metric!r}. Known metrics: {', '.join(KNOWN_METRICS)}.")
    if not isinstance(raw, dict):
        raise DataError(f'{where} is {raw!r}. Expected e.g. {{bar = 0.9, min_n = 100, require = "met"}}.')
    _check_keys(raw, ("bar", "min_n", "require"), where)
    for key in ("bar", "min_n", "require"):
        if key not in raw:
            raise DataError(f'{where} has no {key}. Expected e.g. {{bar = 0.9, min_n = 100, require = "met"}}.')
    bar, require = raw["bar"], raw["require"]
    if isinstance(bar, bool) or not isinstance(bar, int | float):
        raise DataError(f"{where}: bar is {bar!r}. Expected a number.")
    if metric in RATE_METRICS and not 0 < bar < 1:
        raise DataError(f"{where}: bar is {bar!r}. A rate's bar lies between 0 and 1, both excluded, e.g. 0.9.")
    if not (math.isfinite(bar) and bar > 0):
        raise DataError(f"{where}: bar is {bar!r}. Expected a number of{UNITS.get(metric, '')} above 0.")
    if require not in tuple(Require):
        raise DataError(f"{where}: require is {require!r}. Possible: {', '.join(Require)}.")
    return Bar(float(bar), _read_count(raw["min_n"], f"{where}: min_n"), Require(require))


def _read_count(value: Any, where: str, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise DataError(f"{where} is {value!r}. Expected a whole number, {least} or greater.")
    return value


def _check_keys(raw: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in raw:
        if key not in known:
            raise DataError(f"{where} has the unknown key {key!r}. Known: {', '.join(known)}.")


def _name_ids(ids: Sequence[str]) -> str:
    named = ", ".join(ids[:NAMED])
    rest = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return f"{len(ids)} case{'s' if len(ids) != 1 else ''} ({named}{rest})."
