"""``python -m deploy emulate``, and ``python -m deploy.emulator`` for the same.

Covers: reading the options, starting the server, telling where it is. Everything slow is imported when it starts.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.errors import SetupError, ToolgateError

HOST = "127.0.0.1"


def emulate(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.", min=0, max=65535)] = 8787,
    state: Annotated[Path, typer.Option(help="Folder of the finetunes; made if missing, kept between runs.")] = Path(
        ".toolgate/emulator"
    ),
    base: Annotated[
        list[str] | None,
        typer.Option(
            help="Base folder (or hub id) that answers; NAME=DIR for one model of the platform. Without it the "
            "embedded base answers for llama-3.2-3b-instruct and llama-3.3-70b-instruct-fp8-fast."
        ),
    ] = None,
    account: Annotated[str | None, typer.Option(help="The only account there is; without it every id is one.")] = None,
    token: Annotated[
        list[str] | None,
        typer.Option(
            help="KIND=TOKEN; KIND is good, bad, expired, no-permission or read-only. With no good one, all others are."
        ),
    ] = None,
    delete: Annotated[bool, typer.Option(help="Whether the API can delete and download; the live one may not.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Say where it is as one line of JSON.")] = False,
) -> None:
    """Serve a local Workers AI until it is stopped (Ctrl-C), for rehearsals without a network.

    Point clients at it with CLOUDFLARE_API_BASE_URL=http://127.0.0.1:PORT/client/v4 and any CLOUDFLARE_API_TOKEN.
    Plan a fault: curl -d '{"fault": "429-3040", "on": "run", "times": 2}' http://127.0.0.1:PORT/emulator/faults
    """
    try:
        serve(port, state, base or [], account, token or [], can_delete=delete, as_json=as_json)
    except ToolgateError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from None


def serve(
    port: int,
    state: Path,
    base: Sequence[str],
    account: str | None,
    token: Sequence[str],
    *,
    can_delete: bool,
    as_json: bool,
) -> None:
    """Run the server until it is stopped.

    Raises:
        SetupError: an option, a base, the port or the state cannot be used.
        DataError: the state is damaged.
    """
    try:
        import python_multipart  # noqa: F401 - Starlette reads forms with it
        import uvicorn

        from deploy.emulator.app import Emulator, Settings
        from deploy.emulator.faults import OpenProtocol
    except ImportError as error:
        raise SetupError(f"The emulator needs {error.name}. Run: pip install 'toolgate[local,deploy]'") from None
    settings = Settings(
        state=state, bases=read_bases(base), account=account, tokens=read_tokens(token), can_delete=can_delete
    )
    app: Any = Emulator(settings)
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
        except OSError as error:
            raise SetupError(f"Cannot listen on {HOST}:{port}: {error.strerror}. Give another --port, or 0.") from None
        listening.listen(128)
        url = f"http://{HOST}:{listening.getsockname()[1]}"
        where = {"url": url, "api": f"{url}/client/v4", "state": str(state)}
        # Connections wait in the backlog from here on, so whoever reads this line can ask at once.
        typer.echo(json.dumps(where) if as_json else f"Workers AI emulator: {where['api']} (state in {state})")
        config = uvicorn.Config(
            app, http=OpenProtocol, ws="none", lifespan="off", log_level="error", access_log=False, server_header=False
        )
        uvicorn.Server(config).run(sockets=[listening])


def read_bases(options: Sequence[str]) -> dict[str, str]:
    """``DIR`` for every model that is served by default, ``NAME=DIR`` for one (names start with ``@``)."""
    from deploy.emulator.inference import DEFAULT_BASES

    bases = dict(DEFAULT_BASES)
    for option in (o for o in options if not o.startswith("@")):
        bases = dict.fromkeys(bases, option)
    for option in (o for o in options if o.startswith("@")):
        name, equals, folder = option.partition("=")
        if not equals or not folder:
            raise SetupError(f"--base {option} names a model without a base. Write --base {name}=DIR.")
        bases[name] = folder
    return bases


def read_tokens(options: Sequence[str]) -> dict[str, str]:
    """``KIND=TOKEN`` as a mapping from token to kind; an error never repeats the token."""
    from deploy.emulator.app import TOKEN_KINDS

    tokens = {}
    for option in options:
        kind, _, token = option.partition("=")
        if kind not in TOKEN_KINDS or not token:
            raise SetupError(f"--token wants KIND=TOKEN with KIND one of {', '.join(TOKEN_KINDS)}.")
        tokens[token] = kind
    return tokens
