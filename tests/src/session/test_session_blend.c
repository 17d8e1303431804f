/* A session of a blend writes what the blend writes behind the same ids. */
#include "session_fixture.h"

typedef struct mixed {
    scene s; /* its teacher is the blend */
    dk_model *models[2];
    di_teacher *members[2];
} mixed;

static di_teacher *blend_of(mixed *m, di_blend_settings how)
{
    const int32_t mixes = how.mode == DI_BLEND_LINEAR || how.mode == DI_BLEND_LOG_LINEAR;
    const double weight = mixes && how.weighting == DI_WEIGH_STATIC ? 0.4 : 0.5; /* others take equal ones */
    const di_blend_member members[2] = {{m->members[0], "a", weight, 0}, {m->members[1], "b", 1 - weight, 1.5}};
    di_teacher *blend = NULL;
    dk_error err;
    CHECK_OK(di_teacher_blend(m->s.f.backend, members, 2, &how, &blend, &err));
    return blend;
}

static void open_mixed(mixed *m, const char *name, di_blend_settings how)
{
    dk_error err;
    dk_document *config = NULL;
    open_scene(&m->s, name);
    if (dk_json_open(m->s.f.host, m->s.f.config, &config, &err)) exit(3);
    for (int i = 0; i < 2; i++)
        if (dk_model_create(m->s.f.backend, config, 0.4, (uint64_t)(3 + i), &m->models[i], &err) ||
            di_teacher_from_model(m->s.f.backend, m->models[i], m->s.tokenizer, NULL, NULL, NULL, &m->members[i], &err))
            exit(3);
    dk_document_free(config);
    di_teacher_release(m->s.teacher);
    m->s.teacher = blend_of(m, how);
}

static void close_mixed(mixed *m)
{
    di_teacher_release(m->s.teacher);
    m->s.teacher = NULL;
    for (int i = 0; i < 2; i++) di_teacher_release(m->members[i]);
    for (int i = 0; i < 2; i++) dk_model_free(m->models[i]);
    close_scene(&m->s);
}

static const char *const sections[] = {
    "generate: {max_tokens: 20, temperature: 0}",
    "generate: {max_tokens: 30, seed: 6, temperature: 0.8, top_k: 9, top_p: 0.9}",
    "generate: {max_tokens: 25, seed: 7, repetition_penalty: 1.3, presence_penalty: 0.4, logit_bias: {5: 1, 9: -2}}",
};
enum { SECTIONS = sizeof sections / sizeof *sections };

TEST(writes_what_the_blend_writes)
{
    static const di_blend_settings ways[] = {
        {.mode = DI_BLEND_LINEAR},
        {.mode = DI_BLEND_LOG_LINEAR},
        {.mode = DI_BLEND_MIN_ENTROPY},
        {.mode = DI_BLEND_LINEAR, .weighting = DI_WEIGH_ENTROPY, .softness = 0.5},
    };
    dk_error err;
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        mixed m;
        open_mixed(&m, "blend", ways[w]);
        for (int i = 0; i < SECTIONS; i++) {
            di_stream *stream = open_stream(&m.s, sections[i]);
            int64_t count = 0;
            for (int turn = 0; turn < 3; turn++) {
                CHECK_OK(di_stream_append(stream, tiny_ids + 3 * turn, 4, &err));
                const int32_t *ids = di_stream_ids(stream, &count);
                if (count > 40) break;
                const heard want = generated(&m.s, ids, count, sections[i]), got = answer(stream);
                CHECK(want.count > 0);
                same(&got, &want);
                const int64_t stands = stats_of(stream).length;
                CHECK_OK(di_stream_truncate(stream, count + 2 < stands ? count + 2 : count, &err));
            }
            if (m.s.f.backend->invariant_rows == INT64_MAX) CHECK(stats_of(stream).kept_tokens > 5);
            di_stream_free(stream);
        }
        close_mixed(&m);
    }
}

TEST(side_by_side)
{
    enum { STREAMS = 4 };
    const distill_token *outs[STREAMS];
    mixed m;
    dk_error err;
    di_stream *streams[STREAMS];
    heard got[STREAMS];
    open_mixed(&m, "blend_many", (di_blend_settings){.mode = DI_BLEND_LINEAR});
    memset(got, 0, sizeof got);
    streams[0] = open_stream(&m.s, "{generate: {max_tokens: 20, seed: 5}, session: {places: 4}}");
    for (int i = 1; i < STREAMS; i++) CHECK_OK(di_stream_fork(streams[0], &streams[i], &err));
    for (int i = 0; i < STREAMS; i++) CHECK_OK(di_stream_append(streams[i], tiny_ids, 3 + 2 * i, &err));
    while (di_stream_next_many(streams, STREAMS, outs, &err) == DK_OK)
        for (int i = 0; i < STREAMS; i++)
            if (outs[i]->id >= 0)
                hear_token(&got[i], outs[i]->id, outs[i]->log_prob, outs[i]->text, (size_t)outs[i]->size,
                           (int32_t)outs[i]->finished);
    CHECK_INT(err.code, DK_E_END);
    for (int i = 0; i < STREAMS; i++) {
        const heard want = generated(&m.s, tiny_ids, 3 + 2 * i, "generate: {max_tokens: 20, seed: 5}");
        same(&got[i], &want);
        di_stream_free(streams[i]);
    }
    close_mixed(&m);
}

/* One of its members proposes. */
TEST(drafted)
{
    mixed m;
    dk_error err;
    di_stream *stream = NULL;
    open_mixed(&m, "blend_drafted", (di_blend_settings){.mode = DI_BLEND_LINEAR});
    di_options *options = options_of(&m.s, sections[0]);
    CHECK_OK(di_stream_create(m.s.teacher, m.members[1], options, &stream, &err));
    CHECK_OK(di_stream_append(stream, tiny_ids, 7, &err));
    const heard want = generated(&m.s, tiny_ids, 7, sections[0]), got = answer(stream);
    same(&got, &want);
    if (m.s.f.backend->invariant_rows > 1) CHECK(stats_of(stream).drafted > 0);
    di_stream_free(stream);
    di_options_free(options);
    close_mixed(&m);
}

TEST(refused)
{
    mixed m;
    dk_error err;
    di_stream *stream = NULL;
    open_mixed(&m, "blend_refused", (di_blend_settings){.mode = DI_BLEND_MIN_CROSS_ENTROPY});
    di_options *options = options_of(&m.s, sections[0]);
    CHECK_INT(di_stream_create(m.s.teacher, NULL, options, &stream, &err), DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, "goes by the true token");
    CHECK_INT(di_stream_create(m.members[0], m.s.teacher, options, &stream, &err), DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, "a session's draft is a model in this process, and this is a blend of teachers");
    di_options_free(options);
    close_mixed(&m);
}

TEST_MAIN(TEST_CASE(writes_what_the_blend_writes) TEST_CASE(side_by_side) TEST_CASE(drafted) TEST_CASE(refused))
