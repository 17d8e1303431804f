/* bench_blend: what blending costs beyond its members: processor time of a blend's rows over the sum of its members'.
 * Not a test: prints numbers and always succeeds. Set OPENBLAS_NUM_THREADS=1, or the products' threads are counted,
 * too. argv[1] = one vocabulary instead of two; or
 * "parallel": what teacher.parallel gives. */
#include <stdio.h>
#include <stdlib.h>

#include "bench_time.h"
#include "base/clock.h"
#include "base/file.h"
#include "teacher/teacher.h"

enum { TOKENS = 512, MEMBERS = 3, TIMES = 4, STRIP = 256 };

typedef struct bench {
    dk_host *host;
    dk_backend *backend;
    di_teacher *members[MEMBERS];
    int64_t vocab;
    int32_t ids[TOKENS];
    int64_t offsets[3];
    dk_buffer *strip;
} bench;

static void open_members(bench *b, int64_t vocab, int64_t width)
{
    char text[512];
    dk_document *config = NULL;
    dk_model *model = NULL;
    dk_error err;
    snprintf(text, sizeof text,
             "{\"model_type\": \"llama\", \"vocab_size\": %lld, \"hidden_size\": %lld, \"num_hidden_layers\": 8, "
             "\"num_attention_heads\": 8, \"num_key_value_heads\": 8, \"intermediate_size\": %lld, "
             "\"max_position_embeddings\": 1024, \"rms_norm_eps\": 1e-5, \"rope_theta\": 10000.0, "
             "\"tie_word_embeddings\": true, \"hidden_act\": \"silu\", \"bos_token_id\": 1, \"eos_token_id\": 2}",
             (long long)vocab, (long long)width, (long long)(width * 11 / 4));
    if (dk_json_parse(b->host, text, strlen(text), "config", &config, &err)) give_up(&err);
    for (uint64_t i = 0; i < MEMBERS; i++)
        if (dk_model_create(b->backend, config, 0.02, i + 1, &model, &err) ||
            di_teacher_from_model(b->backend, model, NULL, NULL, NULL, NULL, &b->members[i], &err))
            give_up(&err);
    dk_document_free(config);
    b->vocab = vocab;
    for (int64_t i = 0; i < TOKENS; i++) b->ids[i] = (int32_t)(i * 7919 % vocab);
    b->offsets[1] = TOKENS / 2;
    b->offsets[2] = TOKENS;
    if (b->backend->ops->buffer_create(b->backend, STRIP * vocab * (int64_t)sizeof(float), &b->strip, &err))
        give_up(&err);
}

static di_session *open_session(di_teacher *teacher)
{
    di_session *session = NULL;
    dk_error err;
    if (di_session_create(teacher, TOKENS, 2, TOKENS, &session, &err)) give_up(&err);
    return session;
}

/* All rows of the batch, as a loss asks for them. */
static double seconds_of(const bench *b, di_session *session, double temperature)
{
    const di_source *source = di_session_source(session);
    const distill_target *none = NULL;
    distill_batch batch;
    dk_error err;
    int32_t rc;
    DISTILL_INIT(&batch);
    batch.ids = b->ids;
    batch.offsets = b->offsets;
    batch.sequences = 2;
    const int64_t rows = di_batch_rows(&batch);
    const double begin = cpu_seconds();
    if (di_session_forward(session, &batch, &err)) give_up(&err);
    for (int64_t first = 0; first < rows; first += STRIP) {
        const int64_t count = rows - first < STRIP ? rows - first : STRIP;
        const dk_view strip = dk_view_2d(b->strip, 0, DK_F32, count, b->vocab);
        rc = source->rows_at ? source->rows_at(source->self, first, count, 1, &temperature, &strip, &err)
                             : source->rows(source->self, first, count, strip, &none, &err);
        if (rc) give_up(&err);
    }
    di_session_drop(session);
    return cpu_seconds() - begin;
}

/* Turn by turn, so that what else the machine does falls on both; of each the least. */
static void measure(const bench *b, const char *name, di_blend_settings how, int64_t count, double temperature)
{
    static const char *const names[MEMBERS] = {"a", "b", "c"};
    di_blend_member members[MEMBERS];
    di_session *alone[MEMBERS], *together;
    di_teacher *blend = NULL;
    double least[MEMBERS], least_together = 1e9, sum = 0;
    dk_error err;
    for (int64_t i = 0; i < count; i++) {
        members[i] = (di_blend_member){b->members[i], names[i], 0, 0};
        alone[i] = open_session(b->members[i]);
        least[i] = 1e9;
    }
    if (di_teacher_blend(b->backend, members, count, &how, &blend, &err)) give_up(&err);
    together = open_session(blend);
    for (int64_t turn = 0; turn < TIMES; turn++) {
        for (int64_t i = 0; i < count; i++) {
            const double seconds = seconds_of(b, alone[i], temperature);
            if (seconds < least[i]) least[i] = seconds;
        }
        const double seconds = seconds_of(b, together, temperature);
        if (seconds < least_together) least_together = seconds;
    }
    for (int64_t i = 0; i < count; i++) sum += least[i];
    printf("%-24s k=%lld T=%-3g vocab %6lld: members %7.1f ms, blend %7.1f ms, %+5.1f %%, %5.2f ns/logit and member\n",
           name, (long long)count, temperature, (long long)b->vocab, 1e3 * sum, 1e3 * least_together,
           100 * (least_together / sum - 1),
           1e9 * (least_together - sum) / ((double)(TOKENS - 2) * (double)b->vocab * (double)count));
    di_session_free(together);
    for (int64_t i = 0; i < count; i++) di_session_free(alone[i]);
    di_teacher_release(blend);
}

static void measure_all(int64_t vocab)
{
    static const di_blend_settings linear = {.softness = 1}, product = {.mode = DI_BLEND_LOG_LINEAR, .softness = 1},
                                   weighed = {.weighting = DI_WEIGH_ENTROPY, .softness = 1},
                                   surest = {.mode = DI_BLEND_MAX_CONFIDENCE, .softness = 1};
    bench b = {0};
    dk_error err;
    if (dk_host_create(NULL, &b.host, &err) || dk_host_set_threads(b.host, 1, NULL, NULL, NULL, &err) ||
        dk_backend_cpu(b.host, &b.backend, &err))
        give_up(&err);
    open_members(&b, vocab, 512);
    measure(&b, "linear", linear, 2, 1);
    measure(&b, "log_linear", product, 2, 1);
    measure(&b, "linear, by entropy", weighed, 2, 1);
    measure(&b, "linear", linear, 3, 1);
    measure(&b, "linear", linear, 2, 2);
    measure(&b, "max_confidence", surest, 2, 1);
}

/* Two threads, two small models: how long a batch of a blend takes with passes one after another and side by side. */
static void measure_parallel(int64_t width)
{
    di_blend_settings linear = {.softness = 1};
    bench b = {0};
    dk_error err;
    di_session *sessions[2];
    double least[2] = {1e9, 1e9};
    if (dk_host_create(NULL, &b.host, &err) || dk_host_set_threads(b.host, 2, NULL, NULL, NULL, &err) ||
        dk_backend_cpu(b.host, &b.backend, &err))
        give_up(&err);
    open_members(&b, 2048, width);
    const di_blend_member members[2] = {{b.members[0], "a", 0, 0}, {b.members[1], "b", 0, 0}};
    for (int i = 0; i < 2; i++) {
        di_teacher *blend = NULL;
        linear.parallel = i;
        if (di_teacher_blend(b.backend, members, 2, &linear, &blend, &err)) give_up(&err);
        sessions[i] = open_session(blend);
        di_teacher_release(blend);
    }
    for (int turn = 0; turn < 20 * TIMES; turn++)
        for (int i = 0; i < 2; i++) {
            const double begin = dk_seconds();
            seconds_of(&b, sessions[i], 1);
            if (dk_seconds() - begin < least[i]) least[i] = dk_seconds() - begin;
        }
    printf("2 threads, k=2, width %4lld, vocab 2048: in turn %6.2f ms, side by side %6.2f ms, %.2f times as fast\n",
           (long long)width, 1e3 * least[0], 1e3 * least[1], least[0] / least[1]);
    for (int i = 0; i < 2; i++) di_session_free(sessions[i]);
}

int main(int argc, char **argv)
{
    for (int64_t width = 32; argc > 1 && !strcmp(argv[1], "parallel") && width <= 256; width *= 2)
        measure_parallel(width);
    if (argc > 1 && !strcmp(argv[1], "parallel")) return 0;
    if (argc > 1) measure_all(atoi(argv[1]));
    for (int64_t vocab = 8192; argc < 2 && vocab <= 32768; vocab *= 4) measure_all(vocab);
    return 0;
}
