"""Adapters of a few bytes and receipts about them, for tests that need no model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.attestation import Setting, build_statement, describe_facts, hash_folder, seal_statement
from harness.gate import Decision, MetricRow, State
from harness.metrics import compute_metrics
from harness.report import Report
from harness.types import Outcome, ReplyKind, Verdict

TIME = "2026-03-02T09:00:00+00:00"
SETTINGS = [Setting("gate.toml", "1" * 64), Setting("cases/crud", "2" * 64), describe_facts("packages", {"a": "1"})]
TESTS = ["case/crud-001", "case/crud-002", "metric/tool_selection"]


def write_files(folder: Path, text: str = "weights") -> Path:
    """A folder that looks like an adapter to everything that only hashes."""
    (folder / "extra").mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (folder / "adapter_model.safetensors").write_text(text)
    (folder / "extra" / "README.md").write_text("A card.")
    return folder


def make_report(reasons: tuple[str, ...] = ()) -> Report:
    """Two cases, one of them answered wrong, and one bar."""
    verdicts = {"crud-001": Verdict.RIGHT, "crud-002": Verdict.WRONG}
    outcomes = [
        Outcome(name, "crud", verdict, None, "", ReplyKind.NONE, (), (), verdict is Verdict.RIGHT, None, 0, 0)
        for name, verdict in verdicts.items()
    ]
    metrics = compute_metrics(outcomes)
    row = MetricRow("tool_selection", 1, 2, 0.5, 0.1, 0.4, State.MET, reason=reasons[0] if reasons else "")
    return Report(metrics, outcomes, {}, Decision("release", reasons, (row,)), {"target": "local"})


def make_statement(folder: Path, report: Report | None = None, evidence: str = "bytes") -> dict[str, Any]:
    """A statement about the files of a folder."""
    return build_statement(
        hash_folder(folder),
        report or make_report(),
        SETTINGS,
        liveness={"probes": 2, "differing": 2},
        evidence=evidence,
        time=TIME,
    )


def make_receipt(folder: Path, signer: Any = None, **changes: Any) -> bytes:
    """The bytes of a receipt about a folder."""
    return seal_statement(make_statement(folder, **changes), signer)
