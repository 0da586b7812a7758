"""The models in service: each a bundle with what stands around it, and never changed once made."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from weft.bundle import Bundle
from weft.errors import WrongTaskError
from weft.identifier import Identifier
from weft.spectra import make_scan
from weft.stages import Stage, untold
from weft.weigher import PhotoFinding, Prepared, Weigher

ServedTask = Literal["weight", "composition"]
_WARM_PHOTOS: Final = (1, 2)  # an engine plans its memory by shapes, and keeps that of the largest


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

    @property
    def takes(self) -> tuple[object, ...]:
        """Nothing: any grid of wavelengths is resampled in the graph, and checked at each scan."""
        return ()


Model = WeightModel | FibreModel


@dataclass(slots=True)
class Models:
    """What answers now. A request takes its model once and keeps it to its end: a swap never mixes two."""

    weight: WeightModel
    fibre: FibreModel

    def of(self, task: ServedTask) -> Model:
        return self.weight if task == "weight" else self.fibre

    def swap(self, model: Model) -> None:
        """Let another answer from the next request on: one reference changes, nothing else."""
        if isinstance(model, WeightModel):
            self.weight = model
        else:
            self.fibre = model


def name_of(bundle: Bundle) -> BundleName:
    card = bundle.card
    return BundleName(name=card.name, version=card.version, sha256=bundle.sha256, trained_on=card.trained_on)


def make_model(bundle: Bundle, stage: Stage = untold) -> Model:
    """What the service needs around a bundle. Raises WrongTaskError for one that answers no route."""
    if bundle.card.task == "weight":
        return WeightModel(bundle, Weigher(bundle, stage=stage))
    if bundle.card.task == "composition":
        return FibreModel(bundle, Identifier(bundle))
    raise WrongTaskError(
        f"{bundle.source}: a bundle for {bundle.card.task}; needed one for weight or composition"
    )


def warm(model: Model) -> None:
    """Run a model on the usual shapes, so that no request pays for its first time."""
    if isinstance(model, FibreModel):
        low, high = model.identifier.card.needed_nm
        points = max(32, len(model.identifier.card.grid_nm))
        nm = np.linspace(low, high, points)
        light = np.full(points, 0.5, np.float32)
        model.identifier.identify(make_scan(values=light, quantity="reflectance", wavelength_nm=nm))
        return
    section = model.weigher.card.weight
    assert section is not None
    long, short, bands = section.decode_px, section.decode_px * 3 // 4, len(section.bands)
    for count in _WARM_PHOTOS:
        for height, width in ((short, long), (long, short)):
            photo = Prepared(np.full((height, width, bands), 128, np.uint8), 0.0, _FINE)
            several = [photo, *(_other(photo, n) for n in range(1, count))]
            model.weigher.weigh(several)


_FINE: Final = PhotoFinding(True, (), None)


def _other(photo: Prepared, shade: int) -> Prepared:
    """The same photo in another grey: the same one twice would count once."""
    assert photo.pixels is not None
    return Prepared(photo.pixels + np.uint8(shade), 0.0, _FINE)
