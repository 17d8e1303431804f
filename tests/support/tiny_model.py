"""A tiny Llama's config and a byte-level tokenizer with four merges, for tests in Python."""
import json

CONFIG = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 300, "hidden_size": 16, "intermediate_size": 24,
    "num_hidden_layers": 3, "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0, "tie_word_embeddings": True, "hidden_act": "silu", "bos_token_id": 256, "eos_token_id": 256,
}


def byte_letters():
    """The printable letters that stand for bytes in byte-level BPE (GPT-2)."""
    plain = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    rest = [byte for byte in range(256) if byte not in plain]
    letters = {byte: chr(byte) for byte in plain}
    letters.update({byte: chr(256 + i) for i, byte in enumerate(rest)})
    return [letters[byte] for byte in range(256)]


def tokenizer_json():
    vocab = {letter: byte for byte, letter in enumerate(byte_letters())}
    vocab["<|endoftext|>"] = 256
    merges = [("t", "h"), ("th", "e"), ("a", "n"), ("i", "n")]
    for left, right in merges:
        vocab[left + right] = len(vocab)
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": 256, "content": "<|endoftext|>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                          "special": True}],
        "normalizer": None, "pre_tokenizer": level, "post_processor": level, "decoder": level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "vocab": vocab, "merges": [" ".join(pair) for pair in merges]},
    }


def write_model(folder):
    """config.json and tokenizer.json; weights come from the library."""
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json()))
