"""The models in service: each a bundle with what stands around it."""

from dataclasses import dataclass

from weft.bundle import Bundle
from weft.identifier import Identifier
from weft.weigher import Weigher


@dataclass(frozen=True, slots=True)
class WeightModel:
    bundle: Bundle
    weigher: Weigher


@dataclass(frozen=True, slots=True)
class FibreModel:
    bundle: Bundle
    identifier: Identifier


@dataclass(slots=True)
class Models:
    """What answers now. A request takes its model once and keeps it to its end: a swap never mixes two."""

    weight: WeightModel
    fibre: FibreModel
