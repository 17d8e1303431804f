#include "options/table.h"

#define LIVE DI_OPTION_LIVE
#define OR_ZERO DI_OPTION_OR_ZERO
#define OPEN_HIGH DI_OPTION_OPEN_HIGH
#define ALONE DI_OPTION_ALONE
#define OWN DI_OPTION_OWN
#define OR_EMPTY DI_OPTION_OR_EMPTY
#define OR_AUTO DI_OPTION_OR_AUTO
#define RARE DI_OPTION_RARE
#define AUTO_ZERO DI_OPTION_AUTO_ZERO
#define SCHEDULE DI_OPTION_SCHEDULE
/* Behind the help may stand other members: .when = "schedule=wsd". */
#define ROW(NAME, TYPE, INITIAL, FLAGS, ...)                                                                 \
    {                                                                                                        \
        .name = NAME, .type = DI_OPTION_##TYPE, .default_text = INITIAL, .flags = FLAGS, .help = __VA_ARGS__ \
    }
#define BOUNDED(NAME, TYPE, INITIAL, LOW, HIGH, UNIT, FLAGS, ...) \
    ROW(NAME, TYPE, INITIAL, FLAGS, __VA_ARGS__, .low = LOW, .high = HIGH, .unit = UNIT)
#define INT(NAME, INITIAL, LOW, HIGH, UNIT, FLAGS, ...) BOUNDED(NAME, INT, INITIAL, LOW, HIGH, UNIT, FLAGS, __VA_ARGS__)
#define NUMBER(NAME, INITIAL, LOW, HIGH, UNIT, FLAGS, ...) \
    BOUNDED(NAME, NUMBER, INITIAL, LOW, HIGH, UNIT, FLAGS, __VA_ARGS__)
#define TEXT(NAME, INITIAL, FLAGS, ...) ROW(NAME, TEXT, INITIAL, FLAGS, __VA_ARGS__)
#define PATH(NAME, ...) ROW(NAME, PATH, NULL, 0, __VA_ARGS__)
#define MODEL(NAME, ...) ROW(NAME, PATH, NULL, DI_OPTION_OF_STAGE, __VA_ARGS__)
#define CHOICE(NAME, INITIAL, CHOICES, FLAGS, ...) ROW(NAME, CHOICE, INITIAL, FLAGS, __VA_ARGS__, .choices = CHOICES)
#define FLAG(NAME, INITIAL, ...) ROW(NAME, FLAG, INITIAL, 0, __VA_ARGS__)
#define LIST(NAME, ITEM, LOW, HIGH, FLAGS, ...) \
    ROW(NAME, LIST, NULL, FLAGS, __VA_ARGS__, .item_type = ITEM, .low = LOW, .high = HIGH)
#define COUNT_MAX 1e12

static const di_option_info rows[] = {
    ROW("teachers", MAP, NULL, 0, "teachers by name, each as section teacher has it: {pt: {path: portuguese/}}"),
    MODEL(
        "teacher.path",
        "model that is learned from: a folder with config.json and safetensors, or a GGUF file, or a name of teachers",
        .names = "teachers"),
    NUMBER("teacher.temperature", "1.0", 1e-3, 1000, NULL, RARE,
           "of this teacher, on top of the loss's: softmax(z / (T * temperature))"),
    FLAG("teacher.parallel", "false",
         "passes of a blend's or route's teachers run side by side, a thread each, instead of one after another on all "
         "threads"),
    CHOICE("teacher.self", NULL, "average|student", 0,
           "the student itself teaches: average = the moving average of its weights, student = its weights as they "
           "stand, which then reads a prefix; of a training alone"),
    NUMBER("teacher.average.decay", "0.999", 0.001, 0.99999999, NULL, OR_ZERO,
           "behind each step average = decay * average + (1 - decay) * student; it begins as the student does"),
    TEXT("teacher.prefix.text", NULL, 0,
         "what this teacher reads before each sequence and the student does not; special tokens are those that it "
         "spells out"),
    PATH("teacher.prefix.file", "the same from a text file, whole"),
    LIST("teacher.prefix.ids", DI_OPTION_INT, 0, 2147483647.0, 0, "the same as ids, for a model without a tokenizer"),
    FLAG("teacher.mmap", "true",
         "map the weights into memory; false reads a copy, safe if the file may change meanwhile"),

    CHOICE("teacher.blend.mode", "linear", "linear|log_linear|max_confidence|min_entropy|min_cross_entropy|stochastic",
           0,
           "how several teachers are one: linear mixes probabilities, log_linear multiplies them and renormalises, "
           "stochastic draws a teacher; the others take for each token the one that is surest, or gives the true token "
           "the most"),
    LIST("teacher.blend.of", DI_OPTION_TEXT, 0, 0, 0, "names of the teachers that are blended", .names = "teachers"),
    LIST("teacher.blend.weights", DI_OPTION_NUMBER, 0, 1, SCHEDULE,
         "a weight for each, together 1; 0 = not asked; none = equal shares; each a number or {schedule: "
         "linear|cosine|step, from, to, steps}"),
    CHOICE("teacher.blend.weighting", "static", "static|entropy|label|learned", 0,
           "multiplies the weights of a token by exp(-entropy / s) or by exp(probability of the true token / s), s = "
           "weighting_temperature; learned: they change on held-out data",
           .when = "mode=linear|log_linear"),
    NUMBER("teacher.blend.weighting_temperature", "1.0", 1e-4, 1e4, NULL, 0,
           "the lower, the more the teacher that fits a token best counts there", .when = "weighting=entropy|label"),
    INT("teacher.blend.learn.every", "100", 1, COUNT_MAX, "steps", 0,
        "steps between updates of learned weights, each of which reads data.eval or what data.eval_fraction holds out"),
    NUMBER("teacher.blend.learn.rate", "0.5", 1e-9, 1e3, NULL, 0,
           "w exp(-rate g), over their sum; g the gradient of the held-out text's nats per token"),
    NUMBER("teacher.blend.learn.floor", "0.01", 1e-9, 0.5, NULL, OR_ZERO, "no learned weight falls below it"),
    INT("teacher.blend.learn.tokens", "4096", 0, COUNT_MAX, "tokens", 0,
        "held-out tokens of an update, which goes on where the last one ended; 0 = all"),
    CHOICE("teacher.blend.draw", "sample", "sample|token", 0, "stochastic: what one teacher is drawn for",
           .when = "mode=stochastic"),
    INT("teacher.blend.seed", "1", 0, 9007199254740992.0, NULL, 0,
        "of the draws: of one teacher (stochastic), or of ids, where some teachers give draws and others logits "
        "(linear)",
        .when = "mode=stochastic|linear"),
    NUMBER("teacher.blend.min_common_mass", "0.8", 1e-6, 1, NULL, OR_ZERO,
           "of top-k targets: the mean mass of the ids that all teachers list; a step or an evaluation below it is "
           "an error",
           .when = "mode=linear"),

    CHOICE(
        "teacher.route.by", "source", "source|tag|teacher|prompt_perplexity", 0,
        "what gives a sample its teacher: its source or its tag (field `teacher` of JSONL), which is a name of the map "
        "or a teacher's own; tag alone as a teacher's name; or which teacher finds its prompt the likeliest"),
    LIST("teacher.route.of", DI_OPTION_TEXT, 0, 0, 0,
         "names of the teachers that samples are routed to; not given, in section teacher: all of teachers",
         .names = "teachers"),
    TEXT("teacher.route.default", NULL, 0, "name of the teacher of what is not routed; not given = that is an error"),
    TEXT("teacher.route.map.NAME", NULL, 0,
         "name of the teacher of source or tag NAME; one that is not in the map goes to the teacher of its own name"),
    TEXT("teacher.schedule.N.teacher", NULL, 0,
         "one of teachers, which is learned from in its turn: [{teacher: a, until: 1000}, {teacher: b, fade: 200}]",
         .names = "teachers"),
    INT("teacher.schedule.N.until", NULL, 1, COUNT_MAX, "steps", 0,
        "step at which the next teacher comes; the last one stays"),
    INT("teacher.schedule.N.fade", NULL, 0, COUNT_MAX, "steps", 0,
        "steps in which its weight rises and that of the teacher before it falls, linearly; not given = at once"),

    PATH("teacher.cache.path",
         "file that the teacher's targets are kept in: what is there is read, what is not is asked of "
         "teacher.path and added; without teacher.path everything must be there"),
    MODEL("teacher.cache.from",
          "who fills it: as teacher.path, which may be given instead; teacher: {cache: FILE, tier: hidden, from: NAME} "
          "says all of it beside each other",
          .names = "teachers"),
    CHOICE(
        "teacher.cache.tier", "auto", "auto|hidden|full|top_k|sampled", 0,
        "what is kept of a row: hidden the state before the head, which the teacher is opened for; full all logits in "
        "f16; top_k the likeliest ids and the mass of the rest; sampled ids that are drawn; auto what the file has, in "
        "a "
        "new one hidden where the teacher is a model in this process, else top_k"),
    INT("teacher.cache.k", "50", 1, 65535, NULL, 0, "ids of a row", .when = "tier=top_k"),
    INT("teacher.cache.steps_per_nat", "32", 1, 1024, NULL, 0,
        "log-probabilities are kept in such steps, and off by one and 1/1024 at most", .when = "tier=top_k"),
    INT("teacher.cache.draws", "12", 1, 65535, NULL, 0, "draws of a row", .when = "tier=sampled"),
    INT("teacher.cache.seed", "1", 0, 9007199254740992.0, NULL, RARE, "of the draws", .when = "tier=sampled"),
    NUMBER("teacher.cache.temperature", "1.0", 1e-3, 1000, NULL, RARE, "of what is kept: the loss's",
           .when = "tier=top_k|sampled"),
    CHOICE("teacher.cache.precision", "f32", "f32|bf16", 0, "of hidden states; f32 is exact", .when = "tier=hidden"),
    FLAG("teacher.cache.skip_damaged", "false",
         "damaged blocks are left out, with a warning, instead of being an error"),

    MODEL("student.path", "model that is trained: a folder with config.json and safetensors, or a GGUF file"),
    PATH("student.config", "config.json of a fresh student with random weights"),
    CHOICE(
        "student.from", NULL, "teacher", 0,
        "teacher: start as a copy of some of the layers of teacher.path, a single model; where several teach give the "
        "student by student.path or student.config"),
    LIST("student.layers", DI_OPTION_INT, 0, 1e6, OR_EMPTY | OR_AUTO,
         "teacher layers that a student made from the teacher keeps; empty = every second one, first and last kept; "
         "auto:N = the N that matter most on text, as layers_by says"),
    CHOICE(
        "student.layers_by", "influence", "influence|loss", 0,
        "what a layer matters under layers auto:N: 1 - mean cosine of its input and output, or how much the loss rises "
        "without it"),
    INT("student.heads", NULL, 1, 1e6, NULL, 0,
        "attention heads that a copy of the teacher keeps in each block, the most important ones on text; those that "
        "share "
        "a key-value head go together"),
    INT("student.intermediate_size", NULL, 1, 1e9, NULL, 0,
        "channels inside each MLP that a copy of the teacher keeps, the most important ones on text"),
    INT("student.hidden_size", NULL, 1, 1e9, NULL, 0,
        "channels of the residual stream that a copy of the teacher keeps, the most important ones on text"),
    CHOICE(
        "student.importance", "l2", "l2|mean", 0,
        "of heads and channels, from forward passes: the l2 norm over sequences of the mean of |a| over tokens, or "
        "that "
        "mean over all tokens; a is what attention, MLP and head read, what is inside the MLP, or the length of what a "
        "head gives"),
    INT("student.vocabulary", NULL, 1, 1e9, NULL, 0,
        "of the teacher's ids, so many that are the most frequent ones on text; special, byte and added tokens and "
        "what "
        "merges need on the way come on top; the student's tokenizer has these alone, numbered anew, and the teacher's "
        "probabilities are those of them, renormalised"),
    PATH("student.vocabulary_text",
         "text or JSONL whose ids are counted for student.vocabulary; not given = data.train"),
    INT("student.calibration_tokens", "16384", 64, 1e9, "tokens", 0,
        "of data.train, about so many, that a student's shape is chosen by and measured on before training"),
    LIST("student.freeze", DI_OPTION_TEXT, 0, 0, OR_EMPTY,
         "patterns (* ? [a-z]) of the names of parameters that are not trained"),
    NUMBER(
        "student.init_std", NULL, 1e-6, 10, NULL, 0,
        "standard deviation of a fresh student's random weights; not given = initializer_range of its config, or 0.02"),
    FLAG("student.mmap", "true", "map the weights of student.path into memory while they are loaded"),

    PATH("data.train.path",
         "text, JSONL or token file to train on; data.train is one path, or a list of maps {path, source, ...}"),
    TEXT("data.train.source", NULL, OWN,
         "name of the source in data.mix, in results and in routes; not given = the file's name without its ending"),
    CHOICE("data.train.format", NULL, "auto|text|jsonl|tokens", 0, "as data.format, for this source"),
    TEXT("data.train.separator", NULL, 0, "as data.separator, for this source"),
    ROW("data.train.chat_template", PATH, NULL, 0, "as data.chat_template, for this source",
        .choices = "auto|none|chatml|llama2|llama3|mistral"),
    FLAG("data.train.prompt_loss", NULL, "as data.prompt_loss, for this source"),
    ROW("data.eval", MAP, NULL, 0, "what quality is measured on: one path or a list, as data.train"),
    NUMBER("data.mix.NAME", NULL, 1e-6, 1e6, NULL, OR_ZERO,
           "weight of a source in the tokens that are trained on; one that ends begins again; 0 leaves it out; no "
           "data.mix = by size"),
    NUMBER("data.eval_fraction", "0", 1e-6, 0.5, NULL, OR_ZERO,
           "part at the end of each source of data.train held out for evaluation when data.eval is not given",
           .when = "!eval"),
    CHOICE("data.format", "auto", "auto|text|jsonl|tokens", 0,
           "how files are read; auto looks at the name and the first bytes; jsonl is lines or an array of JSON "
           "objects; files "
           "packed with gzip or zstd are unpacked"),
    INT("data.sequence_length", "512", 2, 1048576, "tokens", 0, "longest sequence that the models see"),
    TEXT("data.separator", "<|endoftext|>", 0,
         "splits text files into documents; empty = the whole file is one document"),
    ROW("data.chat_template", PATH, "auto", 0,
        "how messages become text: auto takes the tokenizer's own template; a name is a format that is built in; else "
        "a "
        "file with a Jinja template",
        .choices = "auto|none|chatml|llama2|llama3|mistral"),
    TEXT(
        "data.chat_date", NULL, 0,
        "the day that chat templates see as today, as 2025-01-31; not given = a template that asks for it is an error"),
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
    CHOICE("data.preferences", "pairs", "pairs|chosen", 0,
           "what samples with chosen and rejected are: two sequences that a loss of pairs (dpo) compares, or chosen "
           "alone, as a completion; rejected is not used then"),
    PATH("data.token_cache", "where tokenised data is kept for the next run; not given = a temporary file"),

    TEXT("loss.type", "forward_kl", OWN,
         "name of the loss; a host may register its own; trl-gkd, distillkit, msswift-topk and verl-trunc are of other "
         "tools, to compare numbers with (distill_loss_eval alone)"),
    NUMBER("loss.temperature", "1.0", 1e-3, 1000, NULL, LIVE | SCHEDULE,
           "softens both distributions before they are compared"),
    NUMBER("loss.hard_label_weight", "0", 1e-6, 1, NULL, OR_ZERO | ALONE | LIVE | SCHEDULE,
           "share of plain cross-entropy on the data; the rest is the loss against the teacher"),
    NUMBER("loss.weight", "1.0", 1e-6, 1e6, NULL, OR_ZERO | OWN | LIVE | SCHEDULE,
           "weight of a term in a list of losses"),
    CHOICE("loss.on", "all", "all|data|student", OWN,
           "text that the term is of: that of the data, what the student writes itself (train.on_policy), or all"),
    CHOICE("loss.t_squared", "auto", "auto|on|off", 0,
           "multiply value and gradient by the temperature squared; auto = as usual for the loss"),
    NUMBER("loss.log_floor", "-100", -1e4, -1, "nats", 0,
           "log-probabilities of the teacher that are -inf count as this where a loss would be infinite, and of a "
           "host's loss those below it; evaluation always takes -100"),
    NUMBER("loss.cross_entropy.label_smoothing", "0", 1e-6, 1, NULL, OR_ZERO | OPEN_HIGH | LIVE | SCHEDULE,
           "share of the target that is spread evenly over the vocabulary"),
    NUMBER("loss.cross_entropy.z_loss", "0", 1e-9, 1e3, NULL, OR_ZERO | LIVE | SCHEDULE,
           "weight of the squared log of the softmax's denominator, which keeps logits small; 1e-4 is usual"),
    NUMBER("loss.symmetric_kl.reverse_weight", "0.5", 1e-6, 1, NULL, OR_ZERO | LIVE | SCHEDULE,
           "weight of KL(q || p); KL(p || q) has the rest"),
    NUMBER("loss.jsd.teacher_weight", "0.5", 1e-6, 1, NULL, OR_ZERO | LIVE | SCHEDULE,
           "weight of the teacher in the mixture; 0 and 1 only with loss.jsd.normalised"),
    FLAG("loss.jsd.normalised", "false",
         "divide by w (1 - w), w the teacher's weight, so that the loss keeps its size"),
    NUMBER("loss.skew.lambda", "0.1", 1e-6, 1, NULL, OR_ZERO | OPEN_HIGH | LIVE | SCHEDULE,
           "how much of the first distribution is mixed into the second"),
    FLAG("loss.skew.detach", "false", "of skew_reverse_kl: the mixture is a constant in the gradient"),
    NUMBER("loss.alpha_beta.alpha", "0.2", -10, 10, NULL, LIVE | SCHEDULE, "power of the teacher's probabilities"),
    NUMBER("loss.alpha_beta.beta", "0.7", -10, 10, NULL, LIVE | SCHEDULE, "power of the student's probabilities"),
    NUMBER("loss.taid.t", "0.4", 1e-6, 1, NULL, OR_ZERO | LIVE | SCHEDULE,
           "how far the target is on its way from the student, 0, to the teacher, 1"),
    NUMBER("loss.adaptive_kl.head_mass", "0.5", 1e-6, 1, NULL, OR_ZERO | LIVE | SCHEDULE,
           "the teacher's likeliest tokens with no more than this together are the head"),
    NUMBER("loss.dkd.target_weight", "1", 1e-6, 1e6, NULL, OR_ZERO | LIVE | SCHEDULE,
           "weight of the label against the rest"),
    NUMBER("loss.dkd.non_target_weight", "8", 1e-6, 1e6, NULL, OR_ZERO | LIVE | SCHEDULE,
           "weight of the divergence among the rest"),
    INT("loss.rank_hinge.top_k", "8", 2, 256, "ids", LIVE, "so many of the teacher's likeliest ids are ranked"),
    NUMBER("loss.rank_hinge.margin", NULL, 1e-6, 1, NULL, OR_ZERO | LIVE | SCHEDULE,
           "by which the better id's probability must lead; not given = by as much as the teacher's does"),
    INT("loss.rank_logistic.top_k", "8", 2, 256, "ids", LIVE, "so many of the teacher's likeliest ids are ranked"),

    NUMBER("loss.trl_gkd.beta", "0.5", 1e-6, 1, NULL, OR_ZERO,
           "TRL's: the teacher's weight in the mixture; 0 is forward KL and 1 reverse KL, though near them the loss is "
           "nearly 0; its temperature never reaches the loss"),
    FLAG("loss.distillkit.symmetric_uniform", "false",
         "DistillKit's missing_probability_handling: what top-k targets leave is one outcome more; false = zero: the k "
         "ids are made to sum to 1"),
    NUMBER("loss.msswift_topk.beta", "0.5", 1e-6, 1, NULL, OR_ZERO,
           "ms-swift's: as loss.trl_gkd.beta, of both made distributions over the k ids; with one id it is always 0"),
    NUMBER(
        "loss.verl_trunc.log_prob_min_clamp", "-10000", -1e4, -1e-3, "nats", 0,
        "verl's: log-probabilities below it count as it; -10000 = none do; its sum ends at the k ids, and where it is "
        "below 0 it teaches nothing"),
    NUMBER("loss.verl_trunc.loss_max_clamp", "0", 1e-6, 1e6, "nats", OR_ZERO,
           "verl's: a row's loss above it counts as it, without a gradient; 0 = no such bound"),

    NUMBER("loss.dpo.beta", "0.1", 1e-6, 1e3, NULL, LIVE | SCHEDULE,
           "of rewards: beta times the log-ratio of student and reference; smaller lets the student go further"),
    NUMBER("loss.dpo.label_smoothing", "0", 1e-6, 0.5, NULL, OR_ZERO | OPEN_HIGH | LIVE | SCHEDULE,
           "how often a label is taken to be wrong (cDPO)"),
    NUMBER("loss.dpo.teacher_beta", "1", 1e-6, 1e3, NULL, LIVE | SCHEDULE,
           "of loss.dpo.label teacher: what the teacher's log-ratio of the two sides is multiplied with",
           .when = "label=teacher"),
    CHOICE("loss.dpo.form", "sigmoid", "sigmoid|hinge|ipo", 0, "what becomes of the margin of rewards"),
    ROW("loss.dpo.reference", PATH, "initial", 0,
        "whose log-probabilities are the origin of rewards: the student's before its first step, the teacher's, or "
        "those of a model that is opened for it; asked once and kept",
        .choices = "initial|teacher"),
    CHOICE("loss.dpo.label", "hard", "hard|teacher", 0,
           "hard: chosen is better; teacher: by the teacher's probability of that, from its log-ratio of the two "
           "sides"),
    LIST("loss.hidden_mse.layers", DI_OPTION_INT, -1, 1e6, 0,
         "blocks of the student whose outputs are compared, from 0; -1 = behind the last norm; not given = all"),
    LIST("loss.hidden_mse.teacher_layers", DI_OPTION_INT, -1, 1e6, 0,
         "the teacher's, one for each; not given = those that stand as far up: of 12 blocks 3, 7 and 11 for a student "
         "of "
         "three"),
    CHOICE("loss.hidden_mse.projection", "auto", "auto|linear|none", 0,
           "a matrix that brings the student's width to the teacher's, trained with it and not saved with it: where "
           "widths differ, always, or never"),
    LIST("loss.hidden_cosine.layers", DI_OPTION_INT, -1, 1e6, 0,
         "blocks of the student whose outputs are compared, from 0; -1 = behind the last norm; not given = all"),
    LIST("loss.hidden_cosine.teacher_layers", DI_OPTION_INT, -1, 1e6, 0,
         "the teacher's, one for each; not given = those that stand as far up"),
    CHOICE("loss.hidden_cosine.projection", "auto", "auto|linear|none", 0, "as loss.hidden_mse.projection"),
    LIST("loss.attention_mse.layers", DI_OPTION_INT, 0, 1e6, 0,
         "blocks of the student whose attention is compared, from 0; not given = all"),
    LIST("loss.attention_mse.teacher_layers", DI_OPTION_INT, 0, 1e6, 0,
         "the teacher's, one for each; not given = those that stand as far up"),
    CHOICE("loss.attention_mse.heads", "each", "each|mean", 0,
           "head by head, which takes as many of them on both sides, or their means"),
    LIST("loss.relation.layers", DI_OPTION_INT, 0, 1e6, 0,
         "blocks of the student whose queries, keys and values are related, from 0; not given = the last one"),
    LIST("loss.relation.teacher_layers", DI_OPTION_INT, 0, 1e6, 0,
         "the teacher's, one for each; not given = the last one"),
    INT("loss.relation.heads", "auto", 1, 4096, "heads", AUTO_ZERO,
        "into how many heads widths are cut, on both sides; auto = as many as the student's keys have"),

    INT("train.steps", "1000", 0, COUNT_MAX, "steps", 0, "optimiser steps to make"),
    NUMBER(
        "train.epochs", "0", 1e-6, 1e6, NULL, OR_ZERO,
        "passes over the data instead of train.steps, each ending with a smaller batch where need be; train.steps wins "
        "if both are given; 0 = by steps"),
    INT("train.batch_size", "8", 1, 1e6, "sequences", 0, "sequences in one optimiser step"),
    INT("train.micro_batch_size", "0", 0, 1e6, "sequences", 0,
        "sequences computed at once, at most train.batch_size; 0 = chosen by memory"),
    NUMBER("train.learning_rate", "3e-4", 1e-12, 10, NULL, OR_ZERO | LIVE, "peak learning rate"),
    NUMBER("train.projection_rate", "1", 1e-6, 1e6, NULL, OR_ZERO | LIVE,
           "learning rate of the projections of losses on features, as a multiple of train.learning_rate"),
    CHOICE("train.balance.by", "none", "none|gradient_norm", 0,
           "balances two losses: the second one's weight is multiplied by the norm of the first one's gradient by the "
           "logits over that of its own, so that at equal weights both move the logits as far"),
    NUMBER("train.balance.smoothing", "0.9", 1e-6, 1, NULL, OR_ZERO | OPEN_HIGH | LIVE,
           "norms are means over the windows before; this much of a mean stays from one to the next",
           .when = "by=gradient_norm"),
    NUMBER("train.balance.floor", "0.1", 1e-6, 1, NULL, LIVE, "the least that the weight is multiplied by",
           .when = "by=gradient_norm"),
    NUMBER("train.balance.ceiling", "10", 1, 1e6, NULL, LIVE,
           "the most: the gradient of what is almost learnt is nearly 0", .when = "by=gradient_norm"),
    NUMBER("train.on_policy.lambda", "0", 1e-6, 1, NULL, OR_ZERO,
           "probability that a step trains on text that the student writes itself, behind the prompts of the data, and "
           "the teacher scores; 0 = never"),
    INT("train.on_policy.max_new_tokens", "128", 1, 1e6, "tokens", 0,
        "longest text that the student writes, within data.sequence_length with its prompt", .when = "lambda"),
    NUMBER("train.on_policy.temperature", "1.0", 1e-3, 100, NULL, OR_ZERO,
           "that the student writes at; 0 = always its most probable token", .when = "lambda"),
    NUMBER("train.on_policy.top_p", "1.0", 1e-6, 1, NULL, 0,
           "the student draws from the most probable tokens that together have this mass", .when = "temperature"),
    INT("train.on_policy.prompt_tokens", "16", 1, 1048576, "tokens", 0,
        "of plain text, where no token is a prompt's: so many of a sequence are the prompt", .when = "lambda"),
    NUMBER("train.on_policy.replay.share", "0", 1e-6, 1, NULL, OR_ZERO | OPEN_HIGH,
           "share of the student's windows that are texts which it wrote in earlier steps, drawn anew; 0 = all are new",
           .when = "/train.on_policy.lambda"),
    INT("train.on_policy.replay.age", "0", 0, COUNT_MAX, "steps", 0,
        "a text is good for so many steps behind its own; 0 = until newer ones push it out", .when = "share"),
    INT("train.on_policy.replay.capacity", "1000", 1, 1e7, "texts", 0, "texts that are kept, the newest ones",
        .when = "share"),
    NUMBER("train.on_policy.replay.importance", "0", 1, 1e6, NULL, OR_ZERO,
           "old texts are weighed by how much likelier the student is to write them now, up to this: a position by the "
           "tokens before it; 0 = they count as new ones do",
           .when = "share"),
    NUMBER(
        "train.on_policy.adaptive.rise", "0", 1e-6, 1, NULL, OR_ZERO,
        "the share of the student's windows goes up by it, to train.on_policy.lambda at most, at each evaluation that "
        "is no better than the one before; 0 = it is lambda from the beginning",
        .when = "/train.on_policy.lambda"),
    NUMBER("train.on_policy.adaptive.start", "0", 1e-6, 1, NULL, OR_ZERO, "the share at first", .when = "rise"),
    NUMBER("train.on_policy.adaptive.tolerance", "0", -1e3, 1e3, "nats", 0,
           "an evaluation is better by more than this; below 0, one that is worse by less is, too", .when = "rise"),
    CHOICE("train.schedule", "cosine", "constant|linear|cosine|wsd|inverse_sqrt", 0,
           "course of the learning rate after the warm-up"),
    INT("train.warmup_steps", "0", 0, COUNT_MAX, "steps", 0, "steps in which the learning rate rises from 0"),
    INT("train.decay_steps", "0", 0, COUNT_MAX, "steps", 0,
        "steps of decay at the end of schedule wsd; 0 = a tenth of all", .when = "schedule=wsd"),
    NUMBER("train.min_learning_rate_ratio", "0", 1e-9, 1, NULL, OR_ZERO,
           "learning rate at the end as a share of the peak", .when = "schedule=linear|cosine|wsd|inverse_sqrt"),
    CHOICE("train.optimizer", "adamw", "adamw|none", 0,
           "none leaves the averaged gradients to the host; `distill run` has none of its own"),
    NUMBER("train.beta1", "0.9", 0, 1, NULL, OPEN_HIGH, "AdamW: decay of the first moment", .when = "optimizer=adamw"),
    NUMBER("train.beta2", "0.95", 0, 1, NULL, OPEN_HIGH, "AdamW: decay of the second moment",
           .when = "optimizer=adamw"),
    NUMBER("train.epsilon", "1e-8", 1e-16, 1, NULL, 0, "AdamW: added to the root of the second moment",
           .when = "optimizer=adamw"),
    CHOICE("train.moments", "fp32", "fp32|bf16", 0,
           "AdamW: what both moments are kept in; bf16 halves their memory and takes train.beta1 and train.beta2 up to "
           "0.98",
           .when = "optimizer=adamw"),
    FLAG("train.shard_optimizer", "false",
         "AdamW on several ranks: each keeps the moments of its share of every weight and updates that alone",
         .when = "optimizer=adamw"),
    CHOICE("train.gradient_wire", "fp32", "fp32|bf16", 0,
           "what gradients travel in between ranks; they are summed in fp32 either way, bf16 halves the bytes"),
    NUMBER("train.weight_decay", "0.1", 1e-9, 10, NULL, OR_ZERO | LIVE,
           "AdamW: decoupled decay of parameters with two or more dimensions", .when = "optimizer=adamw"),
    NUMBER("train.clip_norm", "1.0", 1e-9, 1e9, NULL, OR_ZERO | LIVE,
           "largest norm of the whole gradient; 0 = no clipping"),
    INT("train.seed", "1", 0, 9007199254740992.0, NULL, 0, "seed of initial weights and of the order of the data"),
    INT("train.loss_memory", "auto", 65536, 1099511627776.0, "bytes", AUTO_ZERO,
        "most memory for strips of logits and what a loss needs beside them; fixes how many rows go at once; auto = "
        "256 rows, in at most 512 MiB; losses on features alone hold no strips"),
    CHOICE("train.precision", "fp32", "auto|bf16|fp32", 0,
           "what matrix products are formed in; weights, sums, losses and the optimizer are fp32 in each; auto is bf16 "
           "where the processor multiplies it (AMX, AMD's AVX512-BF16)"),
    FLAG("train.activation_checkpointing", "false",
         "recompute activations in the backward pass: less memory, about a third more time"),
    INT("train.eval_every", "0", 0, COUNT_MAX, "steps", 0,
        "steps between evaluations, which need data.eval or data.eval_fraction; 0 = only at the end"),
    INT("train.eval_tokens", "0", 0, COUNT_MAX, "tokens", 0,
        "held-out tokens that an evaluation while training reads; 0 = all"),
    INT("train.eval_draft_tokens", "0", 0, 1e6, "tokens", 0,
        "that an evaluation of a student, a comparison and the end of a run let the teacher write greedily, and as "
        "many drawn, without and with the student as its draft; 0 = none; distill eval and compare: 256"),
    CHOICE("train.eval_precision", "fp32", "auto|bf16|fp32", 0,
           "what matrix products of evaluations are formed in, as train.precision of those of steps"),
    CHOICE("train.eval_teachers", "end", "end|always|never", 0,
           "when evaluations look at each of several teachers by itself, which costs a forward of each: at the end, "
           "always, never"),
    FLAG("train.keep_best", "false",
         "keep the weights of the best evaluation, not those of the last step; needs train.eval_every"),
    INT("train.early_stop_patience", "0", 0, 1e6, "evaluations", 0,
        "stop after so many evaluations without improvement; 0 = never; needs train.eval_every"),
    INT("train.checkpoint_every", "0", 0, COUNT_MAX, "steps", 0, "steps between checkpoints; 0 = by time alone",
        .when = "/output.path"),
    NUMBER("train.checkpoint_minutes", "10", 1e-6, 1e6, "minutes", OR_ZERO,
           "time between checkpoints, beside those by steps; 0 = none by time", .when = "/output.path"),
    INT("train.checkpoint_keep", "2", 1, 1000, "checkpoints", 0, "checkpoints that are kept; older ones are removed",
        .when = "/output.path"),
    INT("train.log_every", "10", 1, COUNT_MAX, "steps", LIVE, "steps between lines of progress and metrics"),

    CHOICE("classifier.inputs", "ngrams", "ngrams|embedding", 0,
           "what a student that is no language model sees of a text: hashed n-grams, or a frozen model's embedding"),
    INT("classifier.ngrams.words", "2", 0, 5, "words", 0, "n-grams of so many words, and of fewer; 0 = none"),
    INT("classifier.ngrams.characters", "5", 0, 8, "characters", 0, "longest n-grams of characters; 0 = none"),
    INT("classifier.ngrams.characters_from", "3", 1, 8, "characters", 0, "shortest ones"),
    INT("classifier.ngrams.bits", "16", 4, 24, NULL, 0,
        "n-grams are hashed to 2^bits inputs; each takes classes (or classifier.hidden) numbers of classifier.type"),
    CHOICE("classifier.ngrams.counts", "log_tf", "binary|tf|log_tf", 0,
           "what an n-gram counts in its text: 1, how often it is there, or 1 + the log of that; a text's inputs have "
           "length 1 together"),
    FLAG("classifier.ngrams.lowercase", "true", "upper and lower case are one"),
    MODEL("classifier.embedding.path", "model with a tokenizer whose states are the inputs; it stays as it is"),
    CHOICE("classifier.embedding.states", "hidden", "hidden|tokens", 0,
           "mean over the text's tokens of: states behind the last norm, or rows of the embedding table"),
    INT("classifier.hidden", "0", 1, 4096, NULL, OR_ZERO, "units of a hidden layer with tanh; 0 = one linear layer"),
    LIST("classifier.classes", DI_OPTION_TEXT, 0, 0, 0,
         "names of the classes, in order; not given = those of data.train, sorted"),
    CHOICE("classifier.type", "f16", "f32|f16|int8", 0, "number format of the first layer in the saved files"),
    NUMBER("classifier.agreement", "0.95", 0.5, 1, NULL, OR_ZERO | OPEN_HIGH,
           "of a cascade, which asks the teacher about texts below a confidence, with the teacher: held-out texts "
           "choose that confidence; 0 = none is chosen"),
    NUMBER("classifier.confidence_level", "0.95", 0.5, 1, NULL, OPEN_HIGH,
           "chance, over the draw of the held-out texts, that classifier.agreement is kept", .when = "agreement"),
    CHOICE("classifier.calibrate", "none", "none|temperature", 0,
           "temperature: confidences are scaled by every second held-out text; the others measure and promise"),
    TEXT("classifier.question", NULL, 0,
         "what the teacher of a cascade is asked, {text} being the text; it chooses among classifier.classes"),
    FLAG("classifier.question_chat", "true", "the question is what a user says, in the teacher's chat template"),
    FLAG("classifier.per_token", "false",
         "the teacher's choices are compared by the mean over their tokens, not by the sum"),

    INT("generate.max_tokens", "64", 1, 1e6, "tokens", 0, "longest answer"),
    NUMBER("generate.temperature", "1.0", 1e-3, 100, NULL, OR_ZERO, "0 = always the most probable token"),
    INT("generate.top_k", "0", 0, 1e9, "tokens", 0, "draw from the k most probable tokens; 0 = from all",
        .when = "temperature"),
    NUMBER("generate.top_p", "1.0", 1e-6, 1, NULL, 0, "draw from the most probable tokens that together have this mass",
           .when = "temperature"),
    NUMBER("generate.min_p", "0", 1e-9, 1, NULL, OR_ZERO,
           "draw from the tokens that have at least this share of the most probable one's probability; 0 = from all",
           .when = "temperature"),
    NUMBER("generate.repetition_penalty", "1.0", 1e-2, 100, NULL, 0,
           "a logit above 0 is divided by it, another one multiplied, of each token that prompt or answer has"),
    NUMBER("generate.presence_penalty", "0", -100, 100, NULL, 0,
           "taken off the logit of each token that the answer has"),
    NUMBER("generate.logit_bias.NAME", NULL, -1e6, 1e6, NULL, 0,
           "added to the logit of the token with this id, before penalties"),
    LIST("generate.stop", DI_OPTION_TEXT, 0, 0, 0, "texts that end an answer, which leaves them out"),
    LIST("generate.stop_ids", DI_OPTION_INT, 0, 2147483647.0, 0, "ids that end an answer, beside those of the model"),
    INT("generate.top_logprobs", "0", 0, 1e6, "ids", 0,
        "the likeliest ids that go with each token, with their log-probabilities by the model itself; 0 = none"),
    CHOICE(
        "generate.quantized", "auto", "auto|int8|exact", 0,
        "weights in Q8_0, Q4_0, Q4_1 and K-quants (Q2_K to Q6_K): int8 = multiplied as they are, by activations that "
        "are rounded to blocks of 32 whole numbers (llama.cpp: of 256 for K-quants); exact = widened, as scores and "
        "targets have it; auto = int8 where products are not CBLAS"),
    CHOICE(
        "generate.precision", "fp32", "fp32|bf16", 0,
        "of products: bf16 rounds what is multiplied, as llama.cpp does for weights in BF16, and keeps a copy of all "
        "weights in it, for many texts at once and long prompts; quantised weights are widened then, unless "
        "generate.quantized is int8, which goes with fp32 only"),
    CHOICE("generate.cache_type", "f32", "f32|bf16", 0,
           "what keys and values are kept in while answers are written; bf16 takes half the memory and rounds them"),
    INT("generate.samples", "1", 1, 1e6, "answers", 0, "answers of each prompt: sequence prompt * samples + 0, 1, ...",
        .when = "temperature"),
    INT("generate.seed", "1", 0, 9007199254740992.0, NULL, 0, "seed of the draws", .when = "temperature"),

    INT("session.context", "0", 0, 1e9, "tokens", 0,
        "that a session has room for; 0 = the model's context, at most 4096"),
    INT("session.places", "1", 1, 256, "sessions", 0, "a session and its forks, at most, which share keys and values"),
    INT("session.tokens", "0", 0, 1e12, "tokens", 0,
        "of all of them together that there is memory for, shared ones counted once; 0 = places times context"),
    CHOICE("session.overflow", "refuse", "refuse|oldest", 0,
           "of a conversation that has no room: refuse = an error, oldest = its oldest turns are left out, which is "
           "logged and counted"),
    CHOICE("session.cache_type", "f32", "f32|bf16", 0,
           "what keys and values are kept in; bf16 takes half the memory and rounds them"),
    INT("session.draft_tokens", "4", 1, 32, "tokens", 0, "that a draft model proposes at a time"),
    FLAG("session.draft_adaptive", "false",
         "as many as pay by what was accepted of late and by the sizes of both models, up to twice "
         "session.draft_tokens; none where none pays, with another look now and then"),

    PATH("augment.in",
         "samples that the first step is given: JSONL or text; not given = none, for a step that makes them"),
    PATH("augment.tokenizer", "folder or file with the tokenizer of a teacher that has none, as one of callbacks"),
    PATH("augment.out", "JSONL that is made, each line with its provenance; OUT.partial until it is whole"),
    ROW("augment.temporary", PATH, NULL, 0,
        "folder of the temporary file in which ids of samples are looked up; not given = that of augment.out, and of a "
        "dry "
        "run, which leaves that alone, TMPDIR of distill augment, else /tmp"),
    FLAG("augment.resume", "true", "go on where an unfinished run stopped; false = an unfinished one is an error"),
    FLAG("augment.overwrite", "false", "replace what augment.out already holds, finished or not"),
    INT("augment.seed", "1", 0, 9007199254740992.0, NULL, 0, "of all draws; each hangs on it, the step and the sample"),
    INT("augment.budget.tokens", "0", 0, 1e15, "tokens", 0,
        "generated in all, over every run that went on; 0 = no bound; it ends behind the samples at work"),
    NUMBER("augment.budget.minutes", "0", 1e-6, 1e9, "minutes", OR_ZERO, "likewise of time; 0 = no bound"),
    TEXT("augment.steps.N.expand", NULL, 0, "operator that makes more samples: docs/augmentation.md has them all"),
    TEXT("augment.steps.N.label", NULL, 0, "operator that writes what is learnt"),
    TEXT("augment.steps.N.keep", NULL, 0, "operator that keeps the samples that ..."),
    TEXT("augment.steps.N.drop", NULL, 0, "operator that drops the samples that ..."),
    TEXT("augment.steps.N.score", NULL, 0, "operator that gives samples a number by name"),
    TEXT("augment.steps.N.feedback", NULL, 0, "operator that asks for a judgement"),
    TEXT("augment.steps.N.vote", NULL, 0, "operator that makes one label of several"),
    TEXT("augment.steps.N.name", NULL, 0, "operator that the host added by this name"),
    INT("augment.steps.N.samples", "1", 1, 1e6, NULL, 0, "answers to each prompt, each a sample of its own"),
    INT("augment.steps.N.max_new_tokens", NULL, 1, 1e6, "tokens", 0,
        "longest answer; this and the next ones, where they are not given, are as section generate has them"),
    NUMBER("augment.steps.N.temperature", NULL, 1e-3, 100, NULL, OR_ZERO, "0 = always the most probable token"),
    NUMBER("augment.steps.N.top_p", NULL, 1e-6, 1, NULL, 0, "as generate.top_p"),
    INT("augment.steps.N.top_k", NULL, 0, 1e9, "tokens", 0, "as generate.top_k"),
    LIST("augment.steps.N.stop", DI_OPTION_TEXT, 0, 0, 0, "as generate.stop"),
    INT("augment.steps.N.n", "0", 0, 1e12, "samples", 0,
        "expand magpie, topic: how many it makes, behind those of augment.in"),
    CHOICE("augment.steps.N.language", "en", "en|pt", 0, "of the shipped template that the teacher is asked with"),
    PATH("augment.steps.N.template", "file to ask with in the place of the shipped one, with {{fields}}"),
    LIST("augment.steps.N.topics", DI_OPTION_TEXT, 0, 0, 0, "expand topic: what is asked about, drawn for each sample"),
    LIST("augment.steps.N.personas", DI_OPTION_TEXT, 0, 0, 0, "expand persona: who asks, drawn for each sample"),
    PATH("augment.steps.N.from",
         "topics or personas, one a line; of self_instruct the samples that examples are of, not given = augment.in"),
    INT("augment.steps.N.examples", "4", 1, 32, NULL, 0,
        "expand self_instruct: tasks that are shown, its own among them"),
    INT("augment.steps.N.answers", "16", 2, 256, NULL, 0,
        "feedback rank: answers to one prompt that are compared, the first ones; each two are asked about twice"),
    CHOICE("augment.steps.N.direction", "deeper", "deeper|broader", 0,
           "expand evol_instruct: a harder task, or one of the same field"),
    TEXT(
        "augment.steps.N.pivot", NULL, 0,
        "expand back_translation: the language in between, as the template's language calls it; not given = French, or "
        "English for pt"),
    TEXT("augment.steps.N.own", NULL, 0,
         "expand back_translation: the samples' own, likewise; not given = English, or Portuguese for pt"),
    TEXT("augment.steps.N.marker", NULL, 0,
         "label rationale: what the line with the answer begins with; not given = Answer: or Resposta:"),
    NUMBER("augment.steps.N.rationale_weight", "1.0", 1e-6, 1e6, NULL, OR_ZERO, "label rationale: of the thoughts"),
    NUMBER("augment.steps.N.answer_weight", "1.0", 1e-6, 1e6, NULL, OR_ZERO, "label rationale: of the answer"),
    INT("augment.steps.N.prefix_tokens", "0", 0, 1e9, "tokens", 0,
        "expand continue: first tokens of the text that it goes on from; 0 = all of it"),
    FLAG("augment.steps.N.originals", "true", "expand: samples go on, too, before what is made of them"),
    FLAG("augment.steps.N.chat", "false",
         "label: a prompt is the words of a user, and becomes messages by the chat template"),
    FLAG("augment.steps.N.per_token", "false",
         "label class: probabilities by the mean log-probability of a class's tokens, not by their sum"),
    INT("augment.steps.N.keep_logprobs", "0", 0, 1e6, "ids", 0,
        "label answer: the likeliest ids of each token with their log-probabilities, kept as targets; 0 = none"),
    FLAG("augment.steps.N.only_matched", "false",
         "label answer with keep_logprobs: drop answers of which training learns a token that has no target"),
    TEXT("augment.steps.N.field", NULL, 0,
         "field of the sample that is looked at; not given = the words that are learnt: text, completion or the last "
         "message; of drop duplicate, near_duplicate, overlap and keep novelty all words, what was asked, too"),
    INT("augment.steps.N.min", "0", 0, 1e9, NULL, 0, "keep length: shortest"),
    INT("augment.steps.N.max", "0", 0, 1e9, NULL, 0,
        "keep length: longest; keep balance: samples of each value; 0 = no bound"),
    CHOICE("augment.steps.N.unit", "characters", "characters|words|tokens", 0, "keep length: what is counted"),
    TEXT("augment.steps.N.pattern", NULL, 0, "drop regex: regular expression"),
    FLAG("augment.steps.N.invert", "false", "drop regex: drop what does not match"),
    CHOICE("augment.steps.N.ignore", "spaces_and_case", "nothing|spaces|case|spaces_and_case", 0,
           "drop duplicate: what makes no difference"),
    NUMBER("augment.steps.N.jaccard", "0.8", 0.05, 1, NULL, 0,
           "drop near_duplicate: share of shingles, as MinHash estimates it, from which two texts are near"),
    CHOICE("augment.steps.N.shingle", "words", "words|characters", 0,
           "drop near_duplicate: what shingles are made of; of a script without spaces each character is a word"),
    INT("augment.steps.N.ngram", "0", 0, 64, NULL, 0,
        "drop near_duplicate: length of a shingle, 0 = 3 words or 5 characters; drop overlap: words in a row that no "
        "sample shares with the file, 0 = 13"),
    PATH("augment.steps.N.with", "drop overlap: the file that is to stay unseen, JSONL or text"),
    NUMBER("augment.steps.N.rouge_l", "0.7", 0.01, 1, NULL, 0,
           "keep novelty: ROUGE-L with a text that was kept, from which one is not new"),
    INT("augment.steps.N.window", "10000", 1, 1e7, "texts", 0, "keep novelty: the last that were kept are compared"),
    LIST("augment.steps.N.bounds", DI_OPTION_TEXT, 0, 0, 0,
         "keep quality: \"duplicate_lines <= 0.2\", \"letters >= 0.5\" or \"word_length off\", on top of the bounds "
         "that docs/curation.md lists"),
    NUMBER("augment.steps.N.share", "0", 1e-6, 1, NULL, OR_ZERO,
           "keep balance: of all that is kept, that one value may have; 0 = no bound"),
    TEXT("augment.steps.N.by", NULL, 0, "keep score, best: name of the score, or of a field that is a number"),
    NUMBER("augment.steps.N.at_least", "0", -1e300, 1e300, NULL, 0, "keep score: lowest; not given = no bound"),
    NUMBER("augment.steps.N.at_most", "0", -1e300, 1e300, NULL, 0, "keep score: highest; not given = no bound"),
    TEXT("augment.steps.N.against", NULL, 0, "keep verified: field with the right answer"),
    CHOICE("augment.steps.N.compare", "numeric", "numeric|exact", 0,
           "keep verified: the numbers that both answer with (behind ####, in \\boxed{}, or the last), or the words"),
    NUMBER("augment.steps.N.tolerance", "1e-6", 1e-12, 1, NULL, OR_ZERO,
           "keep verified: of numbers, times the larger of 1 and the right one"),
    NUMBER("augment.steps.N.low", "1", -1e6, 1e6, NULL, 0, "feedback judge: lowest score"),
    NUMBER("augment.steps.N.high", "10", -1e6, 1e6, NULL, 0, "feedback judge: highest score"),
    LIST("augment.steps.N.classes", DI_OPTION_TEXT, 0, 0, 0,
         "label class, vote: names of the classes; of votes ties go to the first"),
    TEXT("augment.steps.N.into", NULL, 0,
         "label class: field that gets the probabilities, and nothing else of the sample changes, so that several "
         "teachers can vote; not given = probabilities, and the answer"),
    LIST("augment.steps.N.fields", DI_OPTION_TEXT, 0, 0, 0,
         "vote: fields with a vote each; not given = field (votes) is the list of all votes"),
    NUMBER("augment.steps.N.smoothing", "0.01", 1e-9, 1e6, "votes", OR_ZERO,
           "vote dawid_skene: added to what is counted of every class and of every error of a voter"),
    PATH("augment.steps.N.model", "score gap: model that the teacher is compared with, a folder or a GGUF file"),

    ROW("tasks.choices", PATH, NULL, 0,
        "questions with choices, lines of JSON: {\"question\" or \"prompt\", \"choices\": [...], \"answer\": its "
        "number "
        "from 0, its letter or its text}"),
    ROW("tasks.answers", PATH, NULL, 0,
        "questions whose answers the model writes, lines of JSON: {\"question\" or \"prompt\", \"answer\"}"),
    CHOICE(
        "tasks.verify", "numeric", "numeric|exact", 0,
        "how written answers are compared: the number behind the last ####, in the last \\boxed{} or last of all, or "
        "the same words",
        .when = "answers"),
    NUMBER("tasks.tolerance", "1e-6", 1e-12, 1, NULL, OR_ZERO, "of numbers, times the larger of 1 and the right one",
           .when = "verify=numeric"),
    FLAG("tasks.chat", "false", "questions are what a user says, in the model's own chat template"),
    INT("tasks.limit", "0", 0, COUNT_MAX, "questions", 0, "the first of each file; 0 = all"),
    ROW("tasks.aside", PATH, NULL, 0,
        "file for the questions that were not answered right, a line of JSON each: what was asked, answered and "
        "wanted, "
        "and why: wrong, unparsed or too_long"),

    CHOICE(
        "compute.products", "auto", "auto|cblas|amx|avx512_bf16|avx512|avx2|portable", 0,
        "what forms matrix products: auto = the best kernels that the processor names, cblas where there are none; "
        "kernels by name must be the machine's; of the process's env, so it is said before its first model is opened"),

    ROW("cost.powercap", PATH, "/sys/class/powercap", 0,
        "folder of the system's energy counters (RAPL): they are of whole packages, other processes included"),
    NUMBER("cost.idle_seconds", "0.2", 1e-3, 60, "seconds", OR_ZERO,
           "how long idleness is measured before the work begins, where there are counters; 0 = not at all"),
    NUMBER("cost.watts_per_core", NULL, 1e-3, 1e4, "watts", 0,
           "of a busy core: where there are no counters, energy is estimated as CPU time times it, and said to be"),
    NUMBER("cost.eur_per_kwh", NULL, 1e-6, 1e3, "EUR", OR_ZERO, "price of the energy"),
    NUMBER("cost.usd_per_million_tokens", NULL, 1e-6, 1e6, "USD", OR_ZERO,
           "price of what models read and write, as services have it"),

    PATH("output.path", "folder for the student, the metrics, the checkpoints and the result"),
    CHOICE("output.format", "hf", "hf|gguf|both", 0,
           "files of the student: an HF folder, model.gguf as llama.cpp loads it, or both in one folder"),
    CHOICE("output.type", "auto", "auto|f32|bf16|f16|q8_0|q4_0|q4_k", 0,
           "number format of the saved weights; auto = the teacher's, bf16 where that is quantised, f32 without one; "
           "q8_0, q4_0 and q4_k are of GGUF files (an HF folder beside one is as auto says)"),
    FLAG("output.overwrite", "false", "replace the run that the output folder already holds", .when = "path"),
    FLAG("output.metrics", "true", "write metrics.jsonl to the output folder"),
    CHOICE("output.report", "html", "html|none", 0,
           "html = report.html in the output folder, a page for a browser: rewritten every few seconds while the run "
           "trains, whole at its end"),
    CHOICE("output.language", "en", "en|pt", 0, "of the words in report.html: English or Portuguese"),
    INT("output.samples", "3", 0, 100, "texts", 0,
        "beginnings of held-out text that student and teacher continue at the end, for result.json and report.html; "
        "0 = none"),
    NUMBER("output.timing_seconds", "3", 0.1, 600, "seconds", OR_ZERO,
           "how long student and teacher answer a prompt at the end of a run, each, for their latency and speed; a "
           "slow one is cut there, but not before its prompt was read twice and two tokens came; 0 = not at all"),

    ROW("stages", MAP, NULL, 0,
        "several runs, one after another, as a list: each a recipe with a name, laid over this one; teacher.path, "
        "student.path and teachers.NAME.path of a later one may be stages.NAME, the output of an earlier one"),
    TEXT("name", NULL, OWN, "of this run, in its result; of a stage, what others call it by"),
};

static const di_group groups[] = {
    {.name = "teachers", .like = "teacher", .shape = DI_GROUP_NAMED},
    {.name = "teacher", .main = "path", .whole = 1},
    {.name = "teacher.average", .when = "self=average"},
    {.name = "teacher.prefix", .main = "text"},
    {.name = "teacher.blend"},
    {.name = "teacher.blend.learn", .when = "weighting=learned"},
    {.name = "teacher.route", .main = "by"},
    {.name = "teacher.route.map", .main = "", .when = "by=source|tag", .shape = DI_GROUP_NAMED},
    {.name = "teacher.schedule", .main = "teacher", .shape = DI_GROUP_LIST},
    {.name = "teacher.cache", .main = "path", .beside = "from|tier"},
    {.name = "student", .main = "path", .whole = 1},
    {.name = "data", .main = "train"},
    {.name = "data.train", .main = "path", .shape = DI_GROUP_ONE_OR_LIST},
    {.name = "data.eval", .main = "path", .like = "data.train", .shape = DI_GROUP_ONE_OR_LIST},
    {.name = "data.mix", .main = "", .when = "train", .shape = DI_GROUP_NAMED},
    {.name = "loss", .main = "type", .shape = DI_GROUP_ONE_OR_LIST},
    {.name = "loss.cross_entropy", .when = "type=cross_entropy,hard_label_weight"},
    {.name = "loss.symmetric_kl", .when = "type=symmetric_kl"},
    {.name = "loss.jsd", .when = "type=jsd"},
    {.name = "loss.skew", .when = "type=skew_forward_kl|skew_reverse_kl"},
    {.name = "loss.alpha_beta", .when = "type=alpha_beta"},
    {.name = "loss.taid", .when = "type=taid"},
    {.name = "loss.adaptive_kl", .when = "type=adaptive_kl"},
    {.name = "loss.dkd", .when = "type=dkd"},
    {.name = "loss.rank_hinge", .when = "type=rank_hinge"},
    {.name = "loss.rank_logistic", .when = "type=rank_logistic"},
    {.name = "loss.trl_gkd", .when = "type=trl-gkd"},
    {.name = "loss.distillkit", .when = "type=distillkit"},
    {.name = "loss.msswift_topk", .when = "type=msswift-topk"},
    {.name = "loss.verl_trunc", .when = "type=verl-trunc"},
    {.name = "loss.dpo", .when = "type=dpo"},
    {.name = "loss.hidden_mse", .when = "type=hidden_mse"},
    {.name = "loss.hidden_cosine", .when = "type=hidden_cosine"},
    {.name = "loss.attention_mse", .when = "type=attention_mse"},
    {.name = "loss.relation", .when = "type=relation"},
    {.name = "train"},
    {.name = "train.balance", .main = "by"},
    {.name = "train.on_policy", .main = "lambda"},
    {.name = "train.on_policy.replay", .main = "share"},
    {.name = "train.on_policy.adaptive", .main = "rise"},
    {.name = "classifier", .main = "inputs"},
    {.name = "classifier.ngrams", .when = "inputs=ngrams"},
    {.name = "classifier.embedding", .main = "path", .when = "inputs=embedding"},
    {.name = "generate"},
    {.name = "generate.logit_bias", .main = "", .shape = DI_GROUP_NAMED, .numbers = 1},
    {.name = "session"},
    {.name = "augment"},
    {.name = "augment.budget", .main = "tokens"},
    {.name = "augment.steps", .shape = DI_GROUP_LIST},
    {.name = "tasks"},
    {.name = "compute"},
    {.name = "cost"},
    {.name = "output", .main = "path"},
    {.name = "stages", .like = "", .shape = DI_GROUP_LIST},
};

static const di_gone gone[] = {
    {.name = "output.save_dtype", .answer = "give output.type: auto, f32, bf16, f16, or q8_0, q4_0 or q4_k of GGUF"},
    {.name = "data.train.name", .meant = "data.train.source"}, /* an entry is named by it */
};

const di_table di_public_table = {
    rows, groups, gone, sizeof rows / sizeof *rows, sizeof groups / sizeof *groups, sizeof gone / sizeof *gone,
};
