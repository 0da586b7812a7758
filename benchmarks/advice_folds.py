"""What the photos of a recipe's section `advice` say of its judge, by manifest, each subject left out once.

Run: python benchmarks/advice_folds.py configs/weight-parcels.yaml    (a frozen backbone; no training needed)
"""

import sys
from pathlib import Path

import numpy as np

from weft_training.advice import GOOD, chances_left_out, fit_judge, read_photos
from weft_training.recipe import WeightRecipe, load_recipe
from weft_training.weight_stem import build_stem


def main() -> None:
    recipe = load_recipe(Path(sys.argv[1]))
    assert isinstance(recipe, WeightRecipe), "a recipe for weight"
    assert recipe.advice is not None, "a recipe with the section `advice`"
    photos = read_photos(recipe, recipe.advice.manifests, build_stem(recipe.model).eval())
    _, rules = fit_judge(
        photos, false_alarms=recipe.advice.false_alarms, false_refusals=recipe.advice.false_refusals
    )
    chances = chances_left_out(photos)
    said = chances > np.array([rule.advise_above for rule in rules])
    refused = chances > np.array([rule.refuse_above for rule in rules])
    source = np.array([subject.split(" ")[0] for subject in photos.subjects])
    print("| manifest, fault | photos | " + " | ".join(rule.word for rule in rules) + " | any | refused |")
    print("|---" * (len(rules) + 4) + "|")
    for number, path in enumerate(recipe.advice.manifests):
        for fault in (GOOD, *(rule.word for rule in rules)):
            rows = (source == str(number)) & (photos.fault == fault)
            if rows.any():
                shares = [*said[rows].mean(0), said[rows].any(1).mean(), refused[rows].any(1).mean()]
                cells = " | ".join(f"{100 * share:.0f}" for share in shares)
                print(f"| {path.parent.name}, {fault or 'good'} | {rows.sum()} | {cells} |")


if __name__ == "__main__":
    main()
