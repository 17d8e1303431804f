/* callback_teacher.c - a teacher that is a few lines of C: bigram counts of the text itself, smoothed. Any model,
 * server or table can stand in its place.  Usage: callback_teacher MODEL TEXT [STEPS]  (MODEL gives the student and the
 *                                          tokenizer) */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <distill.h>

typedef struct bigram {
    float *log_p; /* [vocab, vocab] */
    int64_t vocab;
} bigram;

static int32_t score(void *user, const distill_batch *batch, int64_t first_row, int64_t row_count, distill_target *out)
{
    const bigram *b = user;
    int64_t stride = out->values->strides ? out->values->strides[0] : b->vocab;
    for (int64_t r = 0; r < row_count; r++) {
        int32_t id = batch->ids[batch->rows[first_row + r]];
        memcpy((float *)out->values->data + r * stride, b->log_p + (int64_t)id * b->vocab,
               (size_t)b->vocab * sizeof(float));
    }
    return DISTILL_CB_OK;
}

static void release(void *user)
{
    bigram *b = user;
    free(b->log_p);
    free(b);
}

static bigram *count_pairs(const int32_t *ids, int64_t count, int64_t vocab)
{
    bigram *b = calloc(1, sizeof *b);
    if (!b || !(b->log_p = malloc((size_t)(vocab * vocab) * sizeof(float)))) return free(b), NULL;
    b->vocab = vocab;
    for (int64_t i = 0; i < vocab * vocab; i++) b->log_p[i] = 0.01f;
    for (int64_t i = 0; i + 1 < count; i++) b->log_p[(int64_t)ids[i] * vocab + ids[i + 1]] += 1;
    for (int64_t row = 0; row < vocab; row++) {
        double sum = 0;
        for (int64_t v = 0; v < vocab; v++) sum += (double)b->log_p[row * vocab + v];
        for (int64_t v = 0; v < vocab; v++)
            b->log_p[row * vocab + v] = (float)log((double)b->log_p[row * vocab + v] / sum);
    }
    return b;
}

static char *read_text(const char *path, size_t limit, size_t *size)
{
    FILE *file = fopen(path, "rb");
    char *text = malloc(limit);
    *size = file && text ? fread(text, 1, limit, file) : 0;
    if (file) fclose(file);
    return text;
}

static int32_t make_teacher(distill_env *env, const distill_tokenizer *tokenizer, const char *path, int64_t vocab,
                            distill_teacher **out, distill_error *err)
{
    size_t size;
    char *text = read_text(path, 200000, &size);
    int32_t *ids = malloc((size + 1) * sizeof *ids);
    int64_t count = 0, shape[2] = {1, vocab};
    distill_tensor values = {NULL, DISTILL_CPU, 0, 2, DISTILL_FLOAT, 32, 1, shape, NULL, 0};
    distill_target form;
    distill_teacher_callbacks table;
    int32_t rc = text && ids ? distill_tokenizer_encode(tokenizer, text, size, 0, ids, (int64_t)size + 1, &count, err)
                             : DISTILL_E_NOMEM;
    DISTILL_INIT(&form);
    DISTILL_INIT(&table);
    form.kind = DISTILL_DENSE;
    form.values = &values;
    table.score = score;
    table.form = &form;
    if (!rc && !(table.user = count_pairs(ids, count, vocab))) rc = DISTILL_E_NOMEM;
    table.destroy = release; /* from now on the library frees it, also when the next call fails */
    if (!rc) rc = distill_teacher_from_callbacks(env, &table, NULL, out, err);
    free(ids);
    free(text);
    return rc;
}

static int32_t on_progress(void *user, const distill_progress *p)
{
    (void)user;
    if (p->phase == DISTILL_PHASE_TRAINING && p->step % 5 == 0)
        printf("step %lld: KL to the bigram %.5f\n", (long long)p->step, p->loss);
    return DISTILL_CB_OK;
}

int main(int argc, char **argv)
{
    static const char recipe[] =
        "data: {sequence_length: 64}\ntrain: {batch_size: 4, learning_rate: 1.0e-3, warmup_steps: 2}\n";
    distill_error err;
    distill_env *env = NULL;
    distill_options *options = NULL;
    distill_tokenizer *tokenizer = NULL;
    distill_teacher *model = NULL, *teacher = NULL;
    distill_trainer *trainer = NULL;
    int64_t vocab = 0;
    if (argc < 3) return fprintf(stderr, "usage: callback_teacher MODEL TEXT [STEPS]\n"), 2;
    int32_t rc = distill_env_create(NULL, &env, &err);
    if (!rc) rc = distill_options_create(env, &options, &err);
    if (!rc) rc = distill_options_parse(options, recipe, sizeof recipe - 1, "callback_teacher", &err);
    if (!rc) rc = distill_options_set_str(options, "student.path", argv[1], &err);
    if (!rc) rc = distill_options_set_str(options, "data.train", argv[2], &err);
    if (!rc) rc = distill_options_set_i64(options, "train.steps", argc > 3 ? atol(argv[3]) : 20, &err);
    if (!rc) rc = distill_teacher_open(env, argv[1], options, &model, &err);
    if (!rc) rc = distill_teacher_get_i64(model, "vocab_size", &vocab, &err);
    if (!rc) rc = distill_teacher_tokenizer(model, &tokenizer, &err);
    if (!rc) rc = make_teacher(env, tokenizer, argv[2], vocab, &teacher, &err);
    if (!rc) rc = distill_trainer_create(env, teacher, NULL, NULL, NULL, options, &trainer, &err);
    if (!rc) rc = distill_trainer_on_progress(trainer, on_progress, NULL, NULL, &err);
    if (!rc) rc = distill_trainer_run(trainer, &err);
    if (rc) fprintf(stderr, "%s\n", err.message);
    distill_trainer_free(trainer);
    distill_teacher_free(teacher);
    distill_teacher_free(model);
    distill_tokenizer_free(tokenizer);
    distill_options_free(options);
    distill_env_free(env);
    return rc != 0;
}
