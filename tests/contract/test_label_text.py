"""Labels as shops write them, read and written again."""

import csv
from pathlib import Path

import pytest

from weft.declaration import LANGUAGES, declare
from weft.errors import FibreError
from weft.fibres import FIBRES
from weft.identifier import FibreShare
from weft.label_text import OTHER_FIBRES, read_label

SHOP = Path(__file__).parents[3] / "shared/data/tables/garment_fabrics_measurements_brandy-melville.csv"


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("95% Cotton 5% Elastane", {"cotton": 0.95, "elastane": 0.05}),
        ("60 % Baumwolle, 40 % Polyester", {"cotton": 0.6, "polyester": 0.4}),
        ("69% polyester. 29% rayon, 2% elastane.", {"polyester": 0.69, "viscose": 0.29, "elastane": 0.02}),
        ("棉 60% 聚酯纤维(涤纶) 40%", {"cotton": 0.6, "polyester": 0.4}),
        ("棉60%,氨纶40%", {"cotton": 0.6, "elastane": 0.4}),
        ("100 % lin", {"flax": 1.0}),
        ("pure silk", {"silk": 1.0}),
        ("纯棉", {"cotton": 1.0}),
        ("90 % laine, 10 % autres fibres", {"wool": 0.9, OTHER_FIBRES: 0.1}),
        ("70% wool and 30% nylon", {"wool": 0.7, "nylon": 0.3}),
        ("12,5 % Seide, 87,5 % Wolle", {"silk": 0.125, "wool": 0.875}),
    ],
)
def test_a_label_is_read_in_any_of_the_languages(text: str, shares: dict[str, float]) -> None:
    assert read_label(text) == pytest.approx(shares)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Shell: 100% polyurethane, Lining: 100% cotton", "describes parts of a garment"),
        ("98% cotton, 4% elastane", "shares sum to 1.02"),
        ("70% viscos, 30% linen", "did you mean 'viscose'"),
        ("90% cotton, 5% other fibres", "sums to 95%, needed 100 %"),
        ("50% cotton, 50% cotton", "names cotton twice"),
        ("Lead, nickel and cadmium compliant", "no fibre is called"),
        ("", "no fibre is called"),
    ],
)
def test_what_is_no_composition_is_refused_by_name_of_the_fault(text: str, words: str) -> None:
    with pytest.raises(FibreError, match=words):
        read_label(text)


@pytest.mark.skipif(not SHOP.is_file(), reason="needs shared/data/tables beside the checkout")
def test_compositions_of_a_shop_come_back_from_a_declaration_as_they_were_read() -> None:
    with SHOP.open(encoding="utf-8-sig", newline="") as stream:
        texts = [row["fabrics"] for row in csv.DictReader(stream) if "%" in row["fabrics"]]
    one_part = [text for text in texts if ":" not in text and "Lining" not in text and "Shell" not in text]
    read = 0
    for text in one_part:
        try:
            shares = read_label(text)
        except FibreError:
            continue
        read += 1
        if any(share < 0.01 or abs(100 * share - round(100 * share)) > 1e-6 for share in shares.values()):
            continue
        margined = [
            FibreShare(name, "", share, max(0.005, share - 0.01), min(1.0, share + 0.01))
            for name, share in shares.items()
        ]
        if len(margined) == 1:
            margined = [FibreShare(margined[0].fibre, "", 1.0, 0.996, 1.0)]
        for standard, languages in LANGUAGES.items():
            label = declare(margined, standard=standard, trained_on="real")
            assert label.holds, (text, label.reasons)
            for language in languages:
                assert read_label(label.text(language)) == pytest.approx(shares), text

    assert len(one_part) > 600
    assert read / len(one_part) > 0.97


def test_the_table_of_names_in_the_documentation_is_the_list_that_labels_are_written_with() -> None:
    page = (Path(__file__).parents[2] / "docs/declarations.md").read_text(encoding="utf-8")
    for item in FIBRES:
        words = [
            declare([FibreShare(item.name, "", 1.0, 1.0, 1.0)], standard=standard, trained_on="real").text(
                language
            )
            for standard, languages in LANGUAGES.items()
            for language in languages
        ]
        names = [word.replace("100%", "").replace("100 %", "").strip() for word in words]
        assert f"| {item.name} | {item.code} | {' | '.join(names)} |" in page
