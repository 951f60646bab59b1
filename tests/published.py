"""Tiny folders as their publishers make them: tokenizer and weights written by transformers' own save_pretrained."""

import random
from pathlib import Path
from typing import Any

import torch
import transformers

from tests import samples

TEXTS = [text for text, _ in samples.reviews(200, seed=1)]
_TOKENIZERS: dict[str, Any] = {
    "gpt2": transformers.GPT2Tokenizer,
    "llama": transformers.LlamaTokenizer,
    "roberta": transformers.RobertaTokenizer,
    "distilbert": transformers.BertTokenizer,
    "t5": transformers.T5Tokenizer,
    "bart": transformers.BartTokenizer,
}


def tokenizer(family: str, folder: Path) -> Any:
    """Write a family's tokenizer, learned from a few texts, and return it."""
    random.seed(0)
    made = _TOKENIZERS[family]().train_new_from_iterator(TEXTS, 400)
    made.save_pretrained(folder)
    return made


def model(family: str, folder: Path) -> Any:
    """Write a family's tokenizer and a language model with random weights, and return the model."""
    names = tokenizer(family, folder)
    sizes = {"vocab_size": len(names), "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 32}
    layers = {**sizes, "intermediate_size": 64, "max_position_embeddings": 66, "pad_token_id": names.pad_token_id}
    marks = {"bos_token_id": names.bos_token_id, "eos_token_id": names.eos_token_id}
    configs: dict[str, Any] = {
        "gpt2": lambda: transformers.GPT2Config(
            vocab_size=len(names), n_layer=2, n_head=2, n_embd=32, n_positions=64, **marks
        ),
        "llama": lambda: transformers.LlamaConfig(**{**layers, **marks, "pad_token_id": None}),
        "roberta": lambda: transformers.RobertaConfig(**layers, **marks, type_vocab_size=1),
        "distilbert": lambda: transformers.DistilBertConfig(
            vocab_size=len(names), n_layers=2, n_heads=2, dim=32, hidden_dim=64, max_position_embeddings=64
        ),
    }
    classes: dict[str, Any] = {
        "gpt2": transformers.GPT2LMHeadModel,
        "llama": transformers.LlamaForCausalLM,
        "roberta": transformers.RobertaForMaskedLM,
        "distilbert": transformers.DistilBertForMaskedLM,
    }
    torch.manual_seed(0)
    made = classes[family](configs[family]())
    # Far from the small start, so that what is compared is not nearly even.
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if weight.ndim > 1 and "embed" not in name:
                weight.mul_(4)
    made.save_pretrained(folder)
    return made.eval()
