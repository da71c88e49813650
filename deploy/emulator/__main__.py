"""``python -m deploy.emulator``: the emulator alone."""

import typer

from deploy.emulator.command import emulate

typer.run(emulate)
