"""`weft bundles`: look at and change the bundles of a running server. A thin shell over its API."""

import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

import click

_FILE: Final = click.Path(path_type=Path, exists=True, dir_okay=False)
_TASK: Final = click.Choice(["weight", "fibre"])
_SECONDS: Final = 120  # others' bundles may be proven first


@click.group(invoke_without_command=True)
@click.option(
    "--url", envvar="WEFT_URL", default="http://127.0.0.1:8000", show_default=True, help="The server."
)
@click.pass_context
def bundles(context: click.Context, url: str) -> None:
    """Show or change the bundles of a running server; to change them, set WEFT_ADMIN_TOKEN to its token."""
    context.obj = url.rstrip("/")
    if context.invoked_subcommand is None:
        for bundle in _ask(context.obj, "/v1/bundles")["bundles"]:
            for line in _told(bundle):
                click.echo(line)


@bundles.command()
@click.argument("task", type=_TASK)
@click.argument("file", type=_FILE)
@click.pass_obj
def push(url: str, task: str, file: Path) -> None:
    """Bring the bundle FILE into service, once the server has proven it."""
    _change(url, f"/v1/bundles/{task}", "POST", file.read_bytes())


@bundles.command()
@click.argument("task", type=_TASK)
@click.pass_obj
def rollback(url: str, task: str) -> None:
    """Answer by the bundle before this one again."""
    _change(url, f"/v1/bundles/{task}/rollback", "POST")


@bundles.command()
@click.argument("task", type=_TASK)
@click.argument("file", type=_FILE)
@click.pass_obj
def challenge(url: str, task: str, file: Path) -> None:
    """Put the bundle FILE on trial beside the one in service; see /bundles."""
    _change(url, f"/v1/bundles/{task}/challenger", "PUT", file.read_bytes())


@bundles.command()
@click.argument("task", type=_TASK)
@click.pass_obj
def promote(url: str, task: str) -> None:
    """Bring the challenger into service."""
    _change(url, f"/v1/bundles/{task}/promote-challenger", "POST")


@bundles.command()
@click.argument("task", type=_TASK)
@click.pass_obj
def end(url: str, task: str) -> None:
    """End the trial of the challenger."""
    _change(url, f"/v1/bundles/{task}/challenger", "DELETE")


def _change(url: str, path: str, method: str, body: bytes | None = None) -> None:
    token = os.environ.get("WEFT_ADMIN_TOKEN")
    if not token:
        raise click.ClickException("WEFT_ADMIN_TOKEN is not set; set it to the token of the server")
    for line in _told(_ask(url, path, method, body, token)):
        click.echo(line)


def _ask(url: str, path: str, method: str = "GET", body: bytes | None = None, token: str = "") -> Any:
    """The JSON answer; a problem becomes its one line."""
    if not url.startswith(("http://", "https://")):
        raise click.ClickException(f"--url is {url!r}; name a server as http://HOST:PORT")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if body is not None:
        headers["Content-Type"] = "application/octet-stream"
    request = urllib.request.Request(url + path, body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as reply:
            return json.load(reply)
    except urllib.error.HTTPError as error:
        raise click.ClickException(_problem(error)) from error
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{url} does not answer as Weft does ({error}); check --url") from error


def _problem(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{error.url} answered {error.code}; check --url"


def _told(bundle: dict[str, Any]) -> list[str]:
    kept = "" if bundle["kept"] else "; a restart would not take it"
    lines = [f"{bundle['task']}: {_name(bundle)} since {bundle['since'][:16].replace('T', ' ')} UTC{kept}"]
    if bundle["previous"]:
        lines.append(f"  before: {_name(bundle['previous'])}")
    if bundle["challenger"]:
        lines.append(f"  on trial: {_name(bundle['challenger'])}")
    if bundle["refused"]:
        lines.append(f"  refused: {bundle['refused']['reason']}")
    return lines


def _name(bundle: dict[str, Any]) -> str:
    origin = f"{bundle['sha256'][:12]}, trained on {bundle['trained_on']} data"
    return f"{bundle['name']} {bundle['version']} ({origin})"
