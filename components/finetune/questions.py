"""Question answering over tokens: an encoder, from weights or from random ones, that points at an answer's ends."""

from pathlib import Path

from components.finetune import text as texts
from components.finetune.learner import Learner, Start, rows_of
from components.finetune.settings import FinetuneSettings
from modelmill.dataset import Dataset
from modelmill.errors import ModelmillError, UserError
from modelmill.models import text
from modelmill.models.questions import Decoder
from modelmill.training import lora
from modelmill.training.question_data import Asked, asked_of, question_batches, window_batches
from modelmill.training.question_settings import misfit
from modelmill.training.spans import Spans

_COLUMNS = ("id", "question_ids", "context_ids", "context_starts", "context_ends", "context", "answers")


def prepare(settings: FinetuneSettings, dataset: Dataset, start: Start) -> Learner:
    """Return how answers are learned for questions over contexts.

    Raises:
        UserError: there are no training or validation rows, none with an answer, or the model does not fit the data.
        ModelmillError: an answer lies outside of its context.
    """
    if wrong := misfit(settings.questions, settings.max_tokens):
        raise UserError(wrong)
    train = _asked(settings, dataset, "train")
    if not any(one.references for one in train):
        raise UserError(
            f"{dataset.address}: 0 of {len(train):,} training questions have an answer, so there is no span to learn; "
            "check the answers' column"
        )
    validation = _asked(settings, dataset, "validation")
    model = text.spans(texts.start_from(settings, dataset, start.folder))
    text.family(model).set_dropout(model, settings.dropout)
    decoder = Decoder(questions=settings.questions, unanswerable=any(not one.references for one in train))
    pad = dataset.meta["special"]["pad"]
    batches = window_batches(train, settings.batch_rows, settings.seed, pad)

    def save(folder: Path) -> None:
        lora.merge(model)
        text.save(model, folder)
        dataset.fetch_attachments(folder, "tokenizer/")

    return Learner(
        model=model,
        objective=Spans(decoder=decoder, validation=validation),
        batches=batches,
        steps_per_epoch=batches.steps_per_epoch,
        validation=question_batches(validation, settings.batch_rows, pad),
        best="f1",
        save=save,
        meta={
            "max_tokens": settings.max_tokens,
            "questions": settings.questions.model_dump(mode="json"),
            "unanswerable": decoder.unanswerable,
        },
        plan=texts.plan_of(settings, model, batches.steps_per_epoch),
        figures=_figures(train, len(batches.ids)),
    )


def _figures(train: list[Asked], rows: int) -> dict[str, float]:
    return {
        "windows": rows,
        "windows_per_question": round(rows / len(train), 4),
        "truncated_questions_share": round(sum(one.cut for one in train) / len(train), 6),
        "unanswerable_share": round(sum(not one.references for one in train) / len(train), 6),
        # An answer longer than two windows share may be whole in none.
        "answers_in_no_window_share": round(sum(_is_lost(one) for one in train) / len(train), 6),
    }


def _is_lost(asked: Asked) -> bool:
    span = asked.span
    return span is not None and not any(window.place(span[0]) and window.place(span[1]) for window in asked.windows)


def _asked(settings: FinetuneSettings, dataset: Dataset, split: str) -> list[Asked]:
    table = rows_of(dataset, split, _COLUMNS)
    made = asked_of(table, dataset.meta["special"], settings.max_tokens, settings.questions)
    for row_id, one in zip(table["id"].to_pylist(), made, strict=True):
        if one.references and one.span is None:
            characters = int(one.ends_C[-1]) if len(one.ends_C) else 0
            raise ModelmillError(
                f"{dataset.address}: the answer {one.references[0][:80]!r} to question {row_id} in the {split} split "
                f"touches none of the {len(one.ends_C)} tokens of its context, which end at character {characters}; "
                "preprocess the questions again"
            )
    return made
