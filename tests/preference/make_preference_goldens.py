"""Writes tests/api/preference_goldens.h: what TRL's DPOTrainer makes of some pairs in three steps: loss, norm of the gradient, margin and
accuracy of rewards of each, and what the weights add up to in the end.

Numbers are TRL's own (trl 1.16, torch 2.13, transformers 5.24), but for the labels that a teacher or smoothing gives, which TRL does not
have: there the step is written out by torch's autograd. Model, weights and pairs are those of tests/api/test_preference.c.
Usage: make_preference_goldens.py > tests/api/preference_goldens.h"""
import json
import os
import sys
import tempfile

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from datasets import Dataset  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast  # noqa: E402
from trl import DPOConfig, DPOTrainer  # noqa: E402

LETTERS = [chr(c) for c in range(ord("!"), ord("!") + 66) if chr(c) not in '"\\<'][:63]
PAIRS = [("AB", "CDE", "FG"), ("HIJK", "LM", "NOPQR"), ("S", "TA", "TB"), ("BCD", "E", "FGHIJKL"), ("MN", "OPQRSTA", "B"), ("CC", "DDD", "EE"),
         ("FGH", "IJ", "KLM"), ("N", "OPQ", "RST")]
STEPS, RATE = 3, 0.01


def tokenizer():
    vocab = {letter: i for i, letter in enumerate(LETTERS)}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    text = {"version": "1.0", "truncation": None, "padding": None, "normalizer": None, "pre_tokenizer": level, "post_processor": None,
            "decoder": level, "added_tokens": [{"id": 63, "content": "<e>", "single_word": False, "lstrip": False, "rstrip": False,
                                                "normalized": False, "special": True}],
            "model": {"type": "BPE", "vocab": {**vocab, "<e>": 63}, "merges": []}}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "tokenizer.json")
        with open(path, "w") as file:
            json.dump(text, file)
        return PreTrainedTokenizerFast(tokenizer_file=path, eos_token="<e>", pad_token="<e>")


def weights(name, shape, salt):
    seed = np.uint32(2166136261)
    with np.errstate(over="ignore"):
        for byte in (salt + name).encode():
            seed = np.uint32(np.uint32(seed ^ np.uint32(byte)) * np.uint32(16777619))
        h = np.arange(int(np.prod(shape)), dtype=np.uint32) * np.uint32(2654435761) ^ seed
        h ^= h >> np.uint32(16)
        h *= np.uint32(0x7FEB352D)
        h ^= h >> np.uint32(15)
    even = (h >> np.uint32(8)).astype(np.float64) / 2**24 - 0.5
    return torch.tensor((1 + 0.2 * even if len(shape) == 1 else 0.5 * even).astype(np.float32).reshape(shape))


def model(salt):
    config = LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                         max_position_embeddings=64, rms_norm_eps=1e-5, rope_theta=10000.0, tie_word_embeddings=False, bos_token_id=None,
                         eos_token_id=63, pad_token_id=63)
    made = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            parameter.copy_(weights(name, tuple(parameter.shape), salt))
    return made.eval()


def sums(made):
    return sum(p.double().sum().item() for p in made.parameters()), sum(p.double().abs().sum().item() for p in made.parameters())


def trl(losses, mixed=None, beta=0.1, reference="student"):
    student = model("student")
    data = Dataset.from_list([{"prompt": p, "chosen": c, "rejected": r} for p, c, r in PAIRS])
    with tempfile.TemporaryDirectory() as folder:
        args = DPOConfig(output_dir=folder, loss_type=losses, loss_weights=mixed, beta=beta, learning_rate=RATE, max_steps=STEPS,
                         per_device_train_batch_size=len(PAIRS), gradient_accumulation_steps=1, lr_scheduler_type="constant", warmup_steps=0,
                         weight_decay=0.0, adam_beta1=0.9, adam_beta2=0.95, adam_epsilon=1e-8, max_grad_norm=1.0, logging_steps=1, use_cpu=True,
                         report_to="none", gradient_checkpointing=False, bf16=False, disable_dropout=True, save_strategy="no", max_length=64,
                         disable_tqdm=True)
        trainer = DPOTrainer(student, ref_model=model(reference), args=args, train_dataset=data,
                             processing_class=tokenizer())
        trainer.train()
    log = [entry for entry in trainer.state.log_history if "rewards/margins" in entry]
    return [(e["loss"], e["grad_norm"], e["rewards/margins"], e["rewards/accuracies"]) for e in log], sums(trainer.model)


def log_probs(made):
    ids = tokenizer()
    out = []
    for side in (1, 2):
        row = []
        for pair in PAIRS:
            prompt, whole = ids(pair[0]).input_ids, ids(pair[0] + pair[side] + "<e>").input_ids
            logits = made(torch.tensor([whole])).logits[0, len(prompt) - 1:-1]
            row.append(torch.log_softmax(logits, -1).gather(1, torch.tensor(whole[len(prompt):])[:, None]).sum())
        out.append(torch.stack(row))
    return out


def written_out(smoothing=0.0, teacher_beta=None, beta=0.1):
    student, optimizer = model("student"), None
    optimizer = torch.optim.AdamW(student.parameters(), lr=RATE, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0)
    with torch.no_grad():
        reference, teacher = log_probs(model("student")), log_probs(model("teacher"))
    p = torch.ones(len(PAIRS)) if teacher_beta is None else torch.sigmoid(teacher_beta * (teacher[0] - teacher[1]))
    p = smoothing + (1 - 2 * smoothing) * p
    steps = []
    for _ in range(STEPS):
        chosen, rejected = log_probs(student)
        h = beta * ((chosen - reference[0]) - (rejected - reference[1]))
        loss = (-p * F.logsigmoid(h) - (1 - p) * F.logsigmoid(-h)).mean()
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        steps.append((loss.item(), norm.item(), h.mean().item(), (h > 0).double().mean().item()))
    return steps, sums(student)


RUNS = [
    ("sigmoid", "{type: dpo}", lambda: trl(["sigmoid"])),
    ("hinge", "{type: dpo, dpo.form: hinge, dpo.beta: 0.3}", lambda: trl(["hinge"], beta=0.3)),
    ("ipo", "{type: dpo, dpo.form: ipo, dpo.beta: 0.5}", lambda: trl(["ipo"], beta=0.5)),
    ("of another model", "{type: dpo, dpo.reference: teacher, dpo.beta: 0.2}", lambda: trl(["sigmoid"], beta=0.2, reference="teacher")),
    ("beside cross-entropy", "[{type: dpo}, {type: cross_entropy, weight: 0.5}]", lambda: trl(["sigmoid", "sft"], mixed=[1.0, 0.5])),
    ("label smoothing", "{type: dpo, dpo.label_smoothing: 0.2}", lambda: written_out(smoothing=0.2)),
    ("labels of a teacher", "{type: dpo, dpo.label: teacher, dpo.teacher_beta: 0.25}", lambda: written_out(teacher_beta=0.25)),
    ("written out", "{type: dpo}", lambda: written_out()),
]

out = sys.stdout
sys.stdout = sys.stderr
print("/* Made by tests/preference/make_preference_goldens.py: three steps of TRL's DPOTrainer. */\n"
      "static const preference_golden preference_goldens[] = {", file=out)
for name, recipe, run in RUNS:
    steps, (total, size) = run()
    print(f'    {{"{name}",\n     "{recipe}",\n     {{', end="", file=out)
    print(",\n      ".join("{%.9g, %.9g, %.9g, %.9g}" % step for step in steps), end="},\n", file=out)
    print(f"     {total:.9g}, {size:.9g}}},", file=out)
print("};", file=out)
