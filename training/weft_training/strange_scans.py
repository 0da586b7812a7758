"""How well the bundled fibre model tells what is no textile it knows, kind by kind, on measured scans."""

from typing import Final

import numpy as np
import pandas as pd

from weft.bundle import BUNDLED, load_bundle
from weft_datasets.importers import import_source
from weft_training.leaderboard_lines import SUSPECT_SWATCH, Line, Measured, Table, Workbench
from weft_training.metrics import auroc

# In the near infrared these plastics are fibres of the list: what they read as is shown, not judged.
FIBRES_OF_PLASTIC: Final = {"pet": "polyester", "petg": "polyester", "pp": "polypropylene"}
# Neither these nor anything of their bands is simulated.
HELD_OUT: Final = ("asa", "pacf", "pccf", "pla")
REFUSED: Final = 0.5


def measure_strange_scans(board: Workbench, line: Line) -> Measured:
    """Ask the bundled model about the fabrics of one instrument and the plastics of another.

    Raises:
        ManifestError: The data are not there.
    """
    from weft_training.evaluate import answers_of

    bundle = load_bundle(BUNDLED / "fibre.onnx", task="composition")
    assert bundle.card.composition is not None, "a composition bundle has this section"
    fabrics = board.imported(line)
    fabrics = fabrics.take((fabrics.frame["subject"] != SUSPECT_SWATCH).to_numpy())
    plastics = import_source("plastics", board.data / "spectra" / "plastics_nir")
    board.say(f"{line.name}: asking the bundled model")
    answers = pd.concat([answers_of(bundle, part).predictions for part in (fabrics, plastics)])
    kinds = pd.concat([part.frame.set_index("capture")["klass"] for part in (fabrics, plastics)])
    answers["klass"] = kinds[answers["capture"]].to_numpy()
    judged = answers[~answers["klass"].isin(FIBRES_OF_PLASTIC)].reset_index(drop=True)
    return Measured(
        judged,
        f"{fabrics.fingerprint()[:16]}+{plastics.fingerprint()[:16]}",
        tables=(kinds_table(answers, bundle.card.composition.fibres),),
    )


def kinds_table(answers: pd.DataFrame, fibres: tuple[str, ...]) -> Table:
    """Each kind of stranger against all true fibres; `answers` with a column `klass`."""
    known = answers[answers["unknown_truth"] < 0.5]
    shares = [f"predicted_{name}_share" for name in fibres]
    rows: list[tuple[str | float | None, ...]] = [("true fibres", len(known), None, _refused(known), "", "")]
    for kind, found in answers[answers["unknown_truth"] >= 0.5].groupby("klass"):
        both = pd.concat([known, found])
        area = auroc(
            both["unknown_truth"].to_numpy(float) >= 0.5,
            both["predicted_unknown"].to_numpy(float),
            np.ones(len(both)),
        )
        reads_as = fibres[int(found[shares].to_numpy(float).mean(0).argmax())]
        note = "held out" if kind in HELD_OUT else ""
        if kind in FIBRES_OF_PLASTIC:
            note = f"chemically {FIBRES_OF_PLASTIC[str(kind)]}: not judged"
        rows.append((str(kind), len(found), round(area, 3), _refused(found), reads_as, note))
    return Table(
        "What is no textile, kind by kind",
        ("kind", "scans", "AUROC", "refused %", "reads as, where not refused", ""),
        tuple(rows),
        note="AUROC of `unknown` against all true fibres; held out: no such thing is simulated.",
    )


def _refused(rows: pd.DataFrame) -> float:
    return round(100 * float((rows["predicted_unknown"] >= REFUSED).mean()), 1)
