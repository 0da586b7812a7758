"""What all pieces of one belt have in common."""

from dataclasses import dataclass

from weft_datasets.absorption import Floats


@dataclass(frozen=True, slots=True)
class Climate:
    """What all pieces of one belt have in common."""

    backing: Floats  # reflectance of the belt, (INNER,)
    humidity: float  # relative, 0..1
    cell_mm: float  # of the pieces' maps
    belt_mm: float = 1_000.0  # its width
