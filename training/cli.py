"""The commands of ``python -m training``.

Covers: reading the command line, one line per error, tables for people.
Does not cover: any of the work; torch is imported only when a command trains.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch starts its threads

import typer
from rich.console import Console

from harness.errors import ToolgateError
from training.compose import build
from training.review.command import review
from training.synthetic.command import synthesize

app = typer.Typer(
    help="From examples to a LoRA adapter. Start with: "
    "python -m training train --recipe training/recipes/nano.toml --out my-adapter",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
notes = Console(stderr=True)

RecipeOption = Annotated[
    Path, typer.Option(help="What to train on and how: a TOML file, e.g. training/recipes/nano.toml.")
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        help="What to train on in place of what the recipe assembles: a folder that `build` wrote, or example lines "
        "(a file or a folder of *.jsonl)."
    ),
]


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except ToolgateError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo("interrupted; --resume goes on from the last checkpoint", err=True)
        raise typer.Exit(130) from None


@app.command()
def train(
    recipe: RecipeOption,
    out: Annotated[
        Path, typer.Option(help="The adapter folder to write. It must not exist yet; it appears when all is done.")
    ],
    data: DataOption = None,
    base: Annotated[
        Path | None, typer.Option(help="Folder of the base model, when it is not where its name in the recipe says.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was killed (OUT.partial).")] = False,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Optimiser steps between two checkpoints.")] = 50,
) -> None:
    """Train an adapter.

    Reads the recipe, gathers the examples, checks the first batch (shown as a table: read it), trains, and writes an
    adapter folder: weights, configuration, model card, training.json. The same recipe, data, base and number of threads
    (OMP_NUM_THREADS) give the same bytes. What the adapter is worth is measured afterwards:

    pytest evals/ --target=local --adapter OUT
    """
    with _one_line_errors():
        from harness.prompt import load_prompt
        from training.compose import load_data
        from training.data import assemble_data, summarise_data
        from training.recipe import find_base, load_recipe

        plan, prompt = load_recipe(recipe), load_prompt()
        place = find_base(plan, base)
        dataset = assemble_data(plan, prompt) if data is None else load_data(data, prompt, seed=plan.seed)
        notes.print(summarise_data(dataset))
        # bitsandbytes, which peft imports where it is installed, warns about a kernel that a CPU does not have.
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
        from training.sft import train_adapter

        train_adapter(
            plan, dataset, prompt, place, out, resume=resume, checkpoint_every=checkpoint_every, console=notes
        )
        typer.echo(f"wrote {out}")


@app.command()
def data(
    recipe: RecipeOption,
    out: Annotated[Path, typer.Option(help="The JSON Lines file to write; `train --data` reads it.")],
) -> None:
    """Write the training set of a recipe to a file, without training.

    Hand-written and generated examples in the order of training, without doubles and without what is close to a case of
    evals/cases (`python -m harness duplicates OUT` counts 0). Training from this file gives the same weights as
    training from the recipe.
    """
    with _one_line_errors():
        from harness.prompt import load_prompt
        from training.data import assemble_data, summarise_data
        from training.examples import write_examples
        from training.recipe import load_recipe

        dataset = assemble_data(load_recipe(recipe), load_prompt())
        write_examples(out, dataset.examples)
        notes.print(summarise_data(dataset))
        typer.echo(f"wrote {len(dataset.examples)} examples to {out}, {dataset.digest}")


@app.command()
def convert(
    source: Annotated[
        str,
        typer.Argument(help="A public set (an unknown name lists them), or sharegpt or examples: the formats of ours."),
    ],
    file: Annotated[str, typer.Argument(help="A file of rows, or a hub id: owner/name, owner/name:config.")],
    out: Annotated[Path, typer.Option(help="The JSON Lines file to write.")],
    report: Annotated[Path, typer.Option(help="The JSON file that says what became of every row.")],
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first row that is broken.")] = False,
) -> None:
    """Turn a public data set into training examples.

    Foreign functions are mapped to the ten tools by training/converters/mapping.toml; a row that does not fit is left
    out and counted by its reason: rows = kept + rejected. `sharegpt` reads ShareGPT lines, `examples` writes them.
    """
    with _one_line_errors():
        from training.converters._command import run_convert

        run_convert(source, file, out, report, strict=strict, console=notes)
        typer.echo(f"wrote {out} and {report}")


app.command()(review)
app.command()(synthesize)
app.command()(build)
