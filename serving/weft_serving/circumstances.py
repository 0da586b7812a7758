"""What a client may say beside its photos, in a form or in a stream's greeting."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from weft.marks import USUAL_MM, MarkHint, MarkKind, wanted


class Circumstances(BaseModel):
    """What a client may say about a parcel beside its photos; the stream's greeting says the same."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mark: MarkKind | None = Field(default=None, description="Kind of scale mark in the photos")
    mark_mm: Annotated[float, Field(ge=1, le=2_000)] | None = Field(
        default=None,
        description="Its size in mm. `qr`: side of the outer square; `disc`: diameter; `sheet`: longer side, "
        "297 (A4) if left out; `ruler`: its printed length, 250 if left out",
    )
    season: Literal["summer", "winter"] | None = None
    wrap: Literal["bag", "box", "loose"] | None = None

    @model_validator(mode="before")
    @classmethod
    def usual_print(cls, given: Any) -> Any:
        kind = given.get("mark") if isinstance(given, dict) else None
        if isinstance(kind, str) and kind in USUAL_MM and given.get("mark_mm") is None:
            return {**given, "mark_mm": USUAL_MM[kind]}
        return given

    @model_validator(mode="after")
    def mark_has_a_size(self) -> "Circumstances":
        if (self.mark is None) != (self.mark_mm is None):
            raise ValueError("`mark` and `mark_mm` belong together; send both or none")
        return self

    def hint(self) -> MarkHint | None:
        return wanted(self.mark, self.mark_mm)


def _printable(code: str) -> str:
    if any(character < " " or character == "\x7f" for character in code):
        raise ValueError("a control character is in it; send what can be printed on a label")
    return code


class ParcelFields(Circumstances):
    """The text fields of the form."""

    parcel: Annotated[str, Field(max_length=64), AfterValidator(_printable)] | None = Field(
        default=None, description="A code of your own; not unique"
    )
