#!/usr/bin/env python3
"""Makes tests/data/features: a student and a teacher, tiny random Llamas, and what torch and transformers say of each loss on features:
expected.npz has "CASE.value", "CASE.projection.N" and, of the value's gradient, "CASE.d.PARAMETER" and "CASE.dprojection.N".

Needs torch 2.13 and transformers 5.24. tests/src/features/test_feature_oracle.c reads them."""
import os

import numpy
import torch
import transformers
from transformers.models.llama import modeling_llama

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "features")
COMMON = dict(vocab_size=17, max_position_embeddings=32, rms_norm_eps=1e-5, tie_word_embeddings=False, bos_token_id=1, eos_token_id=2)
STUDENT = dict(COMMON, hidden_size=12, num_attention_heads=4, num_key_value_heads=2, head_dim=4, num_hidden_layers=3, intermediate_size=10)
TEACHER = dict(COMMON, hidden_size=20, num_attention_heads=4, num_key_value_heads=4, head_dim=6, num_hidden_layers=6, intermediate_size=14)
SEQUENCES = [[3, 1, 4, 1, 5, 9], [2], [6, 5, 3, 5, 8, 16, 7, 0]]
WEIGHTS = [[1, 0, 0.5, 0, 2, 0], [0], [1, 0, 1, 0.25, 0, 1, 1, 0]]  # 0: no position of the loss


def fresh(sizes, seed):
    torch.manual_seed(seed)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, attn_implementation="eager")).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_((1.0 if parameter.dim() == 1 else 0.0) + 0.3 * torch.randn(parameter.shape))
    return model


def features(model, ids):
    """Outputs of blocks, behind the last norm, and queries, keys and values as they enter the product: [tokens, heads, dim]."""
    found, rotate = {"output": [], "q": [], "k": [], "v": []}, modeling_llama.apply_rotary_pos_emb

    def rotated(q, k, *rest, **keys):
        q, k = rotate(q, k, *rest, **keys)
        found["q"].append(q[0].transpose(0, 1))
        found["k"].append(k[0].transpose(0, 1))
        return q, k

    hooks = [layer.register_forward_hook(lambda module, args, out: found["output"].append((out[0] if isinstance(out, tuple) else out)[0]))
             for layer in model.model.layers]
    hooks += [layer.self_attn.v_proj.register_forward_hook(lambda module, args, out: found["v"].append(
        out[0].view(out.shape[1], -1, model.config.head_dim))) for layer in model.model.layers]
    modeling_llama.apply_rotary_pos_emb = rotated
    try:
        found["final"] = model.model(torch.tensor([ids])).last_hidden_state[0]
    finally:
        modeling_llama.apply_rotary_pos_emb = rotate
        for hook in hooks:
            hook.remove()
    return found


def causal(scores):
    hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return torch.log_softmax(scores.masked_fill(hidden, float("-inf")), -1)


def attention(found, layer, dim):
    q, k = found["q"][layer], found["k"][layer]
    k = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
    return causal(torch.einsum("thd,shd->hts", q, k) / dim ** 0.5)


def relation(x, heads):
    x = x.reshape(x.shape[0], heads, -1)
    return causal(torch.einsum("thd,shd->hts", x, x) / x.shape[-1] ** 0.5)


def hidden(found, layer):
    return found["final"] if layer < 0 else found["output"][layer]


def rows(case, student, teacher, projections):
    """The loss at each token of a sequence."""
    kind, pairs, total = case["kind"], case["pairs"], 0
    for (own, other), matrix in zip(pairs, projections or [None] * len(pairs)):
        if kind in ("mse", "cosine"):
            y, h = hidden(student, own) @ matrix.T, hidden(teacher, other)
            total = total + (((y - h) ** 2).mean(-1) if kind == "mse" else 1 - torch.cosine_similarity(y, h, dim=-1, eps=0))
        elif kind == "attention":
            seen = torch.arange(1, len(student["final"]) + 1)
            apart = attention(student, own, STUDENT["head_dim"]).exp() - attention(teacher, other, TEACHER["head_dim"]).exp()
            total = total + (apart ** 2).sum(-1).mean(0) / seen
        else:
            for part in "qkv":
                q, p = relation(student[part][own], case["heads"]), relation(teacher[part][other], case["heads"])
                kept = ~torch.ones(q.shape[-2:], dtype=torch.bool).triu(1)
                total = total + torch.where(kept, p.exp() * (torch.where(kept, p, 0) - torch.where(kept, q, 0)), 0).sum(-1).mean(0) / 3
    return total / len(pairs)


CASES = {
    "hidden_mse": dict(kind="mse", pairs=[(0, 1), (1, 3), (2, 5)]),
    "hidden_cosine": dict(kind="cosine", pairs=[(1, 2), (-1, -1)]),
    "attention_mse": dict(kind="attention", pairs=[(0, 1), (1, 3), (2, 5)]),
    "relation": dict(kind="relation", pairs=[(2, 5)], heads=2),
    "relation_others": dict(kind="relation", pairs=[(0, 4), (1, 2)], heads=4),
}


def main():
    student, teacher = fresh(STUDENT, 1), fresh(TEACHER, 2)
    for model, name in ((student, "student"), (teacher, "teacher")):
        model.save_pretrained(os.path.join(HERE, name))
        os.remove(os.path.join(HERE, name, "generation_config.json"))
        model.double()
    expected = {}
    for name, case in CASES.items():
        projections = [torch.randn(TEACHER["hidden_size"], STUDENT["hidden_size"], dtype=torch.float64).float().double().requires_grad_()
                       for _ in case["pairs"]] if case["kind"] in ("mse", "cosine") else []
        student.zero_grad()
        value = sum((torch.tensor(weights, dtype=torch.float64) * rows(case, features(student, ids), features(teacher, ids), projections)).sum()
                    for ids, weights in zip(SEQUENCES, WEIGHTS))
        value.backward()
        expected[name + ".value"] = value.detach().numpy().reshape(1)
        for number, matrix in enumerate(projections):
            expected["%s.projection.%d" % (name, number)] = matrix.detach().numpy()
            expected["%s.dprojection.%d" % (name, number)] = matrix.grad.numpy()
        for key, parameter in student.named_parameters():
            if parameter.grad is not None and parameter.grad.abs().max() > 0:
                expected["%s.d.%s" % (name, key)] = parameter.grad.numpy()
    numpy.savez(os.path.join(HERE, "expected.npz"), **expected)


if __name__ == "__main__":
    main()
