#include "options/table.h"

#include <string.h>

#define LIVE DI_OPTION_LIVE
#define OPEN_HIGH DI_OPTION_OPEN_HIGH
#define TERM DI_OPTION_TERM
#define OR_ZERO DI_OPTION_OR_ZERO
#define INT(name, initial, low, high, unit, flags, help)                    \
    {                                                                       \
        name, help, initial, NULL, unit, DI_OPTION_INT, 0, low, high, flags \
    }
#define NUMBER(name, initial, low, high, unit, flags, help)                    \
    {                                                                          \
        name, help, initial, NULL, unit, DI_OPTION_NUMBER, 0, low, high, flags \
    }
#define TEXT(name, initial, flags, help)                                \
    {                                                                   \
        name, help, initial, NULL, NULL, DI_OPTION_TEXT, 0, 0, 0, flags \
    }
#define PATH(name, help)                                         \
    {                                                            \
        name, help, NULL, NULL, NULL, DI_OPTION_PATH, 0, 0, 0, 0 \
    }
#define CHOICE(name, initial, choices, flags, help)                          \
    {                                                                        \
        name, help, initial, choices, NULL, DI_OPTION_CHOICE, 0, 0, 0, flags \
    }
#define FLAG(name, initial, help)                                   \
    {                                                               \
        name, help, initial, NULL, NULL, DI_OPTION_FLAG, 0, 0, 0, 0 \
    }
#define LIST(name, item_type, low, high, help)                                \
    {                                                                         \
        name, help, NULL, NULL, NULL, DI_OPTION_LIST, item_type, low, high, 0 \
    }
#define COUNT_MAX 1e12

static const di_option_info table[] = {
    PATH("teacher.path", "model that is learned from: a folder with config.json and safetensors, or a GGUF file"),
    FLAG("teacher.mmap", "true",
         "map the weights into memory; false reads a copy, safe if the file may change meanwhile"),

    PATH("student.path", "model that is trained: a folder with config.json and safetensors, or a GGUF file"),
    PATH("student.config", "config.json of a fresh student with random weights"),
    CHOICE("student.from", NULL, "teacher", 0, "teacher: start as a copy of some of the teacher's layers"),
    LIST("student.layers", DI_OPTION_INT, 0, 1e6,
         "teacher layers that a student made from the teacher keeps; empty = every second one, first and last kept"),
    LIST("student.freeze", DI_OPTION_TEXT, 0, 0,
         "patterns (* ? [a-z]) of the names of parameters that are not trained"),
    NUMBER("student.init_std", "0.02", 1e-6, 10, NULL, 0, "standard deviation of a fresh student's random weights"),
    FLAG("student.mmap", "true", "map the weights into memory while they are loaded"),

    PATH("data.train", "text, JSONL or token file to train on"),
    PATH("data.eval", "text, JSONL or token file that quality is measured on"),
    NUMBER("data.eval_fraction", "0", 1e-6, 0.5, NULL, OR_ZERO,
           "part at the end of data.train held out for evaluation when data.eval is not given"),
    CHOICE("data.format", "auto", "auto|text|jsonl|tokens", 0,
           "how files are read; auto looks at the name and the first bytes; jsonl is lines or an array of JSON "
           "objects; files "
           "packed with gzip or zstd are unpacked"),
    INT("data.sequence_length", "512", 2, 1048576, "tokens", 0, "longest sequence that the models see"),
    TEXT("data.separator", "<|endoftext|>", 0,
         "splits text files into documents; empty = the whole file is one document"),
    CHOICE("data.chat_template", "auto", "auto|none|chatml|llama2|llama3|mistral", 0,
           "how messages become text; auto takes the tokenizer's own template"),
    CHOICE(
        "data.too_long", "truncate_right", "error|truncate_left|truncate_right|skip", 0,
        "what happens to a sample longer than data.sequence_length; truncate_left drops the beginning, prompts first; "
        "truncate_right drops the end, but plain text ({\"text\": ...}, text files) goes on in the next window and "
        "loses nothing; text files are always cut into windows"),
    FLAG("data.pack", "true", "put several short samples into one sequence; none attends to another"),
    FLAG("data.shuffle", "true", "another order of the samples in every epoch"),
    CHOICE("data.special_in_text", "control", "control|plain", 0,
           "what special tokens such as <|im_end|> are that stand in messages, prompts, completions or texts: control "
           "tokens, as the reference tokenizers make them, or plain letters; what a chat template puts in is control "
           "either way"),
    FLAG("data.prompt_loss", "false", "prompts carry loss too, not only completions"),
    PATH("data.token_cache", "where tokenised data is kept for the next run; not given = a temporary file"),

    TEXT("loss.type", "forward_kl", TERM, "name of the loss; a host may register its own"),
    NUMBER("loss.temperature", "1.0", 1e-3, 1000, NULL, TERM, "softens both distributions before they are compared"),
    NUMBER("loss.hard_label_weight", "0", 1e-6, 1, NULL, OR_ZERO,
           "share of plain cross-entropy on the data; the rest is the loss against the teacher"),
    NUMBER("loss.weight", "1.0", 1e-6, 1e6, NULL, OR_ZERO | TERM, "weight of a term in a list of losses"),
    CHOICE("loss.t_squared", "auto", "auto|on|off", TERM,
           "multiply value and gradient by the temperature squared; auto = as usual for the loss"),
    NUMBER("loss.log_floor", "-100", -1e4, -1, "nats", TERM,
           "log-probabilities below this count as this where a loss would be infinite"),

    INT("train.steps", "1000", 0, COUNT_MAX, "steps", 0, "optimiser steps to make"),
    NUMBER("train.epochs", "0", 1e-6, 1e6, NULL, OR_ZERO,
           "passes over the data instead of train.steps; train.steps wins if both are given; 0 = by steps"),
    INT("train.batch_size", "8", 1, 1e6, "sequences", 0, "sequences in one optimiser step"),
    INT("train.micro_batch_size", "0", 0, 1e6, "sequences", 0,
        "sequences computed at once, at most train.batch_size; 0 = chosen by memory"),
    NUMBER("train.learning_rate", "3e-4", 1e-12, 10, NULL, OR_ZERO | LIVE, "peak learning rate"),
    CHOICE("train.schedule", "cosine", "constant|linear|cosine|wsd|inverse_sqrt", 0,
           "course of the learning rate after the warm-up"),
    INT("train.warmup_steps", "0", 0, COUNT_MAX, "steps", 0, "steps in which the learning rate rises from 0"),
    INT("train.decay_steps", "0", 0, COUNT_MAX, "steps", 0,
        "steps of decay at the end of schedule wsd; 0 = a tenth of all"),
    NUMBER("train.min_learning_rate_ratio", "0", 1e-9, 1, NULL, OR_ZERO,
           "learning rate at the end as a share of the peak"),
    CHOICE("train.optimizer", "adamw", "adamw|none", 0, "none leaves the averaged gradients to the host"),
    NUMBER("train.beta1", "0.9", 0, 1, NULL, OPEN_HIGH, "AdamW: decay of the first moment"),
    NUMBER("train.beta2", "0.95", 0, 1, NULL, OPEN_HIGH, "AdamW: decay of the second moment"),
    NUMBER("train.epsilon", "1e-8", 1e-16, 1, NULL, 0, "AdamW: added to the root of the second moment"),
    NUMBER("train.weight_decay", "0.1", 1e-9, 10, NULL, OR_ZERO | LIVE,
           "AdamW: decoupled decay of parameters with two or more dimensions"),
    NUMBER("train.clip_norm", "1.0", 1e-9, 1e9, NULL, OR_ZERO | LIVE,
           "largest norm of the whole gradient; 0 = no clipping"),
    INT("train.seed", "1", 0, 9007199254740992.0, NULL, 0, "seed of initial weights and of the order of the data"),
    INT("train.loss_memory", "67108864", 65536, 1099511627776.0, "bytes", 0,
        "memory for a strip of logits; fixes how many rows go at once"),
    FLAG("train.activation_checkpointing", "false",
         "recompute activations in the backward pass: less memory, about a third more time"),
    INT("train.eval_every", "0", 0, COUNT_MAX, "steps", 0, "steps between evaluations; 0 = only at the end"),
    INT("train.eval_tokens", "0", 0, COUNT_MAX, "tokens", 0, "held-out tokens that an evaluation reads; 0 = all"),
    FLAG("train.keep_best", "false", "keep the weights of the best evaluation, not those of the last step"),
    INT("train.early_stop_patience", "0", 0, 1e6, "evaluations", 0,
        "stop after so many evaluations without improvement; 0 = never"),
    INT("train.checkpoint_every", "0", 0, COUNT_MAX, "steps", 0, "steps between checkpoints; 0 = by time alone"),
    NUMBER("train.checkpoint_minutes", "10", 1e-6, 1e6, "minutes", OR_ZERO,
           "time between checkpoints, beside those by steps; 0 = none by time"),
    INT("train.checkpoint_keep", "2", 1, 1000, "checkpoints", 0, "checkpoints that are kept; older ones are removed"),
    INT("train.log_every", "10", 1, COUNT_MAX, "steps", LIVE, "steps between lines of progress and metrics"),

    INT("generate.max_tokens", "64", 1, 1e6, "tokens", 0, "longest answer"),
    NUMBER("generate.temperature", "1.0", 1e-3, 100, NULL, OR_ZERO, "0 = always the most probable token"),
    INT("generate.top_k", "0", 0, 1e9, "tokens", 0, "draw from the k most probable tokens; 0 = from all"),
    NUMBER("generate.top_p", "1.0", 1e-6, 1, NULL, 0,
           "draw from the most probable tokens that together have this mass"),
    INT("generate.seed", "1", 0, 9007199254740992.0, NULL, 0, "seed of the draws"),

    PATH("output.path", "folder for the student, the metrics, the checkpoints and the result"),
    CHOICE("output.save_dtype", "f32", "f32|bf16", 0, "number format of the saved weights"),
    FLAG("output.overwrite", "false", "replace the run that the output folder already holds"),
    FLAG("output.metrics", "true", "write metrics.jsonl to the output folder"),
};
enum { OPTIONS = sizeof table / sizeof *table };

static const struct {
    const char *name, *main;
} sections[DI_SECTIONS] = {
    {"teacher", "teacher.path"},
    {"student", "student.path"},
    {"data", "data.train"},
    {"loss", "loss.type"},
    {"train", NULL},
    {"generate", NULL},
    {"output", "output.path"},
};

const char *di_section_name(int32_t section) { return sections[section].name; }

const char *di_section_main(int32_t section) { return sections[section].main; }

int32_t di_section_find(const char *name, size_t size)
{
    for (int32_t i = 0; i < DI_SECTIONS; i++)
        if (strlen(sections[i].name) == size && !memcmp(sections[i].name, name, size)) return i;
    return -1;
}

int64_t di_option_count(void) { return OPTIONS; }

const di_option_info *di_option_at(int64_t index) { return index >= 0 && index < OPTIONS ? &table[index] : NULL; }

int64_t di_option_find(const char *name, size_t size)
{
    for (int64_t i = 0; i < OPTIONS; i++)
        if (strlen(table[i].name) == size && !memcmp(table[i].name, name, size)) return i;
    return -1;
}

int32_t di_option_section(int64_t index) { return di_section_find(table[index].name, strcspn(table[index].name, ".")); }

const char *di_option_key(int64_t index) { return strchr(table[index].name, '.') + 1; }

/* Walks "a|b|c": the next choice and its size, 0 at the end. */
static size_t next_choice(const char **at, const char **choice)
{
    size_t size = strcspn(*at, "|");
    *choice = *at;
    *at += size + ((*at)[size] == '|');
    return size;
}

int32_t di_option_has_choice(const di_option_info *option, const char *text, size_t size)
{
    const char *at = option->choices, *choice;
    for (size_t length; (length = next_choice(&at, &choice));)
        if (length == size && !memcmp(choice, text, size)) return 1;
    return 0;
}

/* ---- did you mean ---- */

enum { WORD_MAX = 48 };

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* Edit distance with swaps of neighbours (Damerau, Levenshtein; restricted form). Longer words are far from all. */
static size_t distance(const char *a, size_t a_size, const char *b, size_t b_size)
{
    size_t rows[3][WORD_MAX + 1], *before = rows[0], *last = rows[1], *row = rows[2];
    if (a_size > WORD_MAX || b_size > WORD_MAX) return WORD_MAX;
    for (size_t j = 0; j <= b_size; j++) last[j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            row[j] = least(least(last[j], row[j - 1]) + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], before[j - 2] + 1);
        }
        size_t *free_row = before;
        before = last, last = row, row = free_row;
    }
    return last[b_size];
}

static size_t tolerance(size_t size) { return size < 3 ? 0 : size < 6 ? 1 : size < 10 ? 2 : 3; }

const char *di_option_suggest(const char *text, size_t size)
{
    const char *best = NULL;
    size_t best_distance = tolerance(size) + 1;
    const char *dot = memchr(text, '.', size);
    size_t key_size = dot ? size - (size_t)(dot + 1 - text) : size;
    for (int64_t i = 0; i < OPTIONS; i++) {
        size_t d = dot ? distance(text, size, table[i].name, strlen(table[i].name)) : WORD_MAX;
        /* The right key in the wrong section, or without one. */
        size_t k = distance(dot ? dot + 1 : text, key_size, di_option_key(i), strlen(di_option_key(i))) + (dot != NULL);
        if (k <= tolerance(key_size)) d = least(d, k);
        if (d < best_distance) best_distance = d, best = table[i].name;
    }
    for (int32_t i = 0; i < DI_SECTIONS && !dot; i++) {
        size_t d = distance(text, size, sections[i].name, strlen(sections[i].name));
        if (d < best_distance) best_distance = d, best = sections[i].name;
    }
    return best;
}

const char *di_choice_suggest(const di_option_info *option, const char *text, char *out, size_t cap)
{
    const char *at = option->choices, *choice;
    size_t size = strlen(text), best_distance = tolerance(size) + 1;
    *out = 0;
    for (size_t length; (length = next_choice(&at, &choice));) {
        size_t d = distance(text, size, choice, length);
        if (d >= best_distance || length >= cap) continue;
        best_distance = d;
        memcpy(out, choice, length);
        out[length] = 0;
    }
    return *out ? out : NULL;
}
