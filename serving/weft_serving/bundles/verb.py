"""`weft bundles`: look at and change the bundles of a running server. A thin shell over its API."""

import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from weft.limits import REQUEST_BYTES
from weft_serving.bundles.admin_token import can_be_sent

_FILE: Final = click.Path(path_type=Path, exists=True, dir_okay=False)
_TASK: Final = click.Choice(["weight", "fibre", "composition"])  # fibre: the file's name for composition
_URL: Final = "http://127.0.0.1:8000"
_SECONDS: Final = 120  # others' bundles may be proven first


class _Server(NamedTuple):
    """What was chosen on the command line; None: what the environment says."""

    url: str | None = None
    token_file: Path | None = None


def _choose(context: click.Context, option: click.Parameter, value: object) -> None:
    if value is not None:
        context.obj = (context.obj or _Server())._replace(**{str(option.name): value})


def _server_options(command: Callable[..., None]) -> Callable[..., None]:
    """Taken before the verb and after it, where people type them; the later one counts."""
    url = click.option(
        "--url",
        callback=_choose,
        expose_value=False,
        help=f"The server.  [default: $WEFT_URL, or {_URL}]",
    )
    token = click.option(
        "--token-file",
        type=_FILE,
        callback=_choose,
        expose_value=False,
        help="File that holds the server's token.  [default: $WEFT_ADMIN_TOKEN, or $WEFT_ADMIN_TOKEN_FILE]",
    )
    return url(token(command))


@click.group(invoke_without_command=True)
@_server_options
@click.pass_context
def bundles(context: click.Context) -> None:
    """Show or change the bundles of a running server; to change them, set WEFT_ADMIN_TOKEN to its token."""
    context.obj = context.obj or _Server()
    if context.invoked_subcommand is None:
        _show(context.obj, "/v1/bundles")


@bundles.command()
@click.argument("task", type=_TASK)
@click.argument("file", type=_FILE)
@_server_options
@click.pass_obj
def push(server: _Server, task: str, file: Path) -> None:
    """Bring the bundle FILE into service, once the server has proven it."""
    _change(server, f"/v1/bundles/{task}", "POST", _read_bundle(file))


@bundles.command()
@click.argument("task", type=_TASK)
@_server_options
@click.pass_obj
def rollback(server: _Server, task: str) -> None:
    """Answer by the bundle before this one again."""
    _change(server, f"/v1/bundles/{task}/rollback", "POST")


@bundles.command()
@click.argument("task", type=_TASK)
@click.argument("file", type=_FILE)
@_server_options
@click.pass_obj
def challenge(server: _Server, task: str, file: Path) -> None:
    """Put the bundle FILE on trial beside the one in service; see /bundles."""
    _change(server, f"/v1/bundles/{task}/challenger", "PUT", _read_bundle(file))


@bundles.command()
@click.argument("task", type=_TASK)
@_server_options
@click.pass_obj
def promote(server: _Server, task: str) -> None:
    """Bring the challenger into service."""
    _change(server, f"/v1/bundles/{task}/promote-challenger", "POST")


@bundles.command()
@click.argument("task", type=_TASK)
@_server_options
@click.pass_obj
def end(server: _Server, task: str) -> None:
    """End the trial of the challenger."""
    _change(server, f"/v1/bundles/{task}/challenger", "DELETE")


def _read_bundle(file: Path) -> bytes:
    size = file.stat().st_size
    if size > REQUEST_BYTES:  # a server refuses it while it is being sent, and not all of them can say so
        raise click.ClickException(
            f"{file} has {size:,} bytes, at most {REQUEST_BYTES:,} are taken over HTTP; put it into the "
            "server's folder of bundles, as a file or by `weft promote`"
        )
    return file.read_bytes()


def _read_token(chosen: Path | None) -> str:
    """The token, checked here: what a header cannot hold would be named, token and all, where it is sent."""
    where, token = "WEFT_ADMIN_TOKEN", os.environ.get("WEFT_ADMIN_TOKEN", "")
    named = os.environ.get("WEFT_ADMIN_TOKEN_FILE")
    file = chosen or (Path(named) if named and not token else None)
    if file is not None:
        try:
            where, token = str(file), file.read_bytes().strip().decode("latin-1")
        except OSError as error:
            raise click.ClickException(
                f"{file} cannot be read ({error.strerror}); name a file that can"
            ) from error
    if not token:
        fault = "is not set" if file is None else "is empty"
        raise click.ClickException(f"{where} {fault}; set it to the token of the server")
    if not can_be_sent(token):
        raise click.ClickException(
            f"{where} holds a character that cannot be sent (a space, a line break, one beyond ASCII); "
            "set it to the token of the server"
        )
    return token


def _change(server: _Server, path: str, method: str, body: bytes | None = None) -> None:
    _show(server, path, method, body, _read_token(server.token_file))


def _show(
    server: _Server, path: str, method: str = "GET", body: bytes | None = None, token: str = ""
) -> None:
    url = (server.url or os.environ.get("WEFT_URL") or _URL).rstrip("/")
    answer = _ask(url, path, method, body, token)
    try:
        lines = [line for bundle in answer.get("bundles", [answer]) for line in _told(bundle)]
    except (AttributeError, KeyError, TypeError) as error:
        raise click.ClickException(f"{url} does not answer as Weft does; check --url") from error
    click.echo("\n".join(lines))


def _ask(url: str, path: str, method: str, body: bytes | None, token: str) -> Any:
    """The JSON answer; a problem becomes its one line."""
    if not url.startswith(("http://", "https://")):
        raise click.ClickException(f"--url is {url!r}; name a server as http://HOST:PORT")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if body is not None:
        headers["Content-Type"] = "application/octet-stream"
    try:
        request = urllib.request.Request(url + path, body, headers, method=method)
        with urllib.request.urlopen(request, timeout=_SECONDS) as reply:
            return json.load(reply)
    except urllib.error.HTTPError as error:
        raise click.ClickException(_problem(error)) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise click.ClickException(f"{url} {_no_answer(error, body)}") from error


def _no_answer(error: Exception, body: bytes | None) -> str:
    cut = isinstance(getattr(error, "reason", error), BrokenPipeError | ConnectionResetError)
    if cut and body is not None:
        return (
            f"closed the connection while {len(body):,} bytes were sent; a proxy before it may take less: "
            "raise its limit, or put the file into the server's folder of bundles"
        )
    return f"does not answer as Weft does ({error}); check --url"


def _problem(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{error.url} answered {error.code}; check --url"


def _told(bundle: dict[str, Any]) -> list[str]:
    kept = "" if bundle["kept"] else "; a restart would not take it"
    lines = [f"{bundle['task']}: {_name(bundle)} since {bundle['since'][:16].replace('T', ' ')} UTC{kept}"]
    if bundle.get("already"):
        lines.append("  in service already: nothing has changed")
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
