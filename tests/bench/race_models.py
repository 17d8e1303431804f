"""The models of race.sh as folders t and s, random weights: Llamas of 100.1M and 21.7M parameters. Usage: race_models.py FOLDER"""
import json
import pathlib
import struct
import sys

import numpy

SHAPES = {"t": (12, 768, 12, 4, 2048), "s": (6, 384, 6, 2, 1024)}  # layers, width, heads, key heads, inner width
VOCABULARY = 32000


def parameters(layers, width, heads, kv_heads, inner):
    narrow = width // heads * kv_heads
    yield "model.embed_tokens.weight", (VOCABULARY, width)
    for layer in range(layers):
        block = f"model.layers.{layer}."
        for name, shape in (("q", (width, width)), ("k", (narrow, width)), ("v", (narrow, width)), ("o", (width, width))):
            yield f"{block}self_attn.{name}_proj.weight", shape
        for name, shape in (("gate", (inner, width)), ("up", (inner, width)), ("down", (width, inner))):
            yield f"{block}mlp.{name}_proj.weight", shape
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield f"{block}{name}.weight", (width,)
    yield "model.norm.weight", (width,)


def write(folder, layers, width, heads, kv_heads, inner):
    folder.mkdir()
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": width, "num_hidden_layers": layers,
              "num_attention_heads": heads, "num_key_value_heads": kv_heads, "intermediate_size": inner, "vocab_size": VOCABULARY,
              "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True, "hidden_act": "silu"}
    (folder / "config.json").write_text(json.dumps(config))
    draw, header, offset = numpy.random.default_rng(0), {}, 0
    for name, shape in parameters(layers, width, heads, kv_heads, inner):
        size = 4 * int(numpy.prod(shape))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # as files have it: tensors are read where they lie
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, shape in parameters(layers, width, heads, kv_heads, inner):
            one = numpy.ones(shape, numpy.float32) if len(shape) == 1 else draw.standard_normal(shape, dtype=numpy.float32) * numpy.float32(0.02)
            file.write(one.tobytes())


for model, shape in SHAPES.items():
    write(pathlib.Path(sys.argv[1]) / model, *shape)
