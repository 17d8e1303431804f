"""Trains the quickstart's tokenizer: byte-level BPE, 2,048 tokens. Usage: train_tokenizer.py TEXT FOLDER"""
import json
import pathlib
import sys

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

text, folder = sys.argv[1], pathlib.Path(sys.argv[2])
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
trainer = trainers.BpeTrainer(vocab_size=2048, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
tokenizer.train([text], trainer)
folder.mkdir(parents=True, exist_ok=True)
tokenizer.save(str(folder / "tokenizer.json"))
config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "model_max_length": 512, "clean_up_tokenization_spaces": False}
(folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
