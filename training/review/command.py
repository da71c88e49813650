"""``python -m training review``: from files of examples to the page, and how the review stands afterwards.

Covers: the options, the address on the terminal, the table at the end.
Does not cover: the page and its server (training.review.server, loaded only when the command runs).
"""

from __future__ import annotations

import getpass
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from harness.errors import SetupError
from training.review.decisions import SHARE, Count, DecisionLog, count_strata, list_problems, name_decisions


def review(
    files: Annotated[list[Path], typer.Argument(help="Files of synthetic examples, or folders of *.jsonl.")],
    decisions: Annotated[
        Path | None,
        typer.Option(help="Where decisions are kept, JSON Lines. Default: the first FILE with the ending .decisions."),
    ] = None,
    reviewer: Annotated[str, typer.Option(help="Who reads; stands in every decision. Default: your login.")] = "",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 finds a free one.")] = 8765,
    share: Annotated[
        float, typer.Option(help="The share of every stratum (kind and tool) to read. What is drawn stays drawn.")
    ] = SHARE,
) -> None:
    """Read a sample of the synthetic examples on a local page, and decide.

    Open the printed address; its token keeps other programs and sites out. Keys: a accept, r reject, e edit, s skip,
    u undo. Every decision is on the disk before the next example comes, so Ctrl-C loses nothing; start again to go on.
    From a phone, forward the port: `adb reverse tcp:8765 tcp:8765` over USB, `ssh -L 8765:127.0.0.1:8765 HOST` from a
    terminal. A build refuses examples whose sample is not read, or of which more than 5 % was rejected.
    """
    from training.cli import _one_line_errors, notes
    from training.examples import read_examples

    with _one_line_errors():
        try:
            from training.review.server import Review, make_server, make_token, open_socket
        except ModuleNotFoundError as error:
            raise SetupError(f"{error.name} is not installed. Install it with: pip install starlette uvicorn") from None
        examples, problems = [], []
        for file in files:
            good, bad = read_examples(file)
            examples += good
            problems += bad
        if problems:
            notes.print(f"{len(problems)} broken lines are left out; the first: {problems[0]}", markup=False)
        if not examples:
            raise SetupError(f"No examples in {', '.join(map(str, files))}, so there is nothing to review.")
        log = DecisionLog(decisions or name_decisions(files[0]))
        try:
            sitting = Review(examples, log, reviewer=reviewer.strip() or _find_login(), share=share)
            token, listener = make_token(), open_socket(port)
            typer.echo(f"http://127.0.0.1:{listener.getsockname()[1]}/{token}/")
            notes.print(f"The sample has {len(sitting.sample)} of {len(sitting.examples)} examples. Ctrl-C ends.")
            with suppress(KeyboardInterrupt):  # the usual way to end
                make_server(sitting, token).run(sockets=[listener])
            counts = count_strata(examples, log.decisions, share=max(share, SHARE))
        finally:
            log.close()
        notes.print(_tabulate(counts))
        typer.echo(f"decisions are in {log.path}")


def _find_login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise SetupError("Nobody knows who you are here. Say it: --reviewer NAME.") from None


def _tabulate(counts: list[Count]) -> Table:
    problems = list_problems(counts)
    title = f"{len(problems)} strata are not ready for a build" if problems else "ready for a build"
    table = Table("kind", "tool", title=title)
    for name in ("all", "drawn", "unread", "rejected", "edited"):
        table.add_column(name, justify="right")
    table.add_column("")
    for count in counts:
        numbers = (count.total, count.drawn, count.unread, count.rejected, count.edited)
        state = "read on" if count.unread else "rejected too often" if list_problems([count]) else ""
        table.add_row(count.kind, count.tool, *map(str, numbers), state)
    return table
