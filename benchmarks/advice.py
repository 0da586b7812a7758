"""How often a weight bundle gives each piece of advice, rightly and wrongly, through the code that serves it.

Run: python benchmarks/advice.py BUNDLE MANIFEST [MANIFEST ...] [--most 300]

A manifest's rows with a `fault` are measured for hits, the others for false alarms. The bundle must not have
learnt from them, else the figures flatter: its own honest ones are on its card (`weft inspect`).
"""

import argparse
from collections import Counter
from pathlib import Path

from numpy.random import default_rng

from weft.bundle import load_bundle
from weft.quality import ADVICE
from weft.weigher import Weigher
from weft_datasets.manifest import Manifest, read_manifest

GOOD = "good"


def measure(weigher: Weigher, manifest: Manifest, *, most: int) -> dict[str, Counter[str]]:
    """For each fault (or `GOOD`): how many `photos`, how often each word, how many `refused`.

    Args:
        most: Photos of each fault that are looked at, drawn evenly.
    """
    frame = manifest.frame
    fault = frame["fault"].fillna(GOOD) if "fault" in frame else frame["capture"].map(lambda _: GOOD)
    counts: dict[str, Counter[str]] = {}
    for name, rows in frame.groupby(fault.to_numpy(), sort=True):
        chosen = sorted(default_rng(0).permutation(len(rows))[:most].tolist())
        count: Counter[str] = Counter(photos=len(chosen))
        for path in rows["path"].iloc[chosen]:
            found = weigher.weigh([weigher.prepare(manifest.file(path).read_bytes())]).photos[0]
            count.update(found.advice)
            count["refused"] += not found.usable
        counts[str(name)] = count
    return counts


def table(name: str, counts: dict[str, Counter[str]]) -> list[str]:
    """Rows of a Markdown table: the share of photos that each word is said of, in percent."""
    lines: list[str] = []
    for fault, count in counts.items():
        shares = [f"{100 * count[word] / count['photos']:.0f}" for word in (*ADVICE[2:], "refused")]
        lines.append(f"| {name}, {fault} | {count['photos']} | {' | '.join(shares)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("manifests", type=Path, nargs="+")
    parser.add_argument("--most", type=int, default=300, help="photos of each fault")
    asked = parser.parse_args()
    weigher = Weigher(load_bundle(asked.bundle, task="weight", threads=1))
    print("| photos | number | " + " | ".join((*ADVICE[2:], "refused")) + " |")
    print("|---" * (len(ADVICE) + 1) + "|")
    for path in asked.manifests:
        manifest = read_manifest(path)
        print("\n".join(table(manifest.name, measure(weigher, manifest, most=asked.most))), flush=True)


if __name__ == "__main__":
    main()
