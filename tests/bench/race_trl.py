"""The step of TRL's GKD trainer off policy, forward KL at the same temperature. Usage: race_trl.py MODELS PRECISION BATCH SEQUENCE THREADS"""
import contextlib
import os
import statistics
import sys
import tempfile
import time

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models as tokenizer_models
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast, TrainerCallback
from trl.experimental.gkd import GKDConfig, GKDTrainer

STEPS = int(os.environ.get("RACE_STEPS", 6))
models, precision = sys.argv[1:3]
batch, sequence, threads = map(int, sys.argv[3:])
torch.set_num_threads(threads)
torch.manual_seed(0)
low = torch.bfloat16 if precision == "bf16" else torch.float32
teacher = LlamaForCausalLM.from_pretrained(models + "/t", attn_implementation="sdpa", dtype=low)
student = LlamaForCausalLM.from_pretrained(models + "/s", attn_implementation="sdpa", dtype=torch.float32)
words = {"<e>": 0, "<u>": 1}  # the trainer asks for a tokenizer, and this race has ids alone
tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(tokenizer_models.WordLevel(words, unk_token="<u>")), eos_token="<e>", pad_token="<e>")
rows = Dataset.from_dict({"input_ids": torch.randint(0, teacher.config.vocab_size, (batch * (STEPS + 2), sequence)).tolist()})


def collate(samples):
    ids = torch.tensor([sample["input_ids"] for sample in samples])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone(), "prompts": ids[:, :1].clone(),
            "prompt_attention_mask": torch.ones_like(ids[:, :1])}


class Clock(TrainerCallback):
    marks = []

    def on_step_end(self, *args, **keys):
        self.marks.append((time.perf_counter(), time.process_time()))


with tempfile.TemporaryDirectory() as folder:
    options = GKDConfig(output_dir=folder, per_device_train_batch_size=batch, max_steps=STEPS + 2, lmbda=0.0, beta=0.0, temperature=2.0, seq_kd=False,
                        use_cpu=True, bf16=precision == "bf16", report_to=[], save_strategy="no", logging_strategy="no", remove_unused_columns=False,
                        dataset_kwargs={"skip_prepare_dataset": True}, gradient_checkpointing=False, max_length=sequence, learning_rate=1e-4,
                        disable_tqdm=True, max_grad_norm=1.0)
    trainer = GKDTrainer(model=student, teacher_model=teacher, args=options, train_dataset=rows, processing_class=tokenizer, data_collator=collate)
    trainer.data_collator = collate
    trainer.add_callback(Clock)
    with contextlib.redirect_stdout(sys.stderr):
        trainer.train()
steps = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(Clock.marks[1:], Clock.marks[2:])]
print("trl-gkd", precision, *map(statistics.median, zip(*steps)))
