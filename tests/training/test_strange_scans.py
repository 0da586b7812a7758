"""The table of strangers says of each kind how it is told from fibres, and which kinds are fibres."""

import numpy as np
import pandas as pd

from weft_training.leaderboard import find_lines
from weft_training.strange_scans import kinds_table


def answers() -> pd.DataFrame:
    rows = [("cotton", 0.0, u, 0.9) for u in (0.1, 0.2, 0.3, 0.6)]
    rows += [("pla", 1.0, u, 0.2) for u in (0.9, 0.8)] + [("pet", 1.0, u, 0.1) for u in (0.05, 0.15)]
    frame = pd.DataFrame(
        rows, columns=["klass", "unknown_truth", "predicted_unknown", "predicted_cotton_share"]
    )
    return frame.assign(predicted_polyester_share=1 - frame["predicted_cotton_share"])


def test_each_kind_has_its_area_its_refusals_and_what_it_reads_as() -> None:
    table = kinds_table(answers(), ("cotton", "polyester"))

    rows = {row[0]: row for row in table.rows}
    assert rows["true fibres"][1:4] == (4, None, 25.0)
    assert rows["pla"] == ("pla", 2, 1.0, 100.0, "polyester", "held out")
    assert rows["pet"][2:] == (np.float64(0.125), 0.0, "polyester", "chemically polyester: not judged")


def test_the_line_is_on_the_board() -> None:
    (line,) = find_lines(["bundled-fibre-on-strangers"])

    assert line.measure is not None
    assert line.figures[0].key == "unknown_auroc"
