"""The models in service: each a bundle with what stands around it, and never changed once made."""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from weft.bundle import Bundle
from weft.identifier import Identifier
from weft.weigher import Weigher


class BundleName(BaseModel):
    """Which model answered, and whether it has ever seen a real measurement."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: str
    sha256: str
    trained_on: Literal["real", "simulated"]


@dataclass(frozen=True, slots=True)
class WeightModel:
    bundle: Bundle
    weigher: Weigher

    @property
    def name(self) -> BundleName:
        return name_of(self.bundle)

    @property
    def takes(self) -> tuple[object, ...]:
        """What photos are prepared for: models that take the same can answer on each other's photos."""
        section = self.bundle.card.weight
        assert section is not None  # the weigher has checked the task
        return section.decode_px, section.bands


@dataclass(frozen=True, slots=True)
class FibreModel:
    bundle: Bundle
    identifier: Identifier

    @property
    def name(self) -> BundleName:
        return name_of(self.bundle)


@dataclass(slots=True)
class Models:
    """What answers now. A request takes its model once and keeps it to its end: a swap never mixes two."""

    weight: WeightModel
    fibre: FibreModel


def name_of(bundle: Bundle) -> BundleName:
    card = bundle.card
    return BundleName(name=card.name, version=card.version, sha256=bundle.sha256, trained_on=card.trained_on)
