"""The closed list of textile fibres: one name each, with its code, its legal names and what people call it.

`name` is the word used everywhere in Weft. Codes are those of ISO 2076 for man-made fibres and the trade's
usual ones (DIN 60001) for natural fibres, which ISO 2076 does not cover. `en`, `de`, `fr` follow Annex I of
Regulation (EU) 1007/2011; `zh` gives the name of the Chinese standards in the manner of GB/T 29862, the short
name in brackets.
"""

import difflib
import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from weft.errors import FibreError

SUM_TOLERANCE: Final = 1e-3
_MOST_NAMES: Final = 100


@dataclass(frozen=True, slots=True)
class Fibre:
    name: str
    code: str
    en: str
    de: str
    fr: str
    zh: str
    synonyms: tuple[str, ...] = ()


FIBRES: Final[tuple[Fibre, ...]] = (
    Fibre("cotton", "CO", "cotton", "Baumwolle", "coton", "棉", ("organic cotton", "recycled cotton", "bw")),
    Fibre(
        "wool",
        "WO",
        "wool",
        "Wolle",
        "laine",
        "羊毛",
        ("merino", "merino wool", "lambswool", "lamb's wool", "virgin wool", "schurwolle", "wv", "绵羊毛"),
    ),
    Fibre("cashmere", "WS", "cashmere", "Kaschmir", "cachemire", "山羊绒", ("kashmir",)),
    Fibre("alpaca", "WP", "alpaca", "Alpaka", "alpaga", "羊驼毛", ("baby alpaca",)),
    Fibre("mohair", "WM", "mohair", "Mohair", "mohair", "马海毛"),
    Fibre("angora", "WA", "angora", "Angora", "angora", "兔毛", ("angora rabbit",)),
    Fibre("camel", "WK", "camel", "Kamel", "chameau", "骆驼毛", ("camel hair", "camelhair", "骆驼绒")),
    Fibre("silk", "SE", "silk", "Seide", "soie", "桑蚕丝", ("mulberry silk", "蚕丝")),
    Fibre(
        "flax",
        "LI",
        "flax (or linen)",
        "Flachs bzw. Leinen",
        "lin",
        "亚麻",
        ("linen", "flax", "leinen", "flachs", "lin textile"),
    ),
    Fibre("hemp", "HA", "true hemp", "Hanf", "chanvre", "大麻", ("hemp", "汉麻")),
    Fibre("jute", "JU", "jute", "Jute", "jute", "黄麻"),
    Fibre("ramie", "RA", "ramie", "Ramie", "ramie", "苎麻"),
    Fibre(
        "polyester",
        "PES",
        "polyester",
        "Polyester",
        "polyester",
        "聚酯纤维(涤纶)",
        ("pet", "pl", "poly", "recycled polyester", "polyethylene terephthalate", "terylene", "dacron"),
    ),
    Fibre(
        "nylon",
        "PA",
        "polyamide or nylon",
        "Polyamid oder Nylon",
        "polyamide ou nylon",
        "聚酰胺纤维(锦纶)",
        ("polyamide", "polyamid", "pa6", "pa66", "pa 6", "pa 6.6", "nylon 6", "nylon 6.6", "perlon", "尼龙"),
    ),
    Fibre(
        "acrylic",
        "PAN",
        "acrylic",
        "Polyacryl",
        "acrylique",
        "聚丙烯腈纤维(腈纶)",
        ("polyacrylic", "polyacrylonitrile", "polyacrylnitril"),
    ),
    Fibre(
        "modacrylic", "MAC", "modacrylic", "Modacryl", "modacrylique", "改性聚丙烯腈纤维(改性腈纶)", ("ma",)
    ),
    Fibre(
        "elastane",
        "EL",
        "elastane",
        "Elasthan",
        "élasthanne",
        "聚氨酯弹性纤维(氨纶)",
        ("spandex", "lycra", "ea", "elastan", "elasthane"),
    ),
    Fibre(
        "elastomultiester",
        "EME",
        "elastomultiester",
        "Elastomultiester",
        "élastomultiester",
        "聚酯复合弹性纤维",
        ("t400",),
    ),
    Fibre("polypropylene", "PP", "polypropylene", "Polypropylen", "polypropylène", "聚丙烯纤维(丙纶)"),
    Fibre("polyethylene", "PE", "polyethylene", "Polyethylen", "polyéthylène", "聚乙烯纤维(乙纶)"),
    Fibre(
        "aramid",
        "AR",
        "aramid",
        "Aramid",
        "aramide",
        "芳香族聚酰胺纤维(芳纶)",
        ("kevlar", "nomex", "aromatic polyamide"),
    ),
    Fibre(
        "polylactide", "PLA", "polylactide", "Polylactid", "polylactide", "聚乳酸纤维", ("polylactic acid",)
    ),
    Fibre(
        "chlorofibre",
        "CLF",
        "chlorofibre",
        "Polychlorid",
        "chlorofibre",
        "含氯纤维(氯纶)",
        ("pvc fibre", "vinyon", "聚氯乙烯纤维"),
    ),
    Fibre("vinylal", "PVAL", "vinylal", "Vinylal", "vinylal", "聚乙烯醇缩醛纤维(维纶)", ("vinylon",)),
    Fibre(
        "viscose",
        "CV",
        "viscose",
        "Viskose",
        "viscose",
        "粘胶纤维(粘纤)",
        ("rayon", "viscose rayon", "vi", "bamboo viscose", "粘胶", "粘胶纤维(粘胶)"),
    ),
    Fibre("modal", "CMD", "modal", "Modal", "modal", "莫代尔纤维(莫代尔)", ("md",)),
    Fibre("lyocell", "CLY", "lyocell", "Lyocell", "lyocell", "莱赛尔纤维(莱赛尔)", ("tencel", "天丝")),
    Fibre("cupro", "CUP", "cupro", "Cupro", "cupro", "铜氨纤维(铜氨纤)", ("cuprammonium", "bemberg", "cu")),
    Fibre(
        "acetate",
        "CA",
        "acetate",
        "Acetat",
        "acétate",
        "醋酯纤维(醋纤)",
        ("cellulose acetate", "cellulose diacetate", "diacetate", "ac", "醋酸纤维"),
    ),
    Fibre(
        "triacetate",
        "CTA",
        "triacetate",
        "Triacetat",
        "triacétate",
        "三醋酯纤维(三醋纤)",
        ("cellulose triacetate", "ta"),
    ),
    Fibre(
        "metal",
        "MTF",
        "metal",
        "Metall",
        "métal",
        "金属纤维",
        ("metallic", "metallised", "lurex", "metal fibre"),
    ),
    Fibre(
        "glass",
        "GF",
        "glass fibre",
        "Glasfaser",
        "verre textile",
        "玻璃纤维",
        ("fibreglass", "fiberglass", "glass fiber"),
    ),
)
"""Lower-case English word first. The order has no meaning: a bundle's card carries its own."""


def _key(text: str) -> str:
    """Fold case, width, accents and separators, so that `Élasthanne` and `elasthanne` are one word."""
    flat = unicodedata.normalize("NFKD", text).casefold()
    kept = "".join(char for char in flat if not unicodedata.combining(char))
    return " ".join(kept.replace("_", " ").replace("-", " ").split())


def _words(fibre: Fibre) -> set[str]:
    zh, _, short = fibre.zh.rstrip(")").partition("(")
    legal = [part for name in (fibre.en, fibre.de, fibre.fr) for part in _alternatives(name)]
    words = [fibre.name, fibre.code, fibre.zh, zh, *([short] if short else []), *legal, *fibre.synonyms]
    return {_key(word) for word in words}


def _alternatives(name: str) -> list[str]:
    """`polyamide or nylon` and both of its words."""
    split = name.replace("(or ", "or ").replace(")", "")
    for between in (" or ", " oder ", " ou ", " bzw. "):
        split = split.replace(between, "|")
    return [name, *split.split("|")]


def _index() -> dict[str, Fibre]:
    found: dict[str, Fibre] = {}
    for item in FIBRES:
        for word in _words(item):
            if found.setdefault(word, item) is not item:
                raise RuntimeError(f"{word!r} means both {found[word].name} and {item.name}")
    return found


_BY_WORD: Final = _index()


def fibre(text: str) -> Fibre:
    """Find a fibre by name, code, legal name in any of the four languages, or synonym.

    Raises:
        FibreError: No fibre is called so; the message names the nearest known name.
    """
    found = _BY_WORD.get(_key(text[:200]))
    if found is not None:
        return found
    near = difflib.get_close_matches(_key(text[:40]), list(_BY_WORD), n=1, cutoff=0.6)
    hint = f"did you mean {_BY_WORD[near[0]].name!r}?" if near else f"known are {', '.join(names())}"
    raise FibreError(f"no fibre is called {text[:40]!r}; {hint}")


def names() -> tuple[str, ...]:
    return tuple(item.name for item in FIBRES)


def check_shares(shares: Mapping[str, float]) -> dict[str, float]:
    """Check shares by weight (0..1) and return them under Weft's own fibre names, in the order given.

    Raises:
        FibreError: An unknown name, one fibre named twice, a share that is negative or no number, or a sum
            that is further than 1e-3 from 1.
    """
    if not shares:
        raise FibreError("no fibre is named; give at least one share, together 1")
    if len(shares) > _MOST_NAMES:
        raise FibreError(f"{len(shares)} fibres are named, {_MOST_NAMES} is the most; leave out the zeros")
    found: dict[str, float] = {}
    for text, share in shares.items():
        name = fibre(text).name
        if name in found:
            raise FibreError(f"{text!r} and another name both mean {name}; add them up under one name")
        if not math.isfinite(share) or share < 0:
            raise FibreError(f"the share of {name} is {share:g}; give a number from 0 to 1")
        found[name] = float(share)
    total = math.fsum(found.values())
    if abs(total - 1) > SUM_TOLERANCE:
        percent = (
            "; these look like percent, divide by 100"
            if abs(total - 100) <= 1
            else "; correct or complete them"
        )
        raise FibreError(f"shares sum to {total:g}, needed 1 within {SUM_TOLERANCE:g}{percent}")
    return found
