"""Next-token log-probabilities by transformers: one forward pass per prompt, nothing cached."""

import json
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

asked = json.load(sys.stdin)
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32).eval()
result = []
for chat in asked["chats"]:
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    rows = {}
    for prefix in asked["prefixes"]:
        ids = tokenizer.encode(text + prefix, add_special_tokens=False)
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, -1].double()
        rows[prefix] = torch.log_softmax(logits, dim=-1).tolist()
    result.append(rows)
json.dump({"rows": result, "vocabulary": dict(tokenizer.get_vocab())}, sys.stdout)
