#!/usr/bin/env python3
"""A torch student in TRL's trainer with a loss of libdistill: SFTTrainer whose compute_loss is overridden. Teacher and student are tiny
random Llamas made here; with models of one's own nothing changes but where they come from.

    python3 trl_trainer.py [--loss jsd] [--steps 30]        # needs torch, transformers, trl
"""
import argparse
import sys
import tempfile

import datasets
import tokenizers
import torch
import transformers
import trl

import distill
import distill.torch


class DistillTrainer(trl.SFTTrainer):
    """Rows with a label learn the teacher's distribution. The loss takes hidden states and the head, so there are no logits of the
    student, nor of the teacher; it divides by the rows of the whole window, as num_items_in_batch counts them."""

    def __init__(self, *args, teacher, loss, temperature, **keys):
        super().__init__(*args, **keys)
        self.teacher, self.loss, self.temperature = teacher.eval().requires_grad_(False), getattr(distill.torch, "fused_linear_" + loss), temperature

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = inputs.pop("labels")
        hidden = model.model(**inputs, use_cache=False).last_hidden_state
        with torch.no_grad():
            taught = self.teacher.model(**inputs, use_cache=False).last_hidden_state
        # Row i speaks of token i + 1: rows and labels are aligned here, and the loss shifts nothing.
        target = distill.hidden(taught[:, :-1].reshape(-1, taught.shape[-1]), self.teacher.lm_head.weight)
        total = self.loss(hidden[:, :-1], model.lm_head.weight, target, labels=labels[:, 1:], temperature=self.temperature, reduction="sum")
        rows = num_items_in_batch if num_items_in_batch is not None else (labels[:, 1:] >= 0).sum()
        loss = total / rows
        return (loss, {"loss": loss}) if return_outputs else loss


def tokenizer():
    """Words of the data, as they come."""
    words = {word: i for i, word in enumerate(["<pad>", "<end>", "<unk>"] + sorted(set("what comes after ? it is".split()) | set(map(str, range(21)))))}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="<end>", unk_token="<unk>")


def model(vocabulary, width, layers, seed):
    transformers.set_seed(seed)
    config = transformers.LlamaConfig(vocab_size=vocabulary, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers,
                                      num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=False)
    return transformers.LlamaForCausalLM(config)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--loss", default="forward_kl", choices=[name for name in distill.torch.__all__ if "fused_linear" not in name and name != "loss"])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--temperature", type=float, default=1.0)
    arguments = parser.parse_args()
    words = tokenizer()
    rows = [{"prompt": "what comes after %d ? " % i, "completion": "it is %d" % (i + 1)} for i in range(20)]
    teacher, student = model(len(words), 32, 3, 0), model(len(words), 16, 1, 1)
    with torch.no_grad():  # a random teacher is nearly uniform; this one has something to say
        teacher.lm_head.weight.mul_(20)
    with tempfile.TemporaryDirectory() as folder:
        config = trl.SFTConfig(output_dir=folder, max_steps=arguments.steps, per_device_train_batch_size=4, gradient_accumulation_steps=2,
                               learning_rate=2e-2, lr_scheduler_type="constant", logging_steps=1, save_strategy="no", report_to="none", use_cpu=True,
                               bf16=False, gradient_checkpointing=False, max_length=32, disable_tqdm=True)
        trainer = DistillTrainer(student, args=config, train_dataset=datasets.Dataset.from_list(rows), processing_class=words, teacher=teacher,
                                 loss=arguments.loss, temperature=arguments.temperature)
        trainer.train()
        losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    tenth = max(len(losses) // 10, 1)
    first, last = sum(losses[:tenth]) / tenth, sum(losses[-tenth:]) / tenth
    print("%s: from %.4f to %.4f nats in %d steps" % (arguments.loss, first, last, arguments.steps))
    return 0


if __name__ == "__main__":
    sys.exit(main())
