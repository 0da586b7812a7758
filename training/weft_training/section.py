"""What every part of a recipe is made of, and where its data come from. See `weft_training.recipe`."""

from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from weft.errors import FibreError
from weft.fibres import fibre


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


Data = TypeVar("Data", bound="DataSection")


class DataSection(Section):
    manifest: Path | None = None  # relative to the working directory
    exclude_subjects: tuple[str, ...] = ()
    where: dict[str, str | float | bool] = Field(default_factory=dict)  # column: value that rows must have
    most_subjects: int | None = Field(default=None, ge=2)  # a first look at a large set


class FibreData(DataSection):
    fibres: tuple[str, ...] = Field(min_length=2)  # what the net tells apart, names of weft.fibres
    others: Literal["drop", "unknown"] = "drop"  # rows with a fibre outside `fibres`
    trace_share: float = Field(default=0.0, ge=0, lt=0.5)  # up to this much of other fibres is overlooked

    @model_validator(mode="after")
    def names_fibres(self) -> "FibreData":
        for name in self.fibres:
            try:
                known = fibre(name).name
            except FibreError as error:
                raise ValueError(str(error)) from error
            if known != name:
                raise ValueError(f"fibre {name!r} is called {known!r} here")
        return self


class PhotoBackbone(Section):
    """A network of timm that looks at photos, and how they are put before it."""

    backbone: str  # a name of timm
    pretrained: str | None = None  # a timm or hf-hub tag, or the path of a .safetensors or .pth file
    pretrained_classes: int | None = None  # classes of the file's classifier, where it has one: 1001
    pad_type: str | None = None  # "same" for weights that came from TensorFlow
    scaling: Literal["imagenet", "unit"] = "imagenet"  # unit: x / 127.5 - 1
    input_px: int = Field(default=224, ge=32)


def one_source(data: Data) -> Data:
    """ValueError, as a validator raises it, unless the data come from a manifest or from a simulator."""
    if (data.manifest is None) == (getattr(data, "simulate", None) is None):
        raise ValueError("needs either `manifest` or `simulate`")
    return data
