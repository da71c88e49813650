"""``python -m training synthesize``: reading the command line, the estimate before, the table after.

Covers: options, which of them a resumed run may have, exit status (0 done or budget reached, 1 error, 130 interrupted).
Does not cover: any of the work.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.errors import SetupError, ToolgateError

if TYPE_CHECKING:
    from rich.console import Console

    from training.examples import Example
    from training.synthetic.harvest import Harvest
    from training.synthetic.ledger import Ledger
    from training.synthetic.plan import Plan

# What the plan fixes; a resumed run reads it from plan.json.
PLANNED = (
    "kind",
    "tool",
    "style",
    "count",
    "model",
    "temperature",
    "effort",
    "licence",
    "batch",
    "base_url",
    "price",
    "seed",
)


def synthesize(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option(help="The folder of the run. It must be new, or go on with --resume.")],
    kind: Annotated[
        list[str] | None,
        typer.Option(help="single, crud, contrastive, negative, multi_turn, compound, general; may come several times. "
                          "Without it: all, in the proportions of the plan."),
    ] = None,
    tool: Annotated[list[str] | None, typer.Option(help="Only topics of this tool (single, crud).")] = None,
    style: Annotated[
        list[str] | None,
        typer.Option(help="formal, casual, fragmentary, chatty, typos, indirect, dictated; several times. Each topic "
                          "is asked for in each style. Without it: all."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Examples to ask for; fewer are kept.")] = 100,
    model: Annotated[str | None, typer.Option(help="Name of the model. Without it: claude-sonnet-5-5.")] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Only for models that take one: Claude up to 4.6, and servers of your own.")
    ] = None,
    effort: Annotated[str | None, typer.Option(help="How much Claude thinks: low, medium, high, xhigh, max.")] = None,
    budget: Annotated[float, typer.Option(min=0, help="US dollars that this run may cost in all.")] = 5.0,
    batch: Annotated[bool, typer.Option("--batch", help="Message Batches: half the price, up to 24 hours.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run; asks for nothing twice.")] = False,
    batch_id: Annotated[
        str | None, typer.Option(help="With --resume: fetch this batch, if the run does not know its id.")
    ] = None,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="With --resume: end the open batch and keep what it has brought.")
    ] = False,
    base_url: Annotated[
        str | None,
        typer.Option(help="An OpenAI-compatible server with an open model, up to /v1. Servers and models of OpenAI are "
                          "refused: their terms of use forbid to train on the output."),
    ] = None,
    key_env: Annotated[str | None, typer.Option(help="With --base-url: the environment variable with its key.")] = None,
    licence: Annotated[
        str | None, typer.Option(help="Of the examples. Without it: Apache-2.0 for Claude, unknown for other models.")
    ] = None,
    price: Annotated[
        str | None, typer.Option(help="Dollars per million tokens, IN/OUT, where the table does not know the model.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Requests at once.")] = 4,
    against: Annotated[
        list[Path] | None,
        typer.Option(help="More examples (file or folder) that must not come again. The hand-written ones and the "
                          "other runs beside OUT count always."),
    ] = None,
    seed: Annotated[str | None, typer.Option(help="Draws times and examples; without it, every run differs.")] = None,
    poll: Annotated[float, typer.Option(min=0.01, help="Seconds between two looks at a batch.")] = 30.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only the estimate: nothing is sent or written.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the estimate or the report as JSON.")] = False,
) -> None:  # fmt: skip
    """Let a language model write training examples.

    Claude through its API (export ANTHROPIC_API_KEY), or an open model on a server of your own (--base-url, --model).
    Tokens and dollars are estimated first and counted afterwards, and --budget is never exceeded. Every reply is on the
    disk before it is read: after Ctrl-C or a kill, the same command with --resume and --out alone goes on, and asks for
    nothing twice. Every line is checked: examples.jsonl holds what may be reviewed, raw/rejects.jsonl the
    rest with its reasons.

    python -m training synthesize --out runs/synthetic-1 --count 500 --budget 3 --dry-run
    """
    from rich.console import Console

    notes = Console(stderr=True)
    try:
        given = [name for name in PLANNED if _is_given(ctx, name)]
        if resume and given:
            names = ", ".join("--" + name.replace("_", "-") for name in given)
            raise SetupError(f"--resume takes {names} from {out / 'plan.json'}. Leave it out.")
        if not resume and (batch_id or cancel):
            raise SetupError("--batch-id and --cancel are for a run that was begun. Add --resume.")
        plan = _load_plan(out) if resume else _make_plan(
            out, kind or (), tool or (), style or (), count=count, model=model, temperature=temperature, effort=effort,
            licence=licence, batch=batch, base_url=base_url, price=price, seed=seed, write=not dry_run,
        )  # fmt: skip
        if plan.base_url is None and key_env:
            raise SetupError("--key-env is for --base-url. The key of Claude is ANTHROPIC_API_KEY.")
        if dry_run:
            _show_estimate(plan, out, budget, notes, as_json=as_json)
            return
        report = _run(plan, out, budget=budget, key_env=key_env, concurrency=concurrency, poll=poll, cancel=cancel,
                      batch_id=batch_id, against=against or (), notes=notes)  # fmt: skip
    except ToolgateError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        # Pressed twice: replies on their way are given up, and the threads that wait for them are not joined.
        typer.echo(f"interrupted; python -m training synthesize --resume --out {out}", err=True)
        os._exit(130)
    if as_json:
        typer.echo(json.dumps(report, ensure_ascii=False))
    else:
        typer.echo(f"wrote {report['examples']} examples to {out / 'examples.jsonl'} for ${report['cost_usd']:.4f}")
    if report["stopped"] == "interrupted":
        typer.echo(f"interrupted; python -m training synthesize --resume --out {out}", err=True)
        raise typer.Exit(130)


def _run(
    plan: Plan, out: Path, *, budget: float, key_env: str | None, concurrency: int, poll: float, cancel: bool,
    batch_id: str | None, against: Sequence[Path], notes: Console,
) -> dict[str, Any]:  # fmt: skip
    """Ask what is left of a plan, then make the files anew; also after an error, which is raised at the end."""
    from harness.cases import load_cases
    from harness.prompt import load_prompt
    from training.data import CASES
    from training.synthetic.harvest import harvest_replies, write_harvest
    from training.synthetic.ledger import ledger_path, open_ledger

    if (batch_id or cancel) and not plan.batch:
        raise SetupError(f"{out} is no run with --batch. Leave --batch-id and --cancel out.")
    known, cases = _load_known(out, against), load_cases(CASES)  # before anything is paid: a broken file stops it here
    _show_estimate(plan, out, budget, notes)
    failure: ToolgateError | None = None
    stopped: str | None = None
    with open_ledger(ledger_path(out)) as ledger:
        try:
            stopped = _ask(plan, ledger, budget=budget, key_env=key_env, concurrency=concurrency, poll=poll,
                           cancel=cancel, batch_id=batch_id, notes=notes)  # fmt: skip
        except ToolgateError as error:
            failure, stopped = error, "error"
        harvest = harvest_replies(plan, ledger.state, load_prompt().toolset, known=known, cases=cases)
        report = write_harvest(out, plan, ledger.state, harvest, stopped=stopped)
    _show_report(report, harvest, notes)
    if stopped == "budget":
        notes.print(
            f"${budget:g} do not cover the next request at its most. Go on with --resume --budget MORE.",
            highlight=False,
            soft_wrap=True,
        )
    if failure is not None:
        raise failure
    return report


def _ask(
    plan: Plan, ledger: Ledger, *, budget: float, key_env: str | None, concurrency: int, poll: float, cancel: bool,
    batch_id: str | None, notes: Console,
) -> str | None:  # fmt: skip
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from training.synthetic.asking import Hooks, ask_batches, ask_live, unanswered
    from training.synthetic.clients import ChatClient, ClaudeClient

    if not unanswered(plan, ledger):
        return None
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=notes, transient=True, disable=not notes.is_terminal) as progress:
        task = progress.add_task("asking", total=len(plan.requests), completed=len(ledger.state.replies))

        def note(text: str) -> None:
            progress.console.print(text, highlight=False, markup=False, soft_wrap=True)

        def on_progress(answered: int, dollars: float) -> None:
            progress.update(task, completed=answered, description=f"asking, ${dollars:.3f} so far")

        hooks = Hooks(on_progress, note)
        client = ClaudeClient(plan) if plan.base_url is None else ChatClient(plan, key_env)
        try:
            if plan.batch and isinstance(client, ClaudeClient):
                return ask_batches(
                    plan, ledger, client, budget=budget, hooks=hooks, poll=poll, cancel=cancel, batch_id=batch_id
                )
            return ask_live(plan, ledger, client, budget=budget, concurrency=concurrency, hooks=hooks)
        finally:
            with suppress(Exception):
                client.close()


def _make_plan(
    out: Path, kinds: Sequence[str], tools: Sequence[str], styles: Sequence[str], *,
    count: int, model: str | None, temperature: float | None, effort: str | None, licence: str | None, batch: bool,
    base_url: str | None, price: str | None, seed: str | None, write: bool,
) -> Plan:  # fmt: skip
    from harness.prompt import load_prompt
    from training.synthetic.clients import check_url
    from training.synthetic.models import DEFAULT_MODEL, check_settings, read_price, refuse_openai
    from training.synthetic.plan import make_plan, write_plan

    if (out / "plan.json").exists():
        raise SetupError(f"{out} holds a run. Go on with --resume, or choose another --out.")
    if out.is_file():
        raise SetupError(f"--out {out} is a file. Give a folder.")
    hosted_here = base_url is not None
    if base_url is not None:
        if batch:
            raise SetupError("--batch is for Claude's Message Batches. Leave it out with --base-url.")
        if model is None:
            raise SetupError("--base-url needs --model: the name of the open model at that server.")
        base_url = check_url(base_url)
    model = model or DEFAULT_MODEL
    refuse_openai(model, base_url)
    check_settings(model, temperature, effort, hosted_here=hosted_here)
    plan = make_plan(
        load_prompt().toolset, _load_handcrafted(), run=secrets.token_hex(4), model=model,
        price=read_price(price, model, hosted_here=hosted_here),
        licence=licence or ("unknown" if hosted_here else "Apache-2.0"), count=count, kinds=kinds, tools=tools,
        styles=styles, seed=seed, base_url=base_url, batch=batch, temperature=temperature, effort=effort,
    )  # fmt: skip
    if write:
        write_plan(out / "plan.json", plan)
    return plan


def _load_plan(out: Path) -> Plan:
    from harness.prompt import load_prompt
    from training.synthetic.models import refuse_openai
    from training.synthetic.plan import read_plan

    plan = read_plan(out / "plan.json")
    refuse_openai(plan.model, plan.base_url)
    if plan.toolset != load_prompt().toolset.digest:
        raise SetupError(f"{out} was planned for other tools than those of today. Begin a new run with another --out.")
    return plan


def _load_known(out: Path, against: Sequence[Path]) -> list[Example]:
    """Hand-written examples, the other runs beside this one, and what was named."""
    from training.examples import load_examples
    from training.synthetic.ledger import ledger_path

    runs = sorted(path for path in out.parent.glob("*/examples.jsonl") if path.parent.resolve() != out.resolve())
    runs = [path for path in runs if ledger_path(path.parent).exists()]
    return [*_load_handcrafted(), *(example for path in (*runs, *against) for example in load_examples(path))]


@cache  # shown to the model and compared with its answers
def _load_handcrafted() -> Sequence[Example]:
    from training.data import HANDCRAFTED
    from training.examples import load_examples

    return load_examples(HANDCRAFTED)


def _show_estimate(plan: Plan, out: Path, budget: float, notes: Console, *, as_json: bool = False) -> None:
    """What is left of a plan may cost this; with ``as_json`` on stdout, else as a table for people."""
    from dataclasses import asdict

    from rich.table import Table

    from training.synthetic.ledger import ledger_path, load_state, spent
    from training.synthetic.models import PRICES_READ
    from training.synthetic.plan import estimate_cost

    state = load_state(ledger_path(out))
    estimate = estimate_cost(plan, [request for request in plan.requests if request.id not in state.replies])
    if as_json:
        typer.echo(json.dumps({"model": plan.model, "spent_usd": spent(plan, state), **asdict(estimate)}))
        return
    where = plan.base_url or ("Message Batches" if plan.batch else "Messages API")
    notes.print(f"Run {plan.run}: {plan.model} ({where})", highlight=False, soft_wrap=True)
    table = Table("", "expected", "at most")
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("requests to send", str(estimate.requests), "")
    table.add_row("examples asked for", str(estimate.examples), "")
    table.add_row("input tokens", f"{estimate.input_tokens:,}", "")
    table.add_row("output tokens", f"{estimate.output_tokens:,}", f"{estimate.output_tokens_at_most:,}")
    table.add_row("US dollars", f"{estimate.cost_usd:.3f}", f"{estimate.cost_usd_at_most:.3f}")
    table.add_row("spent before", f"{spent(plan, state):.3f}", "")
    table.add_row("budget of the run", "", f"{budget:.2f}")
    notes.print(table)
    if plan.base_url is None:
        notes.print(f"List prices as read on {PRICES_READ}; --price gives others.", highlight=False, soft_wrap=True)


def _show_report(report: dict[str, Any], harvest: Harvest, notes: Console) -> None:
    from rich.table import Table

    notes.print(f"{report['answered']} of {report['requests']} requests answered", highlight=False, soft_wrap=True)
    table = Table("", "")
    table.columns[1].justify = "right"
    table.add_row(f"kept, as {report['examples']} examples", str(report["kept"]))
    for reason, number in report["rejected"].items():
        table.add_row(f"left out: {reason}", str(number))
    table.add_section()
    table.add_row("input tokens", f"{report['tokens']['input']:,}")
    table.add_row("output tokens", f"{report['tokens']['output']:,}")
    table.add_row("US dollars", f"{report['cost_usd']:.4f}")
    table.add_row("expected for all requests", f"{report['estimate']['cost_usd']:.4f}")
    if report["lost"]:
        table.add_row("replies lost, counted as paid in full", str(report["lost"]))
    notes.print(table)
    if harvest.rejects:
        notes.print(
            "raw/rejects.jsonl holds every line that was left out, with its reason.", highlight=False, soft_wrap=True
        )


def _is_given(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name not in ("DEFAULT", "DEFAULT_MAP")
