"""Workers AI over REST: the served base model, alone or with an uploaded adapter.

Covers: our rendered prompt with ``raw``, the fine-tune found and tied to the adapter's digest, many requests at once
under the platform's limit, what it costs, said before and after.
Does not cover: the transport and its repetitions (workers_ai), whether the adapter acts (deploy probe), the path that
users take (worker).

A fine-tune cannot be changed after its upload, so its id stands for its bytes in the store's key; replies that are
stored are not asked, and not paid, again. Whether a reply stopped at max_tokens is not told by the API: it is taken as
cut when it has that many tokens. 429 comes in three kinds: code 3036, today's neurons are used (nothing more is asked),
3040, no capacity (that request is repeated), and too many requests a minute (all threads wait).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from harness.attestation import digest_files, hash_folder
from harness.errors import SetupError, TargetError
from harness.targets.adapter_folder import WEIGHTS, digest_adapter, read_adapter
from harness.targets.base import (
    ClosingTarget,
    Completion,
    Decoding,
    Prompt,
    TargetSpec,
    check_options,
    read_number,
    read_switch,
)
from harness.targets.neurons import Meter, estimate_cost
from harness.targets.remote import GoneError, Pace, ask_all
from harness.targets.workers_ai import MODEL, Answer, Finetune, WorkersAIReader, check_model, load_credentials
from harness.targets.workers_ai_codes import ApiError

OPTIONS = {
    "lora": "name or id of the fine-tune, or none for the base alone; default: the one that deploy uploaded",
    "model": "the served base; default: the fine-tune's",
    "concurrency": "requests at once",
    "per_minute": "most requests in any minute; the platform's limit is 300",
    "timeout": "seconds to wait for a reply",
    "dry": "true: estimate the cost and ask nothing",
}
NO_LORA = "none"
CONCURRENCY, PER_MINUTE, TIMEOUT = 8, 280, 120
RETRIES, BACKOFF = 6, 1.0  # 1 + 2 + 4 + 8 + 16 + 32 s outlast a limit per minute
# As deploy.export names fine-tunes: the digest of the promoted adapter, then that of the bytes sent.
NAME = re.compile(r"toolgate-(?P<adapter>[0-9a-f]{12})-[0-9a-f]{8}(?:-[a-z0-9]{1,16})?")


class CloudflareTarget(ClosingTarget):
    """A client of one served model with one fine-tune, or with none."""

    remember: ClassVar[bool] = True

    def __init__(self, spec: TargetSpec) -> None:
        self.name = spec.name
        self.spec = spec
        self.identity: Mapping[str, str] = self.identify(spec)
        self.model = self.identity["model"]
        self.adapter_bytes = (spec.adapter / WEIGHTS).stat().st_size if spec.adapter else None
        self.meter = Meter(self.model)
        self.say: Callable[[str], None] = lambda line: None
        self._lora = self.identity.get("finetune")  # the id: a name may be given to another one
        self._dry = read_switch(spec, "dry")
        self._concurrency = read_number(spec, "concurrency", CONCURRENCY)
        self._pace = Pace(read_number(spec, "per_minute", PER_MINUTE), self._concurrency)
        self._api = _open_client(spec, self._pace)

    @classmethod
    def resolve(cls, spec: TargetSpec) -> TargetSpec:
        """Check options, credentials and the adapter's folder; asks nobody."""
        check_options(spec, OPTIONS)
        if spec.base is not None:
            raise SetupError(f"Target {spec.name!r} takes no --base. Name the served model: --model {MODEL}")
        if "model" in spec.options:
            check_model(spec.options["model"])
        for name, default in (("concurrency", CONCURRENCY), ("per_minute", PER_MINUTE), ("timeout", TIMEOUT)):
            read_number(spec, name, default)
        read_switch(spec, "dry")
        load_credentials()
        if spec.adapter is not None:
            read_adapter(spec.adapter)
            if spec.options.get("lora") == NO_LORA:
                raise SetupError("An adapter and lora=none do not go together. Leave one of them out.")
        return spec

    @classmethod
    def identify(cls, spec: TargetSpec) -> Mapping[str, str]:
        """Where, which model, which fine-tune; asks the API which fine-tunes there are.

        Raises:
            SetupError: there is no such fine-tune, several fit, or it is of another adapter or model.
            ApiError: the API refused or is out of reach.
        """
        model, lora = spec.options.get("model"), spec.options.get("lora")
        identity = {"target": "cloudflare", "host": load_credentials().host}
        if lora == NO_LORA:
            return {**identity, "model": model or MODEL, "lora": NO_LORA, "adapter": "none"}
        with _open_client(spec) as api:
            found = _find_finetune(api.list_finetunes(), spec)
        if model is not None and found.model != model:
            raise SetupError(f"{found.name} was made for {found.model}, not for {model}. Leave the option model out.")
        adapter = digest_adapter(spec.adapter) if spec.adapter else f"finetune {found.id}"
        return {**identity, "model": found.model, "lora": found.name, "finetune": found.id, "adapter": adapter}

    @classmethod
    def without_adapter(cls, spec: TargetSpec) -> TargetSpec | None:
        """The served base alone."""
        if spec.options.get("lora") == NO_LORA:
            return None
        return replace(spec, adapter=None, options={**spec.options, "lora": NO_LORA})

    def generate(self, prompts: Sequence[Prompt], decoding: Decoding) -> Iterator[tuple[int, Completion | TargetError]]:
        """Ask for all replies, some at once; says what it will cost. Stops where no reply can come any more."""
        estimate = estimate_cost(self.model, [prompt.text for prompt in prompts], decoding.max_tokens)
        self.say(f"estimate for {self.model}, adapter {self.identity['lora']}: {estimate}")
        if self._dry:
            return iter([(index, _asked_nothing()) for index in range(len(prompts))])
        ask = partial(self.time_one, decoding=decoding)
        return ask_all(prompts, ask, self._concurrency, give_up=2 * self._concurrency)

    def time_one(self, prompt: Prompt, decoding: Decoding) -> Completion:
        """One request alone; the seconds hold repetitions, but not the wait that keeps us under the limit."""
        if self._dry:
            raise _asked_nothing()
        answer = self.ask(prompt, decoding)
        cut = answer.completion_tokens >= decoding.max_tokens
        return Completion(answer.text, cut, answer.seconds, answer.completion_tokens)

    def ask(self, prompt: Prompt, decoding: Decoding) -> Answer:
        """One request with its usage.

        Raises:
            TargetError: no reply came; a GoneError where none can come for other prompts, either.
        """
        inputs: dict[str, object] = {
            "prompt": prompt.text,
            "raw": True,
            "max_tokens": decoding.max_tokens,
            "temperature": 0,
            "seed": max(1, decoding.seed),  # the API takes no 0
        }
        if self._lora is not None:
            inputs["lora"] = self._lora
        try:
            answer = self._api.run(self.model, inputs)
        except ApiError as error:
            raise GoneError(str(error)) if error.final else TargetError(str(error)) from None
        neurons = self.meter.add(answer.prompt_tokens, answer.completion_tokens, answer.neurons)
        return replace(answer, neurons=neurons)

    def close(self) -> None:
        """Say what was spent, and close the connections."""
        if self.meter.replies:
            self.say(f"spent: {self.meter}")
        self._api.close()


def adapter_part(name: str) -> str:
    """The beginning of the adapter's digest in a fine-tune's name; empty where the name is not deploy's."""
    match = NAME.fullmatch(name)
    return match["adapter"] if match else ""


def folder_part(adapter: Path) -> str:
    """The same of an adapter's folder; all of its files count.

    Raises:
        SetupError, DataError: the folder cannot be read, or holds a link.
    """
    return digest_files(hash_folder(adapter)).removeprefix("sha256:")[:12]


def _open_client(spec: TargetSpec, pace: Pace | None = None) -> WorkersAIReader:
    timeout = read_number(spec, "timeout", TIMEOUT)
    return WorkersAIReader(load_credentials(), retries=RETRIES, backoff=BACKOFF, timeout=timeout, pace=pace)


def _find_finetune(listed: Sequence[Finetune], spec: TargetSpec) -> Finetune:
    """The fine-tune that is meant: the one named, else the only one that deploy uploaded (of this adapter)."""
    wanted, model = spec.options.get("lora"), spec.options.get("model")
    digest = folder_part(spec.adapter) if spec.adapter else ""
    if wanted is not None:
        fitting = [one for one in listed if wanted in {one.name, one.id}]
    else:
        fitting = [one for one in listed if adapter_part(one.name) and model in {None, one.model}]
        fitting = [one for one in fitting if digest in {"", adapter_part(one.name)}]
    if len(fitting) != 1:
        what = f"are called {wanted!r}" if wanted is not None else f"fit {spec.adapter}" if digest else "are deploy's"
        known = ", ".join(one.name for one in fitting or listed) or "none"
        raise SetupError(
            f"{len(fitting)} fine-tunes {what}. The account has: {known}. "
            "Choose one with lora=NAME (--target-option lora=NAME), or upload: python -m deploy upload"
        )
    [found] = fitting
    if digest and adapter_part(found.name) not in {"", digest}:
        raise SetupError(f"{found.name} is of another adapter than {spec.adapter} ({digest}…). Give the promoted one.")
    return found


def _asked_nothing() -> TargetError:
    return TargetError("dry run: nothing was asked. Leave dry=true out to ask.")
