"""The steps of a recipe's `preprocess`. See `weft_training.recipe`; `preprocess` has the layers."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from weft_training.section import Section


class Snv(Section):
    kind: Literal["snv"]


class SavGol(Section):
    kind: Literal["savgol"]
    window: int = Field(ge=3)  # points of the grid, odd
    order: int = Field(default=2, ge=1)
    derivative: int = Field(default=1, ge=0)

    @model_validator(mode="after")
    def is_possible(self) -> "SavGol":
        if self.window % 2 == 0 or self.order >= self.window or self.derivative > self.order:
            raise ValueError("window must be odd and above order, order at least derivative")
        return self


Plain = Annotated[Snv | SavGol, Field(discriminator="kind")]


class Branches(Section):
    """Several chains of steps on the same spectrum, their results side by side."""

    kind: Literal["branches"]
    of: tuple[tuple[Plain, ...], ...] = Field(min_length=2)


Step = Annotated[Snv | SavGol | Branches, Field(discriminator="kind")]
