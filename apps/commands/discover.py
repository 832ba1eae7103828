"""`eco site discover`: ask one host what it is, and propose its entry in the site file. Reads only."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from apps.commands.output import console, print_json
from facility.discovery.discover import PAUSE_S, PROBES, Finding, Match, Target, snippet
from facility.discovery.discover import discover as ask
from facility.errors import ConfigError
from facility.site import Login, SnmpAuth

LOGIN = "IPMI credentials (the environment variable that holds the password)"
CREDENTIALS = "SNMP credentials (the environment variables that hold them)"


def discover(
    host: Annotated[str, typer.Argument(metavar="HOST", help="Name or address of one host; no ranges.")],
    protocol: Annotated[
        list[str] | None, typer.Option(help=f"Ask over this protocol only ({', '.join(PROBES)}); may be repeated.")
    ] = None,
    port: Annotated[list[str] | None, typer.Option(metavar="PROTOCOL=PORT", help="Where not the usual port.")] = None,
    unit_id: Annotated[int, typer.Option(help="Modbus unit.")] = 1,
    community_env: Annotated[str, typer.Option(help="SNMP v2c community.", rich_help_panel=CREDENTIALS)] = "",
    snmp_user: Annotated[str, typer.Option(help="SNMP v3 user (a name).", rich_help_panel=CREDENTIALS)] = "",
    auth_key_env: Annotated[str, typer.Option(help="v3 authentication key.", rich_help_panel=CREDENTIALS)] = "",
    priv_key_env: Annotated[str, typer.Option(help="v3 privacy key.", rich_help_panel=CREDENTIALS)] = "",
    auth_protocol: Annotated[str, typer.Option(help="SHA, SHA256, SHA512", rich_help_panel=CREDENTIALS)] = "SHA256",
    priv_protocol: Annotated[str, typer.Option(help="AES, AES256", rich_help_panel=CREDENTIALS)] = "AES",
    context: Annotated[str, typer.Option(help="v3 context.", rich_help_panel=CREDENTIALS)] = "",
    ipmi_user: Annotated[str, typer.Option(help="BMC user (a name).", rich_help_panel=LOGIN)] = "",
    ipmi_password_env: Annotated[str, typer.Option(help="Its password.", rich_help_panel=LOGIN)] = "",
    deadline_s: Annotated[float, typer.Option(min=0.1, help="For each request.")] = 3.0,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Ask HOST over SNMP, Modbus, Redfish, BACnet and IPMI what it is, and propose a [[device]] for the site file.

    Nothing is written, and at most 20 requests a second are sent. Exits with 1 where no profile explains the host,
    and it does not describe itself.
    """
    auth = _credentials(community_env, snmp_user, auth_key_env, priv_key_env, auth_protocol, priv_protocol, context)
    target = Target(host, auth, _ports(port or []), _login(ipmi_user, ipmi_password_env), unit_id, deadline_s)
    with console.status(f"asking {host}, at most {1 / PAUSE_S:.0f} requests a second"):
        findings = asyncio.run(ask(target, protocol))
    if json:
        print_json({"host": host, "found": [_as_dict(target, finding) for finding in findings]})
    else:
        for finding in findings:
            _show(target, finding)
    if not any(finding.best or finding.draft for finding in findings):
        raise typer.Exit(1)


def _credentials(
    community: str, user: str, auth_key: str, priv_key: str, auth_protocol: str, priv_protocol: str, context: str
) -> SnmpAuth | None:
    if community and user:
        raise ConfigError("give either --community-env or --snmp-user", where="credentials")
    if community:
        return SnmpAuth.model_validate({"version": "2c", "community": f"env:{community}"})
    if not user:
        return None
    if not auth_key or not priv_key:
        raise ConfigError("--snmp-user needs --auth-key-env and --priv-key-env", where="credentials")
    keys = {"user": user, "auth_key": f"env:{auth_key}", "priv_key": f"env:{priv_key}", "context": context}
    ways = {"auth_protocol": auth_protocol, "priv_protocol": priv_protocol}
    if auth_protocol not in ("SHA", "SHA256", "SHA512") or priv_protocol not in ("AES", "AES256"):
        raise ConfigError("the protocols are SHA, SHA256, SHA512 and AES, AES256", where="credentials")
    return SnmpAuth.model_validate({"version": "3", **keys, **ways})


def _login(user: str, password: str) -> Login | None:
    if bool(user) != bool(password):
        raise ConfigError("--ipmi-user and --ipmi-password-env go together", where="credentials")
    return Login(user=user, password=f"env:{password}") if user else None


def _ports(given: list[str]) -> dict[str, int]:
    ports = {}
    for text in given:
        name, _, number = text.partition("=")
        if name not in PROBES or not number.isdigit() or not 0 < int(number) < 65536:
            raise ConfigError(f"{text!r} is not PROTOCOL=PORT", where="--port", hint=f"one of: {', '.join(PROBES)}")
        ports[name] = int(number)
    return ports


def _as_dict(target: Target, finding: Finding) -> dict[str, Any]:
    return {
        "protocol": finding.protocol,
        "port": finding.port,
        "says": dict(finding.says),
        "profile": finding.best.profile if finding.best else "",
        "candidates": [_match(match) for match in finding.matches],
        "device": snippet(target, finding),
        "draft": finding.draft.toml if finding.draft else "",
        "error": finding.error,
        "hint": finding.hint,
        "points": [
            {"point": reading.point, "value": reading.value, "unit": reading.unit, "quality": reading.quality.value}
            for reading in (finding.best.readings if finding.best else ())
        ],
    }


def _match(match: Match) -> dict[str, Any]:
    return {"profile": match.profile, "points": len(match.readings), "good": match.good, "error": match.error}


def _show(target: Target, finding: Finding) -> None:
    console.print(f"[bold]{finding.protocol}[/] port {finding.port}: ", end="")
    if finding.error:
        console.print(escape(finding.error))
        return
    console.print(escape("; ".join(f"{key} {text}" for key, text in finding.says.items() if text)))
    for match in finding.matches:
        said = f"{match.good} of {len(match.readings)} points have a good value"
        console.print(f"  profile {match.profile}: {escape(match.error) or said}")
    if finding.hint:
        console.print(f"  {escape(finding.hint)}")
    if finding.best is not None:
        console.print(_table(finding.best))
    if finding.draft is not None:
        console.print(escape(finding.draft.toml), highlight=False)
    if finding.best or finding.draft:
        console.print(escape(snippet(target, finding)), highlight=False)


def _table(match: Match) -> Table:
    table = Table("point", "value", "unit", "quality")
    for reading in match.readings:
        value = "" if reading.value is None else f"{reading.value:.6g}"
        table.add_row(escape(reading.point.partition("/")[2]), value, reading.unit, reading.quality.value)
    return table
