"""The recipe: one typed section per stage."""

from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from components.evaluate.settings import Evaluate
from components.finetune.settings import Finetune
from components.ingest.settings import Ingest
from components.preprocess.settings import Preprocess
from components.pretrain.settings import Pretrain
from components.register.settings import Register
from modelmill.digest import digest
from modelmill.settings import LanguageTask, Section, TargetTask, Task
from pipelines.agreement import check


class Resources(Section):
    """The kind of node of each stage, by a name that the profile explains; left out, the profile's default."""

    ingest: str | None = None
    """Of ingest."""
    preprocess: str | None = None
    """Of preprocess."""
    pretrain: str | None = None
    """Of pretrain."""
    finetune: str | None = None
    """Of finetune, and of the one from random weights."""
    evaluate: str | None = None
    """Of every evaluation."""


class Recipe(Section):
    """What to learn from which data. It names no host: where things run is said elsewhere."""

    version: Literal[1] = 1
    """Version of this format."""
    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=63)
    """Name of the pipeline and its runs: lower-case letters, digits and '-'."""
    task: Task
    """What is learned."""
    ingest: Ingest
    """Raw data to clean, deduplicated, split Parquet."""
    preprocess: Preprocess = Preprocess()
    """Text to tokens."""
    pretrain: Pretrain | None = None
    """Training without labels; left out, fine-tuning starts from `finetune.base`, or from random weights."""
    finetune: Finetune = Finetune()
    """Training on the labelled rows."""
    evaluate: Evaluate = Evaluate()
    """Measuring on the held-out test rows."""
    registration: Register = Field(alias="register")
    """The model's place in the registry."""
    resources: Resources = Resources()
    """Kinds of nodes of a cluster; nothing of it counts on one machine."""
    warm_start: bool = False
    """Whether training on data that are new starts from the champion, where there is one, instead of from the base; on
    data that were trained on before it starts from where it did then, and so nothing is trained twice."""

    @model_validator(mode="after")
    def _sections_agree(self) -> "Recipe":
        check(self)
        return self

    @property
    def writes_targets(self) -> bool:
        """Whether the model answers a text with a text."""
        return self.task in get_args(TargetTask)

    @property
    def is_language_model(self) -> bool:
        """Whether the language model itself is the end, and not what is fine-tuned from it."""
        return self.task in get_args(LanguageTask)

    @property
    def base(self) -> str | None:
        """The URI of the base model that training starts from, if any."""
        return self.pretrain.base if self.pretrain is not None else self.finetune.base

    @property
    def digest(self) -> str:
        """SHA-256 of the whole recipe with its defaults but `resources`, as 64 hexadecimal digits.

        What is learned does not depend on the kind of node.
        """
        told = self.as_data()
        del told["resources"]
        return digest(told)

    def as_data(self) -> dict[str, Any]:
        """Return the recipe as plain data, defaults included, that `Recipe` reads again."""
        return self.model_dump(mode="json", by_alias=True)
