"""A line over HTTP: how it stands, and the rules it decides by, which change while it runs."""

import hmac
from typing import Annotated, Any, Final

from fastapi import Depends, Path, Query, Request
from fastapi.routing import APIRouter
from pydantic import BaseModel, ConfigDict

from weft.line.lanes import LaneRules
from weft.line.records import LineState
from weft_serving.line.engine import LineEngine
from weft_serving.line.lines import Lines
from weft_serving.problems import (
    BadBodyError,
    BodyTooLargeError,
    NotFoundError,
    TokenNeededError,
    problem_responses,
)
from weft_serving.service import TheService

router = APIRouter(tags=["lines"])
_RULES_BYTES: Final = 1_000_000
_RULES_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "A line's `lanes` part, or its whole file, as YAML or JSON.",
        "content": {
            kind: {"schema": {"type": "string"}} for kind in ("application/yaml", "application/json")
        },
    }
}


def _lines_of(request: Request) -> Lines:
    return request.app.state.sorting_lines


TheLines = Annotated[Lines, Depends(_lines_of)]
LineName = Annotated[str, Path(max_length=60, description="A line's name, as GET /v1/lines lists them.")]


class LineStates(BaseModel):
    lines: list[LineState]


class FindingReply(BaseModel):
    model_config = ConfigDict(frozen=True)

    level: str
    lane: str | None
    words: str


class RulesReply(BaseModel):
    """Rules of a line: `text` is what PUT takes."""

    model_config = ConfigDict(frozen=True)

    line: str
    version: str
    text: str
    in_force: bool
    findings: list[FindingReply]  # warnings and notes of the check


@router.get("/v1/lines")
def list_lines(lines: TheLines) -> LineStates:
    """Every line in service, as it stands now."""
    return LineStates(lines=[engine.state() for engine in lines.engines.values()])


@router.get("/v1/lines/{line}", responses=problem_responses("not-found"))
def read_line(line: LineName, lines: TheLines) -> LineState:
    """One line as it stands now: counts by lane, speed, latency against the deadline, alarms."""
    return _engine(lines, line).state()


@router.get("/v1/lines/{line}/rules", responses=problem_responses("not-found", "bad-store"))
def read_rules(
    line: LineName,
    lines: TheLines,
    version: Annotated[str | None, Query(max_length=40, description="An earlier one.")] = None,
) -> RulesReply:
    """The rules in force, or an earlier version that a decision names."""
    engine = _engine(lines, line)
    if version is None or version == engine.rules.version:
        return _reply(line, engine.rules)
    text = lines.archive.rules_of(line, version)
    if text is None:
        raise NotFoundError(f"line {line} never had rules of version {version!r}; decisions name theirs")
    return RulesReply(line=line, version=version, text=text, in_force=False, findings=[])


@router.put(
    "/v1/lines/{line}/rules",
    responses=problem_responses("not-found", "token-needed", "bad-rules", "bad-store", "busy"),
    openapi_extra=_RULES_BODY,
)
async def change_rules(
    request: Request,
    line: LineName,
    service: TheService,
    lines: TheLines,
    who: Annotated[
        str,
        Query(
            max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$", description="Who changes them, for the record."
        ),
    ] = "",
) -> RulesReply:
    """Decide by these rules from the next piece on; or say all that is wrong with them, and keep the old."""
    _check_token(request, service)
    _engine(lines, line)
    body = await request.body()
    if len(body) > _RULES_BYTES:
        raise BodyTooLargeError(f"the rules have {len(body):,} bytes, at most {_RULES_BYTES:,} are read")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise BadBodyError("the rules are not UTF-8; save the file as UTF-8 and send it again") from error
    # Checking and calibrating take about a second: off the event loop.
    rules = await service.pool.run(lambda: lines.change_rules(line, text, who=who or "http"))
    return _reply(line, rules)


def _engine(lines: Lines, name: str) -> LineEngine:
    engine = lines.engines.get(name)
    if engine is None:
        known = ", ".join(lines.engines) or "none; start the service with --lines FILE"
        raise NotFoundError(f"no line is called {name!r}; in service: {known}")
    return engine


def _check_token(request: Request, service: TheService) -> None:
    needed = service.settings.line_token
    if needed is None:
        return
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    # Compared in constant time: how long it takes tells nothing of how much was right.
    right = hmac.compare_digest(given.strip().encode(), needed.get_secret_value().encode())
    if scheme.lower() != "bearer" or not right:
        raise TokenNeededError(
            "the token is missing or not this server's; send `Authorization: Bearer TOKEN`"
        )


def _reply(line: str, rules: LaneRules) -> RulesReply:
    findings = [
        FindingReply(level=found.level, lane=found.lane, words=found.words) for found in rules.findings
    ]
    return RulesReply(line=line, version=rules.version, text=rules.text, in_force=True, findings=findings)
