"""The recipe: one typed section per stage, every error with its file, its line and the nearest right word."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError, model_validator

from components.evaluate.settings import Evaluate, unfit_for
from components.finetune.settings import Finetune
from components.ingest.settings import (
    COLUMN_FOR,
    FOR_TABLES,
    NOT_FOR_TABLES,
    SEVERAL_TEXTS,
    WITHOUT_CLASSES,
    Ingest,
    unsliceable,
)
from components.preprocess.settings import Preprocess
from components.pretrain.settings import PICTURE_OBJECTIVES, WORDS, Pretrain
from components.register.settings import Register
from modelmill.digest import digest
from modelmill.errors import UserError
from modelmill.evaluation.checks import LanguageMetric
from modelmill.models.architecture import EncoderDecoder, ImageNetwork, TableNetwork
from modelmill.models.base import check_base, is_reference
from modelmill.settings import LanguageTask, Section, TableTask, TargetTask, Task
from modelmill.sources import check_there
from modelmill.training.question_settings import Questions, misfit
from pipelines.document import Document, Key, override, read
from pipelines.messages import messages

FOR_TEXTS = {
    "ingest": frozenset(
        {
            "min_chars", "max_chars", "repair", "personal", "labelled_personal", "language", "quality", "decontaminate",
        }
    ),
    "preprocess": frozenset({"max_tokens", "tokenizer"}),
    "pretrain": frozenset[str](),
    "finetune": frozenset[str](),
}  # fmt: skip
"""The keys of each section that mean nothing for pictures."""
FOR_PICTURES = {
    "ingest": frozenset({"images"}),
    "preprocess": frozenset({"images"}),
    "pretrain": frozenset({"decoder", "normalise_patches", "augment", "views", "temperature", "projection"}),
    "finetune": frozenset({"augment"}),
}
"""The keys of each section that mean nothing for anything but pictures."""


_NOT_MEASURED = {
    ("bits_per_byte", "masked-lm"),
    ("bits_per_byte", "word-embeddings"),
    ("perplexity", "word-embeddings"),
}


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

    @model_validator(mode="after")
    def _sections_agree(self) -> "Recipe":
        self._check_language_model()
        if not self.ingest.labelled and not self.is_language_model:
            raise ValueError(f"ingest.labelled: missing; {self.task} learns from labelled rows")
        self._check_table()
        self._check_texts()
        self._check_pictures()
        self._check_task()
        if self.pretrain is not None and not self.ingest.corpus:
            raise ValueError(
                "pretrain: there is no ingest.corpus to train on; name one ({labelled: train}: the training rows' own)"
            )
        if self.preprocess.packing == "best-fit" and (self.pretrain is None or self.pretrain.objective != "causal-lm"):
            raise ValueError("preprocess.packing: best-fit is for pretrain.objective: causal-lm; leave it out")
        if self.pretrain is not None and self.finetune.base is not None:
            raise ValueError(
                "finetune.base: contradicts pretrain, whose weights fine-tuning starts from; leave one of them out"
            )
        if self.finetune.model is not None and (self.pretrain is not None or self.finetune.base is not None):
            said = "pretrain, whose model" if self.pretrain is not None else "base, whose weights"
            raise ValueError(f"finetune.model: contradicts {said} fine-tuning starts from; leave one of them out")
        if self.base is not None and self.preprocess.tokenizer is not None:
            raise ValueError(
                "preprocess.tokenizer: contradicts the base model, which brings its own; leave one of them out"
            )
        if self.finetune.teacher is not None and self.preprocess.tokenizer is not None:
            raise ValueError("preprocess.tokenizer: contradicts finetune.teacher, which brings its own; leave it out")
        if self.finetune.teacher is not None and self.task not in ("text-classification", "image-classification"):
            raise ValueError(f"finetune.teacher: is for classifying texts and pictures, and the task is {self.task}")
        if "from_scratch" in self.evaluate.compare and self.base is None and self.pretrain is None:
            raise ValueError(
                "evaluate.compare: from_scratch compares with random weights, and this recipe starts from nothing else"
            )
        return self

    def _check_texts(self) -> None:
        """Refuse what does not fit rows that hold several texts, or rows without classes."""
        if self.task in SEVERAL_TEXTS and self.ingest.takes_labelled:
            raise ValueError(
                f"ingest.corpus: takes {{labelled: train}}, and rows of {self.task} hold several texts; name a source"
            )
        if self.task in WITHOUT_CLASSES and self.ingest.label is not None:
            raise ValueError(f"ingest.label: makes classes, and {self.task} has none; leave it out")
        if self.task in WITHOUT_CLASSES and self.ingest.split.by == "label":
            raise ValueError(f"ingest.split.by: label divides classes, and {self.task} has none; use hash or time")
        for place, source in enumerate(self.ingest.labelled):
            if self.task in WITHOUT_CLASSES and source.label is not None:
                raise ValueError(
                    f"ingest.labelled.{place}.label: makes a class, and {self.task} has none; leave it out"
                )
            for column, task in COLUMN_FOR.items():
                if self.task != task and column in _set(source.columns):
                    raise ValueError(
                        f"ingest.labelled.{place}.columns.{column}: is for {task}, and the task is {self.task}"
                    )
            if source.known_format == "squad" and self.task != "question-answering":
                raise ValueError(f"ingest.labelled: {source.uri}: squad holds questions, and the task is {self.task}")

    def _check_language_model(self) -> None:
        for name in self.evaluate.thresholds:
            # What is no figure of a labelled task is refused below.
            measured = name == "accuracy" or (name in get_args(LanguageMetric)) == self.is_language_model
            measured = measured or self.writes_targets
            if not measured or (name, self.task) in _NOT_MEASURED:
                raise ValueError(f"evaluate.thresholds.{name}: is not measured for {self.task}")
        objective = self.pretrain.objective if self.pretrain is not None else None
        if not self.is_language_model:
            if self.evaluate.prompts:
                raise ValueError(f"evaluate.prompts: are for language models, and the task is {self.task}")
            if objective in ("causal-lm", *WORDS) and self.task != "image-classification":
                raise ValueError(f"pretrain.objective: {self.task} is learned on top of an encoder; use masked-lm")
            return
        if ("word-embeddings" if objective in WORDS else objective) != self.task:
            said = "there is no pretrain" if objective is None else f"pretrain.objective is {objective}"
            wanted = " or ".join(WORDS) if self.task == "word-embeddings" else "that objective"
            raise ValueError(f"task: {self.task} is learned by pretrain with {wanted}, and {said}")
        tokenizer = self.preprocess.tokenizer
        if self.task == "word-embeddings" and tokenizer is not None and tokenizer.kind != "words":
            raise ValueError(f"preprocess.tokenizer.kind: {tokenizer.kind} splits words; word-embeddings need words")
        if self.ingest.labelled:
            raise ValueError(f"ingest.labelled: {self.task} learns from the corpus alone; leave it out")
        if self.evaluate.compare:
            raise ValueError(f"evaluate.compare: compares fine-tuning, and {self.task} has none; leave it out")
        for key in _set(self.finetune):
            raise ValueError(f"finetune.{key}: {self.task} has no fine-tuning; leave it out")

    def _check_table(self) -> None:
        is_table = self.task in get_args(TableTask)
        if is_table and self.ingest.table is None:
            raise ValueError(f"ingest.table: missing; {self.task} learns a column of a table: table: {{target: NAME}}")
        if not is_table and self.ingest.table is not None:
            raise ValueError(f"ingest.table: is for {' and '.join(get_args(TableTask))}, and the task is {self.task}")
        for source in () if is_table else (*self.ingest.corpus_sources, *self.ingest.labelled):
            if source.rename:
                raise ValueError(f"ingest: {source.uri}: rename is for tables; say in columns which ones are read")
        if is_table:
            for key in _set(self.ingest) - FOR_TABLES:
                raise ValueError(f"ingest.{key}: is not for tables, and the task is {self.task}; leave it out")
            for place, source in enumerate(self.ingest.labelled):
                for key in _set(source) & NOT_FOR_TABLES:
                    said = "is not for tables, whose columns table describes; leave it out"
                    raise ValueError(f"ingest.labelled.{place}.{key}: {said}")
        if self.task == "table-regression" and self.ingest.label is not None:
            raise ValueError("ingest.label: makes classes, and table-regression predicts a number; leave it out")

    def _check_pictures(self) -> None:
        """What is for texts alone is refused for pictures, and what is for pictures alone for all others."""
        is_pictures = self.task == "image-classification"
        sections = {
            "ingest": self.ingest,
            "preprocess": self.preprocess,
            "pretrain": self.pretrain,
            "finetune": self.finetune,
        }
        wrong = FOR_TEXTS if is_pictures else FOR_PICTURES
        said, these = ("texts", "pictures") if is_pictures else ("pictures", "texts")
        for name, section in sections.items():
            for key in sorted(_set(section) & wrong[name]) if section is not None else ():
                raise ValueError(f"{name}.{key}: is for {said}, and the task is {self.task}; leave it out")
        if self.pretrain is not None and (self.pretrain.objective in PICTURE_OBJECTIVES) != is_pictures:
            known = ", ".join(PICTURE_OBJECTIVES) if is_pictures else "masked-lm or causal-lm"
            objective = self.pretrain.objective
            raise ValueError(f"pretrain.objective: {objective} does not learn from {these}; use {known}")
        if not is_pictures:
            if isinstance(self.finetune.model, ImageNetwork):
                raise ValueError(
                    f"finetune.model: {self.finetune.model.family} looks at pictures, and the task is {self.task}"
                )
            return
        if "tfidf" in self.evaluate.must_beat:
            raise ValueError(
                "evaluate.must_beat: tfidf counts the words of texts, and these are pictures; leave it out"
            )
        if self.finetune.model is not None and not isinstance(self.finetune.model, ImageNetwork):
            known = ", ".join(get_args(ImageNetwork.model_fields["family"].annotation))
            family = self.finetune.model.family
            raise ValueError(f"finetune.model: {family} does not look at pictures; those that do are {known}")

    def _check_task(self) -> None:
        """Refuse what the task's stages would find out only after the stages before them."""
        if wrong := unfit_for(self.task, self.evaluate) or unsliceable(self.ingest, self.task, self.evaluate.slices):
            raise ValueError(wrong)
        if self.task != "question-answering" and self.finetune.questions != Questions():
            raise ValueError(
                f"finetune.questions: is for question-answering, and the task is {self.task}; leave it out"
            )
        if self.task == "question-answering":
            if wrong := misfit(self.finetune.questions, self.preprocess.max_tokens):
                raise ValueError(wrong)
            if self.preprocess.tokenizer is not None and self.preprocess.tokenizer.segment is not None:
                raise ValueError(
                    "preprocess.tokenizer.segment: tokens of words cut by jieba have no place in the text that an "
                    "answer is cut out of; leave it out"
                )
            if self.finetune.label_smoothing:
                raise ValueError("finetune.label_smoothing: is for classes, and an answer has none; leave it out")
        is_table, model = self.task in get_args(TableTask), self.finetune.model
        if model is not None and isinstance(model, TableNetwork) != is_table:
            reads = "linear and mlp read a table's rows" if is_table else "which reads a table's rows"
            raise ValueError(f"finetune.model: is of family {model.family}, {reads}, and the task is {self.task}")
        self._check_targets()
        if self.finetune.folds is not None and not is_table:
            raise ValueError(f"finetune.folds: is for {' and '.join(get_args(TableTask))}; leave it out")
        if is_table and self.finetune.label_smoothing:
            raise ValueError("finetune.label_smoothing: is for texts and pictures; leave it out")
        if is_table and self.finetune.base is not None:
            raise ValueError("finetune.base: a table's network starts from random weights; leave it out")
        if is_table and self.preprocess.tokenizer is not None:
            raise ValueError("preprocess.tokenizer: is for texts, and a table's free text is left out; leave it out")

    def _check_targets(self) -> None:
        """What is for written answers alone is refused elsewhere, and what they are not learned from for them."""
        model = self.finetune.model
        if model is not None and isinstance(model, EncoderDecoder) != self.writes_targets:
            writes = (
                "reads a sequence and writes another" if isinstance(model, EncoderDecoder) else "writes no sequence"
            )
            raise ValueError(f"finetune.model: {model.family} {writes}, and the task is {self.task}")
        if self.writes_targets:
            if self.pretrain is not None:
                raise ValueError(f"pretrain: makes encoders or decoders, and {self.task} needs both; leave it out")
            return
        wrong = {"preprocess": (self.preprocess, "max_target_tokens"), "finetune": (self.finetune, "decoding")}
        for name, (section, key) in wrong.items():
            if key in _set(section):
                raise ValueError(f"{name}.{key}: is for {' and '.join(get_args(TargetTask))}; leave it out")

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
        """SHA-256 of the whole recipe with its defaults, as 64 hexadecimal digits."""
        return digest(self.as_data())

    def as_data(self) -> dict[str, Any]:
        """Return the recipe as plain data, defaults included, that `Recipe` reads again."""
        return self.model_dump(mode="json", by_alias=True)


def _set(section: Section) -> set[str]:
    """Return the keys of a section that say something else than their default."""
    fields = type(section).model_fields.items()
    return {key for key, field in fields if getattr(section, key) != field.get_default(call_default_factory=True)}


def load(path: Path, overrides: Sequence[str] = (), *, look: bool = False) -> Recipe:
    """Read, override and check a recipe; nothing is fetched and nothing runs.

    With `look`, files and packages of this machine that it names must be there; their content is not read.

    Raises:
        UserError: with every error that was found, a line each: file, line, key, what is wrong, the nearest right word.
    """
    document = read(path)
    for setting in overrides:
        override(document, setting)
    _resolve_relative_paths(document)
    try:
        recipe = Recipe.model_validate_json(json.dumps(document.data))
    except ValidationError as error:
        raise UserError("\n".join(messages(Recipe, document, error))) from error
    if look:
        _look(document)
    return recipe


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a recipe file, for editors."""
    made = Recipe.model_json_schema()
    made["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    made["title"] = "modelmill recipe"
    made["properties"]["extends"] = {
        "type": "string",
        "description": "Path of a recipe that this one changes, key by key.",
    }
    # A recipe that extends another may leave anything out.
    required = made.pop("required")
    made["anyOf"] = [{"required": required}, {"required": ["extends"]}]
    return made


def _look(document: Document) -> None:
    wrong = []
    for key in _uri_keys(document.data):
        uri: Any = document.data
        for part in key:
            uri = uri[part]
        try:
            if isinstance(uri, str):
                (check_there if key[0] == "ingest" else check_base)(uri)
        except UserError as error:
            wrong.append(f"{document.place(key)}: {'.'.join(map(str, key))}: {error}")
    if wrong:
        raise UserError("\n".join(wrong))


def _resolve_relative_paths(document: Document) -> None:
    """A path counts from the file that says it, so that a recipe can be run from any folder."""
    for key in list(_uri_keys(document.data)):
        parent: Any = document.data
        for part in key[:-1]:
            parent = parent[part]
        value = parent[key[-1]]
        if isinstance(value, str) and value and "://" not in value and not (key[0] != "ingest" and is_reference(value)):
            parent[key[-1]] = str(document.place(key).folder / Path(value).expanduser())


def _uri_keys(data: dict[str, Any]) -> Iterator[Key]:
    for section in ("pretrain", "finetune"):
        if isinstance(data.get(section), dict) and "base" in data[section]:
            yield (section, "base")
    finetune = data.get("finetune")
    if isinstance(finetune, dict) and isinstance(finetune.get("teacher"), dict) and "base" in finetune["teacher"]:
        yield ("finetune", "teacher", "base")
    ingest = data.get("ingest")
    for part in ("corpus", "labelled"):
        sources = ingest.get(part) if isinstance(ingest, dict) else None
        for position, source in enumerate(sources if isinstance(sources, list) else []):
            if isinstance(source, dict) and "uri" in source:
                yield ("ingest", part, position, "uri")
