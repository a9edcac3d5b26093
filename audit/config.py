"""What an audit is told: the sections of its configuration, as pydantic models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from audit.urls import checked_root

Scalar = str | int | float | bool
Filter = dict[str, Scalar | list[Scalar]]
Role = Literal["core", "allowed", "forbidden"]
PlaceboName = Literal["compact", "same-shape"]
RunnerName = Literal["local", "threads", "dask", "ray"]
FillName = Literal["blur", "local-mean", "noise", "inpaint"]
Fraction = Annotated[float, Field(ge=0, le=1)]
Names = list[Annotated[str, Field(min_length=1)]]
Side = Annotated[int, Field(ge=1)]
Scale = Annotated[float, Field(gt=0)]
Root = Annotated[Path | str, BeforeValidator(checked_root)]  # text only where it is a URL
PixelValues = Annotated[list[int], Field(min_length=1)]


#: Keys of ``execution`` that change no number; a run may go on elsewhere than it began.
WHERE_COMPUTED = {"runner", "address", "parallel", "runs_per_device", "time_limit"}


def sides(label: str) -> list[str]:
    """The two classes of an audit of one label: without it, and with it.

    >>> sides("smiling")
    ['not smiling', 'smiling']
    """
    return [f"not {label}", label]


def _distinct(names: list[str]) -> list[str]:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"'{twice[0]}' is listed twice")
    return names


DistinctNames = Annotated[Names, AfterValidator(_distinct)]


class Section(BaseModel):
    """Base of all sections: unknown keys are errors, numbers finite, values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Columns(Section):
    """Which columns of the manifest hold what."""

    sample_id: str = Field("sample_id", description="unique name of a sample")
    path: str = Field("path", description="picture, relative to the manifest's folder")
    label: str = Field("label", description="class name")
    cluster_id: str | None = Field(
        None, description="what is sampled independently (patient, scene); default: the sample"
    )


class Scenes(Section):
    """The embedded demo: scenes of doctors and nurses, drawn by code."""

    seed: int = Field(0, description="seed of the drawings")
    train: int = Field(640, ge=4, description="training pictures")
    audit: int = Field(960, ge=4, description="pictures of the balanced audit set")
    size: int = Field(112, ge=32, description="height and width in pixels")
    men_among_doctors: Fraction = Field(0.78, description="in the training pictures")
    women_among_nurses: Fraction = Field(0.93, description="in the training pictures")


class Data(Section):
    """Where samples come from, and which of them are for training and for the audit."""

    source: Literal["manifest", "folder", "scenes"] = Field(
        "manifest",
        description="manifest: a CSV or Parquet table; folder: <root>/<split>/<class>/picture or "
        "<root>/<class>/picture; scenes: the embedded demo",
    )
    root: Root | None = Field(
        None,
        description="data root, a folder or a URL such as s3://bucket/folder; nothing outside it "
        "is read",
    )
    manifest: str = Field("manifest.csv", description="CSV or Parquet, relative to the root")
    columns: Columns = Columns()
    attributes: Names = Field([], description="columns that define subgroups")
    crossed: list[Annotated[DistinctNames, Field(min_length=2)]] = Field(
        [], description="attributes to cross, e.g. [[gender, skin_tone]]"
    )
    classes: DistinctNames | None = Field(None, description="class names; default: labels, sorted")
    label_columns: dict[Annotated[str, Field(min_length=1)], str] = Field(
        {},
        description="of a multi-label model: label to the manifest column with its 0 or 1, in the "
        "order of the outputs; each label is an audit of its own, of 'smiling' and 'not smiling'",
    )
    target: str | None = Field(
        None, description="the label audited; default: each of label_columns in turn"
    )
    train: Filter | None = Field(None, description="column: value(s) of the training rows")
    validation: Fraction | Filter = Field(
        0.15, description="part of the training clusters, or column: value(s)"
    )
    audit: Filter = Field({}, description="column: value(s) of the audited rows; default: all")
    max_bad_fraction: Fraction = Field(0.01, description="more bad samples than this stop the run")
    max_pixels: int = Field(50_000_000, ge=1, description="larger pictures are quarantined")
    near_duplicate_bits: int = Field(
        2,
        ge=0,
        le=15,
        description="64-bit picture hashes that differ in no more are near-duplicates",
    )
    scenes: Scenes = Scenes()

    @property
    def training_parts(self) -> tuple[str, ...]:
        """Parts that count as training data: with the validation part where that is split off."""
        return ("train", "validation") if isinstance(self.validation, float) else ("train",)

    @model_validator(mode="after")
    def _root_is_named(self) -> Data:
        if self.root is None and self.source != "scenes":
            raise ValueError("root: needed for this source; name the folder that holds the data")
        if isinstance(self.root, str) and self.source == "scenes":
            raise ValueError("root: scenes are drawn into a folder, so it cannot be a URL")
        unknown = {name for group in self.crossed for name in group} - set(self.attributes)
        if unknown:
            raise ValueError(f"crossed: {sorted(unknown)} not among attributes {self.attributes}")
        return self

    @model_validator(mode="after")
    def _labels_are_apart(self) -> Data:
        labels = list(self.label_columns)
        if self.target is not None and self.target not in labels:
            raise ValueError(f"target: '{self.target}' is not among label_columns {labels}")
        if not labels:
            return self
        if self.source != "manifest":
            raise ValueError("label_columns: only for a manifest, whose columns they name")
        if self.classes is not None and self.classes != sides(self.target or ""):
            raise ValueError(
                "classes: leave it out; label_columns gives each label its two classes"
            )
        both = {sides(label)[0] for label in labels} & set(labels)
        if both:
            raise ValueError(f"label_columns: '{min(both)}' is the name of another's other side")
        return self


class Derived(Section):
    """A region made from others: the union of some, or everything outside some."""

    union: Names | None = Field(None, min_length=1, description="all of these regions together")
    outside: Names | None = Field(None, description="everything but these regions")

    @model_validator(mode="after")
    def _one_of(self) -> Derived:
        if (self.union is None) == (self.outside is None):
            raise ValueError("give either 'union' or 'outside'")
        return self


class CodeMask(Section):
    """One PNG per sample whose pixel values name regions."""

    encoding: Literal["codes"]
    column: str = Field("mask", description="manifest column with the mask's path")
    values: dict[str, int | PixelValues] = Field(min_length=1, description="region: pixel value(s)")


class SeparateMasks(Section):
    """One PNG per sample and region; non-zero is inside."""

    encoding: Literal["masks"]
    columns: dict[str, str] = Field(
        min_length=1, description="region: manifest column with the mask's path"
    )


class Boxes(Section):
    """Boxes in pixels of the picture: left, top, right, bottom (right and bottom exclusive)."""

    encoding: Literal["boxes"]
    columns: dict[str, tuple[str, str, str, str]] = Field(
        min_length=1, description="region: the four manifest columns left, top, right, bottom"
    )


class Coco(Section):
    """A COCO annotation file: boxes, polygons, RLE. Pictures are matched by file_name."""

    encoding: Literal["coco"]
    file: str = Field(description="COCO json, relative to the root")
    categories: dict[str, str | Annotated[list[str], Field(min_length=1)]] = Field(
        min_length=1, description="region: category name(s)"
    )


class Landmarks(Section):
    """Landmarks in pixels; a region is the union of discs around its points."""

    encoding: Literal["landmarks"]
    columns: dict[str, Annotated[list[tuple[str, str]], Field(min_length=1)]] = Field(
        min_length=1, description="region: (x, y) column pairs"
    )
    radius: float = Field(8.0, gt=0, description="radius of a disc in pixels of the picture")


Encoding = Annotated[
    CodeMask | SeparateMasks | Boxes | Coco | Landmarks, Field(discriminator="encoding")
]


class Roles(Section):
    """What regions may mean for a class. A region without a role is allowed."""

    core: Names = Field([], description="what the class is about")
    allowed: Names = Field([], description="may be looked at")
    forbidden: Names = Field([], description="a decision must not rest on it")

    def of(self, region: str) -> Role | None:
        """Role of a region, or None where none is given."""
        if region in self.core:
            return "core"
        if region in self.forbidden:
            return "forbidden"
        return "allowed" if region in self.allowed else None


class Regions(Section):
    """Annotated areas of the pictures and their roles."""

    source: Encoding
    derived: dict[str, Derived] = Field({}, description="regions made from the annotated ones")
    roles: Roles = Roles()
    per_class: dict[str, Roles] = Field({}, description="class: roles that differ for it")
    reveals: dict[str, DistinctNames] = Field(
        {}, description="region: the attributes that it can give away; default: every attribute"
    )

    @property
    def annotated(self) -> list[str]:
        """Regions that the source holds, in the order of the configuration."""
        source = self.source
        if isinstance(source, CodeMask):
            return list(source.values)
        if isinstance(source, Coco):
            return list(source.categories)
        return list(source.columns)

    @property
    def names(self) -> list[str]:
        """All regions: the annotated ones, then the derived ones."""
        return self.annotated + list(self.derived)

    def role(self, region: str, target_class: str) -> Role:
        """What a region may mean for a class."""
        special = self.per_class.get(target_class)
        own = special.of(region) if special else None
        return own or self.roles.of(region) or "allowed"

    def with_role(self, role: Role, target_class: str) -> list[str]:
        """Regions that have a role for a class."""
        return [name for name in self.names if self.role(name, target_class) == role]

    @model_validator(mode="after")
    def _regions_exist(self) -> Regions:
        twice = set(self.annotated) & set(self.derived)
        if twice:
            raise ValueError(f"derived: {sorted(twice)} annotated already; choose another name")
        for name, derived in self.derived.items():
            unknown = set(derived.union or derived.outside or []) - set(self.annotated)
            if unknown:
                raise ValueError(f"derived.{name}: unknown region(s) {sorted(unknown)}")
        unknown = set(self.reveals) - set(self.names)
        if unknown:
            raise ValueError(f"reveals: unknown {sorted(unknown)}; regions are {self.names}")
        for roles in (self.roles, *self.per_class.values()):
            named = [*roles.core, *roles.allowed, *roles.forbidden]
            unknown = set(named) - set(self.names)
            if unknown:
                raise ValueError(f"roles: unknown {sorted(unknown)}; regions are {self.names}")
            if len(named) != len(set(named)):
                raise ValueError("roles: a region has two roles")
        return self


class Augment(Section):
    """Random changes of the training pictures."""

    flip: bool = Field(True, description="mirror left and right")
    shift: Fraction = Field(0.1, description="largest shift, as part of the side")
    scale: Fraction = Field(0.1, description="largest change of size")
    colour: Fraction = Field(0.1, description="largest change of brightness, contrast")
    paint_regions: Names = Field([], description="regions painted in a random colour")
    paint_probability: Fraction = Field(0.5, description="how often")


class Training(Section):
    """How the classifier is trained."""

    epochs: int = Field(12, ge=1)
    batch_size: int = Field(64, ge=1)
    learning_rate: float = Field(2e-3, gt=0, description="peak of the one-cycle cosine schedule")
    weight_decay: float = Field(1e-3, ge=0)
    label_smoothing: Fraction = 0.0
    balance: bool = Field(True, description="classes are drawn equally often")
    patience: int = Field(0, ge=0, description="epochs without gain before stopping; 0: never")
    augment: Augment = Augment()


class Input(Section):
    """How a picture becomes the model's input; masks follow the same way."""

    size: tuple[Side, Side] = Field((112, 112), description="height, width in pixels")
    resize: Literal["stretch", "crop"] = Field(
        "stretch", description="stretch: to the size; crop: shorter side to shorter_side, centred"
    )
    shorter_side: int | None = Field(
        None, ge=1, description="for crop; default: the larger of size"
    )
    mean: tuple[float, float, float] = Field((0.485, 0.456, 0.406), description="of pixels in 0..1")
    std: tuple[Scale, Scale, Scale] = Field((0.229, 0.224, 0.225), description="likewise")

    @model_validator(mode="after")
    def _crop_fits(self) -> Input:
        if self.shorter_side is not None and self.shorter_side < max(self.size):
            raise ValueError(f"shorter_side must be at least {max(self.size)}, to cut the size out")
        return self


class Model(Section):
    """The classifier: trained here, or loaded."""

    architecture: str = Field(
        "small-cnn",
        description="small-cnn, a torchvision classification model, or module:factory of your own",
    )
    arguments: dict[str, Any] = Field({}, description="keyword arguments of the architecture")
    checkpoint: Path | None = Field(
        None, description="state dict (.pt, .pth, .safetensors) to audit; then nothing is trained"
    )
    initial_weights: Path | None = Field(None, description="state dict that training starts from")
    pretrained: bool = Field(
        False, description="a module:factory returns its own weights: audit it as it comes"
    )
    outputs: Names | Path | None = Field(
        None,
        description="class names in the order of the outputs, or a text file with one a line; "
        "default: data.classes. Needed where the model knows more classes than the audit",
    )
    input: Input = Input()
    train: Training = Training()

    @property
    def trains(self) -> bool:
        """Whether the classifier is trained by the run."""
        return self.checkpoint is None and not self.pretrained

    @model_validator(mode="after")
    def _one_origin(self) -> Model:
        if self.pretrained and ":" not in self.architecture:
            raise ValueError("pretrained: only for a module:factory; else give a checkpoint")
        return self


class Explain(Section):
    """Which maps are computed."""

    layer: str = Field("auto", description="dotted module name, or auto: the last spatial layer")
    guided: bool = Field(True, description="Guided Grad-CAM too, for the reader's eye")


class Swap(Section):
    """Swap a region with a donor of another subgroup that matches in the named columns."""

    attribute: str = Field(description="the donor differs in it")
    match: Names = Field(description="columns in which the donor agrees")
    control_match: Names | None = Field(
        None, description="columns in which the same-subgroup donor agrees; default: match"
    )


class Interventions(Section):
    """How reliance is tested."""

    fills: Annotated[list[FillName], Field(min_length=2)] = Field(
        ["blur", "local-mean"], description="at least two; inpaint needs the extra of that name"
    )
    placebo: PlaceboName = Field(
        "compact",
        description="shape of the equal area elsewhere: compact, or the region's own where it fits",
    )
    per_cell: Literal["auto"] | Annotated[int, Field(ge=2)] | None = Field(
        "auto",
        description="clusters of each class, and of each of its subgroups, that are altered; auto: "
        "as many as tell fail_effect from pass_effect with 80 % power; null: all",
    )
    swap: Swap | None = None
    dilate: Fraction = Field(
        0.04, description="margin around core in the sufficiency test, part of the shorter side"
    )


class Policy(Section):
    """What is required, and the limits of the decision table."""

    required: Names | None = Field(None, description="regions; default: every forbidden one")
    alpha: float = Field(0.05, gt=0, lt=1, description="level of the Holm-adjusted tests")
    fail_effect: Fraction = Field(0.05, description="excess flip rate that counts as reliance")
    pass_effect: Fraction = Field(0.10, description="excess flip rate that must be ruled out")
    sufficiency_fail: Fraction = Field(
        0.10, description="answers kept beyond chance by the rest alone (0 to 1) that are reliance"
    )
    sufficiency_pass: Fraction = Field(
        0.20, description="answers kept beyond chance that must be ruled out"
    )
    association_fail: Fraction = Field(
        0.10, description="Cramer's V of label and attribute that counts as data bias"
    )
    association_pass: Fraction = Field(0.20, description="Cramer's V to be ruled out")
    min_clusters: int = Field(30, ge=2, description="independent units a finding needs")
    screen_q: float = Field(
        0.05, gt=0, lt=1, description="false discovery rate of the attention screen"
    )
    min_subgroup_clusters: int = Field(
        60, ge=2, description="independent units a subgroup, and the rest, need in the screen"
    )
    min_tested: Fraction = Field(
        0.8, description="part of the pictures with the region that must be tested to clear it"
    )
    waivers: Path | None = Field(None, description="file of accepted findings, each for a time")
    signoff: bool = Field(
        False, description="nothing PASSes the gate until somebody signs the run off"
    )
    worsened_effect: Fraction = Field(
        0.05, description="against a baseline: a growth of the effect beyond it is a worse finding"
    )

    @model_validator(mode="after")
    def _limits_leave_room(self) -> Policy:
        if self.fail_effect >= self.pass_effect:
            raise ValueError("fail_effect must be below pass_effect, or no data could decide")
        if self.sufficiency_fail >= self.sufficiency_pass:
            raise ValueError("sufficiency_fail must be below sufficiency_pass")
        if self.association_fail >= self.association_pass:
            raise ValueError("association_fail must be below association_pass")
        return self


class Statistics(Section):
    """Resampling."""

    resamples: int = Field(4999, ge=99, description="sign flips and bootstrap resamples")
    confidence: float = Field(0.95, ge=0.95, lt=1, description="of intervals and limits")


class Discovery(Section):
    """Names of neurons, and cues that nobody annotated; neither decides the verdict."""

    enabled: bool = True
    samples: int = Field(512, ge=1, description="audited samples looked at")
    cues: int = Field(3, ge=1, le=10, description="unnamed cues per predicted class, at most")
    channels: int = Field(20, ge=1, description="neurons per class, the most important ones")


class Checks(Section):
    """Whether the maps can be trusted on this model: the explainer scorecard."""

    enabled: bool = Field(True, description="check the explainer")
    samples: int = Field(96, ge=1, description="audited pictures, evenly spaced, to check it on")
    few: int = Field(24, ge=1, description="of these, for what informs alone and is costly")
    draws: int = Field(10, ge=5, description="random models at the end of the cascade")
    stages: int = Field(5, ge=2, description="stages of the cascade, from the head down")
    max_correlation: Fraction = Field(
        0.3, description="maps of the model and of random ones must be ruled out to agree more"
    )
    max_alignment: Fraction = Field(
        0.03, description="share of random models' maps on a region, beyond chance, let pass"
    )
    epsilon: float = Field(
        4 / 255, gt=0, le=1, description="largest change of a pixel in 0..1 by the adversary"
    )
    steps: int = Field(5, ge=1, description="steps of the adversary")


class GatePolicy(Section):
    """What a run is judged by again: the two sections of an audit that decide.

    It stands alone: what it leaves out has the default, not what the run was configured with.
    """

    policy: Policy = Policy()
    statistics: Statistics = Statistics()


class Output(Section):
    """What the run folder and the report hold."""

    folder: Path | None = Field(None, description="parent of runs; default: ./runs")
    pictures: int = Field(36, ge=0, description="samples shown in the report's gallery")
    retention_days: int | None = Field(
        None,
        ge=1,
        le=36_500,
        description="days to keep the run; then `cuecheck clean --expired` may delete it",
    )


class Execution(Section):
    """Device, batches, and where shards are computed."""

    device: str = Field("auto", description="auto, cpu, cuda, cuda:1 ...")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="of the model up to the explained layer, not of training; auto: bfloat16 where "
        "the device is made for it",
    )
    batch_size: int = Field(64, ge=1)
    workers: int = Field(2, ge=1, description="decoding threads")
    shard_size: int = Field(256, ge=1, description="samples in a shard, the unit of resumption")
    runner: RunnerName = Field(
        "local",
        description="local: shards one after the other in this process; threads: several at a time "
        "in it; dask, ray: by worker processes (extras of these names)",
    )
    address: str | None = Field(
        None,
        description="of a Dask or Ray cluster, whose workers see the run folder and the data by "
        "the same paths; default: workers on this machine, for this run",
    )
    parallel: int | None = Field(
        None,
        ge=1,
        description="shards at a time: threads, or workers on this machine; default: a worker per "
        "GPU, or 2",
    )

    runs_per_device: int | None = Field(
        None,
        ge=1,
        description="runs at a time on a device of this machine, others wait; default: one on a "
        "GPU, any number on a CPU",
    )
    time_limit: float | None = Field(
        None, gt=0, description="minutes after which a run stops; the next start goes on with it"
    )

    @model_validator(mode="after")
    def _address_is_of_a_cluster(self) -> Execution:
        if self.address is not None and self.runner not in ("dask", "ray"):
            raise ValueError("address: only for the runners dask and ray")
        return self


class Audit(Section):
    """One audit. Its run folder keeps all values, also those of ``${NAME}``: not for secrets."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] = Field(
        description="letters, digits, '.', '_', '-'; the name of the folder of its runs"
    )
    description: str = Field("", description="shown in the report")
    seed: int = Field(0, ge=0)
    data: Data
    regions: Regions
    model: Model = Model()
    explain: Explain = Explain()
    interventions: Interventions = Interventions()
    policy: Policy = Policy()
    statistics: Statistics = Statistics()
    discovery: Discovery = Discovery()
    checks: Checks = Checks()
    output: Output = Output()
    execution: Execution = Execution()

    def required_regions(self, target_class: str) -> list[str]:
        """Regions whose reliance must be tested for a class: the forbidden ones that are named."""
        forbidden = self.regions.with_role("forbidden", target_class)
        required = self.policy.required
        return [name for name in forbidden if required is None or name in required]

    @model_validator(mode="after")
    def _parts_agree(self) -> Audit:
        if self.model.trains and self.data.train is None and self.data.source != "scenes":
            raise ValueError("data.train: needed to train; or give model.checkpoint")
        if self.model.trains and self.data.label_columns:
            raise ValueError(
                "data.label_columns: a multi-label model is not trained here; give model.checkpoint"
            )
        names = self.regions.names
        roles = (self.regions.roles, *self.regions.per_class.values())
        forbidden = {name for role in roles for name in role.forbidden}
        other = sorted(set(self.policy.required or []) - forbidden)
        if other:
            raise ValueError(f"policy.required: {other} not forbidden; {sorted(forbidden)} are")
        unknown = set(self.model.train.augment.paint_regions) - set(names)
        if unknown:
            raise ValueError(f"model.train.augment.paint_regions: unknown {sorted(unknown)}")
        per_cell, fewest = self.interventions.per_cell, self.policy.min_clusters
        if isinstance(per_cell, int) and per_cell < fewest:
            raise ValueError(f"interventions.per_cell: below policy.min_clusters ({fewest})")
        swap = self.interventions.swap
        if swap and swap.attribute not in self.data.attributes:
            raise ValueError(f"interventions.swap.attribute: '{swap.attribute}' is no attribute")
        known = set(self.data.classes or self.regions.per_class)
        if self.data.label_columns and self.data.classes is None:
            known = {name for label in self.data.label_columns for name in sides(label)}
        strange = set(self.regions.per_class) - known
        if strange:
            raise ValueError(f"regions.per_class: unknown class(es) {sorted(strange)}")
        revealed = {name for names in self.regions.reveals.values() for name in names}
        unknown = revealed - set(self.data.attributes)
        if unknown:
            raise ValueError(f"regions.reveals: {sorted(unknown)} not among data.attributes")
        return self
