"""The label part of a composition's answer: in both standards, or why there is none."""

from collections.abc import Sequence

from pydantic import Field

from weft.declaration import TITLES, Language, Margined, Standard, declare, labels
from weft_serving.answers import Answered


class DeclarationAnswer(Answered):
    """A label by language, under one standard. `label` is null where it would not hold up: see `reasons`."""

    under: str = Field(description="The standard")
    label: dict[Language, str] | None
    draft: dict[Language, str] | None = Field(description="What the label would say; not to be used")
    reasons: list[str] = Field(description="Cannot be declared, because")


class DeclarationsAnswer(Answered):
    eu: DeclarationAnswer
    cn: DeclarationAnswer


def answer_declarations(
    shares: Sequence[Margined], *, warnings: Sequence[str], trained_on: str
) -> DeclarationsAnswer:
    """From what is stored of an answer, so that it reads the same whenever it is asked for."""

    def under(standard: Standard) -> DeclarationAnswer:
        found = declare(shares, standard=standard, trained_on=trained_on, warnings=warnings)
        said = labels(found)
        return DeclarationAnswer(
            under=TITLES[standard],
            label=said if found.holds else None,
            draft=None if found.holds else said,
            reasons=list(found.reasons),
        )

    return DeclarationsAnswer(eu=under("eu"), cn=under("cn"))
