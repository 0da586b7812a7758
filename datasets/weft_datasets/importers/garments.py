"""Residents' phone photos of single garments: images.csv (image, sender_id, label) and images/.

No weight, no fibre: ordinary photos to learn and measure advice on. The sender is the group: neither a bed
nor a phone may stand on both sides of a split.
"""

from pathlib import Path

import pandas as pd

from weft_datasets.importers.source import need
from weft_datasets.manifest import Manifest, make_manifest

NO_CLASS = {"Not sure", "Skip", "Other"}


def read(source: Path) -> Manifest:
    """Photos that the table names but the folder lacks are left out, and said in the remarks."""
    table, _ = need(source, "images.csv", "images")
    listed = pd.read_csv(table, dtype=str)
    listed["path"] = "images/" + listed["image"] + ".jpg"
    there = listed["path"].map(lambda path: (source / path).is_file())
    kept = listed[there]
    frame = pd.DataFrame(
        {
            "capture": kept["image"],
            "subject": "sender" + kept["sender_id"].str.zfill(3),
            "kind": "photo",
            "path": kept["path"],
            "klass": kept["label"].where(~kept["label"].isin(NO_CLASS)),
        }
    )
    absent = int((~there).sum())
    notes = {"source": "alexeygrigorev/clothing-dataset", "licence": "CC0-1.0"}
    remarks = {"remarks": [f"{absent} listed photos are not in the folder"]} if absent else {}
    return make_manifest(frame, root=source, name="garments", notes=notes | remarks)
