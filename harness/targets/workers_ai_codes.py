"""The API's error codes in words, and the error that carries them.

Covers: what a code means and what to do about it; which codes mean no fine-tune, no route, no use in repeating.
Does not cover: asking (workers_ai).
"""

from __future__ import annotations

from harness.errors import ToolgateError

# Codes of the API: what they mean and what to do. From the documentation's table of errors, and seen live where noted.
CODES: dict[int, tuple[str, str]] = {
    1000: ("the token is not valid", "Make a new one with Workers AI Write and export it as CLOUDFLARE_API_TOKEN"),
    3003: ("the request is incomplete", "Report this with the command you gave"),
    3006: ("the request is too large", "Shorten the prompt"),
    3007: ("the model took too long", "Try again"),
    3008: ("the run was aborted", "Try again"),
    3023: ("the account is blocked from Workers AI", "Ask Cloudflare's support"),
    # Seen live, in no table: the base takes adapters, but not of these shapes.
    3030: ("the adapter's shapes do not fit this base", "Compare them: python -m deploy preflight ADAPTER"),
    3036: (
        "the 10,000 free neurons of today are used",
        "Wait until 00:00 UTC or use a Workers Paid plan; repeating does not help",
    ),
    # Seen live, in no table: 3037 in 2024 and 2025, 5033 in 2026.
    3037: ("no such fine-tune", "List them: python -m deploy list"),
    3039: (
        "the fine-tune lacks a file",
        "Its upload was never finished: python -m deploy prune, then upload again",
    ),
    3040: ("the platform is out of capacity", "Try again later"),
    3041: ("the model is private to another account", "Choose another with --model"),
    3042: ("no such model", "Choose one that preflight accepts with --model"),
    5004: ("base64 in the request is broken", "Report this with the command you gave"),
    5005: ("this model takes no LoRA", "Choose one that preflight accepts with --model"),
    # Seen live: 5007 also answers a LoRA on llama-3.3-70b-instruct-fp8-fast, a model that does exist.
    5007: ("no such model (or none that takes a LoRA)", "Choose one that preflight accepts with --model"),
    5016: ("the terms of Llama 3.2 are not agreed to", "Agree to them once for this account, in the dashboard"),
    5018: ("the model is private to another account", "Choose another with --model"),
    5033: ("no such fine-tune", "List them: python -m deploy list"),
    5035: ("the model needs a paid plan", "Use a Workers Paid plan, or another --model"),
    7000: ("there is no such route", "Check CLOUDFLARE_API_BASE_URL; it ends with /client/v4"),
    7003: ("there is no such account or route", "Check CLOUDFLARE_ACCOUNT_ID"),
    9109: ("the token may not use this account", "Check CLOUDFLARE_ACCOUNT_ID and the token's accounts"),
    10000: (
        "the token is refused: wrong, expired, of another account, or without Workers AI Write",
        "Look at it in the dashboard, and check CLOUDFLARE_ACCOUNT_ID",
    ),
}
NO_FINETUNE = (3037, 5033)
NO_NEURONS, NO_CAPACITY = 3036, 3040
NO_ROUTE = (7000, 7001, 7003)
# What is wrong with one prompt, or passes: all other codes of the table would answer every prompt alike.
ONE_PROMPT = (3003, 3006, 3007, 3008, NO_CAPACITY, 5004)


class ApiError(ToolgateError):
    """The API refused or could not be asked. ``status`` and ``code`` are None where it gave none.

    ``what`` happened and how to ``fix`` it are each without a full stop. ``sent`` is False where the request certainly
    never reached the API.
    """

    def __init__(
        self, what: str, fix: str, *, status: int | None = None, code: int | None = None, sent: bool = True
    ) -> None:
        super().__init__(f"{what}. {fix}.")
        self.what, self.fix = what, fix
        self.status = status
        self.code = code
        self.sent = sent

    @property
    def refused(self) -> bool:
        """True where the API answered and said no: asking again would give the same."""
        return self.status is not None and 400 <= self.status < 500 and self.status not in {408, 429}

    @property
    def final(self) -> bool:
        """True where any other prompt would meet the same: no connection, a refused token, no neurons, no adapter."""
        known = self.code in CODES and self.code not in ONE_PROMPT
        return not self.sent or self.status in {401, 403} or known

    @property
    def no_route(self) -> bool:
        """True where the API has no such operation."""
        return self.status == 405 or (self.status in {400, 404} and (self.code in NO_ROUTE or self.code is None))
