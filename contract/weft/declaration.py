"""From fibre shares with margins to the words of a label, or to why there can be none.

Two standards: Regulation (EU) No 1007/2011 and GB/T 29862-2013. Both compare what a label says with what a
laboratory finds, and allow a difference. A declaration holds up only if **every** composition inside the
margins would pass that comparison: each declared figure must lie within its tolerance of both ends of its
fibre's interval. Where it does not, the label stays a draft and the reasons are named. `docs/declarations.md`
has the rules with their articles, and what a scan cannot know.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from weft.errors import FibreError
from weft.fibres import fibre

Standard = Literal["eu", "cn"]
Language = Literal["en", "de", "fr", "zh"]
Exemption = Literal["decorative", "antistatic"]

LANGUAGES: Final[Mapping[Standard, tuple[Language, ...]]] = {"eu": ("en", "de", "fr"), "cn": ("zh",)}
OF_PHOTO: Final = "photo: "  # so begins a warning of a photo beside a scan: no reason against a label
_EACH: Final = 2  # margins that are too wide are told one by one up to here
TITLES: Final[Mapping[Standard, str]] = {"eu": "Regulation (EU) No 1007/2011", "cn": "GB/T 29862-2013"}
OTHER: Final[Mapping[Language, str]] = {
    "en": "other fibres",
    "de": "sonstige Fasern",
    "fr": "autres fibres",
    "zh": "其他纤维",
}
# Annex I gives two names for some fibres; a label carries one.
_SHORT: Final[Mapping[str, Mapping[str, str]]] = {
    "flax": {"en": "linen", "de": "Leinen", "fr": "lin"},
    "nylon": {"en": "polyamide", "de": "Polyamid", "fr": "polyamide"},
}


@dataclass(frozen=True, slots=True)
class Rules:
    """Shares of the whole, 0..1."""

    undeclared: float  # so much of fibres that no label names is let pass
    carded: float  # the same where the product was carded
    tolerance: float  # between label and analysis
    small: float  # declared figures up to this ...
    small_tolerance: float  # ... have this tolerance
    must_be_there: float  # a fibre declared with up to this much may not be absent
    other_each: float  # fibres up to this much may be "other fibres"
    other_together: float
    exempt: Mapping[Exemption, float]  # up to so much need not be counted


RULES: Final[Mapping[Standard, Rules]] = {
    "eu": Rules(
        undeclared=0.02,  # Art. 7(2), 20(2)(a)
        carded=0.05,  # Art. 7(2), 20(2)(b)
        tolerance=0.03,  # Art. 20(3)
        small=0.0,
        small_tolerance=0.03,
        must_be_there=1.0,  # Art. 4: accurate, not misleading; a fibre that may be absent is not declared
        other_each=0.05,  # Art. 9(2)
        other_together=0.15,
        exempt={"decorative": 0.07, "antistatic": 0.02},  # Art. 10
    ),
    "cn": Rules(
        undeclared=0.005,  # traces; "100 %" has no tolerance
        carded=0.005,
        tolerance=0.05,
        small=0.10,
        small_tolerance=0.03,
        must_be_there=0.03,
        other_each=0.05,
        other_together=0.15,
        exempt={"decorative": 0.05, "antistatic": 0.05},
    ),
}


class Margined(Protocol):
    """A share with its margin, as `weft.identifier.FibreShare` and the service's answers have it."""

    @property
    def fibre(self) -> str: ...
    @property
    def share(self) -> float: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a label; `fibre` is None for "other fibres"."""

    fibre: str | None
    percent: int


@dataclass(frozen=True, slots=True)
class Declaration:
    """A label, and why it must not be used, if so.

    With `reasons` the entries are a draft: what the label would say if the figures were exact.
    """

    standard: Standard
    entries: tuple[Entry, ...]  # descending, "other fibres" last; together 100. Empty: nothing to say
    exempt: tuple[str, ...] = ()  # fibres that the caller said need not be counted
    reasons: tuple[str, ...] = ()  # "cannot be declared, because ..."

    @property
    def holds(self) -> bool:
        return not self.reasons

    def text(self, language: Language) -> str:
        """The label in a language; a draft where `holds` is false.

        Raises:
            FibreError: The standard is not written in this language.
        """
        if language not in LANGUAGES[self.standard]:
            raise FibreError(
                f"a label under {TITLES[self.standard]} is written in "
                f"{' or '.join(LANGUAGES[self.standard])}, not in {language}; choose one of these"
            )
        parts = [_line(entry, language) for entry in self.entries]
        label = (" " if language == "zh" else ", ").join(parts)
        if self.exempt and self.standard == "cn":
            label += f"({'、'.join(fibre(name).zh for name in self.exempt)}除外)"
        return label


def labels(declaration: Declaration) -> dict[Language, str]:
    """The label, or its draft, in every language of its standard."""
    return {language: declaration.text(language) for language in LANGUAGES[declaration.standard]}


@dataclass(frozen=True, slots=True)
class _Span:
    """A share between its ends."""

    name: str | None
    share: float
    low: float
    high: float


def declare(
    shares: Sequence[Margined],
    *,
    standard: Standard,
    trained_on: str,
    warnings: Sequence[str] = (),
    carded: bool = False,
    exempt: Mapping[str, Exemption] | None = None,
) -> Declaration:
    """The label of a composition, or a draft with the reasons why it cannot be declared.

    Args:
        shares: All fibres of an answer; margins hold for all of them together.
        trained_on: Of the card: margins of a model that saw simulated scans alone promise nothing.
        warnings: Of the answer. Whatever it warns of, its margins were not measured on.
        carded: The product was carded: more foreign fibre is let pass (EU).
        exempt: Fibres that are purely decorative or antistatic, as the caller knows; a scan does not.

    Raises:
        FibreError: An unknown fibre, or an exempt one that the answer does not name.
    """
    rules = RULES[standard]
    exempt = {fibre(name).name: why for name, why in (exempt or {}).items()}
    spans = [
        _Span(
            fibre(item.fibre).name,
            item.share,
            item.share if item.low is None else item.low,
            item.share if item.high is None else item.high,
        )
        for item in shares
    ]
    reasons = _doubts(shares, trained_on, warnings)
    spans, left_out, too_much = _without(spans, exempt, rules)
    label, faults = _label(spans, rules, rules.carded if carded else rules.undeclared)
    # Without margins every figure looks exact: what would follow from them is not worth saying.
    return Declaration(standard, label, left_out, (*reasons, *too_much, *([] if _bare(shares) else faults)))


def _doubts(shares: Sequence[Margined], trained_on: str, warnings: Sequence[str]) -> list[str]:
    found: list[str] = []
    if _bare(shares):
        found.append("no margin is available: too few garments of known composition were measured")
    if trained_on == "simulated":
        found.append("the model was trained on simulated scans: its margins were not measured on garments")
    return [*found, *(each for each in warnings if not each.startswith(OF_PHOTO))]


def _bare(shares: Sequence[Margined]) -> bool:
    return any(item.low is None or item.high is None for item in shares)


def _without(
    spans: list[_Span], exempt: Mapping[str, Exemption], rules: Rules
) -> tuple[list[_Span], tuple[str, ...], list[str]]:
    """The other fibres as parts of what is left, the exempt ones, and where there is too much of one."""
    absent = set(exempt) - {span.name for span in spans}
    if absent:
        raise FibreError(f"the answer names no {', '.join(sorted(absent))}; exempt only fibres that it names")
    faults: list[str] = []
    for why, most in rules.exempt.items():
        those = [span for span in spans if span.name is not None and exempt.get(span.name) == why]
        high = sum(span.high for span in those)
        if those and high > most:
            names = ", ".join(str(span.name) for span in those)
            faults.append(f"{names} may be {high:.1%}, {why} fibres need not be counted up to {most:.0%}")
    gone = [span for span in spans if span.name in exempt]
    low, share, high = (sum(getattr(span, end) for span in gone) for end in ("low", "share", "high"))
    kept = [
        _Span(
            span.name,
            span.share / max(1 - share, 1e-9),
            min(1.0, span.low / max(1 - low, 1e-9)),
            min(1.0, span.high / max(1 - high, 1e-9)),
        )
        for span in spans
        if span.name not in exempt
    ]
    return kept, tuple(str(span.name) for span in gone), faults


def _label(spans: list[_Span], rules: Rules, undeclared: float) -> tuple[tuple[Entry, ...], list[str]]:
    """The first of three ways that holds: pure, each fibre by name, small ones as "other fibres"."""
    if not spans:
        return (), ["no fibre is left to declare"]
    ordered = sorted(spans, key=lambda span: -span.share)
    main = ordered[0]
    # What is let pass are unavoidable traces; a fibre that is there for certain was put there, and is named.
    put_there = [span for span in ordered[1:] if span.low > 0 and round(100 * span.share) > 0]
    if main.low >= 1 - undeclared and not put_there:
        return (Entry(main.name, 100),), []
    named = [
        span
        for span in ordered
        if round(100 * span.share) > 0 and (span.high > undeclared or span in put_there)
    ]
    by_name = _checked(named, ordered, rules, undeclared)
    if not by_name[1]:
        return by_name
    large = [span for span in named if span.share > rules.other_each]
    small = [span for span in ordered if span not in large]
    if large and small:
        grouped = _checked([*large, _together(small, large)], ordered, rules, undeclared)
        if not grouped[1]:
            return grouped
    return by_name


def _together(small: list[_Span], large: list[_Span]) -> _Span:
    """ "Other fibres": the margins hold for all shares together, so what is left of 1 bounds their sum."""
    return _Span(
        None,
        sum(span.share for span in small),
        max(sum(span.low for span in small), 1 - sum(span.high for span in large)),
        min(sum(span.high for span in small), 1 - sum(span.low for span in large)),
    )


def _checked(
    declared: list[_Span], everything: list[_Span], rules: Rules, undeclared: float
) -> tuple[tuple[Entry, ...], list[str]]:
    """Entries for these spans and what stands against them."""
    entries = _percents(declared, rules)
    faults: list[str] = []
    rest = [span for span in everything if span not in declared]
    if not any(span.name is None for span in declared):
        beyond = min(sum(span.high for span in rest), 1 - sum(span.low for span in declared))
        if beyond > undeclared:
            largest = max(rest, key=lambda span: span.high, default=None)
            said = f" (such as {largest.name}, up to {largest.high:.1%})" if largest is not None else ""
            faults.append(
                f"up to {beyond:.1%} of fibres that the label would not name{said}; {undeclared:.1%} are "
                f"let pass"
            )
    wide: list[str] = []
    for span, entry in zip(declared, entries, strict=True):
        share = entry.percent / 100
        allowed = _allowed(entry.percent, rules)
        word = "other fibres" if span.name is None else span.name
        if len(entries) == 1:
            continue  # "100 %" has no tolerance: what may be beside it was looked at above
        if max(span.high - share, share - span.low) > allowed + 1e-9:
            wide.append(
                f"{word} may be anything from {span.low:.1%} to {span.high:.1%}; a label of {entry.percent}% "
                f"holds from {max(0.0, share - allowed):.0%} to {min(1.0, share + allowed):.0%}"
            )
        elif share <= rules.must_be_there and span.low <= 0:
            faults.append(f"{word} may not be there at all")
        if span.name is None and share > rules.other_together:
            faults.append(f"other fibres would be {share:.0%}, {rules.other_together:.0%} is the most")
    if len(wide) > _EACH:  # one after the other they would only repeat themselves
        said = ", ".join(
            f"{span.name or 'other fibres'} {span.low:.0%} to {span.high:.0%}" for span in declared
        )
        wide = [f"the margins are wider than a label may be off: {said}"]
    faults = [*faults, *wide]
    named = sorted((entry for entry in entries if entry.fibre is not None), key=lambda entry: -entry.percent)
    return (*named, *(entry for entry in entries if entry.fibre is None)), faults


def _allowed(percent: int, rules: Rules) -> float:
    return rules.small_tolerance if percent / 100 <= rules.small else rules.tolerance


def _percents(spans: list[_Span], rules: Rules) -> list[Entry]:
    """Whole percents that sum to 100, as near the middle of their margins' reach as that allows."""
    total = sum(span.share for span in spans)
    wanted = [100 * span.share / total for span in spans] if total > 0 else [100 / len(spans)] * len(spans)
    # A figure in reach of both ends of its interval holds up; one beside the estimate may be needed for that.
    for at, span in enumerate(spans):
        least, most = 100 * (span.high - rules.tolerance), 100 * (span.low + rules.tolerance)
        if least <= most:
            wanted[at] = min(max(wanted[at], least), most)
    whole = [max(1, math.floor(value + 1e-9)) for value in wanted]
    while (gap := 100 - sum(whole)) != 0:
        step = 1 if gap > 0 else -1
        room = [at for at in range(len(whole)) if step > 0 or whole[at] > 1]
        whole[max(room, key=lambda at: step * (wanted[at] - whole[at]))] += step
    return [Entry(span.name, percent) for span, percent in zip(spans, whole, strict=True)]


def _line(entry: Entry, language: Language) -> str:
    if entry.fibre is None:
        word = OTHER[language]
    else:
        found = fibre(entry.fibre)
        word = _SHORT.get(found.name, {}).get(language) or str(getattr(found, language))
    if language == "zh":
        return f"{word} {entry.percent}%"
    return f"{entry.percent}% {word}" if language == "en" else f"{entry.percent} % {word}"
