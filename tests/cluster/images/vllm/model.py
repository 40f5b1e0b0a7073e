"""`python model.py FOLDER`: a Llama of two layers with random weights, laid as a hub's cache has it, under FOLDER/hub.

Runs in the image, with what vLLM needs itself. It knows no language: it says the same to the same question, which is all
that the tests want of it.
"""

import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

REPOSITORY, COMMIT = "hearth-tests/tiny", "0" * 40
WORDS = 1024
TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant:"


def main(cache: Path) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=WORDS, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator([Path(__file__).read_text()], trainer)
    whole = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    whole.chat_template = TEMPLATE
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        bos_token_id=0,
        eos_token_id=1,
        dtype="bfloat16",
    )
    # https://huggingface.co/docs/huggingface_hub/guides/manage-cache
    repository = cache / "hub" / f"models--{REPOSITORY.replace('/', '--')}"
    folder = repository / "snapshots" / COMMIT
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text(COMMIT)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    whole.save_pretrained(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
