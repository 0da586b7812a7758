"""One small module a kind of source, each with `read(source) -> Manifest`; found by name through `KINDS`."""

import importlib
from pathlib import Path
from typing import Final

from weft.errors import ManifestError
from weft_datasets.manifest import Manifest

KINDS: Final[dict[str, str]] = {
    "ecustfd": "weighed food with a coin of 25 mm: density.xls, JPEGImages, Annotations",
    "ducks": "duck carcasses on a line: weight.xls (kg) and frames/<number>",
    "nirscan": "fabrics on a TI DLP NIRscan Nano: absorbance.csv.gz, photos",
    "cotton-pet": "FT-NIR of cotton/PET blends: nir_absorbance.csv.gz",
    "fastex": "ATR-FTIR of reference fibres: raw_transmittance.csv.gz",
    "plastics": "NIR of plastics, none a textile fibre: reflectance_pct.csv.gz",
    "garments": "phone photos of garments, without weight: images.csv, images",
    "folder": "your own: a CSV or Parquet of captures, or the folder that holds one",
}


def import_source(kind: str, source: Path) -> Manifest:
    """Read a published source as it was downloaded; `folder` has options and is called by itself.

    Raises:
        ManifestError: An unknown kind, or a source that is not laid out as expected.
    """
    if kind not in KINDS or kind == "folder":
        raise ManifestError(f"no importer is called '{kind}'; there are {', '.join(KINDS)}")
    module = importlib.import_module(f"weft_datasets.importers.{kind.replace('-', '_')}")
    manifest: Manifest = module.read(source)
    return manifest
