"""`eco token`: personal tokens of the API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from apps.commands.output import console, parse_duration, print_json
from apps.state_dir import StateDir, default_state_dir
from apps.tokens import Role, Tokens

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Personal tokens of the API.")

VALID = timedelta(days=90)

State = Annotated[Path | None, typer.Option(help="State directory.", show_default="XDG state directory")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _tokens(state: Path | None) -> Tokens:
    return Tokens(StateDir((state or default_state_dir()).resolve()).create().tokens)


@app.command()
def create(
    person: Annotated[str, typer.Argument(help="Whose it is: the audit names this person.")],
    role: Annotated[Role, typer.Option(help="viewer looks, operator acts, admin also puts readings in.")] = Role.VIEWER,
    duration: Annotated[
        timedelta | None,
        typer.Option(
            "--for", parser=parse_duration, metavar="DURATION", help="How long it is valid.", show_default="90d"
        ),
    ] = None,
    state: State = None,
    json: Json = False,
) -> None:
    """Make a token; it is shown this once, and only its hash is kept."""
    text, token = _tokens(state).create(person, role, datetime.now(UTC) + (duration or VALID))
    if json:
        print_json({**token.to_json(), "token": text})
        return
    console.print(
        f"{token.role.value} token {token.id} of {token.person}, until {token.expires_at:%Y-%m-%d %H:%M} UTC:"
    )
    typer.echo(text)


@app.command("list")
def list_tokens(state: State = None, json: Json = False) -> None:
    """Every token: whose, in which role, until when, and whether it is valid."""
    rows = [token.to_json() for token in _tokens(state).all()]
    if json:
        print_json(rows)
        return
    table = Table("id", "person", "role", "expires (UTC)", "state")
    for row in rows:
        table.add_row(row["id"], row["person"], row["role"], row["expires_at"][:16], row["state"])
    console.print(table)


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(metavar="ID", help="The ID that `eco token list` shows.")],
    state: State = None,
    json: Json = False,
) -> None:
    """End a token; a running service refuses it from its next request on."""
    token = _tokens(state).revoke(name)
    if json:
        print_json(token.to_json())
    else:
        console.print(f"token {token.id} of {token.person} is revoked")
