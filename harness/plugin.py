"""pytest's side: options, one test per case and per metric, the summary, the exit status.

Covers: asking the target once before any test runs (also under xdist: workers read what the controller measured),
reports right "." or wrong "w", the verdict in ``pytest_sessionfinish``: exit status 0 open, 8 closed, 4 usage.
Does not cover: what the tests are called and where they stand (evals/), measuring and judging (runner, gate).

A wrong answer is a measurement, not a failed test; a metric that keeps the gate closed is a failed test. A case counts
as measured only when the report of its test has arrived, so -k, --deselect, -x, a skip and a crashed worker close the
gate. Nothing here is imported before it is needed: this module loads with every pytest.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import pytest

if TYPE_CHECKING:
    from harness.gate import Decision, Profile
    from harness.metrics import Metrics, Rate
    from harness.prompt import PromptSpec
    from harness.report import Report
    from harness.runner import OnProgress, Progress, Timing
    from harness.targets import LazyTarget
    from harness.toolset import Toolset
    from harness.types import Case, Outcome

GATE_CLOSED = 8
DEFAULT_PROFILE = "release"
DEFAULT_STORE = ".toolgate"
CASE_TEST, METRIC_TEST = "test_case", "test_metric"
# Plugins that catch output and logs around a test, or look for hypothesis in it: the test of a case has none of these.
LEFT_OUT = ("capturemanager", "logging-plugin", "hypothesispytest")
# In a worker's input: where the controller leaves what it measured, and what it collects.
FOLDER, ARGS = "toolgate_folder", "toolgate_args"
SHARED = "measured.json"
NEEDS_TARGET = (
    "adapter",
    "base",
    "profile",
    "replies",
    "base_replies",
    "url",
    "model",
    "target_option",
    "measure_latency",
    "ledger",
    "curtail",
)
Record = Callable[[str, object], None]


class Evaluation(Protocol):
    """What the tests of evals/ ask."""

    def check_case(self, case: Case, record: Record) -> None:
        """Report one case; fails only where it was not measured, or is not proven."""
        ...

    def check_suite(self) -> None:
        """Fail where the cases together are no suite; with a target that was proven before it was asked."""
        ...

    def check_metric(self, name: str) -> None:
        """Fail where a metric keeps the gate closed."""
        ...


TestOfCase = Callable[["Case", Evaluation, Record], None]
STATE = pytest.StashKey["Settings"]()
EVALUATION = pytest.StashKey[Evaluation]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of DESIGN.md section 6."""
    group = parser.getgroup("toolgate", "Toolgate: measure a tool-calling adapter and decide")
    add = group.addoption
    add("--target", metavar="NAME", help="cloudflare, local, openai, replay or worker. Without a path: evals/")
    add("--adapter", metavar="DIR", help="LoRA adapter to judge; default: the embedded one (target local)")
    add("--base", metavar="ID|DIR", help="base model; default: the one that the adapter names")
    add("--profile", metavar="NAME", help=f"profile of gate.toml: its cases and bars (default: {DEFAULT_PROFILE})")
    add("--suite", metavar="NAME", action="append", default=[], help="only this suite; a gate that needs more closes")
    add("--run-store", metavar="DIR", help=f"where replies and runs are kept (default: {DEFAULT_STORE})")
    add("--replies", metavar="FILE", help="recorded replies (target replay)")
    add("--base-replies", metavar="FILE", help="recorded replies of the base model (target replay)")
    add("--url", metavar="URL", help="address of the Worker (target worker) or of an OpenAI-compatible API (openai)")
    add("--model", metavar="NAME", help="name of the model there (targets cloudflare, openai)")
    add("--target-option", metavar="K=V", action="append", default=[], help="any other option of the target")
    add("--measure-latency", action="store_true", help="measure it anew, though an earlier run of the same did")
    add("--cases", metavar="PATH", help="cases, a file or a folder (default: evals/cases)")
    add("--gate", metavar="FILE", help="profiles and bars (default: evals/gate.toml)")
    add("--ledger", metavar="FILE", help="ledger of attempts (default: attempts.jsonl in the run store)")
    add("--curtail", action="store_true", help="stop as soon as the gate cannot open; never for a receipt")


def pytest_configure(config: pytest.Config) -> None:
    """Check what was asked, before anything is collected; an error is one line and exit status 4."""
    option = config.option
    if not option.target:
        given = [name for name in NEEDS_TARGET if getattr(option, name)]
        if given:
            raise pytest.UsageError(f"--{given[0].replace('_', '-')} needs a target. Add e.g. --target=local.")
        config.stash[STATE] = Settings(config)
        config.stash[EVALUATION] = Proof(config.stash[STATE])
        return
    settings = config.stash[STATE] = Settings(config)
    workerinput = getattr(config, "workerinput", None)
    if workerinput is not None:
        config.stash[EVALUATION] = Measured(Path(workerinput[FOLDER]) / SHARED)
        config.args = workerinput[ARGS]
        return
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = [str(settings.evals)]
    with _usage_errors():
        controller = Controller(config, settings)
    config.stash[EVALUATION] = controller
    config.pluginmanager.register(controller, "toolgate-controller")


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: object) -> list[pytest.Item] | None:
    """One item per case for ``test_case`` in evals/: items of our own, since pytest's functions cost twice the time."""
    settings = collector.config.stash.get(STATE, None)
    if name != CASE_TEST or settings is None or collector.path != settings.evals / "test_cases.py":
        return None
    with _collect_errors():
        chosen = settings.chosen()
    shared = _Shared(cast("TestOfCase", obj), _quiet_hooks(collector))
    return [
        CaseItem.from_parent(collector, name=f"{CASE_TEST}[{_escape(case.id)}]", case=case, shared=shared)
        for case in chosen
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per metric of the profile."""
    if metafunc.function.__name__ == METRIC_TEST and {"metric", "evaluation"} <= set(metafunc.fixturenames):
        with _collect_errors():
            metafunc.parametrize("metric", list(metafunc.config.stash[STATE].profile().metrics))


@dataclass(slots=True)
class _Shared:
    """What all items of a module have in common."""

    function: TestOfCase
    hooks: Any
    place: str = ""  # of the module, as pytest writes it


class CaseItem(pytest.Item):
    """The test of one case; calls ``test_case(case, evaluation, record_property)`` without fixtures."""

    def __init__(self, *, case: Case, shared: _Shared, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.case = case
        self._shared = shared
        self.extra_keyword_matches.update((case.suite, *case.tags))

    @property
    def ihook(self) -> Any:
        """The hooks that run this item."""
        return self._shared.hooks

    @cached_property
    def location(self) -> tuple[str, int | None, str]:
        """Where the test stands, below pytest's root; pytest works it out for the first item of a module."""
        self._shared.place = self._shared.place or super().location[0]
        return self._shared.place, None, self.name

    def runtest(self) -> None:
        """Report the case; what is recorded travels with the report through xdist, and into JUnit's file."""
        self._shared.function(self.case, self.config.stash[EVALUATION], self._record)

    def _record(self, name: str, value: object) -> None:
        self.user_properties.append((name, value))

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where the test stands."""
        return self.path, None, self.name


class _QuietHooks:
    """All hooks without those that have nothing to do around a case; they take half of the time of its test."""

    def __init__(self, manager: pytest.PytestPluginManager) -> None:
        self._manager = manager
        self._left_out = [plugin for name in LEFT_OUT if (plugin := manager.get_plugin(name))]

    def __getattr__(self, name: str) -> Any:
        caller = self._manager.subset_hook_caller(name, self._left_out)
        setattr(self, name, caller)  # found there the next time
        return caller


def _quiet_hooks(collector: pytest.Collector) -> Any:
    # Where conftest files of other folders have hooks, pytest itself says which of them apply here.
    if collector.ihook is not collector.config.hook:
        return collector.ihook
    return _QuietHooks(collector.config.pluginmanager)


@pytest.fixture(scope="session")
def evaluation(pytestconfig: pytest.Config) -> Evaluation:
    """Answers for the tests of evals/: measured by the controller, or only proven without a target."""
    return pytestconfig.stash[EVALUATION]


def pytest_report_teststatus(report: pytest.TestReport | pytest.CollectReport) -> tuple[str, str, Any] | None:
    """A wrong answer is "w": neither passed nor failed."""
    if report.when == "call" and report.passed and ("verdict", "wrong") in report.user_properties:
        return "wrong", "w", ("WRONG", {"yellow": True})
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Keep a session without hypothesis free of it: its plugin imports it (up to a second) only to say nothing."""
    workers = getattr(session.config.option, "numprocesses", None)  # their reports may hold something to say
    if "hypothesis" not in sys.modules and not workers and session.config.pluginmanager.has_plugin("hypothesispytest"):
        session.config.pluginmanager.unregister(name="hypothesispytest")


class Settings:
    """The options with their defaults; files are read when first asked for."""

    def __init__(self, config: pytest.Config) -> None:
        option = config.option
        self._root = config.rootpath
        own = config.rootpath / "evals"
        self.evals = own if (own / "test_cases.py").is_file() else Path(__file__).parents[1] / "evals"
        self.cases_path = Path(option.cases) if option.cases else self.evals / "cases"
        self.gate_path = Path(option.gate) if option.gate else self.evals / "gate.toml"
        self.profile_name = option.profile or DEFAULT_PROFILE
        self.suites = tuple(option.suite)
        self.judged = bool(option.target)
        self.curtail = bool(option.curtail)
        self._option = option
        self._cases: list[Case] | None = None
        self._profile: Profile | None = None

    def cases(self) -> list[Case]:
        """Every case; ToolgateError where a line is broken or a suite does not exist."""
        if self._cases is None:
            from harness.cases import load_cases
            from harness.errors import SetupError

            cases = load_cases(self.cases_path)
            known = sorted({case.suite for case in cases})
            for suite in self.suites:
                if suite not in known:
                    raise SetupError(f"Unknown suite {suite!r}. Suites in {self.cases_path}: {', '.join(known)}.")
            self._cases = cases
        return self._cases

    def profile(self) -> Profile:
        """The profile with its bars."""
        if self._profile is None:
            from harness.gate import load_gate

            self._profile = load_gate(self.gate_path).profile(self.profile_name)
        return self._profile

    def expected(self) -> list[Case]:
        """The cases that the profile asks for; without a target there is no profile, so all."""
        from harness.gate import select_cases

        return select_cases(self.profile(), self.cases()) if self.judged else self.cases()

    def chosen(self) -> list[Case]:
        """Of them those of the suites asked for."""
        return [case for case in self.expected() if not self.suites or case.suite in self.suites]

    def target(self) -> LazyTarget:
        """The target, checked and not loaded."""
        from harness.errors import SetupError
        from harness.targets import LazyTarget, TargetSpec

        option = self._option
        named = {"file": option.replies, "base_file": option.base_replies, "url": option.url, "model": option.model}
        options = {name: value for name, value in named.items() if value}
        for pair in option.target_option:
            name, sign, value = pair.partition("=")
            if not name or not sign:
                raise SetupError(
                    f"--target-option={pair!r} is no NAME=VALUE. Write e.g. --target-option=batch_size=16."
                )
            options[name] = value
        adapter = Path(option.adapter) if option.adapter else None
        return LazyTarget(TargetSpec(option.target, adapter, option.base, options))

    def store_path(self) -> Path:
        """Where replies and runs are kept."""
        return Path(self._option.run_store) if self._option.run_store else self._root / DEFAULT_STORE

    def ledger_path(self) -> Path:
        """Where attempts are written down."""
        from harness.ledger import LEDGER

        return Path(self._option.ledger) if self._option.ledger else self.store_path() / LEDGER


class Proof:
    """Without a target: the cases prove themselves, and nothing is judged."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: Toolset | None = None

    def check_case(self, case: Case, record: Record) -> None:
        """Fail where the case cannot measure anything."""
        from harness.cases import prove_case

        _fail_for(prove_case(case, self._toolset()))

    def check_suite(self) -> None:
        """Fail where ids or questions stand twice, or a pair is no pair."""
        from harness.cases import prove_suite

        _fail_for(prove_suite(self._settings.cases(), self._toolset()))

    def check_metric(self, name: str) -> None:
        """Nothing was measured."""
        pytest.skip("no target: nothing was measured. Add e.g. --target=local.")

    def _toolset(self) -> Toolset:
        if self._known is None:
            from harness.toolset import load_toolset

            self._known = load_toolset()
        return self._known


class Measured:
    """In an xdist worker: what the controller measured, read from its file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content: Mapping[str, Any] | None = None

    def check_case(self, case: Case, record: Record) -> None:
        """Report the outcome of a case."""
        _report_case(self._read()["cases"].get(case.id), record, self._read()["curtailed"])

    def check_suite(self) -> None:
        """The controller has proven it."""

    def check_metric(self, name: str) -> None:
        """Fail with the reasons of a metric."""
        _fail_for(self._read()["metrics"].get(name, []))

    def _read(self) -> Mapping[str, Any]:
        if self._content is None:
            self._content = json.loads(self._path.read_text(encoding="utf-8"))
        return self._content


def _report_case(outcome: Mapping[str, str] | None, record: Record, curtailed: bool) -> None:
    if outcome is None and curtailed:
        pytest.skip("curtailed: not asked, since the gate could not open any more")
    if outcome is None:
        pytest.fail("not measured: the target was not asked", pytrace=False)
    for name, value in outcome.items():
        record(name, value)
    if outcome["verdict"] == "error":
        pytest.fail(f"not measured: {outcome['detail']}", pytrace=False)


def _fail_for(reasons: Sequence[str]) -> None:
    if reasons:
        pytest.fail("\n".join(reasons), pytrace=False)


@dataclass(slots=True)
class Measurement:
    """What the controller measured; the verdict comes later, from the tests that reported."""

    outcomes: list[Outcome] = field(default_factory=list)
    timing: Timing | None = None
    retention: Rate | None = None
    reasons: list[str] = field(default_factory=list)  # beyond cases and metrics
    notes: list[str] = field(default_factory=list)
    curtailed: bool = False


class Controller:
    """Measures before the tests, collects their reports, decides after them. Absent in xdist's workers."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        from harness.prompt import load_prompt
        from harness.targets import Decoding

        self.config = config
        self.settings = settings
        self.target = settings.target()
        self.target.say = self._warn  # what asking costs, before and after
        self.expected = settings.expected()
        self.chosen = {_escape(case.id): case for case in settings.chosen()}
        self.prompt: PromptSpec = load_prompt()
        self.decoding = Decoding()
        self.folder = Path(tempfile.mkdtemp(prefix="toolgate-"))
        self.measurement: Measurement | None = None
        self.reported: set[str] = set()
        self.report: Report | None = None
        self.stopped = False
        self._judged: tuple[Decision, Metrics] | None = None
        self._shown: Mapping[str, Mapping[str, str]] = {}
        self._metrics: Mapping[str, list[str]] = {}

    # Evaluation: without xdist the tests ask the controller itself.

    def check_case(self, case: Case, record: Record) -> None:
        """Report the outcome of a case."""
        curtailed = self.measurement is not None and self.measurement.curtailed
        _report_case(self._shown.get(case.id), record, curtailed)

    def check_suite(self) -> None:
        """Proven before the target was asked."""

    def check_metric(self, name: str) -> None:
        """Fail with the reasons of a metric."""
        _fail_for(self._metrics.get(name, []))

    # Before the tests.

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Without xdist: measure the cases that were collected and not deselected."""
        if self.config.option.collectonly or not session.items:
            return
        if session.testsfailed and not self.config.option.continue_on_collection_errors:
            return
        self._measure(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Xdist: tell a worker where to read."""
        node.workerinput[FOLDER] = str(self.folder)
        node.workerinput[ARGS] = [str(arg) for arg in self.config.args]

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        """Xdist: the first worker's collection says what to measure; no test starts before this returns."""
        if self.measurement is None:
            self._measure(ids)

    def _measure(self, node_ids: Iterable[str]) -> None:
        names = {_param(node_id) for node_id in node_ids}
        cases = [case for name, case in self.chosen.items() if name in names]
        with _usage_errors():
            if cases:
                self._prove(cases)
            measurement = self._ask(cases) if cases else Measurement()
            judged = self._decide(measurement, measurement.outcomes)
            if measurement.outcomes:
                self._note_attempt(measurement, *judged)
        # All that is known now stays until the end: the collector need not walk over it for every test that follows.
        gc.freeze()
        self.measurement, self._judged = measurement, judged
        self._shown = {outcome.case_id: _properties(outcome) for outcome in measurement.outcomes}
        metrics: dict[str, list[str]] = {}
        for row in judged[0].rows:
            if row.reason:
                metrics.setdefault(row.metric, []).append(row.reason)
        self._metrics = metrics
        content = json.dumps({"cases": self._shown, "metrics": metrics, "curtailed": measurement.curtailed})
        (self.folder / SHARED).write_text(content, encoding="utf-8")

    def _note_attempt(self, measurement: Measurement, decision: Decision, metrics: Metrics) -> None:
        """Write the attempt down before anyone hears of its result, and say how many there were."""
        from datetime import UTC, datetime

        from harness.ledger import Ledger, count_consultations, count_suites, read_marks, show_consultations

        asked = {outcome.case_id for outcome in measurement.outcomes}
        ledger = Ledger(self.settings.ledger_path())
        marks = read_marks(self.target.spec.adapter, self.target.identity)
        ledger.append(
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            by="pytest",
            profile=self.settings.profile_name,
            opened=decision.open,
            marks=marks,
            suites=count_suites(case for case in self.expected if case.id in asked),
        )
        found = count_consultations(ledger.read(), marks, self.settings.profile(), metrics)
        measurement.notes.append(show_consultations(found))

    def _prove(self, cases: Sequence[Case]) -> None:
        from harness.cases import prove_case, prove_suite
        from harness.errors import DataError

        problems = [line for case in cases for line in prove_case(case, self.prompt.toolset)]
        problems += prove_suite(self.settings.cases(), self.prompt.toolset)
        if problems:
            more = f" ({len(problems) - 1} more; pytest evals/ lists them)" if len(problems) > 1 else ""
            raise DataError(f"The cases do not prove themselves: {problems[0]}{more}")

    def _ask(self, cases: Sequence[Case]) -> Measurement:
        from harness import runner
        from harness.errors import TargetError
        from harness.gate import LATENCY
        from harness.metrics import GENERAL_SUITE, count_rate
        from harness.store import ReplyStore

        # measure_* and prove_* take the same arguments as run_cases.
        asking = (self.target, self.prompt, ReplyStore(self.settings.store_path()), self.decoding)
        phases: set[str] = set()
        with self.target, _ProgressLine(self.config) as show:

            def on_progress(progress: Progress) -> None:
                phases.add(progress.phase)
                show(progress)

            if self.settings.curtail:
                found = self._curtail(cases, asking, on_progress)
                if found.curtailed:
                    return found
            else:
                found = Measurement(runner.run_cases(cases, *asking, on_progress=on_progress))
            alive = runner.prove_adapter_acts(cases, *asking, on_progress=on_progress)
            if alive is not None:
                found.reasons += alive.reasons
                found.notes.append(f"The adapter changes {alive.differing} of {alive.probes} probe replies.")
            general = [case for case in cases if case.suite == GENERAL_SUITE]
            try:
                kept = runner.measure_retention(general, *asking, on_progress=on_progress) if general else None
            except TargetError as error:
                found.reasons.append(str(error))
            else:
                if kept is not None:
                    found.retention = count_rate(kept.kept, kept.total)
            if LATENCY in self.settings.profile().metrics:
                try:
                    self._time(found, cases, asking, on_progress, generated=bool(phases - {"waiting"}))
                except TargetError as error:
                    found.reasons.append(f"latency: a request failed: {error}")
        return found

    def _curtail(self, cases: Sequence[Case], asking: Any, on_progress: OnProgress) -> Measurement:
        from harness.curtail import count_failures, run_curtailed

        runs = count_failures(self.settings.store_path() / "runs")
        short = run_curtailed(cases, *asking, profile=self.settings.profile(), failures=runs, on_progress=on_progress)
        found = Measurement(list(short.outcomes), reasons=list(short.reasons), curtailed=short.stopped)
        if short.stopped:
            found.notes.append("Curtailed: the rates are those of the cases asked, past failures first.")
        return found

    def _time(
        self, found: Measurement, cases: Sequence[Case], asking: Any, on_progress: OnProgress, *, generated: bool
    ) -> None:
        """Latency; a run that generates nothing may repeat what the same run measured on this machine, and says so."""
        from datetime import UTC, datetime

        from harness import runner

        machine = runner.describe_machine()
        # What a server takes is not decided by our digests, and a recording is read in no time.
        if self.target.name == "local" and not generated and not self.config.option.measure_latency:
            folder = self._run_folder([case.id for case in cases])
            found.timing = runner.read_timing(folder, machine)
            if found.timing is not None:
                found.notes.append(
                    f"latency_p95 was measured on this machine at {found.timing.measured} by run {folder.name}, "
                    "which asked the same; this run generated nothing. --measure-latency measures it anew."
                )
                return
        seconds = runner.measure_latency(cases, *asking, on_progress=on_progress)
        found.timing = runner.Timing(tuple(seconds), datetime.now(UTC).isoformat(timespec="seconds"), machine)

    # While the tests run and after them.

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A case is measured when the report of its test has arrived."""
        if report.when == "call":
            self.reported.update(str(value) for name, value in report.user_properties if name == "case")

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Xdist stops after -x or --maxfail by an interruption of its own kind; a worker's Ctrl-C has that kind too."""
        self.stopped = excinfo.type.__module__.startswith("xdist.") and "stopping after" in str(excinfo.value)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Decide, write the run, set the exit status."""
        from harness.errors import ToolgateError

        if self.stopped:  # as without xdist
            exitstatus = session.exitstatus = pytest.ExitCode.TESTS_FAILED
        shutil.rmtree(self.folder, ignore_errors=True)
        kept = (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR)
        if self.config.option.collectonly or exitstatus in kept[1:]:
            return
        measurement = self.measurement or Measurement()
        arrived = [outcome for outcome in measurement.outcomes if outcome.case_id in self.reported]
        try:
            whole = self._judged is not None and len(arrived) == len(measurement.outcomes)
            decision, metrics = self._judged if self._judged and whole else self._decide(measurement, arrived)
            self.report = self._build_report(measurement, arrived, decision, metrics)
            self._write_run(arrived)
        except ToolgateError as error:  # a run that could not be written opens no gate, and the summary must say so
            self._refuse(str(error))
            session.exitstatus = GATE_CLOSED
            return
        if exitstatus not in kept and not decision.open:
            session.exitstatus = GATE_CLOSED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The table, the failures and the verdict."""
        if self.report is not None:
            from harness.report import render_terminal

            terminalreporter.section("toolgate")
            terminalreporter.write_line(render_terminal(self.report))

    def _decide(self, measurement: Measurement, outcomes: Sequence[Outcome]) -> tuple[Decision, Metrics]:
        from dataclasses import replace

        from harness.gate import decide
        from harness.metrics import compute_metrics

        metrics = compute_metrics(
            outcomes,
            latencies=measurement.timing.seconds if measurement.timing else None,
            adapter_bytes=self.target.adapter_bytes,
            retention=measurement.retention,
        )
        # Only a local model without an adapter is known to be a base on its own; elsewhere an adapter may be served.
        has_adapter = self.target.spec.adapter is not None or self.target.name != "local"
        decision = decide(
            [case.id for case in self.expected], outcomes, metrics, self.settings.profile(), has_adapter=has_adapter
        )
        return replace(decision, reasons=(*decision.reasons, *measurement.reasons)), metrics

    def _build_report(
        self, measurement: Measurement, outcomes: Sequence[Outcome], decision: Decision, metrics: Metrics
    ) -> Report:
        from harness.report import Report

        cases = {case.id: case for case in self.settings.cases()}
        return Report(metrics, outcomes, cases, decision, self.about, tuple(measurement.notes))

    @cached_property
    def about(self) -> Mapping[str, str]:
        """What is asked, by digests: all that decides the replies, and so the name of the run's folder."""
        from harness.cases import digest_cases

        return {
            "profile": self.settings.profile_name,
            "cases": digest_cases(self.expected),
            "prompt": self.prompt.digest,
            "toolset": self.prompt.toolset.digest,
            "max_tokens": str(self.decoding.max_tokens),
            **self.target.identity,
        }

    def _run_folder(self, case_ids: Sequence[str]) -> Path:
        """The same question has the same folder; another adapter, another case or a filter has another one."""
        from harness.toolset import digest_json

        name = digest_json([dict(self.about), list(case_ids)])
        return self.settings.store_path() / "runs" / name.removeprefix("sha256:")[:16]

    def _refuse(self, reason: str) -> None:
        from dataclasses import replace

        report = self.report
        if report is None or report.decision is None:
            self._warn(reason)
            return
        decision = replace(report.decision, reasons=(*report.decision.reasons, reason))
        self.report = replace(report, decision=decision)

    def _write_run(self, outcomes: Sequence[Outcome]) -> None:
        from harness.cases import case_dict
        from harness.report import decision_dict, latency_dict, metrics_dict, render_html, render_markdown
        from harness.runner import LATENCY_FILE, write_run

        report, timing = self.report, self.measurement.timing if self.measurement else None
        if report is None or not outcomes:
            return
        asked = [report.cases[outcome.case_id] for outcome in outcomes]
        lines = "".join(json.dumps(case_dict(case)) + "\n" for case in asked)
        documents = {"metrics.json": metrics_dict(report), "cases.jsonl": lines}
        summary = render_markdown(report)
        varying = {
            "decision.json": decision_dict(report),
            LATENCY_FILE: latency_dict(report.metrics) | (timing.as_dict() if timing else {}),
            "summary.md": summary,
            "report.html": render_html(report),
        }
        folder = self._run_folder([outcome.case_id for outcome in outcomes])
        write_run(folder, outcomes, documents, about=report.about, varying=varying)
        self._warn(f"run: {folder}")
        step = os.environ.get("GITHUB_STEP_SUMMARY")
        if step:
            try:
                with Path(step).open("a", encoding="utf-8") as file:
                    file.write(summary)
            except OSError as error:
                self._warn(f"Cannot append to $GITHUB_STEP_SUMMARY ({step}): {error.strerror}.")

    def _warn(self, line: str) -> None:
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(line)


class _ProgressLine:
    """One line about what the target is doing; on a terminal it is rewritten, in a log there is a line per phase."""

    WIDTH = 30

    def __init__(self, config: pytest.Config) -> None:
        self._reporter = config.pluginmanager.get_plugin("terminalreporter")
        self._live = self._reporter is not None and self._reporter.isatty
        self._phase = ""

    def __enter__(self) -> Callable[[Progress], None]:
        return self._show

    def __exit__(self, *exc: object) -> None:
        if self._phase and self._live and self._reporter is not None:
            self._reporter.write_line("")

    def _show(self, progress: Progress) -> None:
        if self._reporter is None or progress.phase == "waiting":
            return
        if self._live:
            full = self.WIDTH * progress.done // max(1, progress.total)
            bar = "#" * full + "-" * (self.WIDTH - full)
            self._reporter.rewrite(f"{progress.phase} [{bar}] {progress.done}/{progress.total}", erase=True)
        elif progress.phase != self._phase:
            self._reporter.ensure_newline()
            self._reporter.write_line(f"{progress.phase}: {progress.total} replies")
        self._phase = progress.phase


@contextmanager
def _collect_errors() -> Iterator[None]:
    """Errors raised on purpose become an error of the file that is collected: one line."""
    from harness.errors import ToolgateError

    try:
        yield
    except ToolgateError as error:
        raise pytest.Collector.CollectError(str(error)) from None


@contextmanager
def _usage_errors() -> Iterator[None]:
    """Errors raised on purpose become pytest's usage errors: one line, exit status 4."""
    from harness.errors import ToolgateError

    try:
        yield
    except ToolgateError as error:
        raise pytest.UsageError(str(error)) from None


def _properties(outcome: Outcome) -> dict[str, str]:
    """An outcome as a test's properties: printable text, for JUnit is XML."""
    from harness.report import show_text

    found = {"case": outcome.case_id, "suite": outcome.suite, "verdict": outcome.verdict.value}
    if outcome.error_type is not None:
        found["error_type"] = outcome.error_type.value
        found["detail"] = show_text(outcome.detail, 400)
    return found


def _param(node_id: str) -> str:
    """The case in ``…::test_case[selection-001]``; empty for other tests."""
    head, _, rest = node_id.rpartition("::")
    return rest[len(CASE_TEST) + 1 : -1] if head and rest.startswith(f"{CASE_TEST}[") else ""


def _escape(case_id: str) -> str:
    """A case's id as pytest writes it in a test's id."""
    return case_id.encode("unicode_escape").decode("ascii")
