"""Near-infrared absorption bands of textile fibres and water, 850-2550 nm, set by hand after the literature.

Every row is (position in nm, full width at half height in cm-1, strength, kind). Strength is the peak
absorption coefficient of the solid, base 10, per mm. Positions follow the literature below as the author
remembered it: no source was open while the table was written, so a citation says where a band is discussed,
not that the figure was copied from there, and none has been checked against its source since. Strengths and
widths are estimates from chemistry: polyethylene absorbs about 0.7 per mm at 1730 nm and water 1.35 at
1450 nm; from there by the moles of C-H, O-H and N-H bonds in a litre of the polymer, second overtones a tenth
of the first, combinations beyond 2000 nm four to six times it. They may err by a third each; `makes` spreads
them so far.

What real scans had a part in. The table was written first, then checked by eye against overlays of real
standardised spectra (the fabrics of one handheld, the plastics of one instrument), and rows were set anew by
hand with these in view: in acrylic the bands at 1414 and 1674 nm, in nylon the N-H bands about 1537 and
1575 nm, in polyethylene those at 1170, 1212 and 1540 nm, and smaller ones in polypropylene, polystyrene and
PMMA. No measured spectrum was copied and no program fitted one, but for these six materials the table is not
independent of those two sets, and figures on them are not wholly blind.

Sources, cited from memory
    [W] J. Workman, L. Weyer, Practical Guide and Spectral Atlas for Interpretive NIR Spectroscopy, CRC 2012.
    [S] M. Schwanninger, J. C. Rodrigues, K. Fackler, J. Near Infrared Spectrosc. 19 (2011) 287: cellulose.
    [T] S. Tsuchikawa, H. W. Siesler, Appl. Spectrosc. 57 (2003) 667: O-H of cellulose, by order.
    [C] E. Cleve, E. Bach, E. Schollmeyer, Anal. Chim. Acta 420 (2000) 163: NIR in the textile industry.
    [R] J. Rodgers, K. Beck, Textile Res. J. 79 (2009) 675: cotton in dyed cotton/polyester fabrics.
    [M] P. Wu, H. W. Siesler, J. Near Infrared Spectrosc. 7 (1999) 65: polyamide 11, C-H and N-H.
    [K] J. S. Church, J. A. O'Neill, A. L. Woodhead, Appl. Spectrosc. 52 (1998) 1039: wool/polyester blends.
    [E] M. Miyazawa, M. Sonoyama, J. Near Infrared Spectrosc. 6 (1998) A253: amide bands of proteins.
    [P] W. Camacho, S. Karlsson, Polym. Eng. Sci. 41 (2001) 1626: recycled PE, PP, PS, ABS, nylon.
    [H] K. F. Palmer, D. Williams, J. Opt. Soc. Am. 64 (1974) 1107; L. Kou et al., Appl. Opt. 32
        (1993) 3531: water.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Row = tuple[float, float, float, str]


@dataclass(frozen=True, slots=True)
class Material:
    """A solid with its bands. Arrays of shape (K,), one entry a band."""

    name: str
    centre_cm1: Floats
    width_cm1: Floats  # full width at half height
    strength: Floats  # peak, base-10 absorbance per mm of solid
    bonded: NDArray[np.bool_]  # O-H and N-H bands, which move with temperature and hydrogen bonds
    density: float  # g/cm3
    regain: float  # g of water in 1 g of dry fibre at 65 % relative humidity, 20 C (ISO/TR 6741-4)


def material(name: str, rows: tuple[Row, ...], *, density: float, regain: float = 0.0) -> Material:
    nm = np.array([row[0] for row in rows])
    return Material(
        name=name,
        centre_cm1=1e7 / nm,
        width_cm1=np.array([row[1] for row in rows]),
        strength=np.array([row[2] for row in rows]),
        bonded=np.array([row[3] in ("OH", "NH") for row in rows]),
        density=density,
        regain=regain,
    )


def rows_of(solid: Material) -> tuple[Row, ...]:
    """The rows that a solid was made of, to make another that holds it."""
    kinds = ["OH" if bonded else "CH" for bonded in solid.bonded]
    centre_nm = (1e7 / solid.centre_cm1).round(6).tolist()
    return tuple(zip(centre_nm, solid.width_cm1.tolist(), solid.strength.tolist(), kinds, strict=True))


# C-H of anhydroglucose, common to every cellulose [S]. 1702-1790 overlap into one low, wide hump.
_GLUCOSE_CH: tuple[Row, ...] = (
    (920, 300, 0.0025, "CH"),
    (1173, 260, 0.010, "CH"),
    (1217, 260, 0.026, "CH"),  # second overtone of C-H, 1212-1225 [S]
    (1278, 260, 0.008, "CH"),
    (1365, 250, 0.034, "CH"),  # 2 stretch + deformation [S]
    (1702, 130, 0.055, "CH"),
    (1728, 130, 0.060, "CH"),
    (1770, 180, 0.085, "CH"),
    (1830, 200, 0.060, "OH"),  # O-H + 2 C-O [W]
    (2100, 240, 0.62, "OH"),  # O-H + C-O [W]
    (2272, 120, 0.62, "CH"),  # O-H + C-O, CH2 [S]
    (2336, 110, 0.70, "CH"),
    (2390, 110, 0.45, "CH"),
    (2488, 140, 0.75, "CH"),
)
_COTTON = (
    *_GLUCOSE_CH,
    (1428, 240, 0.085, "OH"),  # amorphous O-H [T]
    (1480, 230, 0.165, "OH"),  # semi-crystalline, 1473-1484 [T]
    (1493, 260, 0.075, "OH"),  # O3-H...O5 intramolecular, crystalline [S]
    (1548, 270, 0.120, "OH"),  # crystalline [T]
    (1590, 260, 0.078, "OH"),  # strongly bonded, crystalline [T]
    (1640, 260, 0.018, "OH"),
)
# Bast fibre: cellulose I as in cotton with 15-20 % hemicellulose, pectin and some lignin.
_FLAX = (
    *_GLUCOSE_CH,
    (1428, 250, 0.095, "OH"),
    (1478, 240, 0.160, "OH"),
    (1493, 260, 0.070, "OH"),
    (1548, 270, 0.108, "OH"),
    (1590, 260, 0.068, "OH"),
    (1640, 260, 0.016, "OH"),
    (1672, 110, 0.020, "CH"),  # acetyl of hemicellulose, aromatic C-H of lignin [S]
    (1142, 150, 0.002, "CH"),
    (1724, 100, 0.022, "CH"),  # waxes
)
# Regenerated cellulose (II): less order, so O-H sits at shorter waves and less of it beyond 1540 nm [T].
_VISCOSE = (
    *_GLUCOSE_CH,
    (1428, 250, 0.150, "OH"),
    (1462, 240, 0.125, "OH"),
    (1490, 260, 0.105, "OH"),
    (1540, 280, 0.085, "OH"),
    (1585, 270, 0.040, "OH"),
)
_POLYESTER = (
    (890, 150, 0.0006, "CH"),
    (1130, 130, 0.0200, "CH"),  # aromatic C-H, second overtone [C]
    (1172, 150, 0.0100, "CH"),  # CH2, second overtone
    (1195, 160, 0.0035, "CH"),
    (1380, 140, 0.0090, "CH"),
    (1413, 120, 0.0170, "CH"),  # CH2 and aromatic combinations [W]
    (1448, 160, 0.0060, "CH"),
    (1618, 90, 0.0120, "CH"),
    (1660, 78, 0.2000, "CH"),  # aromatic C-H, first overtone: the mark of PET [C][R]
    (1688, 90, 0.0400, "CH"),
    (1718, 90, 0.0850, "CH"),
    (1735, 100, 0.0550, "CH"),
    (1772, 110, 0.0300, "CH"),
    (1830, 130, 0.0200, "CH"),
    (1907, 90, 0.0700, "CO"),  # C=O, second overtone [W]
    (1955, 110, 0.0500, "CO"),
    (2085, 90, 0.1700, "CH"),
    (2132, 60, 0.4600, "CH"),  # aromatic C-H + C=C [R]
    (2180, 60, 0.3800, "CH"),
    (2255, 60, 0.5200, "CH"),
    (2343, 70, 0.6000, "CH"),
    (2405, 80, 0.4500, "CH"),
    (2460, 80, 0.5500, "CH"),
)
_NYLON = (
    (930, 200, 0.0060, "CH"),
    (1040, 160, 0.0035, "NH"),  # N-H, second overtone
    (1192, 170, 0.0380, "CH"),
    (1214, 130, 0.0400, "CH"),  # CH2, second overtone, antisymmetric [W]
    (1370, 140, 0.0140, "CH"),
    (1392, 100, 0.0250, "CH"),  # 2 CH2 stretch + bend, two bands [W]
    (1417, 110, 0.0290, "CH"),
    (1472, 130, 0.0180, "NH"),  # free N-H [M]
    (1498, 200, 0.0350, "NH"),
    (1537, 120, 0.0750, "NH"),  # bonded, ordered N-H: 6530-6480 cm-1 [M]
    (1575, 110, 0.0260, "NH"),  # N-H + amide II overtone
    (1640, 190, 0.0150, "NH"),
    (1692, 90, 0.1000, "CH"),  # CH2 beside N and C=O
    (1727, 85, 0.4000, "CH"),  # CH2 first overtone, antisymmetric [W]
    (1760, 90, 0.2600, "CH"),  # symmetric
    (1815, 120, 0.0450, "CH"),
    (1910, 110, 0.0400, "CO"),
    (1960, 110, 0.0500, "NH"),
    (2055, 90, 0.4700, "NH"),  # amide A + amide II [M]
    (2120, 120, 0.1300, "NH"),
    (2178, 80, 0.3300, "NH"),  # 2 amide I + amide III, amide B + II
    (2295, 80, 1.4000, "CH"),
    (2350, 80, 1.2000, "CH"),
    (2465, 100, 0.8000, "CH"),
)
_WOOL = (
    (910, 250, 0.0045, "CH"),
    (1025, 180, 0.0030, "NH"),
    (1155, 160, 0.0070, "CH"),
    (1187, 170, 0.0280, "CH"),  # CH3, CH2, second overtone [K]
    (1216, 170, 0.0150, "CH"),
    (1360, 150, 0.0150, "CH"),
    (1392, 150, 0.0150, "CH"),
    (1435, 230, 0.0300, "OH"),  # serine, threonine O-H
    (1486, 200, 0.0500, "NH"),
    (1508, 200, 0.0800, "NH"),  # peptide N-H, first overtone [E]
    (1540, 180, 0.0500, "NH"),
    (1577, 200, 0.0580, "NH"),  # peptide N-H, ordered [E]
    (1640, 240, 0.0130, "NH"),
    (1692, 110, 0.1100, "CH"),  # CH3 first overtone
    (1732, 120, 0.1150, "CH"),
    (1762, 130, 0.0800, "CH"),
    (1985, 160, 0.1500, "NH"),  # N-H + amide II of asymmetric amide
    (2055, 120, 0.5200, "NH"),  # amide A + amide II [E]
    (2176, 100, 0.4300, "NH"),  # amide B + amide II [E]
    (2290, 110, 0.6200, "CH"),
    (2350, 110, 0.4500, "CH"),
    (2470, 130, 0.4500, "CH"),
)
# Fibroin: glycine, alanine, serine; beta sheet, hence N-H at longer waves and less C-H.
_SILK = (
    (910, 250, 0.0035, "CH"),
    (1025, 180, 0.0030, "NH"),
    (1160, 170, 0.0110, "CH"),
    (1190, 170, 0.0170, "CH"),
    (1370, 160, 0.0160, "CH"),
    (1430, 230, 0.0380, "OH"),
    (1485, 200, 0.0420, "NH"),
    (1520, 190, 0.0850, "NH"),
    (1548, 170, 0.0700, "NH"),
    (1585, 190, 0.0620, "NH"),
    (1640, 220, 0.0160, "NH"),
    (1690, 110, 0.0850, "CH"),
    (1735, 140, 0.0600, "CH"),
    (1978, 150, 0.1600, "NH"),
    (2053, 100, 0.6000, "NH"),
    (2165, 100, 0.4500, "NH"),
    (2210, 90, 0.3200, "CH"),
    (2280, 110, 0.4000, "CH"),
    (2370, 130, 0.3500, "CH"),
    (2460, 130, 0.4000, "CH"),
)
_ACRYLIC = (
    (900, 220, 0.0035, "CH"),
    (1155, 150, 0.0110, "CH"),  # methine beside the nitrile
    (1180, 150, 0.0260, "CH"),  # CH2, second overtone, short of nylon's because of the nitrile [W]
    (1215, 160, 0.0070, "CH"),
    (1360, 130, 0.0080, "CH"),
    (1392, 120, 0.0070, "CH"),
    (1414, 110, 0.0270, "CH"),  # 2 antisymmetric CH2 stretch + bend
    (1485, 180, 0.0050, "CO"),  # C#N, second overtone
    (1630, 160, 0.0080, "CH"),
    (1674, 110, 0.1200, "CH"),  # methine beside the nitrile; CH3 of the comonomers
    (1706, 100, 0.1300, "CH"),
    (1728, 100, 0.1500, "CH"),
    (1765, 120, 0.0600, "CH"),
    (1905, 90, 0.0500, "CO"),
    (1934, 90, 0.0700, "CO"),  # C#N + C-H
    (2020, 120, 0.0800, "CO"),
    (2250, 70, 0.6500, "CH"),
    (2292, 80, 0.5000, "CH"),
    (2345, 90, 0.5500, "CH"),
    (2450, 110, 0.4500, "CH"),
)
# Cellulose di- and triacetate: the acetyl CH3 next to C=O first, then what is left of the ring and its O-H.
_ACETATE = (
    (895, 200, 0.0030, "CH"),
    (1138, 130, 0.0120, "CH"),
    (1165, 150, 0.0180, "CH"),
    (1212, 200, 0.0090, "CH"),
    (1363, 130, 0.0160, "CH"),
    (1388, 140, 0.0140, "CH"),
    (1428, 160, 0.0330, "OH"),  # left-over O-H, little bonded
    (1485, 260, 0.0200, "OH"),
    (1672, 90, 0.1000, "CH"),  # acetyl CH3, first overtone [W]
    (1722, 110, 0.1000, "CH"),
    (1760, 150, 0.0450, "CH"),
    (1908, 90, 0.1000, "CO"),  # C=O, second overtone
    (2137, 80, 0.3300, "CO"),  # C-H + C=O [W]
    (2235, 100, 0.3000, "CH"),
    (2268, 90, 0.4000, "CH"),
    (2310, 100, 0.4000, "CH"),
    (2360, 100, 0.3500, "CH"),
    (2470, 120, 0.4500, "CH"),
)
# Segmented polyurethane: polyether CH2 first, few urethane N-H and aromatic C-H.
_ELASTANE = (
    (925, 200, 0.0060, "CH"),
    (1140, 130, 0.0040, "CH"),
    (1176, 160, 0.0200, "CH"),
    (1208, 150, 0.0420, "CH"),
    (1390, 120, 0.0260, "CH"),
    (1415, 120, 0.0260, "CH"),
    (1480, 160, 0.0130, "NH"),
    (1515, 200, 0.0120, "NH"),
    (1670, 90, 0.0450, "CH"),
    (1705, 90, 0.1700, "CH"),  # CH2 beside the ether oxygen
    (1729, 85, 0.2900, "CH"),
    (1766, 100, 0.2300, "CH"),
    (1810, 120, 0.0500, "CH"),
    (1910, 110, 0.0350, "CO"),
    (2035, 120, 0.1500, "NH"),
    (2165, 90, 0.1400, "CH"),
    (2273, 80, 0.8000, "CH"),
    (2310, 80, 1.1000, "CH"),
    (2350, 80, 1.1000, "CH"),
    (2450, 110, 0.8000, "CH"),
)
_POLYPROPYLENE = (
    (913, 180, 0.0060, "CH"),
    (1018, 180, 0.0025, "CH"),
    (1152, 110, 0.0130, "CH"),
    (1192, 95, 0.0620, "CH"),  # CH3, second overtone [P]
    (1212, 95, 0.0500, "CH"),  # CH2
    (1362, 100, 0.0230, "CH"),
    (1393, 90, 0.0500, "CH"),  # [P]
    (1412, 90, 0.0320, "CH"),
    (1435, 90, 0.0230, "CH"),
    (1540, 140, 0.0060, "CH"),
    (1630, 120, 0.0150, "CH"),
    (1702, 65, 0.3400, "CH"),
    (1726, 65, 0.4500, "CH"),
    (1763, 85, 0.3300, "CH"),
    (1820, 100, 0.0700, "CH"),
    (2277, 60, 1.4000, "CH"),
    (2310, 60, 1.8000, "CH"),
    (2350, 70, 1.3000, "CH"),
    (2395, 70, 1.2000, "CH"),
    (2445, 80, 1.2000, "CH"),
)

# Modal and lyocell are left out: regenerated cellulose like viscose, and no published bands tell them apart.
FIBRE_MATERIALS: dict[str, Material] = {
    m.name: m
    for m in (
        material("cotton", _COTTON, density=1.54, regain=0.078),
        material("flax", _FLAX, density=1.50, regain=0.105),
        material("viscose", _VISCOSE, density=1.51, regain=0.125),
        material("polyester", _POLYESTER, density=1.38, regain=0.004),
        material("nylon", _NYLON, density=1.14, regain=0.042),
        material("wool", _WOOL, density=1.31, regain=0.150),
        material("silk", _SILK, density=1.34, regain=0.100),
        material("acrylic", _ACRYLIC, density=1.17, regain=0.015),
        material("acetate", _ACETATE, density=1.31, regain=0.060),
        material("elastane", _ELASTANE, density=1.12, regain=0.010),
        material("polypropylene", _POLYPROPYLENE, density=0.91, regain=0.0),
    )
}

# Water bound in a fibre, per mm of liquid water [H].
WATER = material(
    "water",
    (
        (972, 420, 0.018, "OH"),
        (1190, 420, 0.045, "OH"),
        (1412, 260, 0.55, "OH"),
        (1450, 300, 0.95, "OH"),
        (1505, 420, 0.40, "OH"),
        (1785, 350, 0.25, "OH"),
        (1927, 230, 4.2, "OH"),
        (1975, 320, 1.8, "OH"),
        (2550, 500, 3.5, "OH"),
    ),
    density=1.0,
)


def coefficient(rows: Material, wavelength_nm: Floats, *, lorentz: float = 0.3) -> Floats:
    """Base-10 absorption per mm of solid, shape (L,): a sum of pseudo-Voigt bands in wavenumber."""
    x = (1e7 / wavelength_nm[None, :] - rows.centre_cm1[:, None]) / rows.width_cm1[:, None]  # (K, L)
    square = x * x
    # The Lorentzian wing is ended at six widths: a strong combination at 2300 nm has no share at 1600 nm.
    wing = np.exp(-square / 36.0) / (1.0 + 4.0 * square)
    bell = np.exp(-4.0 * np.log(2.0) * square)
    return rows.strength @ ((1.0 - lorentz) * bell + lorentz * wing)
