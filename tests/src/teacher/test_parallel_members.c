/* Passes of members one after another and side by side: the same bits, on the env's threads and on the process's, and
 * callbacks stay in the thread that asked. */
#include <math.h>
#include <pthread.h>

#include "model_fixture.h"
#include "teacher/teacher_parts.h"

enum { SAMPLES = 3, ROWS = 12 };

static int32_t some_ids[15] = {1, 5, 9, 3, 28, 0, 7, 1, 2, 4, 6, 1, 11, 13, 17};
static int64_t some_offsets[SAMPLES + 1] = {0, 7, 11, 15};
static const char *const sources[SAMPLES] = {"a", "b", "voice"};

typedef struct voice {
    pthread_t asker;
    int64_t calls, elsewhere; /* elsewhere: in another thread than asker */
} voice;

static int32_t speak(void *user, const distill_batch *batch, int64_t first, int64_t count, distill_target *out)
{
    voice *v = user;
    const int64_t stride = out->values->strides ? out->values->strides[0] : TINY_VOCAB;
    (void)batch;
    v->calls++;
    v->elsewhere += !pthread_equal(pthread_self(), v->asker);
    for (int64_t r = 0; r < count; r++)
        for (int64_t i = 0; i < TINY_VOCAB; i++)
            ((float *)out->values->data)[r * stride + i] = (float)((first + r) * i % 7) / 3;
    return DISTILL_CB_OK;
}

/* The teacher is the model's only user, and frees it. */
static void keep(void *model) { (void)model; }
static void drop(void *model) { dk_model_free(model); }

static di_teacher *open_model(fixture *f, uint64_t seed)
{
    dk_document *config = NULL;
    dk_model *model = NULL;
    di_teacher *teacher = NULL;
    if (dk_json_open(f->host, f->config, &config, NULL) ||
        dk_model_create(f->backend, config, 0.4, seed, &model, NULL) ||
        di_teacher_from_model(f->backend, model, NULL, model, keep, drop, &teacher, NULL))
        exit(3);
    dk_document_free(config);
    return teacher;
}

/* ---- the process's loop: two threads, each a half ---- */

typedef struct half {
    dk_body_fn body;
    void *context;
    int64_t begin, end;
} half;

static void *run_half(void *user)
{
    half *h = user;
    if (h->begin < h->end) h->body(h->context, h->begin, h->end);
    return NULL;
}

static int32_t in_halves(void *user, int64_t n, dk_body_fn body, void *context)
{
    half first = {body, context, 0, n / 2}, second = {body, context, n / 2, n};
    pthread_t thread;
    atomic_fetch_add((atomic_int *)user, 1);
    if (pthread_create(&thread, NULL, run_half, &first)) return 7;
    run_half(&second);
    pthread_join(thread, NULL);
    return 0;
}

enum { BLEND, ROUTE, PROMPTS, KINDS };

static di_teacher *put_together(fixture *f, int kind, di_teacher *const *parts, int64_t count, int32_t parallel)
{
    static const char *const names[] = {"a", "b", "voice"};
    const di_blend_settings how = {.mode = DI_BLEND_LINEAR, .softness = 1, .parallel = parallel};
    const di_route_settings by = {
        .by = kind == PROMPTS ? DI_ROUTE_PROMPT_PERPLEXITY : DI_ROUTE_SOURCE, .other = "a", .parallel = parallel};
    di_blend_member members[3];
    di_teacher *teacher = NULL;
    dk_error err;
    for (int64_t i = 0; i < count; i++) members[i] = (di_blend_member){parts[i], names[i], 0, 1 + (double)i};
    if (kind == BLEND ? di_teacher_blend(f->backend, members, count, &how, &teacher, &err)
                      : di_teacher_route(f->backend, members, count, &by, &teacher, &err)) {
        FAIL("%s", err.message);
        exit(3);
    }
    return teacher;
}

static void score_into(di_teacher *teacher, float *out)
{
    distill_batch batch;
    dk_error err;
    DISTILL_INIT(&batch);
    batch.ids = some_ids;
    batch.offsets = some_offsets;
    batch.sequences = SAMPLES;
    batch.sources = sources;
    CHECK_OK(score_with(teacher, &batch, out, &err));
}

/* inner: a blend of the two models takes the place of the first. */
static void check_same(fixture *f, int kind, int32_t inner, int32_t flags)
{
    static float in_turn[ROWS * TINY_VOCAB], together[ROWS * TINY_VOCAB];
    voice v = {.asker = pthread_self()};
    di_teacher *parts[3] = {open_model(f, 3), open_model(f, 4), fixture_voice(f, speak, &v, (uint32_t)flags)};
    for (int32_t parallel = 0; parallel < 2; parallel++) {
        di_teacher *nested = put_together(f, BLEND, parts, 2, parallel);
        di_teacher *all[3] = {inner ? nested : parts[0], parts[1], parts[2]};
        di_teacher *whole = put_together(f, kind, all, 3, parallel);
        memset(parallel ? together : in_turn, 0, sizeof in_turn);
        score_into(whole, parallel ? together : in_turn);
        di_teacher_release(whole);
        di_teacher_release(nested);
    }
    CHECK(!memcmp(in_turn, together, sizeof in_turn));
    CHECK(isfinite(in_turn[0]) && in_turn[0] != 0);
    CHECK(v.calls > 0 || kind == PROMPTS);
    CHECK_INT(v.elsewhere, 0);
    for (int i = 0; i < 3; i++) di_teacher_release(parts[i]);
}

static void check_all(fixture *f)
{
    for (int kind = 0; kind < KINDS; kind++)
        for (int32_t inner = 0; inner < 2; inner++) {
            check_same(f, kind, inner, 0);
            check_same(f, kind, inner, DISTILL_CB_MT);
        }
}

TEST(own_threads)
{
    fixture f;
    open_fixture(&f, "parallel_members");
    if (dk_host_set_threads(f.host, 3, NULL, NULL, NULL, NULL)) exit(3);
    check_all(&f);
    close_fixture(&f);
}

TEST(threads_of_the_process)
{
    atomic_int loops = 0;
    fixture f;
    open_fixture(&f, "parallel_members");
    if (dk_host_set_threads(f.host, 2, in_halves, &loops, NULL, NULL)) exit(3);
    check_all(&f);
    CHECK(atomic_load(&loops) > 0);
    close_fixture(&f);
}

static int32_t refuse(void *user, int64_t n, dk_body_fn body, void *context)
{
    (void)user, (void)n, (void)body, (void)context;
    return 5;
}

/* A loop of the process's that fails is an error of the batch, not a wrong row. */
TEST(loop_that_fails)
{
    static float out[ROWS * TINY_VOCAB];
    distill_batch batch;
    fixture f;
    dk_error err;
    open_fixture(&f, "parallel_members");
    if (dk_host_set_threads(f.host, 2, refuse, NULL, NULL, NULL)) exit(3);
    di_teacher *parts[2] = {open_model(&f, 3), open_model(&f, 4)}, *whole = put_together(&f, BLEND, parts, 2, 1);
    DISTILL_INIT(&batch);
    batch.ids = some_ids;
    batch.offsets = some_offsets;
    batch.sequences = SAMPLES;
    CHECK_INT(score_with(whole, &batch, out, &err), DK_E_CALLBACK);
    CHECK_HAS(err.message, "failed with code 5");
    di_teacher_release(whole);
    for (int i = 0; i < 2; i++) di_teacher_release(parts[i]);
    close_fixture(&f);
}

/* A blend of one is that teacher: whoever else holds it goes on as before. */
TEST(handle_of_others)
{
    fixture f;
    open_fixture(&f, "parallel_members");
    di_teacher *parts[2] = {open_model(&f, 3), open_model(&f, 4)}, *inner = put_together(&f, BLEND, parts, 2, 0);
    di_teacher *alone = put_together(&f, BLEND, &inner, 1, 1), *two = put_together(&f, BLEND, parts, 2, 1);
    CHECK(alone == inner);
    CHECK_INT(inner->parallel, 0);
    CHECK_INT(two->parallel, 1);
    di_teacher_release(two);
    di_teacher_release(alone);
    di_teacher_release(inner);
    for (int i = 0; i < 2; i++) di_teacher_release(parts[i]);
    close_fixture(&f);
}

TEST_MAIN(TEST_CASE(own_threads) TEST_CASE(threads_of_the_process) TEST_CASE(loop_that_fails)
              TEST_CASE(handle_of_others))
