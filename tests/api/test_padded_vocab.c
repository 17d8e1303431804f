/* Padding of a vocabulary: a model with more ids than its tokenizer is, in every number and every text, the model
 * without them, whatever stands in the rows of the padding. */
#include "small.h"

enum { WIDE = 80, WIDER = 69, HIDDEN = 32 };

static int write_tokenizer(const char *folder)
{
    char text[4096];
    size_t used = (size_t)snprintf(text, sizeof text,
                                   "{\"version\":\"1.0\",\"added_tokens\":[],\"normalizer\":null,\"pre_tokenizer\":"
                                   "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true},"
                                   "\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":"
                                   "\"BPE\",\"merges\":[],\"vocab\":{");
    for (int i = 0; i < SMALL_VOCAB; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s\"%c\":%d", i ? "," : "",
                                 i < 26   ? 'A' + i
                                 : i < 52 ? 'a' + i - 26
                                 : i < 62 ? '0' + i - 52
                                 : i < 63 ? '!'
                                          : '?',
                                 i);
    snprintf(text + used, sizeof text - used, "}}}\n");
    return mkdir(folder, 0755) == 0 && small_write(small_text("%s/tokenizer.json", folder), text);
}

static int write_config(const char *path, int vocab, int layers)
{
    return small_write(
        path, small_text("{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"vocab_size\":%d,"
                         "\"hidden_size\":%d,\"intermediate_size\":64,\"num_hidden_layers\":%d,"
                         "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"max_position_embeddings\":64,"
                         "\"rms_norm_eps\":1e-5,\"rope_theta\":10000.0,\"hidden_act\":\"silu\","
                         "\"tie_word_embeddings\":false}\n",
                         vocab, HIDDEN, layers));
}

/* The model of 64 ids with rows of padding behind its embedding and its head, with logits far above all others. */
static void pad(distill_student *from, distill_student *to)
{
    const char *name;
    distill_error err;
    for (int64_t i = 0; (name = distill_student_parameter_name(from, i)); i++) {
        distill_tensor a, b;
        REQUIRE_OK(distill_student_parameter(from, name, DISTILL_WEIGHT, &a, &err));
        REQUIRE_OK(distill_student_parameter(to, name, DISTILL_WEIGHT, &b, &err));
        memcpy(b.data, a.data, sizeof(float) * (size_t)small_elements(&a));
        for (int64_t k = small_elements(&a); k < small_elements(&b); k++)
            ((float *)b.data)[k] = k / HIDDEN % 2 ? 30.0f : -30.0f;
    }
    CHECK_OK(distill_student_weights_changed(to, &err));
}

typedef struct outcome {
    double loss[4], perplexity, kl, agreement, nll[SMALL_LENGTH];
    int32_t text[2][24];
    float head[SMALL_VOCAB * HIDDEN];
} outcome;

static int32_t on_token(void *user, int64_t sequence, int32_t id, double log_prob, const char *text, size_t size,
                        int32_t finished)
{
    int32_t *at = user;
    (void)sequence, (void)text, (void)size, (void)finished;
    CHECK(log_prob <= 0);
    while (*at >= 0) at++;
    *at = id;
    return DISTILL_CB_OK;
}

static void generate(small *s, const distill_teacher *model, const char *temperature, int32_t *out)
{
    static const int32_t prompt[] = {3, 18, 29};
    static const int64_t offsets[] = {0, 3};
    distill_batch batch;
    distill_error err;
    DISTILL_INIT(&batch);
    batch.ids = prompt;
    batch.offsets = offsets;
    batch.sequences = 1;
    for (int i = 0; i < 24; i++) out[i] = -1;
    CHECK_OK(distill_options_set(s->options, "generate.temperature", temperature, &err));
    CHECK_OK(distill_options_set(s->options, "generate.max_tokens", "20", &err));
    CHECK_OK(distill_teacher_generate(model, &batch, s->options, on_token, out, &err));
}

/* -log q of a sequence's tokens from full logits, as a caller computes them with vocab_valid. */
static void score(const distill_teacher *model, double *nll)
{
    static float logits[(SMALL_LENGTH - 1) * WIDE];
    int32_t ids[SMALL_LENGTH];
    const int64_t offsets[] = {0, SMALL_LENGTH};
    int64_t shape[2] = {SMALL_LENGTH - 1, 0};
    distill_tensor values = {.data = logits,
                             .device_type = DISTILL_CPU,
                             .ndim = 2,
                             .dtype_code = DISTILL_FLOAT,
                             .dtype_bits = 32,
                             .dtype_lanes = 1,
                             .shape = shape};
    distill_target target;
    distill_batch batch;
    distill_error err;
    small_ids(ids, SMALL_LENGTH, 77);
    DISTILL_INIT(&batch);
    DISTILL_INIT(&target);
    batch.ids = ids;
    batch.offsets = offsets;
    batch.sequences = 1;
    target.kind = DISTILL_DENSE;
    target.values = &values;
    CHECK_OK(distill_teacher_get_i64(model, "vocab_size", &shape[1], &err));
    REQUIRE_OK(distill_teacher_score(model, &batch, &target, &err));
    CHECK_INT(target.vocab_valid, SMALL_VOCAB);
    for (int r = 0; r + 1 < SMALL_LENGTH; r++) {
        const float *row = logits + r * shape[1];
        double sum = 0;
        for (int v = 0; v < SMALL_VOCAB; v++) sum += exp((double)row[v]);
        nll[r] = log(sum) - (double)row[ids[r + 1]];
    }
}

/* Padding has no gradient; weight_decay is off, so it also stays as it is. */
static void check_padding(distill_student *student, int64_t vocab)
{
    const char *const names[] = {"model.embed_tokens.weight", "lm_head.weight"};
    for (int n = 0; n < 2; n++) {
        distill_tensor gradient, weight;
        distill_error err;
        CHECK_OK(distill_student_parameter(student, names[n], DISTILL_GRADIENT, &gradient, &err));
        CHECK_OK(distill_student_parameter(student, names[n], DISTILL_WEIGHT, &weight, &err));
        for (int64_t k = SMALL_VOCAB * HIDDEN; k < vocab * HIDDEN; k++) {
            CHECK_NEAR((double)((const float *)gradient.data)[k], 0, 0);
            CHECK_NEAR((double)((const float *)weight.data)[k], k / HIDDEN % 2 ? 30 : -30, 0);
        }
    }
}

/* Teacher and student at their widths: some steps, an evaluation, texts, scores. */
static void run(int teacher_vocab, int student_vocab, outcome *out)
{
    small s = {0};
    distill_tokenizer *tokenizer = NULL;
    distill_student *plain[2] = {NULL, NULL}, *padded[2] = {NULL, NULL};
    distill_teacher *live = NULL;
    distill_report *report = NULL;
    distill_tensor head;
    distill_error err;
    const int vocabs[2] = {teacher_vocab, student_vocab};
    REQUIRE_OK(small_env(&s, NULL,
                         "train: {epsilon: 1e-3, weight_decay: 0}\nstudent: {init_std: 0.3}\n"
                         "loss: {type: forward_kl, hard_label_weight: 0.5}\n",
                         &err));
    REQUIRE_OK(distill_tokenizer_open(s.env, small_text("%s/tokens", small_folder), &tokenizer, &err));
    for (int m = 0; m < 2; m++) {
        const char *path = small_text("%s/padded.json", small_folder),
                   *base = small_text("%s/plain.json", small_folder);
        REQUIRE(write_config(path, vocabs[m], 3 - m) && write_config(base, SMALL_VOCAB, 3 - m));
        CHECK_OK(distill_options_set(s.options, "train.seed", m ? "2" : "1", &err));
        REQUIRE_OK(distill_student_create(s.env, base, tokenizer, s.options, &plain[m], &err));
        REQUIRE_OK(distill_student_create(s.env, path, tokenizer, s.options, &padded[m], &err));
        pad(plain[m], padded[m]);
    }
    CHECK_OK(distill_options_set(s.options, "train.seed", "0", &err));
    REQUIRE_OK(distill_teacher_from_student(padded[0], &s.teacher, &err));
    CHECK_OK(small_dataset_seeded(&s, SMALL_SEQUENCES, 100, &s.train, &err));
    CHECK_OK(small_dataset_seeded(&s, SMALL_EVAL, 900, &s.eval, &err));
    REQUIRE_OK(distill_trainer_create(s.env, s.teacher, padded[1], s.train, s.eval, s.options, &s.trainer, &err));
    for (int step = 0; step < 4; step++) {
        distill_progress progress;
        DISTILL_INIT(&progress);
        CHECK_OK(distill_trainer_step(s.trainer, &progress, &err));
        out->loss[step] = progress.loss;
    }
    check_padding(padded[1], student_vocab);
    CHECK_OK(distill_evaluate(padded[1], s.teacher, s.eval, s.options, &report, &err));
    CHECK_OK(distill_report_get_f64(report, "perplexity", &out->perplexity, &err));
    CHECK_OK(distill_report_get_f64(report, "forward_kl", &out->kl, &err));
    CHECK_OK(distill_report_get_f64(report, "top1_agreement", &out->agreement, &err));
    CHECK_OK(distill_teacher_from_student(padded[1], &live, &err));
    generate(&s, live, "0", out->text[0]);
    generate(&s, live, "1", out->text[1]);
    score(live, out->nll);
    CHECK_OK(distill_student_parameter(padded[1], "lm_head.weight", DISTILL_WEIGHT, &head, &err));
    memcpy(out->head, head.data, sizeof out->head);
    distill_report_free(report);
    distill_teacher_free(live);
    for (int m = 0; m < 2; m++) {
        distill_student_free(plain[m]);
        distill_student_free(padded[m]);
    }
    distill_tokenizer_free(tokenizer);
    small_close(&s);
}

static void same(const outcome *a, const outcome *b)
{
    for (int i = 0; i < 4; i++) CHECK_NEAR(a->loss[i], b->loss[i], 1e-5 * fabs(a->loss[i]));
    CHECK_NEAR(a->perplexity, b->perplexity, 1e-4 * a->perplexity);
    CHECK_NEAR(a->kl, b->kl, 1e-4 * a->kl);
    CHECK_NEAR(a->agreement, b->agreement, 1e-9);
    for (int i = 0; i + 1 < SMALL_LENGTH; i++) CHECK_NEAR(a->nll[i], b->nll[i], 1e-3);
    for (int i = 0; i < 24; i++) {
        CHECK_INT(a->text[0][i], b->text[0][i]);
        CHECK_INT(a->text[1][i], b->text[1][i]);
    }
    for (int i = 0; i < SMALL_VOCAB * HIDDEN; i++) CHECK_NEAR((double)a->head[i], (double)b->head[i], 1e-4);
}

TEST(padding_is_nothing)
{
    static outcome plain, both, teacher, student;
    REQUIRE(small_models("padded"));
    REQUIRE(write_tokenizer(small_text("%s/tokens", small_folder)));
    run(SMALL_VOCAB, SMALL_VOCAB, &plain);
    CHECK(plain.text[0][3] >= 0 && plain.text[0][3] < SMALL_VOCAB);
    run(WIDE, WIDER, &both); /* two paddings of one tokenizer */
    same(&plain, &both);
    run(WIDE, SMALL_VOCAB, &teacher);
    same(&plain, &teacher);
    run(SMALL_VOCAB, WIDE, &student);
    same(&plain, &student);
}

/* ---- a host's teacher whose form says vocab_valid ---- */

static int32_t host_score(void *user, const distill_batch *batch, int64_t first, int64_t count, distill_target *out)
{
    const int64_t stride = out->values->strides ? out->values->strides[0] : out->values->shape[1];
    (void)user, (void)batch;
    for (int64_t r = 0; r < count; r++)
        for (int64_t v = 0; v < WIDE; v++)
            ((float *)out->values->data)[r * stride + v] = v < SMALL_VOCAB ? (float)((first + r + v) % 7) : 90.0f;
    return DISTILL_CB_OK;
}

TEST(form_with_padding)
{
    static float logits[(SMALL_LENGTH - 1) * WIDE];
    const int64_t width[1] = {WIDE}, offsets[2] = {0, SMALL_LENGTH};
    int64_t shape[2] = {SMALL_LENGTH - 1, WIDE}, number = 0;
    distill_tensor values = {.device_type = DISTILL_CPU,
                             .ndim = 1,
                             .dtype_code = DISTILL_FLOAT,
                             .dtype_bits = 32,
                             .dtype_lanes = 1,
                             .shape = width};
    distill_teacher_callbacks table;
    distill_target form, out;
    distill_progress progress;
    distill_batch batch;
    distill_error err;
    int32_t ids[SMALL_LENGTH];
    small s;
    REQUIRE(small_models("padded"));
    REQUIRE_OK(small_parts(&s, NULL, NULL, &err));
    DISTILL_INIT(&form);
    DISTILL_INIT(&table);
    DISTILL_INIT(&batch);
    DISTILL_INIT(&out);
    DISTILL_INIT(&progress);
    form.kind = DISTILL_DENSE;
    form.values = &values;
    form.vocab_valid = WIDE + 1;
    table.score = host_score;
    table.form = &form;
    distill_teacher_free(s.teacher);
    s.teacher = NULL;
    CHECK_INT(distill_teacher_from_callbacks(s.env, &table, NULL, &s.teacher, &err), DISTILL_E_INVALID);
    CHECK_HAS(err.message, "vocab_valid is 81, not in [0, 80]");
    form.vocab_valid = SMALL_VOCAB;
    REQUIRE_OK(distill_teacher_from_callbacks(s.env, &table, NULL, &s.teacher, &err));
    CHECK_OK(distill_teacher_get_i64(s.teacher, "vocab_size", &number, &err));
    CHECK_INT(number, WIDE);
    CHECK_OK(distill_teacher_get_i64(s.teacher, "vocab_valid", &number, &err));
    CHECK_INT(number, SMALL_VOCAB);
    small_ids(ids, SMALL_LENGTH, 5);
    batch.ids = ids;
    batch.offsets = offsets;
    batch.sequences = 1;
    values.ndim = 2;
    values.shape = shape;
    values.data = logits;
    out.kind = DISTILL_DENSE;
    out.values = &values;
    CHECK_OK(distill_teacher_score(s.teacher, &batch, &out, &err));
    CHECK_INT(out.vocab_valid, SMALL_VOCAB);
    for (int r = 0; r < SMALL_LENGTH - 1; r++)
        for (int v = 0; v < WIDE; v++) CHECK_NEAR((double)logits[r * WIDE + v], v < SMALL_VOCAB ? (r + v) % 7 : 90, 0);
    REQUIRE_OK(distill_trainer_create(s.env, s.teacher, s.student, s.train, NULL, s.options, &s.trainer, &err));
    CHECK_OK(distill_trainer_step(s.trainer, &progress, &err));
    CHECK(progress.loss > 0 && progress.loss < 20); /* 90 nats away if padding counted */
    small_close(&s);
}

TEST_MAIN(TEST_CASE(padding_is_nothing) TEST_CASE(form_with_padding))
