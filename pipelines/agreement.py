"""What a recipe's sections may not say together: each error begins with the key that it is about."""

from typing import TYPE_CHECKING, get_args

from components.evaluate.settings import unfit_for
from components.ingest.settings import (
    COLUMN_FOR,
    FOR_TABLES,
    NOT_FOR_TABLES,
    SEVERAL_TEXTS,
    WITHOUT_CLASSES,
    unsliceable,
)
from components.pretrain.settings import PICTURE_OBJECTIVES, WORDS
from modelmill.evaluation.checks import CostMetric, LanguageMetric
from modelmill.models.architecture import EncoderDecoder, ImageNetwork, TableNetwork
from modelmill.settings import Section, TableTask, TargetTask
from modelmill.training.question_settings import Questions, misfit

if TYPE_CHECKING:
    from pipelines.recipe import Recipe

_FOR_TEXTS = {
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
_FOR_PICTURES = {
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


def check(recipe: "Recipe") -> None:
    """Refuse a recipe whose sections contradict each other or its task.

    Raises:
        ValueError: the first contradiction, after the key that it is about.
    """
    _check_language_model(recipe)
    if not recipe.ingest.labelled and not recipe.is_language_model:
        raise ValueError(f"ingest.labelled: missing; {recipe.task} learns from labelled rows")
    _check_table(recipe)
    _check_texts(recipe)
    _check_pictures(recipe)
    _check_task(recipe)
    if recipe.pretrain is not None and not recipe.ingest.corpus:
        raise ValueError(
            "pretrain: there is no ingest.corpus to train on; name one ({labelled: train}: the training rows' own)"
        )
    if recipe.preprocess.packing == "best-fit" and (
        recipe.pretrain is None or recipe.pretrain.objective != "causal-lm"
    ):
        raise ValueError("preprocess.packing: best-fit is for pretrain.objective: causal-lm; leave it out")
    _check_start(recipe)


def _check_start(recipe: "Recipe") -> None:
    """Weights and a tokenizer come from one place each."""
    if recipe.pretrain is not None and recipe.finetune.base is not None:
        raise ValueError(
            "finetune.base: contradicts pretrain, whose weights fine-tuning starts from; leave one of them out"
        )
    if recipe.finetune.model is not None and (recipe.pretrain is not None or recipe.finetune.base is not None):
        said = "pretrain, whose model" if recipe.pretrain is not None else "base, whose weights"
        raise ValueError(f"finetune.model: contradicts {said} fine-tuning starts from; leave one of them out")
    if recipe.warm_start and recipe.base is None:
        raise ValueError(
            "warm_start: there is neither pretrain.base nor finetune.base, which training starts from while there is "
            "no champion, and whose tokenizer and shape a champion has; name one, or leave warm_start out"
        )
    if recipe.base is not None and recipe.preprocess.tokenizer is not None:
        raise ValueError(
            "preprocess.tokenizer: contradicts the base model, which brings its own; leave one of them out"
        )
    if recipe.finetune.teacher is not None and recipe.preprocess.tokenizer is not None:
        raise ValueError("preprocess.tokenizer: contradicts finetune.teacher, which brings its own; leave it out")
    if recipe.finetune.teacher is not None and recipe.task not in ("text-classification", "image-classification"):
        raise ValueError(f"finetune.teacher: is for classifying texts and pictures, and the task is {recipe.task}")
    if "from_scratch" in recipe.evaluate.compare and recipe.base is None and recipe.pretrain is None:
        raise ValueError(
            "evaluate.compare: from_scratch compares with random weights, and this recipe starts from nothing else"
        )


def _check_texts(recipe: "Recipe") -> None:
    """Refuse what does not fit rows that hold several texts, or rows without classes."""
    if recipe.task in SEVERAL_TEXTS and recipe.ingest.takes_labelled:
        raise ValueError(
            f"ingest.corpus: takes {{labelled: train}}, and rows of {recipe.task} hold several texts; name a source"
        )
    if recipe.task in WITHOUT_CLASSES and recipe.ingest.label is not None:
        raise ValueError(f"ingest.label: makes classes, and {recipe.task} has none; leave it out")
    if recipe.task in WITHOUT_CLASSES and recipe.ingest.split.by == "label":
        raise ValueError(f"ingest.split.by: label divides classes, and {recipe.task} has none; use hash or time")
    for place, source in enumerate(recipe.ingest.labelled):
        if recipe.task in WITHOUT_CLASSES and source.label is not None:
            raise ValueError(f"ingest.labelled.{place}.label: makes a class, and {recipe.task} has none; leave it out")
        for column, task in COLUMN_FOR.items():
            if recipe.task != task and column in _set(source.columns):
                raise ValueError(
                    f"ingest.labelled.{place}.columns.{column}: is for {task}, and the task is {recipe.task}"
                )
        if source.known_format == "squad" and recipe.task != "question-answering":
            raise ValueError(f"ingest.labelled: {source.uri}: squad holds questions, and the task is {recipe.task}")


def _check_language_model(recipe: "Recipe") -> None:
    for name in recipe.evaluate.thresholds:
        # What is no figure of a labelled task is refused below.
        of_all = name == "accuracy" or name in get_args(CostMetric)
        measured = of_all or (name in get_args(LanguageMetric)) == recipe.is_language_model
        measured = measured or recipe.writes_targets
        if not measured or (name, recipe.task) in _NOT_MEASURED:
            raise ValueError(f"evaluate.thresholds.{name}: is not measured for {recipe.task}")
    objective = recipe.pretrain.objective if recipe.pretrain is not None else None
    if not recipe.is_language_model:
        if recipe.evaluate.prompts:
            raise ValueError(f"evaluate.prompts: are for language models, and the task is {recipe.task}")
        if objective in ("causal-lm", *WORDS) and recipe.task != "image-classification":
            raise ValueError(f"pretrain.objective: {recipe.task} is learned on top of an encoder; use masked-lm")
        return
    if ("word-embeddings" if objective in WORDS else objective) != recipe.task:
        said = "there is no pretrain" if objective is None else f"pretrain.objective is {objective}"
        wanted = " or ".join(WORDS) if recipe.task == "word-embeddings" else "that objective"
        raise ValueError(f"task: {recipe.task} is learned by pretrain with {wanted}, and {said}")
    tokenizer = recipe.preprocess.tokenizer
    if recipe.task == "word-embeddings" and tokenizer is not None and tokenizer.kind != "words":
        raise ValueError(f"preprocess.tokenizer.kind: {tokenizer.kind} splits words; word-embeddings need words")
    if recipe.ingest.labelled:
        raise ValueError(f"ingest.labelled: {recipe.task} learns from the corpus alone; leave it out")
    if recipe.evaluate.compare:
        raise ValueError(f"evaluate.compare: compares fine-tuning, and {recipe.task} has none; leave it out")
    for key in _set(recipe.finetune):
        raise ValueError(f"finetune.{key}: {recipe.task} has no fine-tuning; leave it out")


def _check_table(recipe: "Recipe") -> None:
    is_table = recipe.task in get_args(TableTask)
    if is_table and recipe.ingest.table is None:
        raise ValueError(f"ingest.table: missing; {recipe.task} learns a column of a table: table: {{target: NAME}}")
    if not is_table and recipe.ingest.table is not None:
        raise ValueError(f"ingest.table: is for {' and '.join(get_args(TableTask))}, and the task is {recipe.task}")
    for source in () if is_table else (*recipe.ingest.corpus_sources, *recipe.ingest.labelled):
        if source.rename:
            raise ValueError(f"ingest: {source.uri}: rename is for tables; say in columns which ones are read")
    if is_table:
        for key in _set(recipe.ingest) - FOR_TABLES:
            raise ValueError(f"ingest.{key}: is not for tables, and the task is {recipe.task}; leave it out")
        for place, source in enumerate(recipe.ingest.labelled):
            for key in _set(source) & NOT_FOR_TABLES:
                said = "is not for tables, whose columns table describes; leave it out"
                raise ValueError(f"ingest.labelled.{place}.{key}: {said}")
    if recipe.task == "table-regression" and recipe.ingest.label is not None:
        raise ValueError("ingest.label: makes classes, and table-regression predicts a number; leave it out")


def _check_pictures(recipe: "Recipe") -> None:
    """What is for texts alone is refused for pictures, and what is for pictures alone for all others."""
    is_pictures = recipe.task == "image-classification"
    sections = {
        "ingest": recipe.ingest,
        "preprocess": recipe.preprocess,
        "pretrain": recipe.pretrain,
        "finetune": recipe.finetune,
    }
    wrong = _FOR_TEXTS if is_pictures else _FOR_PICTURES
    said, these = ("texts", "pictures") if is_pictures else ("pictures", "texts")
    for name, section in sections.items():
        for key in sorted(_set(section) & wrong[name]) if section is not None else ():
            raise ValueError(f"{name}.{key}: is for {said}, and the task is {recipe.task}; leave it out")
    if recipe.pretrain is not None and (recipe.pretrain.objective in PICTURE_OBJECTIVES) != is_pictures:
        known = ", ".join(PICTURE_OBJECTIVES) if is_pictures else "masked-lm or causal-lm"
        objective = recipe.pretrain.objective
        raise ValueError(f"pretrain.objective: {objective} does not learn from {these}; use {known}")
    if not is_pictures:
        if isinstance(recipe.finetune.model, ImageNetwork):
            raise ValueError(
                f"finetune.model: {recipe.finetune.model.family} looks at pictures, and the task is {recipe.task}"
            )
        return
    if "tfidf" in recipe.evaluate.must_beat:
        raise ValueError("evaluate.must_beat: tfidf counts the words of texts, and these are pictures; leave it out")
    if recipe.finetune.model is not None and not isinstance(recipe.finetune.model, ImageNetwork):
        known = ", ".join(get_args(ImageNetwork.model_fields["family"].annotation))
        family = recipe.finetune.model.family
        raise ValueError(f"finetune.model: {family} does not look at pictures; those that do are {known}")


def _check_task(recipe: "Recipe") -> None:
    """Refuse what the task's stages would find out only after the stages before them."""
    wrong = unfit_for(recipe.task, recipe.evaluate)
    if wrong := wrong or unsliceable(recipe.ingest, recipe.task, recipe.evaluate.slices):
        raise ValueError(wrong)
    if recipe.task != "question-answering" and recipe.finetune.questions != Questions():
        raise ValueError(f"finetune.questions: is for question-answering, and the task is {recipe.task}; leave it out")
    if recipe.task == "question-answering":
        if wrong := misfit(recipe.finetune.questions, recipe.preprocess.max_tokens):
            raise ValueError(wrong)
        if recipe.preprocess.tokenizer is not None and recipe.preprocess.tokenizer.segment is not None:
            raise ValueError(
                "preprocess.tokenizer.segment: tokens of words cut by jieba have no place in the text that an "
                "answer is cut out of; leave it out"
            )
        if recipe.finetune.label_smoothing:
            raise ValueError("finetune.label_smoothing: is for classes, and an answer has none; leave it out")
    is_table, model = recipe.task in get_args(TableTask), recipe.finetune.model
    if model is not None and isinstance(model, TableNetwork) != is_table:
        reads = "linear and mlp read a table's rows" if is_table else "which reads a table's rows"
        raise ValueError(f"finetune.model: is of family {model.family}, {reads}, and the task is {recipe.task}")
    _check_targets(recipe)
    if recipe.finetune.folds is not None and not is_table:
        raise ValueError(f"finetune.folds: is for {' and '.join(get_args(TableTask))}; leave it out")
    if is_table and recipe.finetune.label_smoothing:
        raise ValueError("finetune.label_smoothing: is for texts and pictures; leave it out")
    if is_table and recipe.finetune.base is not None:
        raise ValueError("finetune.base: a table's network starts from random weights; leave it out")
    if is_table and recipe.preprocess.tokenizer is not None:
        raise ValueError("preprocess.tokenizer: is for texts, and a table's free text is left out; leave it out")


def _check_targets(recipe: "Recipe") -> None:
    """What is for written answers alone is refused elsewhere, and what they are not learned from for them."""
    model = recipe.finetune.model
    if model is not None and isinstance(model, EncoderDecoder) != recipe.writes_targets:
        writes = "reads a sequence and writes another" if isinstance(model, EncoderDecoder) else "writes no sequence"
        raise ValueError(f"finetune.model: {model.family} {writes}, and the task is {recipe.task}")
    if recipe.writes_targets:
        if recipe.pretrain is not None:
            raise ValueError(f"pretrain: makes encoders or decoders, and {recipe.task} needs both; leave it out")
        return
    for name, section, key in (
        ("preprocess", recipe.preprocess, "max_target_tokens"),
        ("preprocess", recipe.preprocess, "prefix"),
        ("finetune", recipe.finetune, "decoding"),
    ):
        if key in _set(section):
            raise ValueError(f"{name}.{key}: is for {' and '.join(get_args(TargetTask))}; leave it out")


def _set(section: Section) -> set[str]:
    """Return the keys of a section that say something else than their default."""
    fields = type(section).model_fields.items()
    return {key for key, field in fields if getattr(section, key) != field.get_default(call_default_factory=True)}
