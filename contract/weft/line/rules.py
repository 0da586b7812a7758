"""Reading a line's lanes, with every finding of the check at once.

    lanes:
      rest: rest
      lanes:
        - {name: white-cotton, take: cotton >= 95 %, colour: white, ejector: e1, max_contamination: 2 %,
           price_per_kg: 0.9}

`docs/line/lanes.md` has the words. Rules that were read without an error are safe to decide by.
"""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from weft.errors import RuleError
from weft.line.description import LineDescription, Name, read_part
from weft.line.lanes import DOUBTS, Finding, Lane, LaneRules
from weft.line.rule_check import check_lanes
from weft.line.rule_text import parse_percent, parse_rule
from weft.line.rule_tree import Rule, every

__all__ = ["DOUBTS", "Finding", "Lane", "LaneRules", "read_rules", "rules_from_text"]

_LONGEST: Final = 200_000  # characters of all rules
_MOST_LANES: Final = 64
_MOST_BRACKETS: Final = 500


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, str_max_length=4_000)


class _LaneText(_Written):
    name: Name
    take: str = ""
    colour: str | list[str] = Field(default_factory=list[str], max_length=100)
    ejector: Name | None = None
    max_contamination: Any = None
    price_per_kg: float = Field(default=0.0, ge=-1_000, le=100_000)
    spoil_per_kg: float | None = Field(default=None, ge=0, le=100_000)


class _RestText(_Written):
    name: Name
    price_per_kg: float = Field(default=0.0, ge=-1_000, le=100_000)


def read_rules(
    path: Path, description: LineDescription | None = None, fibres: Sequence[str] | None = None
) -> LaneRules:
    """The `lanes` part of a line's file; arguments and errors as `rules_from_text`.

    Raises:
        LineDescriptionError: The file cannot be read.
    """
    return _rules(read_part(path, "lanes"), description, fibres)


def rules_from_text(
    text: str, description: LineDescription | None = None, fibres: Sequence[str] | None = None
) -> LaneRules:
    """Read rules that someone wrote, as YAML: a line's whole file, or its `lanes` part alone.

    Args:
        description: The line they are for; ejectors are checked against it.
        fibres: What the line's bundle tells apart; a rule may name no other.

    Raises:
        RuleError: They cannot be decided by. `findings` of the error holds everything that was found, not the
            first alone, and warnings too.
    """
    if len(text) > _LONGEST:
        raise _refused([Finding("error", f"{len(text)} characters of rules, {_LONGEST} is the most")])
    if text.count("{") + text.count("[") > _MOST_BRACKETS:  # a parser's time grows with their square
        raise _refused(
            [Finding("error", f"more than {_MOST_BRACKETS} brackets; lanes need two each at most")]
        )
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: a date that is none
        said = " ".join(str(error).split())[:300]
        raise _refused([Finding("error", f"no YAML: {said}; correct it there")]) from error
    if isinstance(found, dict) and isinstance(found.get("lanes"), dict):
        _check_name(found.get("line"), description)
        found = found["lanes"]
    return _rules(found, description, fibres)


def _check_name(machine: Any, description: LineDescription | None) -> None:
    """A whole file brings its machine along, which its lanes do not change: it has to be the same one."""
    name = machine.get("name") if isinstance(machine, dict) else None
    if description is not None and name is not None and name != description.name:
        words = f"these are the lanes of line {str(name)[:60]!r}, this is {description.name!r}; send its own"
        raise _refused([Finding("error", words)])


def _rules(given: Any, description: LineDescription | None, fibres: Sequence[str] | None) -> LaneRules:
    findings: list[Finding] = []
    if not isinstance(given, dict) or not isinstance(given.get("lanes"), list):
        raise _refused([Finding("error", "needed `rest: NAME` and a list `lanes`; see docs/line/lanes.md")])
    strange = [str(key)[:40] for key in given if key not in ("rest", "lanes")]
    findings += [
        Finding("error", f"nothing is called {key!r} here; needed rest and lanes") for key in strange
    ]
    rest = _rest(given.get("rest"), findings)
    written = given["lanes"]
    if not 1 <= len(written) <= _MOST_LANES:
        findings.append(Finding("error", f"{len(written)} lanes, needed 1 to {_MOST_LANES}"))
    lanes = [_lane(each, place, findings) for place, each in enumerate(written[:_MOST_LANES], 1)]
    whole = LaneRules(
        tuple(lane for lane in lanes if lane is not None),
        rest.name if rest else "",
        rest.price_per_kg if rest else 0.0,
    )
    findings += check_lanes(whole, description, fibres)
    if any(finding.level == "error" for finding in findings):
        raise _refused(findings)
    return LaneRules(whole.lanes, whole.rest, whole.rest_price_per_kg, tuple(findings))


def _refused(findings: list[Finding]) -> RuleError:
    errors = [str(finding) for finding in findings if finding.level == "error"]
    return RuleError("; ".join(errors), findings=tuple(findings))


def _rest(given: Any, findings: list[Finding]) -> _RestText | None:
    if given is None:
        words = "no rest lane: what fits no lane must go somewhere; write rest: NAME"
        findings.append(Finding("error", words))
        return None
    try:
        return _RestText.model_validate(given if isinstance(given, dict) else {"name": given})
    except ValidationError as error:
        findings += [Finding("error", f"rest: {said}") for said in _said(error, _RestText)]
        return None


def _lane(given: Any, place: int, findings: list[Finding]) -> Lane | None:
    """One lane, or None after adding all that is wrong with it to the findings."""
    if not isinstance(given, dict):
        findings.append(Finding("error", f"lane {place} is no mapping; write {{name: ..., take: ...}}"))
        return None
    name = str(given.get("name"))[:40] if given.get("name") else f"number {place}"
    before = len(findings)
    try:
        written = _LaneText.model_validate(given)
    except ValidationError as error:
        findings += [Finding("error", said, name) for said in _said(error, _LaneText)]
        return None
    rule = _rule(written, findings)
    contamination = _contamination(written, findings)
    if len(findings) > before or rule is None:
        return None
    price = written.price_per_kg
    spoil = max(price, 0.0) if written.spoil_per_kg is None else written.spoil_per_kg
    return Lane(written.name, rule, contamination, written.ejector, price, spoil)


def _rule(written: _LaneText, findings: list[Finding]) -> Rule | None:
    parts: list[Rule] = []
    colours = written.colour if isinstance(written.colour, str) else ", ".join(written.colour)
    for key, text in (("take", written.take), ("colour", f"colour: {colours}" if colours else "")):
        if text.strip():
            try:
                parts.append(parse_rule(text))
            except RuleError as error:
                findings.append(Finding("error", f"{key}: {error}", written.name))
                return None
    if not parts:
        words = "says nothing of what it takes; write take: cotton >= 95 %, or colour: white"
        findings.append(Finding("error", words, written.name))
        return None
    return every(parts)


def _contamination(written: _LaneText, findings: list[Finding]) -> float:
    """Share 0..1."""
    try:
        if written.max_contamination is None:
            raise RuleError("is missing; say how much may be wrong, such as 5 %")
        percent = parse_percent(written.max_contamination)
        if not 0 < percent < 100:
            raise RuleError(
                f"is {percent:g} %; needed more than 0 % (nothing is certain) and less than 100 %"
            )
    except RuleError as error:
        findings.append(Finding("error", f"max_contamination: {error}", written.name))
        return 1.0
    return percent / 100


def _said(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Each fault in words, with the nearest key for a misspelt one."""
    found: list[str] = []
    for each in error.errors(include_url=False, include_input=False):
        key = str(each["loc"][0])[:40] if each["loc"] else "lane"
        if each["type"] == "extra_forbidden":
            near = difflib.get_close_matches(key, model.model_fields, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(model.model_fields)}"
            found.append(f"nothing is called {key!r} here; {hint}")
        else:
            found.append(f"{key}: {each['msg']}")
    return found
