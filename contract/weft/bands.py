"""Where textile fibres are known to absorb in the near infrared: what an explanation is held against.

Positions in nm with what absorbs there. They are cited from memory after the sources below, to about 10 nm;
`weft_datasets.absorption` has the same bands with the widths and strengths that the simulator needs, and a
test keeps the two together. Only bands with an accepted assignment stand here; wide overlaps have none.

    [W] J. Workman, L. Weyer, Practical Guide and Spectral Atlas for Interpretive NIR Spectroscopy, CRC 2012.
    [S] M. Schwanninger, J. C. Rodrigues, K. Fackler, J. Near Infrared Spectrosc. 19 (2011) 287: cellulose.
    [T] S. Tsuchikawa, H. W. Siesler, Appl. Spectrosc. 57 (2003) 667: O-H of cellulose, by order.
    [C] E. Cleve, E. Bach, E. Schollmeyer, Anal. Chim. Acta 420 (2000) 163: NIR in the textile industry.
    [R] J. Rodgers, K. Beck, Textile Res. J. 79 (2009) 675: cotton in dyed cotton/polyester fabrics.
    [M] P. Wu, H. W. Siesler, J. Near Infrared Spectrosc. 7 (1999) 65: polyamide 11, C-H and N-H.
    [K] J. S. Church, J. A. O'Neill, A. L. Woodhead, Appl. Spectrosc. 52 (1998) 1039: wool/polyester blends.
    [E] M. Miyazawa, M. Sonoyama, J. Near Infrared Spectrosc. 6 (1998) A253: amide bands of proteins.
    [P] W. Camacho, S. Karlsson, Polym. Eng. Sci. 41 (2001) 1626: recycled PE, PP, PS, ABS, nylon.
"""

from typing import Final, NamedTuple


class Band(NamedTuple):
    nm: float
    bond: str  # what absorbs
    source: str  # a key of the list above


_CELLULOSE: Final = (
    Band(1217, "C-H, second overtone", "S"),
    Band(1365, "C-H stretch and bend", "S"),
    Band(2100, "O-H with C-O", "W"),
    Band(2272, "O-H with C-O, CH2", "S"),
)
_CELLULOSE_I: Final = (
    Band(1480, "O-H, semi-crystalline", "T"),
    Band(1548, "O-H, crystalline", "T"),
    Band(1590, "O-H, strongly bonded", "T"),
)
KNOWN_BANDS: Final[dict[str, tuple[Band, ...]]] = {
    "cotton": (*_CELLULOSE, *_CELLULOSE_I),
    "flax": (*_CELLULOSE, *_CELLULOSE_I, Band(1672, "acetyl of hemicellulose, lignin", "S")),
    "viscose": (*_CELLULOSE, Band(1428, "O-H, amorphous", "T"), Band(1490, "O-H, weakly ordered", "T")),
    "polyester": (
        Band(1130, "aromatic C-H, second overtone", "C"),
        Band(1413, "CH2 and aromatic C-H combined", "W"),
        Band(1660, "aromatic C-H, first overtone", "C"),
        Band(1907, "C=O, second overtone", "W"),
        Band(2132, "aromatic C-H with C=C", "R"),
    ),
    "nylon": (
        Band(1214, "CH2, second overtone", "W"),
        Band(1392, "CH2 stretch and bend", "W"),
        Band(1472, "N-H, free", "M"),
        Band(1537, "N-H, bonded", "M"),
        Band(1727, "CH2, first overtone", "W"),
        Band(2055, "N-H: amide A with II", "M"),
    ),
    "wool": (
        Band(1187, "CH3, CH2, second overtone", "K"),
        Band(1508, "peptide N-H, first overtone", "E"),
        Band(1577, "peptide N-H, ordered", "E"),
        Band(1692, "CH3, first overtone", "K"),
        Band(2055, "N-H: amide A with II", "E"),
        Band(2176, "N-H: amide B with II", "E"),
    ),
    "silk": (
        Band(1520, "peptide N-H, first overtone", "E"),
        Band(1585, "peptide N-H, ordered", "E"),
        Band(2053, "N-H: amide A with II", "E"),
        Band(2165, "N-H: amide B with II", "E"),
    ),
    "acrylic": (
        Band(1180, "CH2, second overtone", "W"),
        Band(1674, "C-H beside the nitrile", "W"),
        Band(1728, "CH2, first overtone", "W"),
        Band(1934, "nitrile with C-H", "W"),
    ),
    "acetate": (
        Band(1672, "acetyl CH3, first overtone", "W"),
        Band(1908, "C=O, second overtone", "W"),
        Band(2137, "C-H with C=O", "W"),
    ),
    "elastane": (
        Band(1208, "CH2, second overtone", "W"),
        Band(1705, "CH2 beside the ether oxygen", "W"),
        Band(1729, "CH2, first overtone", "W"),
    ),
    "polypropylene": (
        Band(1192, "CH3, second overtone", "P"),
        Band(1393, "CH3 stretch and bend", "P"),
        Band(1726, "CH2, first overtone", "P"),
    ),
}


def known_bands(fibre: str, *, from_nm: float, to_nm: float) -> tuple[Band, ...]:
    """The known bands of a fibre in a range, ascending; none for a fibre without a table."""
    return tuple(sorted(band for band in KNOWN_BANDS.get(fibre, ()) if from_nm <= band.nm <= to_nm))
