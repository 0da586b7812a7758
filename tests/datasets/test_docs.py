"""What `docs/data.md` says about tables is what the importer takes."""

import re
from pathlib import Path

import pytest

from weft.errors import ManifestError
from weft.fibres import names
from weft_datasets.columns import TYPES
from weft_datasets.importers import KINDS
from weft_datasets.importers.folder import find_table
from weft_datasets.importers.headings import FOLDER_ONLY, understand

PAGE = Path(__file__).parents[2] / "docs" / "data.md"


def test_every_column_fibre_and_kind_is_described() -> None:
    text = PAGE.read_text(encoding="utf-8")
    columns = {name for name in (*TYPES, *FOLDER_ONLY) if not name.endswith("_pct")}
    internal = {"kind", "absorbance"}

    assert [name for name in columns - internal if f"`{name}`" not in text] == []
    assert [name for name in names() if not re.search(rf"\b{name}\b", text)] == []
    assert [kind for kind in KINDS if f"`{kind}`" not in text and f"import {kind}" not in text] == []


def test_the_headings_of_the_examples_are_understood() -> None:
    examples = re.findall(r"```csv\n(.+)\n", PAGE.read_text(encoding="utf-8"))

    assert len(examples) == 3
    for heads in examples:
        found = understand([name for name in heads.split(",") if name != "..."], given={}, axis=None)
        assert "subject" in found.rename.values()
        # The last example shows four points of many: too few to be a spectrum.
        assert all(name.isdigit() for name in found.own)


def test_a_table_called_captures_is_preferred(tmp_path: Path) -> None:
    (tmp_path / "captures.csv").write_text("subject")
    (tmp_path / "notes.csv").write_text("subject")

    assert find_table(tmp_path).name == "captures.csv"


@pytest.mark.parametrize("name", ["table.xlsx", "photo.jpg"])
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK")

    with pytest.raises(ManifestError, match=r"needed is a table of captures, \.csv or \.parquet"):
        find_table(tmp_path / name)
