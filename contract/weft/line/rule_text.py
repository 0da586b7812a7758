"""The language of a lane's rule, in a plant's words, read by hand in one pass.

    cotton >= 95 %
    polyester >= 95 % and elastane < 2 %
    wool + silk >= 80 % and (colour: white, beige or not mixed)
    30 % <= cotton <= 70 % and polyester >= 30 % and mass >= 150 g

Fibres go by every name and code that `weft.fibres` knows, in its four languages. `and` binds closer than
`or`, `not` closer than both.
"""

import difflib
import math
import re
from dataclasses import dataclass
from typing import Final

from weft.errors import FibreError, RuleError
from weft.fibres import fibre
from weft.line.colours import COLOURS
from weft.line.rule_tree import (
    FLAGS,
    Amount,
    Coloured,
    Comparison,
    Flagged,
    Measure,
    Quantity,
    Rule,
    either,
    every,
    opposite,
    words,
)

LONGEST: Final = 2_000  # characters of one rule
_DEEPEST: Final = 40  # parentheses and "not" inside each other
_TOKEN: Final = re.compile(
    r"(?P<space>\s+)|(?P<number>\d+(?:[.,]\d+)?)|(?P<word>[^\W\d_](?:[-'’]?\w)*)"
    r"|(?P<comparison>>=|<=|≥|≤|>|<)|(?P<mark>[%％+(),:=])"
)
_WRITTEN: Final[dict[str, Comparison]] = {
    ">=": ">=",
    "≥": ">=",
    ">": ">",
    "<=": "<=",
    "≤": "<=",
    "<": "<",
}
_TURNED: Final[dict[Comparison, Comparison]] = {">=": "<=", "<=": ">=", ">": "<", "<": ">"}
_JOINS: Final = ("and", "or", "not")
_COLOUR: Final = ("colour", "color")
_SIZES: Final[dict[Quantity, dict[str, float]]] = {
    "mass": {"g": 1.0, "kg": 1_000.0},
    "area": {"cm2": 1.0, "cm²": 1.0, "m2": 10_000.0, "m²": 10_000.0},
}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # number, word, comparison, mark, end
    text: str
    at: int  # characters before it


def parse_rule(text: str) -> Rule:
    """Read one rule.

    Raises:
        RuleError: It cannot be read; the message names the place and, for a misspelt word, the nearest one.
    """
    if len(text) > LONGEST:
        raise RuleError(f"a rule of {len(text)} characters, {LONGEST} is the most; split it into lanes")
    found = _Reader(text).rule()
    if len(words(found)) > LONGEST:
        raise RuleError(f"the rule takes more than {LONGEST} characters written out; split it into lanes")
    return found


def parse_percent(text: object) -> float:
    """`2 %` as points of a percent.

    Raises:
        RuleError: Anything else, a bare number above all: 2 may mean 2 % or all of it.
    """
    found = re.fullmatch(r"\s*(\d+(?:[.,]\d+)?)\s*[%％]\s*", text[:100]) if isinstance(text, str) else None
    if found is None:
        raise RuleError(f"got {str(text)[:40]!r}, needed a percentage; write it as 2 %")
    return float(found[1].replace(",", "."))


class _Reader:
    """Walks the tokens once, from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = self._split(text)
        self.closing = self._pairs()
        self.place = 0
        self.depth = 0

    def rule(self) -> Rule:
        if self._now.kind == "end":
            raise RuleError("the rule is empty; write what the lane takes, such as cotton >= 95 %")
        found = self._either()
        if self._now.kind != "end":
            raise self._wrong("needed and, or, or the rule's end")
        return found

    def _either(self) -> Rule:
        parts = [self._every()]
        while self._skip_word("or"):
            parts.append(self._every())
        return either(parts)

    def _every(self) -> Rule:
        parts = [self._single()]
        while self._skip_word("and"):
            parts.append(self._single())
        return every(parts)

    def _single(self) -> Rule:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise self._wrong(f"parentheses and not are {_DEEPEST} deep; write the rule with fewer")
        try:
            if self._skip_word("not"):
                return opposite(self._single())
            if self._now.text == "(" and not self._sum_in_parentheses():
                self.place += 1
                found = self._either()
                self._need(")")
                return found
            return self._leaf()
        finally:
            self.depth -= 1

    def _leaf(self) -> Rule:
        token = self._now
        if token.kind == "number":
            return self._between()
        if token.kind == "word" and token.text.casefold() in _COLOUR:
            return self._colour()
        quantity = self._quantity()
        if quantity is not None:
            self.place += 1
            comparison = self._comparison(f"{quantity}")
            return Measure(quantity, comparison, self._size(quantity))
        flag = self._flag()
        if flag is not None:
            return flag
        fibres = self._sum()
        return Amount(fibres, self._comparison(fibres[-1]), self._percent())

    def _between(self) -> Rule:
        """`95 % <= cotton`, and with a second bound `30 % <= cotton <= 70 %`."""
        first = self._percent()
        comparison = self._comparison("a share")
        fibres = self._sum()
        lower = Amount(fibres, _TURNED[comparison], first)
        if self._now.kind != "comparison":
            return lower
        if _WRITTEN[self._now.text][0] != comparison[0]:
            raise self._wrong("both signs of a range point the same way, as in 30 % <= cotton <= 70 %")
        second = self._comparison("a share")
        return every([lower, Amount(fibres, second, self._percent())])

    def _sum(self) -> tuple[str, ...]:
        inside = self._now.text == "("
        self.place += inside
        fibres = [self._fibre()]
        while self._now.text == "+":
            self.place += 1
            at = self.place
            fibres.append(self._fibre())
            if fibres[-1] in fibres[:-1]:
                self.place = at
                raise self._wrong(f"{fibres[-1]} is in this sum already; name it once")
        if inside:
            self._need(")")
        return tuple(fibres)

    def _fibre(self) -> str:
        first = self.place
        name = self._words()
        if not name:
            raise self._wrong("needed a fibre, colour: ..., a flag, mass, area or unknown")
        try:
            return fibre(name).name
        except FibreError as error:
            self.place = first
            raise self._wrong(_nearest(name.casefold()) or str(error)) from error

    def _flag(self) -> Flagged | None:
        """The longest flag that stands here: `few pixels` is `few-pixels`."""
        for count in (2, 1):
            those = self.tokens[self.place : self.place + count]
            if any(token.kind != "word" for token in those):
                continue
            word = "-".join(token.text.casefold() for token in those)
            for flag in FLAGS:
                if flag == word and self.tokens[self.place + count].kind != "comparison":
                    self.place += count
                    return Flagged(flag)
        return None

    def _quantity(self) -> Quantity | None:
        word, after = self._now.text.casefold(), self.tokens[min(self.place + 1, len(self.tokens) - 1)]
        if word == "mass" or word == "area":
            return word
        return "unknown" if word == "unknown" and after.kind == "comparison" else None

    def _colour(self) -> Coloured:
        self.place += 1
        if self._now.text in (":", "=") or self._now.text.casefold() == "is":
            self.place += 1
        names = [self._colour_name()]
        while self._now.text == ",":
            self.place += 1
            names.append(self._colour_name())
        return Coloured(tuple(dict.fromkeys(names)))

    def _colour_name(self) -> str:
        first = self.place
        name = self._words().casefold().replace("gray", "grey")
        if name in COLOURS:
            return name
        self.place = first
        near = difflib.get_close_matches(name, COLOURS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(COLOURS)}"
        raise self._wrong(f"no colour is called {name[:40]!r}; {hint}")

    def _comparison(self, after: str) -> Comparison:
        if self._now.kind != "comparison":
            raise self._wrong(f"needed a comparison after {after}, such as {after} >= 95 %")
        self.place += 1
        return _WRITTEN[self.tokens[self.place - 1].text]

    def _percent(self) -> float:
        value = self._number("a share such as 95 %")
        if self._now.text not in ("%", "％"):
            raise self._wrong(f"needed % after {value:g}; shares are percent by weight")
        if not value <= 100:
            self.place -= 1
            raise self._wrong(f"a share of {value:g} %; needed 0 to 100 %")
        self.place += 1
        return value

    def _size(self, quantity: Quantity) -> float:
        if quantity == "unknown":
            return self._percent()
        units = _SIZES[quantity]
        value = self._number(f"a number with its unit, {' or '.join(units)}")
        factor = units.get(self._now.text.casefold())
        if factor is None:
            raise self._wrong(f"needed the unit of {value:g}: {' or '.join(units)}")
        self.place += 1
        return value * factor

    def _number(self, needed: str) -> float:
        if self._now.kind != "number":
            raise self._wrong(f"needed {needed}")
        value = float(self._now.text.replace(",", "."))
        if not math.isfinite(value) or value > 1e9:
            raise self._wrong("this number is larger than any garment")
        self.place += 1
        return value

    def _words(self) -> str:
        """Neighbouring words up to a sign or a joining word: `organic cotton`."""
        found: list[str] = []
        while self._now.kind == "word" and self._now.text.casefold() not in _JOINS:
            found.append(self._now.text)
            self.place += 1
        return " ".join(found)

    def _skip_word(self, word: str) -> bool:
        if self._now.kind == "word" and self._now.text.casefold() == word:
            self.place += 1
            return True
        return False

    def _need(self, mark: str) -> None:
        if self._now.text != mark:
            raise self._wrong(f"needed {mark}")
        self.place += 1

    @property
    def _now(self) -> _Token:
        return self.tokens[self.place]

    def _wrong(self, needed: str) -> RuleError:
        token = self._now
        seen = f"at character {token.at + 1}, {token.text[:40]!r}" if token.kind != "end" else "at its end"
        return RuleError(f"{self.text[:200]!r}, {seen}: {needed}")

    def _split(self, text: str) -> list[_Token]:
        found: list[_Token] = []
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise RuleError(
                    f"{text[:200]!r}, at character {at + 1}: {text[at]!r} means nothing here; "
                    "write as in cotton >= 95 % and not mixed"
                )
            if match.lastgroup != "space":
                found.append(_Token(str(match.lastgroup), match.group(), at))
            at = match.end()
        return [*found, _Token("end", "", len(text))]

    def _pairs(self) -> dict[int, int]:
        """Place of the closing parenthesis of each opening one."""
        pairs: dict[int, int] = {}
        open_at: list[int] = []
        for place, token in enumerate(self.tokens):
            if token.text == "(":
                open_at.append(place)
            elif token.text == ")" and open_at:
                pairs[open_at.pop()] = place
        return pairs

    def _sum_in_parentheses(self) -> bool:
        """Whether this parenthesis holds fibres to be summed, and no rule: a comparison comes after it."""
        closing = self.closing.get(self.place)
        return closing is not None and self.tokens[closing + 1].kind == "comparison"


def _nearest(name: str) -> str | None:
    """What to say of a word that is no fibre's but like another of the language's."""
    if name in COLOURS:
        return f"colours are listed with commas, as in colour: white, {name}"
    near = difflib.get_close_matches(name, [*FLAGS, *_SIZES, "colour"], n=1, cutoff=0.8)
    return f"nothing is called {name[:40]!r}; did you mean {near[0]!r}?" if near else None
