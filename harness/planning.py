"""How many prompts a claim needs: exact binomial sizes, chances and further prompts.

Covers: the fewest right answers that prove a bar, the chance that a model of known accuracy proves it, the size for a
wanted power, the further prompts that would decide at the observed rate, prompts used when a lost run stops early.
Does not cover: several bars at once (the gate needs all of them, so its chance is smaller), prompts that are not
independent (paraphrases of one question count for less), the bound of a measured rate (metrics).

"Proved" is the gate's word: k of n proves a bar when the exact one-sided 95 % lower bound (Clopper & Pearson,
Biometrika 26 (1934) 404-413) lies above it. That is the same as P(X >= k) < 5 % for X ~ Binomial(n, bar), which is what
is computed here. A size is the least n from which on *every* n serves: since k is whole, the chance falls by a step
wherever one more right answer is asked for, and a size that ignores this is too small by up to a tenth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import SetupError
from harness.metrics import CONFIDENCE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Counts = NDArray[np.int64]
    Truths = NDArray[np.bool_]

LIMIT = 100_000  # prompts; who would need more is told so
POWERS = (0.5, 0.8, 0.9, 0.95)


@dataclass(frozen=True, slots=True)
class Plan:
    """A size for one bar: ``right`` of ``n`` prove it, and a model of accuracy ``true`` does so with ``chance``.

    ``luck`` is the chance of a model exactly at the bar; ``sizes`` maps a power to its n, None beyond LIMIT; ``curve``
    holds, for this n, pairs of true accuracy and chance; ``curtailed`` is how many prompts a model of that accuracy and
    one at the bar use on average when a run stops as soon as it cannot prove the bar any more.
    """

    bar: float
    true: float
    power: float
    n: int
    right: int
    chance: float
    luck: float
    sizes: tuple[tuple[float, int | None], ...]
    curve: tuple[tuple[float, float], ...]
    curtailed: tuple[float, float]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        names = {"curtailed": dict(zip(("true", "bar"), self.curtailed, strict=True))}
        lists = {
            "sizes": [{"power": power, "n": n} for power, n in self.sizes],
            "curve": [{"true": true, "chance": chance} for true, chance in self.curve],
        }
        return asdict(self) | lists | names


def make_plan(bar: float, true: float, power: float) -> Plan:
    """The size at which a model of accuracy ``true`` proves ``bar`` with probability ``power``.

    Raises:
        SetupError: a number is not between 0 and 1, ``true`` is not above the bar, or more than LIMIT are needed.
    """
    for name, value in (("bar", bar), ("true", true), ("power", power)):
        if not 0 < value < 1 and not (name == "true" and value == 1):
            raise SetupError(f"--{name} {value:g} is no share between 0 and 1. Write e.g. --{name} 0.9.")
    if true <= bar:
        raise SetupError(
            f"--true {true:g} is not above --bar {bar:g}: no number of prompts proves what is not so. Give a true "
            "accuracy above the bar, or a lower bar."
        )
    n = find_size(bar, true, power)
    if n is None:
        raise SetupError(
            f"More than {LIMIT} prompts are needed to prove {bar:g} at a true {true:g}. Give a --true further away."
        )
    right = fewest_right(n, bar)
    assert right is not None  # a size proves something
    step = (1 - bar) / 10
    return Plan(
        bar=bar,
        true=true,
        power=power,
        n=n,
        right=right,
        chance=pass_chance(n, right, true),
        luck=pass_chance(n, right, bar),
        sizes=tuple((one, find_size(bar, true, one)) for one in sorted({*POWERS, power})),
        curve=tuple((round(bar + i * step, 6), pass_chance(n, right, bar + i * step)) for i in range(-2, 10)),
        curtailed=(expected_prompts(n, right, true), expected_prompts(n, right, bar)),
    )


def fewest_right(n: int, bar: float) -> int | None:
    """The fewest right answers of n that prove the bar; None where not even n of n does."""
    right = int(_fewest(_counts(n, n), bar)[0])
    return right if right <= n else None


def pass_chance(n: int, right: int | None, true: float) -> float:
    """P(X >= right) for X ~ Binomial(n, true): the chance of at least ``right`` of n; 0.0 where ``right`` is None."""
    if right is None or right > n:
        return 0.0
    from scipy.special import bdtrc

    return 1.0 if right <= 0 else float(bdtrc(right - 1, n, true))


def find_size(bar: float, true: float, power: float, limit: int = LIMIT) -> int | None:
    """The least n from which on a model of accuracy ``true`` proves the bar with at least this probability.

    None where more than ``limit`` prompts are needed.
    """

    def serves(sizes: Counts) -> Truths:
        from scipy.special import bdtrc

        right = _fewest(sizes, bar)
        chances = bdtrc(right - 1, sizes, true)
        served: Truths = (right <= sizes) & (chances >= power)
        return served

    return _settles(serves, 1, limit)


def further_prompts(right: int, n: int, bar: float, *, min_n: int = 1, proven: bool = True) -> int | None:
    """How many more prompts would decide, should the rate stay as observed.

    With ``proven`` that is the least number from which on floor(rate * size) of each size proves the bar, and at least
    min_n; without, what is missing to min_n. A rate that is not above the bar proves nothing however long it goes on:
    then it is what is missing to min_n, and None where nothing is. None as well where more than LIMIT are needed, and
    for nothing observed.
    """
    if n == 0:
        return None
    missing = max(0, min_n - n)
    if not proven or right / n <= bar:
        return missing or None

    def serves(sizes: Counts) -> Truths:
        rights = right * sizes // n
        return rights >= _fewest(sizes, bar)

    size = _settles(serves, max(n, min_n), LIMIT)
    return None if size is None else size - n


def expected_prompts(n: int, right: int, true: float) -> float:
    """How many of n prompts are asked on average when asking stops with the first that makes ``right`` impossible.

    E[T] is the sum of P(T > t): prompt t + 1 is asked as long as at most n - right of the first t are wrong. This is
    curtailed sampling (Girshick, Mosteller & Savage, Annals of Mathematical Statistics 17 (1946) 13-23), stopped on
    the failing side alone, because an open gate has measured everything.
    """
    import numpy as np
    from scipy.special import bdtr

    spare = n - right
    asked = np.arange(spare + 1, n)  # up to here nothing can be lost yet
    return float(min(n, spare + 1) + bdtr(spare, asked, 1 - true).sum())


def luck_of_many(chance: float, tries: int) -> float:
    """The chance that at least one of n tries passes, each with this chance: 1 - (1 - p)^n.

    Sidak, JASA 62 (1967) 626-633, for independent tries. Tries on the same prompts resemble each other, which makes the
    true chance smaller; choosing the next try by the last one's failures makes it larger (Dwork et al., Science 349
    (2015) 636-638), and by how much nobody can compute. It is the size of the danger, not a bound.
    """
    return -math.expm1(tries * math.log1p(-chance)) if chance < 1 else float(tries > 0)


def _settles(serves: Callable[[Counts], Truths], start: int, limit: int) -> int | None:
    """The least n >= start from which on every n serves; None where that is above ``limit``.

    Once a size serves, steps can break it again for a while, yet not beyond twice that size: by then what is missing
    has shrunk by a factor of the root of two, and a step is one prompt.
    """
    import numpy as np

    if start > limit or not serves(np.array([limit]))[0]:
        return None
    first, width = start, 256
    while first <= limit:
        sizes = np.arange(first, min(limit, first + width) + 1)
        found = np.flatnonzero(serves(sizes))
        if found.size:
            candidate = int(sizes[found[0]])
            sizes = np.arange(candidate, 2 * candidate + 256)
            broken = np.flatnonzero(~serves(sizes))
            settled = candidate if not broken.size else int(sizes[broken[-1]]) + 1
            return settled if settled <= limit else None
        first, width = int(sizes[-1]) + 1, width * 2
    return None


def _fewest(sizes: Counts, bar: float) -> Counts:
    """For each n the smallest k with P(X >= k) < 5 %, X ~ Binomial(n, bar); n + 1 where no k of n has it."""
    import numpy as np
    from scipy.special import bdtrc, bdtrik

    alpha = 1 - CONFIDENCE
    # The inverse is a real number near the answer; two steps to either side make it exact. An inverse of so small an n
    # that even k = 0 is beyond it comes back as NaN.
    guess = np.nan_to_num(np.floor(bdtrik(CONFIDENCE, sizes, bar)), nan=0.0).astype(np.int64) - 1
    right = np.clip(guess, 0, sizes)
    for _ in range(4):
        enough = np.where(right <= 0, 1.0, bdtrc(np.maximum(right - 1, 0), sizes, bar)) < alpha
        right = np.where(enough | (right > sizes), right, right + 1)
    fewest: Counts = right
    return fewest


def _counts(first: int, last: int) -> Counts:
    import numpy as np

    return np.arange(first, last + 1)


def show_plan(plan: Plan) -> Sequence[str]:
    """The plan as lines for a person."""
    lines = [
        f"{plan.n} prompts: a model that is right {plan.true:.4g} of the time then proves {plan.bar:g} with "
        f"probability {plan.chance:.3f} (wanted: {plan.power:g}), and so does any larger number.",
        f"Of {plan.n}, {plan.right} must be right. A model exactly at the bar gets there with {plan.luck:.3f}.",
        f"Curtailed, a run asks {plan.curtailed[0]:.0f} prompts of such a model on average, and "
        f"{plan.curtailed[1]:.0f} of one at the bar.",
        "",
        "power  prompts",
    ]
    lines += [f"{power:5.2f}  {f'over {LIMIT}' if n is None else n}" for power, n in plan.sizes]
    lines += ["", f"true accuracy  chance to prove {plan.bar:g} with {plan.n} prompts"]
    lines += [f"{true:13.4f}  {chance:.4f}" for true, chance in plan.curve]
    return lines
