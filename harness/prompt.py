"""From a case to the text that a Llama 3 model reads: the only place where prompt, tools and question meet.

Covers: the system prompt, the message list, the Llama 3 text format, neutralising special tokens in foreign text.
Does not cover: tokens (targets and training tokenise this text with add_special_tokens=False).

The format is Meta's (llama3_2 prompt format): header, blank line, stripped content, ``<|eot_id|>``. Unlike the official
template no date is stamped in, and tool results keep their JSON as it is; a call is plain assistant content.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from harness.errors import SetupError
from harness.toolset import TOOLSETS, Toolset, load_toolset
from harness.types import Message

BOS = "<|begin_of_text|>"
EOT = "<|eot_id|>"
# The official template's name of the role that carries tool results.
ROLE_HEADERS = {"system": "system", "user": "user", "assistant": "assistant", "tool": "ipython"}
SYSTEM_PROMPT = TOOLSETS / "system_prompt.md"
SPECIAL = re.compile(r"<\|(?=[A-Za-z0-9_]+\|>)")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, slots=True)
class PromptSpec:
    """A system prompt and the tools in it; training, evaluation and the Worker share one."""

    template: str
    toolset: Toolset

    @property
    def digest(self) -> str:
        """``sha256:<hex>`` over the template and the tool docs: what the model reads, less the time."""
        text = self.template + "\0" + self.toolset.docs()
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    def system(self, now: str) -> str:
        """The system prompt at a given time (ISO 8601 with offset); its last line is ``Current time: …``."""
        return self.template.replace("{tool_docs}", self.toolset.docs()).replace("{now}", f"{now} ({weekday(now)})")

    def messages(self, messages: Iterable[Message], now: str) -> list[Message]:
        """The conversation as it is sent: system prompt first, special-token strings neutralised."""
        clean = [Message(role=m["role"], content=neutralise(m["content"])) for m in messages]
        return [Message(role="system", content=self.system(now)), *clean]

    def render(self, messages: Iterable[Message], now: str) -> str:
        """The whole prompt as Llama 3 text, ending where the assistant's turn begins."""
        return render_llama3(self.messages(messages, now))


def load_prompt(toolset: Toolset | None = None, path: Path = SYSTEM_PROMPT) -> PromptSpec:
    """Read a system prompt (``{tool_docs}`` and ``{now}`` are its only placeholders) and join it with a toolset.

    Raises:
        SetupError: the file is missing, lacks a placeholder, or does not end with the line of the time.
    """
    try:
        template = path.read_text(encoding="utf-8").replace("\r\n", "\n").strip()
    except OSError as error:
        raise SetupError(
            f"Cannot read the system prompt {path}: {error.strerror}. Put a system_prompt.md there."
        ) from None
    for placeholder in ("{tool_docs}", "{now}"):
        if template.count(placeholder) != 1:
            found = template.count(placeholder)
            raise SetupError(f"{path} holds {placeholder} {found} times; it must stand there once.")
    if not template.endswith("\nCurrent time: {now}"):
        raise SetupError(
            f"{path} must end with the line 'Current time: {{now}}', so that all before it is one shared prefix."
        )
    return PromptSpec(template, toolset or load_toolset())


def render_llama3(messages: Sequence[Message], *, add_generation_prompt: bool = True) -> str:
    """Llama 3 text of a conversation with exactly one BOS.

    Equal to the official Llama 3.2 template for plain content, less the date block that the template adds to the
    system turn. Raises SetupError for a role that the format does not know.
    """
    parts = [BOS]
    for message in messages:
        parts += [_header(message["role"]), message["content"].strip(), EOT]
    if add_generation_prompt:
        parts.append(_header("assistant"))
    return "".join(parts)


def neutralise(text: str) -> str:
    """Foreign text in which no special token can be read: a space is put into ``<|name|>``."""
    return SPECIAL.sub("< |", text)


def has_special_tokens(text: str) -> bool:
    """True where a text holds a string such as ``<|eot_id|>``; data with one is refused."""
    return SPECIAL.search(text) is not None


def weekday(now: str) -> str:
    """The English weekday of an ISO 8601 time; independent of the locale.

    Raises:
        SetupError: ``now`` is not ISO 8601 with an offset.
    """
    try:
        moment = datetime.fromisoformat(now)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise SetupError(f"{now!r} is not a time with an offset. Expected e.g. 2026-03-02T09:00:00+00:00.")
    return WEEKDAYS[moment.weekday()]


def _header(role: str) -> str:
    if role not in ROLE_HEADERS:
        raise SetupError(f"Unknown role {role!r}. Known roles: {', '.join(ROLE_HEADERS)}.")
    return f"<|start_header_id|>{ROLE_HEADERS[role]}<|end_header_id|>\n\n"
