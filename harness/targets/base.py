"""What a target is: something that answers prompts.

Covers: the values that go in and come out, the specification of a target, the protocol that every target meets.
Does not cover: which targets exist (``harness.targets``), storing replies (``harness.store``), scoring.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Protocol, Self

from harness.errors import SetupError, TargetError
from harness.types import Message


@dataclass(frozen=True, slots=True)
class Decoding:
    """How a reply is drawn: always greedily; a gate knows no temperature. ``seed`` is for servers that want one."""

    max_tokens: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise SetupError(f"max_tokens is {self.max_tokens}; it must be at least 1 (256 is usual).")


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question as it is asked: ``messages`` with the system prompt for servers, ``text`` for local models."""

    messages: tuple[Message, ...]
    text: str  # the same conversation in the Llama 3 format
    case_id: str = ""  # for recordings; never part of what the model reads

    @property
    def digest(self) -> str:
        """``sha256:<hex>`` of the text."""
        return "sha256:" + hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Completion:
    """A reply as it came, without its end-of-turn token. ``truncated``: it stopped at ``max_tokens``."""

    text: str
    truncated: bool
    seconds: float  # as this request took it; in a batch, its share. Only ``time_one`` measures latency
    tokens: int  # as generated, the end-of-turn token included


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """Which target is asked, with which adapter on which base. ``options`` are the target's own (url, file …)."""

    name: str
    adapter: Path | None = None
    base: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    def with_options(self, **options: str) -> TargetSpec:
        """The same specification with some options set."""
        return replace(self, options={**self.options, **options})


class Target(Protocol):
    """Answers prompts. Built by ``load_target`` from a checked specification; everything slow happens in ``__init__``.

    The three class methods are cheap: they read small files and headers, and never load a model.
    """

    remember: ClassVar[bool]  # replies go into the store; False where the target itself is a recording
    name: str
    identity: Mapping[str, str]
    adapter_bytes: int | None  # size of adapter_model.safetensors, None without an adapter at hand

    def __init__(self, spec: TargetSpec) -> None: ...

    @classmethod
    def resolve(cls, spec: TargetSpec) -> TargetSpec:
        """The specification with its defaults filled in; SetupError where it asks for what is not there."""
        ...

    @classmethod
    def identify(cls, spec: TargetSpec) -> Mapping[str, str]:
        """All that decides a reply besides prompt and decoding: digests, names, versions. Part of the store's key."""
        ...

    @classmethod
    def without_adapter(cls, spec: TargetSpec) -> TargetSpec | None:
        """The same target with the base model alone; None where there is no adapter or no way to leave it out."""
        ...

    def prepare(self, prompts: Sequence[Prompt]) -> None:
        """Compute ahead what these prompts share, as a server's prefix cache would hold it."""
        ...

    def generate(self, prompts: Sequence[Prompt], decoding: Decoding) -> Iterator[tuple[int, Completion | TargetError]]:
        """Answer all prompts, in any order; each pair names the prompt's index, and comes as soon as it is known."""
        ...

    def time_one(self, prompt: Prompt, decoding: Decoding) -> Completion:
        """Answer one prompt alone; ``seconds`` is what a user waits for the whole reply. Raises TargetError."""
        ...

    def close(self) -> None:
        """Give memory and connections back."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


class ClosingTarget:
    """``with`` for targets that have nothing to give back; the others override ``close``."""

    def close(self) -> None:
        """Nothing to give back."""

    def prepare(self, prompts: Sequence[Prompt]) -> None:
        """Nothing to compute ahead."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def check_options(spec: TargetSpec, known: Mapping[str, str]) -> None:
    """Refuse options that the target does not know; ``known`` maps each to what it means.

    Raises:
        SetupError: an option is unknown; the message lists the known ones.
    """
    for name in spec.options:
        if name not in known:
            listed = "; ".join(f"{key} ({meaning})" for key, meaning in sorted(known.items()))
            raise SetupError(f"Target {spec.name!r} has no option {name!r}. Its options: {listed}.")


def read_switch(spec: TargetSpec, name: str) -> bool:
    """An option that is on or off; absent is off.

    Raises:
        SetupError: the value is neither.
    """
    value = spec.options.get(name, "false").lower()
    if value not in {"true", "false", "1", "0", "yes", "no"}:
        raise SetupError(f"Option {name}={spec.options[name]!r} is not a switch. Write {name}=true or {name}=false.")
    return value in {"true", "1", "yes"}


def read_number(spec: TargetSpec, name: str, default: int) -> int:
    """A positive whole number among the options.

    Raises:
        SetupError: the value is no such number.
    """
    value = spec.options.get(name, str(default))
    if not value.isdecimal() or int(value) < 1:
        raise SetupError(f"Option {name}={value!r} is not a positive whole number. Write e.g. {name}={default}.")
    return int(value)
