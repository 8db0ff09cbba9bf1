"""A byte-level tokenizer of 512 tokens in which every digit is a token of its own, so that coordinates can be learnt."""

from __future__ import annotations

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from p2r_engines.pretraining.role_text import sample_texts
from p2r_engines.pretraining.sizes import VOCABULARY

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]


def train_tokenizer() -> Tokenizer:
    """The recipe's tokenizer, the same each time."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sample_texts(4000, seed=0), trainer)
    return tokenizer


def special_tokens(tokenizer: Tokenizer) -> dict[str, int]:
    """Numbers of the special tokens."""
    return {token: tokenizer.token_to_id(token) for token in SPECIAL}
