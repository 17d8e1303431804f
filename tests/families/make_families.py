#!/usr/bin/env python3
"""Makes tests/data/families: tiny random models of families, what transformers computes with them, and class defaults.

Needs torch 2.13 and transformers 5.24. Each folder has config.json, model.safetensors and expected.npz with the keys that
tests/lib/model/test_oracle.c reads. Without arguments every family is made, else the named ones."""
import json
import os
import sys

import numpy
import safetensors.torch
import torch
import transformers

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "families")
SIZES = dict(vocab_size=29, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
             max_position_embeddings=32, pad_token_id=0, bos_token_id=1, eos_token_id=2)
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=6, beta_fast=32.0,
            beta_slow=1.0, mscale=1.0, mscale_all_dim=1.0, llama_4_scaling_beta=0.3)
LONG = dict(rope_type="longrope", rope_theta=10000.0, short_factor=[1.0, 1.1], long_factor=[1.5, 3.0])
TRAINED = {  # folder: (model_type, keys beside the sizes)
    "gpt_neox_sequential": ("gpt_neox", dict(use_parallel_residual=False, attention_bias=False, rope_parameters=dict(
        rope_type="default", rope_theta=500.0, partial_rotary_factor=0.5))),
    "phi": ("phi", dict(num_key_value_heads=2)),
    "phi_qk_layernorm": ("phi", dict(num_key_value_heads=2, qk_layernorm=True)),
    "stablelm_parallel": ("stablelm", dict(num_key_value_heads=2, use_qkv_bias=True, use_parallel_residual=True,
                                           rope_parameters=dict(rope_type="default", rope_theta=10000.0,
                                                                partial_rotary_factor=0.5))),
    "stablelm_qk_layernorm": ("stablelm", dict(num_key_value_heads=2, use_parallel_residual=True, qk_layernorm=True,
                                               rope_parameters=dict(rope_type="default", rope_theta=10000.0,
                                                                    partial_rotary_factor=0.5))),
    "llama_rope_dynamic": ("llama", dict(rope_parameters=dict(rope_type="dynamic", rope_theta=10000.0, factor=2.0))),
    "ministral3": ("ministral3", dict(num_key_value_heads=2, head_dim=6, rope_parameters=YARN)),
    "phi4_mini": ("phi3", dict(hidden_size=24, num_attention_heads=3, num_key_value_heads=1, tie_word_embeddings=True,
                               original_max_position_embeddings=12, sliding_window=9,
                               rope_parameters=dict(LONG, partial_rotary_factor=0.5))),
    "phi4_mini_short": ("phi3", dict(hidden_size=24, num_attention_heads=3, num_key_value_heads=1,
                                     original_max_position_embeddings=30, rope_parameters=dict(
                                         LONG, short_factor=[1.0, 1.1, 1.5, 2.0], long_factor=[9.0, 9.0, 9.0, 9.0]))),
    # scores by the width of a head and every n-th layer full: what GGUF files of these families can say
    "gemma2_plain": ("gemma2", dict(num_key_value_heads=2, head_dim=6, query_pre_attn_scalar=6, sliding_window=5,
                                    num_hidden_layers=3, attn_logit_softcapping=2.0, final_logit_softcapping=3.0)),
    "gemma3_plain": ("gemma3_text", dict(num_key_value_heads=2, head_dim=6, query_pre_attn_scalar=6, sliding_window=5,
                                         num_hidden_layers=7, rope_parameters=dict(
                                             full_attention=dict(rope_type="linear", rope_theta=5000.0, factor=4.0),
                                             sliding_attention=dict(rope_type="default", rope_theta=500.0)))),
    "smollm3_sliding": ("smollm3", dict(num_key_value_heads=2, no_rope_layers=[0, 1], use_sliding_window=True,
                                        sliding_window=5, attention_bias=True, mlp_bias=True)),
}
# run alone, as teachers. _fused: with the names and shapes of the classes, all experts of a layer in one tensor
TEACHERS = {
    "mixtral": ("mixtral", dict(num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2)),
    "mixtral_fused": ("mixtral", dict(num_key_value_heads=2, num_local_experts=3, num_experts_per_tok=2, num_hidden_layers=1)),
    "mixtral_sliding": ("mixtral", dict(num_key_value_heads=2, num_local_experts=3, num_experts_per_tok=1,
                                        sliding_window=5, tie_word_embeddings=True)),
    "qwen3_moe": ("qwen3_moe", dict(num_key_value_heads=2, head_dim=6, moe_intermediate_size=8, num_experts=8,
                                    num_experts_per_tok=3, norm_topk_prob=True)),
    "qwen3_moe_mixed": ("qwen3_moe", dict(num_key_value_heads=2, moe_intermediate_size=8, num_experts=5, num_hidden_layers=5,
                                          num_experts_per_tok=2, norm_topk_prob=False, decoder_sparse_step=2,
                                          mlp_only_layers=[3], attention_bias=True, use_sliding_window=True,
                                          sliding_window=5)),
}
DEFAULTS = ["gpt2", "llama", "mistral", "qwen2", "qwen3", "granite", "smollm3", "ministral3", "olmo2", "phi3",
            "gemma", "gemma2", "gemma3_text", "gpt_neox", "phi", "stablelm", "mixtral", "qwen3_moe"]


def randomise(model, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.25)


def passes(model, ids, mask, labels, prefix, out, trained):
    model.zero_grad()
    logits = model(input_ids=ids, attention_mask=mask).logits.float()
    shifted, target = logits[:, :-1].reshape(-1, logits.shape[-1]), labels[:, 1:].reshape(-1)
    loss = torch.nn.functional.cross_entropy(shifted, target, ignore_index=-100)
    out[prefix + "logits"], out[prefix + "loss"] = logits.detach().numpy(), loss.detach().numpy()
    if not trained:
        return
    loss.backward()
    for name, parameter in model.named_parameters():
        if model.config.model_type == "gpt_neox":  # transformers 5 has another name for it than files have
            name = name.replace("lm_head", "embed_out")
        out[prefix + "grad/" + name] = parameter.grad.numpy().copy()


def greedy(model, out):
    # a text's frequencies are those of its whole length here, and not of what there is of it: longrope starts long
    ids = torch.tensor([[5, 9, 14, 3, 22, 7, 11, 4, 6, 19, 8, 21, 13]])
    out["greedy_prompt"] = ids.numpy()
    margin = 1.0
    for _ in range(16):
        with torch.no_grad():
            last = model(input_ids=ids).logits[0, -1]
        top = last.topk(2).values
        margin = min(margin, float(top[0] - top[1]))
        ids = torch.cat([ids, last.argmax().reshape(1, 1)], 1)
    out["greedy_tokens"] = ids.numpy()
    return margin


def make(name, model_type, keys, trained):
    config = transformers.AutoConfig.for_model(model_type, **dict(SIZES, **keys))
    config._attn_implementation = "eager"
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(3, SIZES["vocab_size"], (2, 17), generator=generator)
    for seed in range(1, 100):  # greedy text must not hang on rounding
        randomise(model, seed)
        out = {}
        if greedy(model, out) > 1e-3:
            break
    mask = torch.ones_like(ids)
    passes(model, ids, mask, ids, "", out, trained)
    padded, pad_mask = ids.clone(), mask.clone()
    padded[1, 14:], pad_mask[1, 14:] = 0, 0  # both rows on one side of longrope's step: transformers asks the longest
    pad_labels = padded.masked_fill(pad_mask == 0, -100)
    passes(model, padded, pad_mask, pad_labels, "pad_", out, trained)
    out["input_ids"], out["pad_input_ids"] = ids.numpy(), padded.numpy()
    out["pad_attention_mask"], out["pad_labels"] = pad_mask.numpy(), pad_labels.numpy()
    folder = os.path.join(HERE, name)
    model.save_pretrained(folder)
    if name.endswith("_fused"):
        safetensors.torch.save_file(model.state_dict(), os.path.join(folder, "model.safetensors"))
    for extra in ("generation_config.json",):
        if os.path.exists(os.path.join(folder, extra)):
            os.remove(os.path.join(folder, extra))
    numpy.savez_compressed(os.path.join(folder, "expected.npz"), **out)
    print(name, sum(os.path.getsize(os.path.join(folder, file)) for file in os.listdir(folder)) // 1024, "KB")


def defaults():
    found = {}
    for model_type in DEFAULTS:
        config = transformers.AutoConfig.for_model(model_type)
        values = config.to_dict()
        values["rope_parameters"] = getattr(config, "rope_parameters", None)
        found[model_type] = {key: values[key] for key in sorted(values)
                             if isinstance(values[key], (int, float, dict, str)) or key == "layer_types"
                             or key == "no_rope_layers" or values[key] is None}
    with open(os.path.join(HERE, "defaults.json"), "w", encoding="utf-8") as file:
        json.dump(found, file, indent=1, sort_keys=True)
        file.write("\n")


def main():
    os.makedirs(HERE, exist_ok=True)
    for table, trained in ((TRAINED, True), (TEACHERS, False)):
        for name, (model_type, keys) in table.items():
            if len(sys.argv) == 1 or name in sys.argv[1:]:
                make(name, model_type, keys, trained)
    if len(sys.argv) == 1 or "defaults" in sys.argv[1:]:
        defaults()


main()
