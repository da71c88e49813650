"""Recorded answers: a target that needs no model and no network.

Covers: known-bad runs in the tests, judging replies that were made elsewhere, the harness's own benchmarks.
Does not cover: making recordings; ``python -m harness run`` writes outcomes.jsonl, which can be replayed.

A recording is a JSON object ``{id: reply}`` or JSON Lines ``{"id": …, "reply": …}``. An id is a case's id or a prompt's
digest (``sha256:…``), and ``"*"`` answers everything else. A reply is a text, or an object with ``text`` and optionally
``seconds`` (the recorded latency), ``truncated`` and ``error`` (the target failed: nothing to score). A line of
outcomes.jsonl (``case_id``, ``text``) is one too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from harness.errors import DataError, SetupError, TargetError
from harness.targets.base import ClosingTarget, Completion, Decoding, Prompt, TargetSpec, check_options

OPTIONS = {
    "file": "the recording, JSON or JSON Lines",
    "base_file": "a recording of the base model without the adapter",
}
ANY = "*"


class ReplayTarget(ClosingTarget):
    """Answers from a recording. A prompt without a recorded reply is a TargetError: not measured, never a guess."""

    remember: ClassVar[bool] = False  # the recording is a store already

    def __init__(self, spec: TargetSpec) -> None:
        self.name = spec.name
        self.identity: Mapping[str, str] = self.identify(spec)
        self.adapter_bytes = _adapter_bytes(spec)
        self._file = Path(spec.options["file"])
        self._replies = read_recording(self._file)

    @classmethod
    def resolve(cls, spec: TargetSpec) -> TargetSpec:
        """Check that the recording can be read; an adapter folder is only asked for its size."""
        check_options(spec, OPTIONS)
        if "file" not in spec.options:
            raise SetupError("Target 'replay' needs a recording. Give the option file=REPLIES.json (or .jsonl).")
        for option in OPTIONS:
            if option in spec.options and not Path(spec.options[option]).is_file():
                raise SetupError(f"No recording at {spec.options[option]} ({option}). Give a JSON or JSON Lines file.")
        if spec.adapter is not None and not spec.adapter.is_dir():
            raise SetupError(f"No adapter folder at {spec.adapter}. Give a folder with adapter_model.safetensors.")
        return spec

    @classmethod
    def identify(cls, spec: TargetSpec) -> Mapping[str, str]:
        """The digest of the recording."""
        digest = hashlib.sha256(Path(spec.options["file"]).read_bytes()).hexdigest()
        return {"target": "replay", "recording": f"sha256:{digest}"}

    @classmethod
    def without_adapter(cls, spec: TargetSpec) -> TargetSpec | None:
        """The recording of the base model, where one is given."""
        if "base_file" not in spec.options:
            return None
        return TargetSpec(spec.name, options={"file": spec.options["base_file"]})

    def generate(self, prompts: Sequence[Prompt], decoding: Decoding) -> Iterator[tuple[int, Completion | TargetError]]:
        """The recorded replies, in order."""
        for index, prompt in enumerate(prompts):
            try:
                yield index, self.time_one(prompt, decoding)
            except TargetError as error:
                yield index, error

    def time_one(self, prompt: Prompt, decoding: Decoding) -> Completion:
        """The recorded reply with its recorded latency (0 where none was recorded)."""
        reply = self._replies.get(prompt.case_id)
        if reply is None:
            reply = self._replies.get(prompt.digest) or self._replies.get(ANY)
        if reply is None:
            raise TargetError(
                f"{self._file} has no reply for case {prompt.case_id!r} ({prompt.digest[:19]}…). Record one."
            )
        if "error" in reply:
            raise TargetError(str(reply["error"]))
        text = reply["text"]
        return Completion(
            text, bool(reply.get("truncated", False)), float(reply.get("seconds", 0.0)), len(text.split())
        )


def read_recording(path: Path) -> dict[str, Mapping[str, Any]]:
    """Read a recording; each reply comes back as an object with ``text`` or ``error``.

    Raises:
        SetupError: the file cannot be read.
        DataError: it is not a recording; the message names the file and the line or id.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(
            f"Cannot read the recording {path}: {error}. Give a JSON or JSON Lines file in UTF-8."
        ) from None
    if path.suffix != ".jsonl":
        try:
            whole = json.loads(text)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{error.lineno}: not JSON: {error.msg}. JSON Lines end in .jsonl.") from None
        if not isinstance(whole, dict):
            raise DataError(f"{path}: a recording is an object {{id: reply}}, not {type(whole).__name__}.")
        return {key: _reply(f"{path}: {key}", value) for key, value in whole.items()}
    replies: dict[str, Mapping[str, Any]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{where}: not JSON: {error.msg}.") from None
        if not isinstance(row, dict):
            raise DataError(f"{where}: expected an object with id and reply.")
        key = row.get("id", row.get("case_id"))
        if not isinstance(key, str):
            raise DataError(f'{where}: no id. Expected {{"id": …, "reply": …}}.')
        if key in replies:
            raise DataError(f"{where}: {key!r} is recorded twice. Keep one reply.")
        replies[key] = _reply(where, row.get("reply", row))
    return replies


def _reply(where: str, value: object) -> Mapping[str, Any]:
    if isinstance(value, str):
        return {"text": value}
    if not isinstance(value, dict) or not (isinstance(value.get("text"), str) or "error" in value):
        raise DataError(f"{where}: a reply is a text or an object with text (and seconds), not {value!r:.80}.")
    seconds = value.get("seconds", 0.0)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
        raise DataError(f"{where}: seconds is {seconds!r}; expected a number of at least 0.")
    return value


def _adapter_bytes(spec: TargetSpec) -> int | None:
    weights = spec.adapter / "adapter_model.safetensors" if spec.adapter else None
    return weights.stat().st_size if weights and weights.is_file() else None
