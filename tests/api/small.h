/* small.h - a tiny teacher, student and data set for tests of the whole library: models of 64 ids and a few blocks of
 * 32. */
#ifndef TESTS_API_SMALL_H
#define TESTS_API_SMALL_H

#include <stdarg.h>
#include <sys/stat.h>

#include "distill.h"
#include "test.h"

enum { SMALL_VOCAB = 64, SMALL_LENGTH = 17, SMALL_SEQUENCES = 40, SMALL_EVAL = 6 };

#define SMALL_BASE                               \
    "data: {sequence_length: 17, pack: false}\n" \
    "train: {steps: 6, batch_size: 4, micro_batch_size: 2, learning_rate: 0.01, log_every: 1}\n"

typedef struct small {
    distill_env *env;
    distill_options *options;
    distill_teacher *teacher;
    distill_student *student;
    distill_dataset *train, *eval;
    distill_trainer *trainer;
} small;

static char small_folder[512]; /* of the test program: config.json files and the teacher */

static inline uint32_t small_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Mostly a fixed walk through the ids, with noise: there is something to learn. */
static inline void small_ids(int32_t *ids, int64_t count, uint32_t seed)
{
    uint32_t state = seed * 2654435761u + 1;
    ids[0] = (int32_t)(small_random(&state) % SMALL_VOCAB);
    for (int64_t i = 1; i < count; i++)
        ids[i] =
            (int32_t)((small_random(&state) % 4 ? (uint32_t)ids[i - 1] * 5 + 3 : small_random(&state)) % SMALL_VOCAB);
}

static inline int32_t small_dataset_seeded(small *s, int64_t sequences, uint32_t seed, distill_dataset **out,
                                           distill_error *err)
{
    int32_t ids[SMALL_SEQUENCES * SMALL_LENGTH];
    int64_t offsets[SMALL_SEQUENCES + 1];
    distill_batch batch;
    for (int64_t i = 0; i <= sequences; i++) offsets[i] = i * SMALL_LENGTH;
    for (int64_t i = 0; i < sequences; i++) small_ids(ids + offsets[i], SMALL_LENGTH, seed + (uint32_t)i);
    DISTILL_INIT(&batch);
    batch.ids = ids;
    batch.offsets = offsets;
    batch.sequences = sequences;
    return distill_dataset_from_tokens(s->env, &batch, s->options, out, err);
}

static inline int small_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    return file && fputs(text, file) >= 0 && fclose(file) == 0;
}

static inline int small_config(const char *name, int layers)
{
    char text[700];
    snprintf(
        text, sizeof text,
        "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"vocab_size\":64,\"hidden_size\":32,"
        "\"intermediate_size\":64,"
        "\"num_hidden_layers\":%d,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"max_position_embeddings\":64,"
        "\"rms_norm_eps\":1e-5,\"rope_theta\":10000.0,\"hidden_act\":\"silu\",\"tie_word_embeddings\":false}\n",
        layers);
    return small_write(test_path(small_folder, name), text);
}

static inline int32_t small_env(small *s, const distill_allocator *allocator, const char *yaml, distill_error *err)
{
    int32_t rc = distill_env_create(allocator, &s->env, err);
    if (!rc) rc = distill_env_set_threads(s->env, 1, NULL, NULL, NULL, err);
    if (!rc && getenv("TEST_PRODUCTS")) rc = distill_env_set_products(s->env, getenv("TEST_PRODUCTS"), err);
    if (!rc) rc = distill_options_create(s->env, &s->options, err);
    if (!rc) rc = distill_options_parse(s->options, SMALL_BASE, strlen(SMALL_BASE), "base", err);
    if (!rc && yaml) rc = distill_options_parse(s->options, yaml, strlen(yaml), "test", err);
    return rc;
}

/* 0 = a build that forms products by CBLAS alone. */
static inline int small_own_products(void)
{
    distill_env *env = NULL;
    int has = !distill_env_create(NULL, &env, NULL) && !distill_env_set_products(env, "portable", NULL);
    distill_env_free(env);
    return has;
}

static inline void small_close(small *s)
{
    distill_trainer_free(s->trainer);
    distill_dataset_free(s->eval);
    distill_dataset_free(s->train);
    distill_student_free(s->student);
    distill_teacher_free(s->teacher);
    distill_options_free(s->options);
    distill_env_free(s->env);
    memset(s, 0, sizeof *s);
}

/* The folder of this program with student.json and teacher/, made at the first call. */
static inline int small_models(const char *program)
{
    small s = {0};
    distill_error err;
    const char *folder;
    if (*small_folder) return 1;
    if (!(folder = test_folder(program))) return 0;
    snprintf(small_folder, sizeof small_folder, "%.500s", folder);
    int32_t rc = !(small_config("student.json", 2) && small_config("teacher.json", 3));
    if (!rc) rc = small_env(&s, NULL, "student: {init_std: 0.3}\ntrain: {seed: 7}\n", &err);
    if (!rc)
        rc = distill_student_create(s.env, test_path(small_folder, "teacher.json"), NULL, s.options, &s.student, &err);
    if (!rc) rc = distill_student_save(s.student, test_path(small_folder, "teacher"), s.options, &err);
    if (rc) FAIL("the small models: %d %s", rc, err.message);
    small_close(&s);
    return !rc;
}

/* What a trainer brings together, for an env that is there. */
static inline int32_t small_handles(small *s, distill_error *err)
{
    int32_t rc = distill_teacher_open(s->env, test_path(small_folder, "teacher"), s->options, &s->teacher, err);
    if (!rc)
        rc =
            distill_student_create(s->env, test_path(small_folder, "student.json"), NULL, s->options, &s->student, err);
    if (!rc) rc = small_dataset_seeded(s, SMALL_SEQUENCES, 100, &s->train, err);
    if (!rc) rc = small_dataset_seeded(s, SMALL_EVAL, 900, &s->eval, err);
    return rc;
}

/* All but the trainer. */
static inline int32_t small_parts(small *s, const distill_allocator *allocator, const char *yaml, distill_error *err)
{
    memset(s, 0, sizeof *s);
    int32_t rc = small_env(s, allocator, yaml, err);
    return rc ? rc : small_handles(s, err);
}

static inline int32_t small_open(small *s, const char *yaml, distill_error *err)
{
    int32_t rc = small_parts(s, NULL, yaml, err);
    if (!rc)
        rc = distill_trainer_create(s->env, s->teacher, s->student, s->train, s->eval, s->options, &s->trainer, err);
    return rc;
}

/* printf into one of four rotating buffers. */
static inline const char *small_text(const char *format, ...)
{
    static char buffers[4][2048];
    static int next;
    char *out = buffers[next++ % 4];
    va_list list;
    va_start(list, format);
    vsnprintf(out, sizeof buffers[0], format, list);
    va_end(list);
    return out;
}

static inline int64_t small_elements(const distill_tensor *t)
{
    int64_t count = 1;
    for (int32_t i = 0; i < t->ndim; i++) count *= t->shape[i];
    return count;
}

/* Largest difference of two students' weights; -1 where they differ in shape. */
static inline double small_distance(distill_student *a, distill_student *b)
{
    double worst = 0;
    const char *name;
    for (int64_t i = 0; (name = distill_student_parameter_name(a, i)); i++) {
        distill_tensor x, y;
        if (distill_student_parameter(a, name, DISTILL_WEIGHT, &x, NULL) ||
            distill_student_parameter(b, name, DISTILL_WEIGHT, &y, NULL))
            return -1;
        if (small_elements(&x) != small_elements(&y)) return -1;
        for (int64_t k = 0; k < small_elements(&x); k++)
            worst = test_worst(worst, fabs((double)((const float *)x.data)[k] - ((const float *)y.data)[k]));
    }
    return worst;
}

static inline int small_same_bits(distill_student *a, distill_student *b)
{
    const char *name;
    for (int64_t i = 0; (name = distill_student_parameter_name(a, i)); i++) {
        distill_tensor x, y;
        if (distill_student_parameter(a, name, DISTILL_WEIGHT, &x, NULL) ||
            distill_student_parameter(b, name, DISTILL_WEIGHT, &y, NULL))
            return 0;
        if (small_elements(&x) != small_elements(&y) ||
            memcmp(x.data, y.data, sizeof(float) * (size_t)small_elements(&x)) != 0)
            return 0;
    }
    return 1;
}

/* The whole file with a NUL, freed by the caller; NULL where there is none. */
static inline char *small_read(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    size_t used = 0;
    if (!file) return NULL;
    for (size_t cap = 1 << 16;; cap *= 2) {
        char *more = realloc(text, cap + 1);
        if (!more) break;
        text = more;
        used += fread(text + used, 1, cap - used, file);
        if (used < cap) break;
    }
    fclose(file);
    if (text) text[used] = '\0';
    if (size) *size = used;
    return text;
}

static inline int small_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

#endif
