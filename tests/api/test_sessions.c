/* Sessions through the public functions: arguments, callbacks, structs of older hosts, other threads. */
#include <pthread.h>

#include "small.h"

static const char *const section = "generate: {max_tokens: 12, seed: 4}";

static int32_t open_session(small *s, const char *yaml, distill_session **out, distill_error *err)
{
    distill_options *options = NULL;
    int32_t rc = distill_options_create(s->env, &options, err);
    if (!rc) rc = distill_options_parse(options, yaml, strlen(yaml), "test", err);
    if (!rc) rc = distill_session_create(s->teacher, NULL, options, out, err);
    distill_options_free(options);
    return rc;
}

static const int32_t prompt[5] = {3, 18, 29, 20, 39};

typedef struct heard {
    int32_t ids[64];
    int64_t count;
    int32_t stop_at, code, finished;
    const distill_session *session;
    int32_t reentrant;
} heard;

static int32_t hear(void *user, int64_t sequence, int32_t id, double log_prob, const char *text, size_t size,
                    int32_t finished)
{
    heard *h = user;
    distill_session_stats stats;
    int64_t needed = 0;
    (void)text, (void)size;
    if (!CHECK(sequence == 0 && log_prob <= 0 && h->count < 64)) return DISTILL_CB_CANCEL;
    h->ids[h->count++] = id;
    h->finished = finished;
    if (h->session) {
        DISTILL_INIT(&stats);
        CHECK_INT(distill_session_get_stats(h->session, &stats, NULL), DISTILL_OK);
        CHECK_INT(distill_session_ids(h->session, NULL, 0, &needed, NULL), DISTILL_OK);
        CHECK_INT(needed, 5 + h->count);
        h->reentrant =
            distill_session_truncate((distill_session *)(uintptr_t)h->session, 0, NULL); /* a call, not a getter */
    }
    return h->stop_at == h->count ? h->code : DISTILL_CB_OK;
}

static heard whole_text(small *s)
{
    distill_error err;
    distill_session *session = NULL;
    heard h = {0};
    CHECK_OK(open_session(s, section, &session, &err));
    CHECK_OK(distill_session_append(session, prompt, 5, &err));
    CHECK_OK(distill_session_generate(session, hear, &h, &err));
    distill_session_free(session);
    return h;
}

TEST(generates)
{
    small s;
    distill_error err;
    distill_session *session = NULL;
    REQUIRE(small_models("api_sessions"));
    REQUIRE_OK(small_open(&s, SMALL_BASE, &err));
    const heard want = whole_text(&s);
    CHECK_INT(want.finished, DISTILL_FINISHED_LENGTH);
    CHECK_OK(open_session(&s, section, &session, &err));
    CHECK_OK(distill_session_append(session, prompt, 5, &err));
    heard h = {.stop_at = 4, .code = 77, .session = session};
    CHECK_INT(distill_session_generate(session, hear, &h, &err), DISTILL_E_CALLBACK);
    CHECK_INT(err.user_code, 77);
    CHECK_INT(h.reentrant, DISTILL_E_REENTRANT);
    h.stop_at = 6, h.code = DISTILL_CB_CANCEL;
    CHECK_INT(distill_session_generate(session, hear, &h, &err), DISTILL_E_CANCELLED);
    h.stop_at = 0;
    CHECK_OK(distill_session_generate(session, hear, &h, &err)); /* goes on where it was stopped */
    CHECK_INT(h.count, want.count);
    CHECK(!memcmp(h.ids, want.ids, (size_t)want.count * sizeof *want.ids));
    CHECK_INT(distill_session_generate(session, hear, &h, &err), DISTILL_E_END);
    distill_session_free(session);
    small_close(&s);
}

/* ---- logits of the host ---- */

static int freed;
static void let_go(void *user) { freed += user == &freed; }

static int32_t allow_one(void *user, const distill_session *session, float *logits, int64_t vocab)
{
    int64_t needed = 0;
    (void)user;
    CHECK_INT(distill_session_ids(session, NULL, 0, &needed, NULL), DISTILL_OK);
    for (int64_t i = 0; i < vocab; i++)
        if (i != needed % vocab) logits[i] = -INFINITY;
    return DISTILL_CB_OK;
}

static int32_t ban_all(void *user, const distill_session *session, float *logits, int64_t vocab)
{
    (void)user, (void)session;
    for (int64_t i = 0; i < vocab; i++) logits[i] = -INFINITY;
    return DISTILL_CB_OK;
}

TEST(logits)
{
    small s;
    distill_error err;
    distill_session *session = NULL;
    heard h = {0};
    REQUIRE(small_models("api_sessions"));
    REQUIRE_OK(small_open(&s, SMALL_BASE, &err));
    CHECK_OK(open_session(&s, section, &session, &err));
    CHECK_OK(distill_session_append(session, prompt, 5, &err));
    CHECK_OK(distill_session_on_logits(session, allow_one, &freed, let_go, &err));
    CHECK_OK(distill_session_generate(session, hear, &h, &err));
    for (int64_t i = 0; i < h.count; i++) CHECK_INT(h.ids[i], 5 + i);
    CHECK_OK(distill_session_truncate(session, 5, &err));
    CHECK_OK(distill_session_on_logits(session, ban_all, &freed, let_go, &err));
    CHECK_INT(freed, 1);
    CHECK_INT(distill_session_generate(session, hear, &h, &err), DISTILL_E_NUMERIC);
    distill_session_free(session);
    CHECK_INT(freed, 2);
    CHECK_INT(distill_session_on_logits(NULL, ban_all, &freed, let_go, &err), DISTILL_E_INVALID);
    CHECK_INT(freed, 3);
    small_close(&s);
}

/* ---- another thread says stop ---- */

static void *stop(void *user)
{
    const heard *h = user;
    distill_session_cancel(h->session, 1);
    return NULL;
}

static int32_t wait_for_stop(void *user, int64_t sequence, int32_t id, double log_prob, const char *text, size_t size,
                             int32_t finished)
{
    pthread_t other;
    (void)sequence, (void)id, (void)log_prob, (void)text, (void)size, (void)finished;
    if (pthread_create(&other, NULL, stop, user)) exit(3);
    pthread_join(other, NULL);
    return DISTILL_CB_OK;
}

TEST(cancel)
{
    small s;
    distill_error err;
    distill_session *session = NULL;
    int32_t ids[64];
    int64_t needed = 0;
    REQUIRE(small_models("api_sessions"));
    REQUIRE_OK(small_open(&s, SMALL_BASE, &err));
    const heard want = whole_text(&s);
    CHECK_OK(open_session(&s, section, &session, &err));
    heard h = {.session = session};
    CHECK_OK(distill_session_append(session, prompt, 5, &err));
    CHECK_INT(distill_session_generate(session, wait_for_stop, &h, &err), DISTILL_E_CANCELLED);
    distill_session_cancel(session, 0);
    CHECK_INT(distill_session_ids(session, ids, 5, &needed, &err), DISTILL_E_BUFFER);
    CHECK_INT(needed, 6);
    CHECK_OK(distill_session_ids(session, ids, 64, NULL, &err));
    CHECK_INT(ids[5], want.ids[0]);
    CHECK_OK(distill_session_truncate(session, 5, &err));
    h.session = NULL;
    CHECK_OK(distill_session_generate(session, hear, &h, &err));
    CHECK(!memcmp(h.ids, want.ids, (size_t)want.count * sizeof *want.ids));
    distill_env_cancel(s.env, 1);
    CHECK_OK(distill_session_append(session, prompt, 1, &err));
    CHECK_INT(distill_session_generate(session, hear, &h, &err), DISTILL_E_CANCELLED);
    distill_env_cancel(s.env, 0);
    distill_session_free(session);
    small_close(&s);
}

/* ---- arguments ---- */

TEST(arguments)
{
    small s;
    distill_error err;
    distill_session *session = NULL;
    distill_token token;
    distill_session_stats stats;
    REQUIRE(small_models("api_sessions"));
    REQUIRE_OK(small_open(&s, SMALL_BASE, &err));
    CHECK_INT(distill_session_create(NULL, NULL, NULL, &session, &err), DISTILL_E_INVALID);
    CHECK_INT(distill_session_create(s.teacher, NULL, NULL, NULL, &err), DISTILL_E_INVALID);
    CHECK_OK(distill_session_create(s.teacher, NULL, NULL, &session, &err));
    CHECK_INT(distill_session_next(session, NULL, &err), DISTILL_E_INVALID);
    DISTILL_INIT(&token);
    CHECK_INT(distill_session_next(session, &token, &err), DISTILL_E_STAGE);
    CHECK_INT(distill_session_append(session, NULL, 1, &err), DISTILL_E_INVALID);
    CHECK_INT(distill_session_append(session, prompt, -1, &err), DISTILL_E_INVALID);
    CHECK_INT(distill_session_append_text(session, "a", 1, 0, &err), DISTILL_E_NOT_FOUND);
    CHECK_INT(distill_session_append_text(session, "a", 1, 64, &err), DISTILL_E_INVALID);
    CHECK_INT(distill_session_chat(session, "[]", 0, &err), DISTILL_E_NOT_FOUND);
    CHECK_INT(distill_session_chat(session, NULL, 0, &err), DISTILL_E_INVALID);
    CHECK_INT(distill_session_generate(session, NULL, NULL, &err), DISTILL_E_INVALID);
    CHECK_OK(distill_session_append(session, prompt, 5, &err));
    token.struct_size = offsetof(distill_token, from_draft); /* a host of before */
    token.nanoseconds = -5;
    CHECK_OK(distill_session_next(session, &token, &err));
    CHECK_INT(token.nanoseconds, -5);
    CHECK_INT(token.struct_size, offsetof(distill_token, from_draft));
    DISTILL_INIT(&token);
    CHECK_OK(distill_session_next(session, &token, &err));
    CHECK(token.nanoseconds > 0 && token.from_draft == 0);
    DISTILL_INIT(&stats);
    CHECK_OK(distill_session_get_stats(session, &stats, &err));
    CHECK_INT(stats.prompt_tokens, 5);
    CHECK_INT(stats.tokens, 2);
    CHECK_INT(stats.length, 7);
    CHECK_INT(stats.context, 64);
    CHECK(stats.first_token_seconds > 0 && stats.token_seconds_p50 > 0 &&
          stats.token_seconds_p50 <= stats.token_seconds_p99);
    CHECK(stats.cpu_seconds > 0);
    stats.struct_size = 8;
    CHECK_INT(distill_session_get_stats(session, &stats, &err), DISTILL_E_INVALID);
    distill_session_free(session);
    distill_session_free(NULL);
    distill_session_cancel(NULL, 1);
    small_close(&s);
}

/* A student that learns: what was read before its weights changed is read again. */
TEST(weights_that_change)
{
    small s;
    distill_error err;
    distill_teacher *live = NULL;
    distill_session *session = NULL, *fresh = NULL;
    distill_tensor weights;
    heard h = {0}, want = {0};
    REQUIRE(small_models("api_sessions"));
    REQUIRE_OK(small_open(&s, SMALL_BASE, &err));
    CHECK_OK(distill_teacher_from_student(s.student, &live, &err));
    CHECK_OK(distill_session_create(live, NULL, NULL, &session, &err));
    CHECK_OK(distill_session_append(session, prompt, 5, &err));
    CHECK_OK(distill_session_generate(session, hear, &h, &err));
    CHECK_OK(distill_student_parameter(s.student, distill_student_parameter_name(s.student, 1), DISTILL_WEIGHT,
                                       &weights, &err));
    for (int64_t i = 0; i < weights.shape[0]; i++) ((float *)weights.data)[i] += (float)(i % 3) - 0.7f;
    CHECK_OK(distill_student_weights_changed(s.student, &err));
    CHECK_OK(distill_session_truncate(session, 5, &err));
    h.count = 0;
    CHECK_OK(distill_session_generate(session, hear, &h, &err));
    CHECK_OK(distill_session_create(live, NULL, NULL, &fresh, &err));
    CHECK_OK(distill_session_append(fresh, prompt, 5, &err));
    CHECK_OK(distill_session_generate(fresh, hear, &want, &err));
    CHECK_INT(h.count, want.count);
    CHECK(!memcmp(h.ids, want.ids, (size_t)want.count * sizeof *want.ids));
    distill_session_free(session);
    distill_session_free(fresh);
    distill_teacher_free(live);
    small_close(&s);
}

TEST_MAIN(TEST_CASE(generates) TEST_CASE(logits) TEST_CASE(cancel) TEST_CASE(arguments) TEST_CASE(weights_that_change))
