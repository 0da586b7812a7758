"""A training run, fully described: YAML and `key=value` overrides -> one frozen object. No torch here.

Defaults live in these classes and nowhere else; a misspelt, missing or impossible key is a RecipeError that
names its path. `docs/recipes.md` explains every key.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from weft.errors import RecipeError
from weft_training.belt_recipe import BeltAugment, BeltData, BeltModel, BeltVote
from weft_training.pair_recipe import PhotoBeside
from weft_training.preprocess_recipe import Branches, Step
from weft_training.section import DataSection, FibreData, PhotoBackbone, Section, one_source


class SplitSection(Section):
    """How subjects are held out. `folds` and `leave_one_out` refit on everything; `holdout` does not."""

    scheme: Literal["folds", "leave_one_out", "holdout"] = "folds"
    folds: int = Field(default=5, ge=2)
    holdout_share: float = Field(default=0.2, gt=0, lt=1)
    strata: str | None = None  # a column of the manifest whose values every fold should hold evenly
    group: str | None = None  # a column whose values are held out whole, such as klass: never seen at all


class OptimSection(Section):
    """AdamW under linear warm-up and cosine decay; the weights that are kept are an average over steps."""

    epochs: int = Field(ge=0)  # 0: only where the net has a closed form (`model.init`)
    batch: int = Field(ge=1)  # over all processes together
    peak_lr: float = Field(gt=0)
    backbone_lr: float | None = Field(default=None, gt=0)  # None: as peak_lr
    layer_decay: float = Field(default=1.0, gt=0, le=1)  # a layer's rate over that of the layer behind it
    weight_decay: float = Field(default=0.05, ge=0)
    warmup: float = Field(default=0.1, ge=0, lt=1)  # share of all steps
    ema: float = Field(default=0.99, ge=0, lt=1)  # 0: keep the last weights
    clip_norm: float = Field(default=1.0, gt=0)
    patience: int | None = Field(default=None, ge=1)  # epochs without a better loss on the inner subjects
    inner_share: float = Field(default=0.15, gt=0, lt=1)  # of the training subjects, where `patience` is set


class ComputeSection(Section):
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    channels_last: bool = True  # pixels' bands side by side in memory: 1.6 times the speed on a CPU
    # Threads that make photo batches ahead; 0: between the steps, by all cores; null: 1 beside a GPU, else 0.
    workers: int | None = Field(default=None, ge=0)
    cache: Path = Path(".weft-cache")  # scale marks, decoded photos and frozen features, by content
    decoded_gb: float = Field(default=4.0, ge=0)  # at most so much of decoded photos; the rest anew each time


class CalibrateSection(Section):
    coverage: float = Field(default=0.9, gt=0, lt=1)
    unfamiliar_false_alarms: float = Field(default=0.02, gt=0, lt=1)  # share of photos like those of training
    # What a photo unlike them leads to; null: refuse it, but widen where all that was seen is simulated.
    unfamiliar: Literal["refuse", "widen"] | None = None


class ExportSection(Section):
    name: str
    version: str = "1"
    bound: float = Field(default=1e-4, gt=0)  # grams: relative; shares: absolute
    dataset: str  # one sentence on the card
    licence_notes: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()


class TrackSection(Section):
    uri: str | None = None  # None: sqlite in the folder of runs
    experiment: str = "weft"
    register_as: str | None = None  # name in the model registry; None: as export.name


class Mark(Section):
    kind: Literal["qr", "disc", "sheet", "ruler"]
    size_mm: float = Field(gt=0)


class SimulateParcels(Section):
    subjects: int = Field(ge=2)
    seed: int
    photos: tuple[int, int] = (1, 3)
    size_px: int = Field(default=320, ge=64)
    bands: tuple[str, ...] = ("red", "green", "blue")


class SimulateSpectra(Section):
    subjects: int = Field(ge=2)
    seed: int
    scans: tuple[int, int] = (1, 4)
    grid: tuple[float, float, float] | None = None  # first and last nm and step; None: each instrument's own


class PhotoData(DataSection):
    simulate: SimulateParcels | None = None
    decode_px: int = Field(default=320, ge=32)
    max_photos: int = Field(default=3, ge=1, le=9)
    marks: Literal["as_in_manifest", "none"] | Mark = "as_in_manifest"

    @model_validator(mode="after")
    def has_one_source(self) -> "PhotoData":
        return one_source(self)


class SpectrumData(FibreData):
    simulate: SimulateSpectra | None = None

    @model_validator(mode="after")
    def has_one_source(self) -> "SpectrumData":
        return one_source(self)


class WeightModel(PhotoBackbone):
    bands: tuple[str, ...] = ("red", "green", "blue")  # order of the C axis
    freeze: Literal["none", "all"] | Annotated[int, Field(ge=1)] = "none"  # number: the first stages
    # Stages whose feature maps are read beside the pooled features, on the grid of the last: where in the
    # photo a thing lies and how much of it that covers, which pooled features forget.
    levels: tuple[Annotated[int, Field(ge=0)], ...] = ()
    pooled: bool = True  # false: the maps alone; pooled features of few photos are soon learnt by heart
    map_width: int = Field(default=64, ge=1)  # channels of the small net that reads the maps
    hidden: int = Field(default=128, ge=1)
    # Layers that join what was read from one photo with what its mark tells: one cannot multiply the two.
    depth: int = Field(default=1, ge=1, le=4)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    # Stages whose channels' mean and spread over the photo stand behind the pooled features: the last layer
    # has forgotten what is of no use for naming a thing, such as texture. The kernel alone is told of them.
    layers: tuple[Annotated[int, Field(ge=0)], ...] = ()
    members: int = Field(default=1, ge=1, le=16)  # nets behind one backbone whose mean answers
    # Of the answer, said by kernel ridge on the features; auto: what errs least on subjects left out.
    kernel_share: Literal["auto"] | Annotated[float, Field(ge=0, le=1)] = 0.0
    quantiles: tuple[float, float, float] = (0.05, 0.5, 0.95)
    init: Literal["none", "ridge"] = "none"  # ridge: the head starts from a closed form on frozen features

    @model_validator(mode="after")
    def holds_together(self) -> "WeightModel":
        low, middle, high = self.quantiles
        if not (0 < low < middle < high < 1) or middle != 0.5:
            raise ValueError("quantiles must ascend between 0 and 1 with 0.5 in the middle")
        if self.init == "ridge" and (self.freeze != "all" or self.levels):
            raise ValueError("init: ridge needs freeze: all, and no levels")
        if not self.pooled and not self.levels:
            raise ValueError("pooled: false needs levels: the head would see nothing")
        if any(sorted(set(stages)) != list(stages) for stages in (self.levels, self.layers)):
            raise ValueError("levels and layers must ascend")
        if self.kernel_share and (self.freeze != "all" or not self.pooled):
            raise ValueError("kernel_share needs freeze: all, and pooled features")
        if self.layers and not self.kernel_share:
            raise ValueError("layers needs kernel_share: the kernel alone is told of them")
        return self


class Grid(Section):
    """Wavelengths every scan is resampled to."""

    from_nm: float = Field(gt=0)
    to_nm: float = Field(gt=0)
    step_nm: float = Field(gt=0)

    @model_validator(mode="after")
    def has_points(self) -> "Grid":
        if (self.to_nm - self.from_nm) / self.step_nm < 8:
            raise ValueError("the grid needs at least 9 points, from_nm below to_nm")
        return self

    def wavelengths(self) -> list[float]:
        points = int((self.to_nm - self.from_nm) / self.step_nm + 1e-6) + 1
        return [self.from_nm + self.step_nm * index for index in range(points)]


class Novelty(Section):
    """Distance from the plane of training spectra, beyond what the scan's own noise explains, is unknown."""

    components: int = Field(default=12, ge=1)
    margin: float = Field(default=3.0, gt=1)  # times the distance that 99 % of held-out training scans keep
    strength: float = Field(default=1.0, ge=0)  # of the plane's augmentation, times that of the net's
    noise_margin: float = Field(default=4.0, gt=1)  # times the noise, against signal, of 99 % of the scans
    # Times less light than the darkest 1 % of scans; above it dark ones may lie further off. None: no matter.
    dark_margin: float | None = Field(default=None, gt=1)


class FibreModel(Section):
    grid: Grid
    preprocess: tuple[Step, ...]
    trunk: Literal["linear", "mlp", "conv"] = "linear"
    hidden: int = Field(default=64, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    members: int = Field(default=1, ge=1, le=16)  # trunks whose mean answers; more than one: softmax
    outputs: Literal["softmax", "normalised"] = "softmax"  # normalised: negative shares cut, sum made 1
    init: Literal["none", "pls", "lda"] = "none"  # closed form of a linear trunk
    components: Annotated[int, Field(ge=1)] | Literal["auto", "averaged"] = 8  # of PLS; see `closed_form.pls`
    solve: Literal["together", "by_branch"] = "together"  # by_branch: a closed form each, and their mean
    shrinkage: float | None = Field(default=None, ge=0, le=1)  # of LDA; None: Ledoit-Wolf
    novelty: Novelty | None = Novelty()
    photo: PhotoBeside | None = None  # of the same swatch, where there is one

    @model_validator(mode="after")
    def holds_together(self) -> "FibreModel":
        if self.init != "none" and self.trunk != "linear":
            raise ValueError(f"init: {self.init} needs trunk: linear")
        branched = bool(self.preprocess) and isinstance(self.preprocess[-1], Branches)
        if self.solve == "by_branch" and (self.init == "none" or not branched):
            raise ValueError("solve: by_branch needs a closed form and a preprocess that ends in branches")
        if self.members > 1 and (self.trunk == "linear" or self.outputs != "softmax"):
            raise ValueError("members need trunk: mlp or conv, and outputs: softmax")
        if self.photo is not None and (self.init != "lda" or self.outputs != "softmax"):
            raise ValueError("photo needs init: lda and outputs: softmax: a photo's evidence adds to theirs")
        return self


class PhotoAugment(Section):
    """Strengths from 0 (off). With `freeze: all` each photo is seen in `views` versions, computed once."""

    views: int = Field(default=4, ge=0)
    flip: Literal["none", "horizontal", "both"] = "both"  # both: only where nothing tells up from down
    rotate_degrees: float = Field(default=15, ge=0, le=180)
    crop: float = Field(default=0.15, ge=0, lt=0.6)  # up to this share is cut from each axis
    light: float = Field(default=0.2, ge=0, le=1)  # brightness, contrast, gamma
    colour: float = Field(default=0.05, ge=0, le=0.5)  # hue and saturation; red, green and blue only
    blur_px: float = Field(default=1.0, ge=0)
    noise: float = Field(default=0.02, ge=0, le=1)  # share of full scale
    drop_extras: float = Field(default=0.2, ge=0, le=1)  # how often a known extra is hidden


class SpectrumAugment(Section):
    """How one instrument and one garment differ from the next; absorbance units unless said otherwise."""

    views: int = Field(default=8, ge=0)  # augmented copies that a closed form sees beside the clean one
    shift_nm: float = Field(default=0.0, ge=0)  # standard deviation
    stretch: float = Field(default=0.0, ge=0)  # standard deviation, relative
    offset: float = Field(default=0.0, ge=0)
    slope: float = Field(default=0.0, ge=0)  # over the whole grid
    baseline: float = Field(default=0.0, ge=0)  # of a smooth curve that varies over `baseline_nm`
    baseline_nm: float = Field(default=120.0, gt=0)
    gain: float = Field(default=0.0, ge=0, lt=1)
    resolution_nm: float = Field(default=0.0, ge=0)  # full width of a slit that blurs, or sharpens as much
    stray: float = Field(default=0.0, ge=0)  # reflectance: light that has not met the sample
    dye: float = Field(default=0.0, ge=0)  # grey, in every second scan: at most so many times its absorption
    detector_noise: float = Field(default=0.0, ge=0)  # reflectance: dark samples are noisier for it
    noise: float = Field(default=0.0, ge=0)
    blend: float = Field(default=0.0, ge=0, le=1)  # share of scans that are mixed with another subject's
    blend_in: Literal["absorbance", "reflectance"] = "absorbance"


class WholeRecipe(Section):
    seed: int
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    split: SplitSection = SplitSection()
    optim: OptimSection
    compute: ComputeSection = ComputeSection()
    calibrate: CalibrateSection = CalibrateSection()
    export: ExportSection
    track: TrackSection | None = TrackSection()  # null: no tracking


class AdviceSection(Section):
    """Photos with a column `fault`, by which the bundle learns what not to weigh by (docs/advice.md)."""

    manifests: tuple[Path, ...] = Field(min_length=1)  # relative to the working directory
    false_alarms: float = Field(default=0.02, gt=0, lt=0.5)  # share of good photos that each word is said of
    false_refusals: float = Field(default=0.005, gt=0, lt=0.5)  # share of them that each word refuses

    @model_validator(mode="after")
    def refuses_less_than_it_says(self) -> "AdviceSection":
        if self.false_refusals > self.false_alarms:
            raise ValueError("false_refusals must not exceed false_alarms")
        return self


class WeightRecipe(WholeRecipe):
    task: Literal["weight"]
    data: PhotoData
    model: WeightModel
    augment: PhotoAugment = PhotoAugment()
    advice: AdviceSection | None = None

    @model_validator(mode="after")
    def holds_together(self) -> "WeightRecipe":
        if self.data.simulate is not None and self.data.simulate.bands != self.model.bands:
            raise ValueError("data.simulate.bands and model.bands differ")
        if self.optim.epochs == 0 and self.model.init == "none":
            raise ValueError("optim.epochs: 0 trains nothing; only model.init: ridge needs no epochs")
        return self


class FibreRecipe(WholeRecipe):
    task: Literal["composition"]
    data: SpectrumData
    model: FibreModel
    augment: SpectrumAugment = SpectrumAugment()

    @model_validator(mode="after")
    def holds_together(self) -> "FibreRecipe":
        if self.optim.epochs == 0 and self.model.init == "none":
            raise ValueError("optim.epochs: 0 trains nothing; only model.init: pls or lda needs no epochs")
        if self.model.photo is not None and self.optim.epochs:
            raise ValueError("model.photo needs optim.epochs: 0; its trust is chosen on many closed forms")
        return self


class BeltRecipe(WholeRecipe):
    task: Literal["belt"]
    data: BeltData
    model: BeltModel
    augment: BeltAugment = BeltAugment()
    vote: BeltVote = BeltVote()

    @model_validator(mode="after")
    def holds_together(self) -> "BeltRecipe":
        if self.optim.epochs == 0:
            raise ValueError("optim.epochs: 0 trains nothing; a belt's net has no closed form")
        return self


Recipe = WeightRecipe | FibreRecipe | BeltRecipe
_RECIPE: TypeAdapter[Recipe] = TypeAdapter(Annotated[Recipe, Field(discriminator="task")])


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe, lay `key=value` overrides over it, check it; RecipeError names the path of a fault."""
    for override in overrides:
        if "=" not in override or not override.partition("=")[0].strip():
            raise RecipeError(f"{override!r} is no override; write key=value, such as optim.epochs=3")
    try:
        merged = OmegaConf.merge(OmegaConf.load(path), OmegaConf.from_dotlist(list(overrides)))
        plain = OmegaConf.to_container(merged, resolve=True)
    except FileNotFoundError as error:
        raise RecipeError(
            f"{path}: there is no such recipe; `ls configs` shows those that come along"
        ) from error
    # OmegaConf answers a list where a mapping should be with a bare TypeError.
    except (OSError, yaml.YAMLError, OmegaConfBaseException, ValueError, TypeError) as error:
        raise RecipeError(f"{path}: not a readable recipe: {' '.join(str(error).split())}") from error
    return check_recipe(plain, source=str(path))


def check_recipe(plain: Any, *, source: str) -> Recipe:
    """The recipe that `plain` (a mapping as YAML gives it) describes."""
    try:
        return _RECIPE.validate_python(plain)
    except ValidationError as error:
        faults = [f"{_where(fault['loc'])}: {_what(fault)}" for fault in error.errors()[:3]]
        raise RecipeError(f"{source}: {'; '.join(faults)}") from error


def dump_recipe(recipe: Recipe) -> str:
    """The whole recipe, defaults included, as YAML that `load_recipe` reads back to an equal object."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _where(location: tuple[int | str, ...]) -> str:
    # Pydantic puts the discriminator's value first; it is no key of the file.
    tagged = location[:1] in {("weight",), ("composition",), ("belt",)}
    keys = [str(part) for part in location[tagged:]]
    return ".".join(keys) or "task"


def _what(fault: Any) -> str:
    if fault["type"] == "extra_forbidden":
        return "there is no such key; see docs/recipes.md"
    if fault["type"] == "union_tag_not_found":
        return "this key is missing; write `task: weight`, `task: composition` or `task: belt`"
    if fault["type"] == "missing":
        return "this key is missing"
    return str(fault["msg"])
