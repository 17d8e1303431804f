/* model_fixture.h - a tiny model of our own in a folder, for tests of teachers and students. */
#ifndef TESTS_TEACHER_MODEL_FIXTURE_H
#define TESTS_TEACHER_MODEL_FIXTURE_H

#include "base/file.h"
#include "hidden_memory.h"
#include "teacher/teacher.h"
#include "test.h"

enum { TINY_VOCAB = 29, TINY_WIDTH = 16, TINY_LAYERS = 5 };

typedef struct fixture {
    dk_host *host;
    dk_backend *backend;
    di_options *options;
    dk_error err;
    char config[512], folder[512];
} fixture;

static inline void put_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    if (!file || fputs(text, file) < 0 || fclose(file)) exit(3);
}

/* Every file has a folder of its own below TEST_TMP. */
static inline void open_fixture(fixture *f, const char *name)
{
    char text[512];
    memset(f, 0, sizeof *f);
    if (dk_host_create(NULL, &f->host, &f->err) || dk_backend_cpu(f->host, &f->backend, &f->err) ||
        di_options_create(f->host, &f->options, &f->err))
        exit(3);
    if (getenv("TEST_HIDDEN_MEMORY")) hide_memory(f->backend);
    snprintf(f->folder, sizeof f->folder, "%s/%s", TEST_TMP, name);
    if (dk_dir_remove(f->host, f->folder, &f->err) || dk_dir_create(f->host, f->folder, &f->err)) {
        fprintf(stderr, "%s\n", f->err.message);
        exit(3);
    }
    snprintf(f->config, sizeof f->config, "%s/%s/config.json", TEST_TMP, name);
    snprintf(text, sizeof text,
             "{\"model_type\": \"llama\", \"vocab_size\": %d, \"hidden_size\": %d, \"num_hidden_layers\": %d, "
             "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, "
             "\"intermediate_size\": 24, \"max_position_embeddings\": 64, \"rms_norm_eps\": 1e-5, \"rope_theta\": "
             "10000.0, \"tie_word_embeddings\": true, "
             "\"hidden_act\": \"silu\", \"bos_token_id\": 1, \"eos_token_id\": 2}",
             TINY_VOCAB, TINY_WIDTH, TINY_LAYERS);
    put_text(f->config, text);
    if (di_options_set(f->options, "student.init_std", "0.4", &f->err)) exit(3);
}

static inline void close_fixture(fixture *f)
{
    dk_dir_remove(f->host, f->folder, NULL);
    di_options_free(f->options);
    dk_backend_free(f->backend);
    dk_host_release(f->host);
}

static inline dk_model *fresh_model(fixture *f)
{
    dk_document *config = NULL;
    dk_model *model = NULL;
    if (dk_json_open(f->host, f->config, &config, &f->err) ||
        dk_model_create(f->backend, config, 0.4, 3, &model, &f->err)) {
        FAIL("%s", f->err.message);
        exit(3);
    }
    dk_document_free(config);
    return model;
}

static int32_t tiny_ids[11] = {1, 5, 9, 3, 28, 0, 7, 1, 2, 4, 6};
static int64_t tiny_offsets[3] = {0, 7, 11};

static inline distill_batch tiny_batch(void)
{
    distill_batch batch;
    DISTILL_INIT(&batch);
    batch.ids = tiny_ids;
    batch.offsets = tiny_offsets;
    batch.sequences = 2;
    return batch;
}

/* Of bytes, characters and two words; the last token is of the test's choice. */
static inline int32_t tiny_tokenizer_ending(fixture *f, const char *last, dk_tokenizer **out, dk_error *err)
{
    static const char *const tokens[TINY_VOCAB] = {"<unk>",
                                                   "<s>",
                                                   "</s>",
                                                   "<0xE2>",
                                                   "<0x82>",
                                                   "<0xAC>",
                                                   "<0xC3>",
                                                   "<0xA9>",
                                                   "\xe2\x96\x81",
                                                   "\xe2\x96\x81the",
                                                   "a",
                                                   "b",
                                                   "\xc3\xa9",
                                                   "\xe2\x82\xac",
                                                   "\xe2\x96\x81is",
                                                   "c",
                                                   "d",
                                                   "e",
                                                   "f",
                                                   "g",
                                                   "h",
                                                   "i",
                                                   "j",
                                                   "k",
                                                   "l",
                                                   "m",
                                                   "n",
                                                   "o"};
    static const int32_t types[TINY_VOCAB] = {2, 3, 3, 6, 6, 6, 6, 6};
    static int32_t kinds[TINY_VOCAB];
    static float scores[TINY_VOCAB];
    dk_slice slices[TINY_VOCAB];
    dk_vocabulary vocabulary;
    dk_vocabulary_init(&vocabulary);
    for (int i = 0; i < TINY_VOCAB; i++) {
        const char *token = i < TINY_VOCAB - 1 ? tokens[i] : last;
        slices[i] = (dk_slice){token, strlen(token)};
        kinds[i] = types[i] ? types[i] : 1;
        scores[i] = (float)-i;
    }
    vocabulary.kind = DK_VOCABULARY_SPM;
    vocabulary.tokens = slices;
    vocabulary.scores = scores;
    vocabulary.types = kinds;
    vocabulary.count = TINY_VOCAB;
    vocabulary.bos = 1;
    vocabulary.eos = 2;
    vocabulary.unk = 0;
    return dk_tokenizer_from_vocabulary(f->host, &vocabulary, out, err);
}

static inline int32_t tiny_tokenizer(fixture *f, dk_tokenizer **out, dk_error *err)
{
    return tiny_tokenizer_ending(f, "p", out, err);
}

/* Logits of a batch's rows, [rows, TINY_VOCAB]. */
static inline int32_t score_with(di_teacher *teacher, const distill_batch *batch, float *logits, dk_error *err)
{
    int64_t shape[2] = {di_batch_rows(batch), TINY_VOCAB};
    distill_tensor values = di_tensor_of(logits, DISTILL_FLOAT, 32, 2, shape);
    distill_target out;
    DISTILL_INIT(&out);
    out.kind = DISTILL_DENSE;
    out.values = &values;
    return di_teacher_score(teacher, batch, &out, err);
}

/* A host's function that gives logits. */
static inline di_teacher *fixture_voice(fixture *f,
                                        int32_t (*score)(void *user, const distill_batch *batch, int64_t first,
                                                         int64_t count, distill_target *out),
                                        void *user, uint32_t flags)
{
    int64_t shape[1] = {TINY_VOCAB};
    distill_tensor values = di_tensor_of(NULL, DISTILL_FLOAT, 32, 1, shape);
    distill_target form;
    distill_teacher_callbacks table;
    di_teacher *teacher = NULL;
    DISTILL_INIT(&form);
    DISTILL_INIT(&table);
    form.kind = DISTILL_DENSE;
    form.values = &values;
    table.user = user;
    table.score = score;
    table.form = &form;
    table.flags = flags;
    if (di_teacher_from_callbacks(f->backend, &table, NULL, &teacher, NULL)) exit(3);
    return teacher;
}

#endif
