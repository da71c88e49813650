"""The table of targets, and how one is checked and loaded.

A target is one file and one line in TARGETS. It is imported on use, so that asking one never imports the libraries of
another; ``check_spec`` and ``LazyTarget.identity`` import no torch at all.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Self, cast

from harness.errors import SetupError
from harness.targets.base import Completion, Decoding, Prompt, Target, TargetSpec

__all__ = [
    "TARGETS",
    "Completion",
    "Decoding",
    "LazyTarget",
    "Prompt",
    "Target",
    "TargetSpec",
    "check_spec",
    "load_target",
    "target_class",
]

TARGETS: dict[str, str] = {
    "cloudflare": "harness.targets.cloudflare:CloudflareTarget",
    "local": "harness.targets.local:LocalTarget",
    "openai": "harness.targets.openai_api:OpenAITarget",
    "replay": "harness.targets.replay:ReplayTarget",
    "worker": "harness.targets.worker:WorkerTarget",
}


def target_class(name: str) -> type[Target]:
    """The class behind a name of the table.

    Raises:
        SetupError: no target has that name.
    """
    if name not in TARGETS:
        raise SetupError(f"Unknown target {name!r}. Known targets: {', '.join(sorted(TARGETS))}.")
    module, _, attribute = TARGETS[name].partition(":")
    return cast("type[Target]", getattr(import_module(module), attribute))


def check_spec(spec: TargetSpec) -> TargetSpec:
    """The specification with defaults filled in, after every check that needs no model and no network.

    Raises:
        SetupError: the target is unknown, or what it is given is missing, broken or of another kind.
    """
    return target_class(spec.name).resolve(spec)


def load_target(spec: TargetSpec) -> Target:
    """Build a target; slow for a local model.

    Raises:
        SetupError: as check_spec, and what only loading can find.
    """
    return target_class(spec.name)(check_spec(spec))


class LazyTarget:
    """A target that is loaded when it is first asked: a run whose replies are all stored never loads it."""

    def __init__(self, spec: TargetSpec) -> None:
        self._class = target_class(spec.name)
        self.spec = self._class.resolve(spec)
        self.say: Callable[[str], None] = _print_line  # what a target has to say of itself: its cost before and after
        self._target: Target | None = None
        self._identity: Mapping[str, str] | None = None

    @property
    def name(self) -> str:
        """The target's name in the table."""
        return self.spec.name

    @property
    def remember(self) -> bool:
        """True where replies belong into the store."""
        return self._class.remember

    @property
    def identity(self) -> Mapping[str, str]:
        """Digests, names and versions that decide a reply; read once."""
        if self._identity is None:
            self._identity = dict(self._class.identify(self.spec))
        return self._identity

    @property
    def loaded(self) -> bool:
        """True once the target was needed."""
        return self._target is not None

    @property
    def adapter_bytes(self) -> int | None:
        """Size of adapter_model.safetensors, None without an adapter at hand; loads nothing."""
        if self.spec.adapter is None:
            return None
        weights = self.spec.adapter / "adapter_model.safetensors"
        return weights.stat().st_size if weights.is_file() else None

    def load(self) -> Target:
        """The target, built on the first call."""
        if self._target is None:
            self._target = self._class(self.spec)
            if hasattr(self._target, "say"):
                self._target.say = self.say
        return self._target

    def without_adapter(self) -> LazyTarget | None:
        """The base model alone, as a target of its own; None where that cannot be asked."""
        spec = self._class.without_adapter(self.spec)
        if spec is None:
            return None
        base = LazyTarget(spec)
        base.say = self.say
        return base

    def close(self) -> None:
        """Give the target's memory and connections back; it can be loaded again."""
        if self._target is not None:
            self._target.close()
            self._target = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _print_line(line: str) -> None:
    print(line, file=sys.stderr)
