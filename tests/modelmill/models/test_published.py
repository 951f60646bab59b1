import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from modelmill.errors import UserError
from modelmill.models import causal, text
from modelmill.models.language_predictor import load_causal
from modelmill.models.special import check_roles
from modelmill.models.tokenizer import load_tokenizer, save_tokenizer
from tests import published

FAMILIES = ["gpt2", "llama", "roberta", "t5", "bart"]
# What each family calls the tokens of a role.
ROLES: dict[str, dict[str, str]] = {
    "gpt2": dict.fromkeys(["cls", "sep", "pad", "unk"], "<|endoftext|>"),
    "llama": {"cls": "<s>", "sep": "</s>", "pad": "</s>", "unk": "<unk>"},
    "roberta": {"cls": "<s>", "sep": "</s>", "pad": "<pad>", "unk": "<unk>", "mask": "<mask>"},
    "t5": {"sep": "</s>", "pad": "<pad>", "unk": "<unk>"},
    "bart": {"cls": "<s>", "sep": "</s>", "pad": "<pad>", "unk": "<unk>", "mask": "<mask>"},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_special_tokens_of_a_published_tokenizer_have_their_roles(family: str, tmp_path: Path) -> None:
    theirs = published.tokenizer(family, tmp_path)
    ours = load_tokenizer(tmp_path)
    assert {role: theirs.convert_ids_to_tokens(number) for role, number in ours.special.items()} == ROLES[family]
    asked = ["a moving film", "naïve plot!", ""]
    found = [ids.tolist() for ids in ours.documents(asked)]
    assert found == theirs(asked, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_published_tokenizer_saved_again_has_the_same_ids_and_roles(family: str, tmp_path: Path) -> None:
    theirs = published.tokenizer(family, tmp_path / "theirs")
    first = load_tokenizer(tmp_path / "theirs")
    save_tokenizer(first, tmp_path / "ours")
    second, opened = load_tokenizer(tmp_path / "ours"), AutoTokenizer.from_pretrained(tmp_path / "ours")
    assert second.special == first.special
    asked = ["a moving film", "naïve plot!"]
    assert opened(asked)["input_ids"] == theirs(asked)["input_ids"]
    assert (opened.bos_token, opened.eos_token, opened.pad_token) == (
        theirs.bos_token,
        theirs.eos_token,
        theirs.pad_token,
    )


@pytest.mark.parametrize("family", ["gpt2", "roberta"])
def test_roles_that_an_old_folder_does_not_name_are_found_by_usual_names_and_by_the_models_ids(
    family: str, tmp_path: Path
) -> None:
    published.model(family, tmp_path)
    before = load_tokenizer(tmp_path).special
    (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": 64}')
    found = load_tokenizer(tmp_path).special
    assert {role: found[role] for role in ("cls", "sep", "pad")} == {
        role: before[role] for role in ("cls", "sep", "pad")
    }


def test_what_a_task_needs_and_a_tokenizer_has_not_is_told(tmp_path: Path) -> None:
    published.tokenizer("gpt2", tmp_path)
    with pytest.raises(UserError, match=r"no mask token, which hides a token and masked-lm needs \(4 special tokens"):
        check_roles(tmp_path, load_tokenizer(tmp_path).special, ("cls", "sep", "mask"), "masked-lm")
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "pad_token": "<filler>"}))
    with pytest.raises(UserError, match="no pad token '<filler>' among its"):
        load_tokenizer(tmp_path)
    path.write_text("[]")
    with pytest.raises(UserError, match="holds list, and a mapping is wanted"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("family", ["roberta", "distilbert"])
def test_the_logits_of_a_published_encoder_are_those_that_transformers_gives(family: str, tmp_path: Path) -> None:
    theirs = published.model(family, tmp_path)
    ours = text.masked_lm(tmp_path).eval()
    ids_BT = torch.randint(5, 60, (3, 9))
    wanted_BK, real_BK = (
        torch.tensor([[1, 4], [2, 8], [0, 3]]),
        torch.tensor([[True, True], [True, False], [True, True]]),
    )
    expected_BTV = theirs(input_ids=ids_BT).logits
    expected_MV = expected_BTV.gather(1, wanted_BK[:, :, None].expand(-1, -1, expected_BTV.shape[2]))[real_BK]
    found_MV = text.family(ours).masked_logits(ours, ids_BT, wanted_BK, real_BK)
    torch.testing.assert_close(found_MV, expected_MV, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", ["roberta", "distilbert"])
def test_the_classes_of_a_classifier_on_it_are_those_that_transformers_gives(family: str, tmp_path: Path) -> None:
    published.model(family, tmp_path)
    ours = text.classifier(tmp_path, ["bad", "good"]).eval()
    text.family(ours).set_dropout(ours, 0.1)
    text.save(ours, tmp_path / "saved")
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved").eval()
    ids_BT = torch.randint(5, 60, (3, 9))
    attention_BT = torch.arange(9) < torch.tensor([9, 4, 7])[:, None]
    ids_BT[~attention_BT] = ours.config.pad_token_id
    expected = theirs(input_ids=ids_BT, attention_mask=attention_BT.long()).logits
    torch.testing.assert_close(text.family(ours).class_logits(ours, ids_BT, attention_BT), expected)
    # RoBERTa's 66 places begin behind the padding's id, which is 0 here.
    most = {"roberta": 65, "distilbert": 64}[family]
    with pytest.raises(UserError, match=f"reads at most {most} tokens and rows have up to 66"):
        text.load_config(tmp_path, 10, 66)
    ours(torch.randint(5, 60, (1, most)))


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_published_decoder_scores_and_continues_as_transformers_does(family: str, tmp_path: Path) -> None:
    theirs: Any = published.model(family, tmp_path)
    predictor = load_causal(tmp_path, {"max_tokens": 64})
    document = "a dull film with music"
    marks, ids_T = predictor.tokenizer.special, predictor.tokenizer.documents([document])[0]
    framed = torch.tensor([[marks["cls"], *ids_T.tolist(), marks["sep"]]])
    with torch.inference_mode():
        expected = theirs(input_ids=framed, labels=framed).loss
    found = predictor.losses([document])
    np.testing.assert_allclose(found.nats_D[0] / found.tokens_D[0], float(expected), rtol=1e-4)
    assert isinstance(predictor.predict([document])[0], str)
    assert causal.load_config(tmp_path, predictor.tokenizer.vocabulary, 64).model_type == family
