"""What a label, a shop or a mill writes of a composition -> shares. The reverse of `declaration`."""

import re
import unicodedata
from typing import Final

from weft.declaration import OTHER
from weft.errors import FibreError
from weft.fibres import check_shares, fibre

OTHER_FIBRES: Final = "other fibres"  # key of the share that no fibre is named for
_MOST_LETTERS: Final = 500
_PURE: Final = ("pure ", "all ", "rein ", "reine ", "pur ", "pure ", "tout ", "纯", "全")
_PART: Final = re.compile(r"[A-Za-zÀ-ÿ\u4e00-\u9fff]+\s*:")
_NUMBER: Final = r"(\d{1,3}(?:[.,]\d+)?)\s*%"
_PERCENT_FIRST: Final = re.compile(_NUMBER + r"\s*([^\d%,;、]+)")
_NAME_FIRST: Final = re.compile(r"([^\d%,;、]+?)\s*" + _NUMBER)
_EDGES: Final = " .,;/&+·、-"
_JOINING: Final = re.compile(r"^(?:and|und|et)\s+|\s+(?:and|und|et)$", re.IGNORECASE)


def read_label(text: str) -> dict[str, float]:
    """Shares (0..1, together 1) under Weft's names, in the order given; `OTHER_FIBRES` where a label says so.

    Reads `95 % cotton, 5 % elastane`, `棉 95% 氨纶 5%`, `100% lin` and `pure cotton`, in the four languages.

    Raises:
        FibreError: No composition, an unknown name, a sum other than 1, or several parts (`Shell: ...`).
    """
    wide = unicodedata.normalize("NFKC", text[:_MOST_LETTERS]).replace("\ufeff", " ")
    flat = " ".join(wide.split())
    if _PART.search(flat):
        raise FibreError(f"{flat[:60]!r} describes parts of a garment; give the text of one part")
    first = _PERCENT_FIRST.findall(flat) if flat[:1].isdigit() else None
    pairs = [(name, number) for number, name in first] if first is not None else _NAME_FIRST.findall(flat)
    if not pairs:
        pairs = [(_unqualified(flat), "100")]
    shares: dict[str, float] = {}
    for name, number in pairs:
        word = _JOINING.sub("", name.strip(_EDGES)).strip(_EDGES)
        found = (
            OTHER_FIBRES
            if word.casefold() in {term.casefold() for term in OTHER.values()}
            else fibre(word).name
        )
        if found in shares:
            raise FibreError(f"{flat[:60]!r} names {found} twice; add its shares up")
        shares[found] = float(number.replace(",", ".")) / 100
    if OTHER_FIBRES not in shares:
        return check_shares(shares)
    total = sum(shares.values())
    if abs(total - 1) > 1e-3:
        raise FibreError(f"{flat[:60]!r} sums to {total:.0%}, needed 100 %; correct or complete it")
    return shares


def _unqualified(text: str) -> str:
    for word in _PURE:
        if text.casefold().startswith(word):
            return text[len(word) :]
    return text
