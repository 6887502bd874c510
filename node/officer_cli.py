"""`cordon node pending`, `approve`, `decline`, `pause` and `resume`: what officers type."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cordon.configfile import read_config
from cordon.envelope import KeySigner
from cordon.errors import Misconfigured, Refused, Untrusted
from cordon.keyfile import read_signing_key
from cordon.units import Digest
from cordon.wire.messages import MOST_TEXT, Approval, Pause, Verdict
from node.approvals import Desk, verdict_path, write_verdict
from node.config import NodeConfig
from node.office import Office
from node.options import DEFAULT_CONFIG, ConfigPath, Format
from node.pausing import order_pause, order_resume
from node.pending import Waiting, waiting
from node.policy import Policy

QueryId = Annotated[str, typer.Argument(metavar="ID", help="The query's id, or enough of its beginning.")]
KeyPath = Annotated[Path, typer.Option("--key", help="Your own Ed25519 key, as 'cordon keys signing' made it.")]
Force = Annotated[
    str | None, typer.Option(help="On a machine without the node's files: your force; ID whole, and --out.")
]
Out = Annotated[
    Path | None, typer.Option(help="Write the signed verdict here, to be taken to the node's state folder.")
]
AnyKey = Annotated[Path | None, typer.Option("--key", help="An officer's key; else the force's own is used.")]
Reason = Annotated[str, typer.Option(help="Why, for this force's own history.")]


def add_officer_commands(app: typer.Typer) -> None:
    """Give the node's command line what officers need."""
    for command in (pending, approve, decline, pause, resume):
        app.command()(command)


def pending(
    config: ConfigPath = DEFAULT_CONFIG,
    form: Annotated[Format, typer.Option("--format", "-f", help="table or json.")] = Format.TABLE,
) -> None:
    """List the queries that wait for an officer of this force."""
    with Office.open(config) as office:
        found = waiting(office, int(time.time()))
    if form is Format.JSON:
        sys.stdout.write(json.dumps([item.facts() for item in found], indent=2) + "\n")
        return
    console = Console()
    for item in found:
        _print_waiting(console, item)
    if not found:
        typer.echo("no query waits", err=True)


def approve(
    query: QueryId, key: KeyPath, config: ConfigPath = DEFAULT_CONFIG, force: Force = None, out: Out = None
) -> None:
    """Approve a query that waits, with your own key."""
    _decide(query, key, config, force, out, verdict=Verdict.APPROVE, text="")


def decline(
    query: QueryId,
    key: KeyPath,
    reason: Annotated[str, typer.Option(help="In public words: the analyst reads them.")],
    config: ConfigPath = DEFAULT_CONFIG,
    force: Force = None,
    out: Out = None,
) -> None:
    """Decline a query that waits, with your own key; one officer is enough."""
    _decide(query, key, config, force, out, verdict=Verdict.DECLINE, text=_checked_text(reason))


def pause(config: ConfigPath = DEFAULT_CONFIG, key: AnyKey = None, reason: Reason = "") -> None:
    """Decline every new query, saying so, until `resume`."""
    settings = read_config(config, NodeConfig)
    order = Pause(settings.force, paused=True, at=int(time.time()))
    done = order_pause(settings.state, settings.pause_file, order, _signer(settings, key), _checked_text(reason))
    typer.echo("paused: new queries are declined" if done else "it is paused already", err=True)


def resume(config: ConfigPath = DEFAULT_CONFIG, key: AnyKey = None, reason: Reason = "") -> None:
    """Answer queries again after `pause`."""
    settings = read_config(config, NodeConfig)
    order = Pause(settings.force, paused=False, at=int(time.time()))
    done = order_resume(settings.state, settings.pause_file, order, _signer(settings, key), _checked_text(reason))
    typer.echo("resumed" if done else "it is not paused", err=True)


def _decide(
    query: str, key: Path, config: Path, force: str | None, out: Path | None, *, verdict: Verdict, text: str
) -> None:
    signer, now = KeySigner(read_signing_key(key)), int(time.time())
    if force is not None:
        if out is None or len(query) != 64:
            raise Misconfigured(
                "away from the node, the whole id of 64 digits and --out are needed",
                hint="the whole id: cordon node pending --format json",
            )
        write_verdict(out, Approval(_digest(query), force, verdict, text, now), signer)
        typer.echo(f"wrote {out}: put it into the node's state folder, below approvals", err=True)
        return
    with Office.open(config) as office:
        query_hash = office.find(query)
        officer = office.policy.by_key_id.get(signer.key_id)
        if officer is None:
            raise _no_officer(key, office.settings)
        try:
            Desk.of(office.settings, office.policy, office.manifest, office.ledger).check_may_decide(
                officer, query_hash, now
            )
        except Untrusted as error:
            raise Refused(str(error)) from None
        path = out or verdict_path(office.settings.state, query_hash, signer.key_id)
        write_verdict(path, Approval(query_hash, office.settings.force, verdict, text, now), signer)
    typer.echo(f"wrote {path}; the node takes it up by itself", err=True)


def _signer(settings: NodeConfig, key: Path | None) -> KeySigner:
    # With the force's own key nothing else is read: a damaged ledger or policy must not keep it from pausing.
    if key is None:
        return KeySigner(read_signing_key(settings.signing_key))
    signer = KeySigner(read_signing_key(key))
    if signer.key_id not in read_config(settings.policy, Policy).by_key_id:
        raise _no_officer(key, settings)
    return signer


def _no_officer(key: Path, settings: NodeConfig) -> Misconfigured:
    return Misconfigured(f"{key} is no key of an officer", hint=f"list its public half in {settings.policy}")


def _checked_text(text: str) -> str:
    if len(text) > MOST_TEXT or not text.isprintable():
        raise Refused(f"a reason has at most {MOST_TEXT} printable characters, in one line")
    return text


def _digest(text: str) -> Digest:
    try:
        return Digest(bytes.fromhex(text))
    except ValueError:
        raise Misconfigured(f"{text!r} is no query's id") from None


def _print_waiting(console: Console, item: Waiting) -> None:
    facts = item.facts()
    console.print(f"{item.query_hash.hex()[:16]}", style="bold", highlight=False)
    for name in ("analyst", "purpose", "legal_basis", "question", "epsilon", "budget", "signed_by", "decide_by"):
        value = facts[name]
        text = ", ".join(value) if isinstance(value, list) else value
        console.print(f"  {name.replace('_', ' ') + ':':<13} {text}", highlight=False, markup=False, soft_wrap=True)
