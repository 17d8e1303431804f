/* Forks, and several sessions in one pass: each writes what it writes alone. */
#include "session_fixture.h"

enum { STREAMS = 5 };

/* Products by CBLAS are alike for 4 rows only. */
static int64_t most_streams(const scene *s) { return rows_are_alike(s) ? STREAMS : STREAMS - 1; }

static const char *section_of(const scene *s)
{
    return rows_are_alike(s) ? "{generate: {max_tokens: 24, seed: 5}, session: {places: 5}}"
                             : "{generate: {max_tokens: 24, seed: 5}, session: {places: 4}}";
}

static int64_t write_many(di_stream *const *streams, int64_t count, heard *out)
{
    const distill_token *tokens[STREAMS];
    dk_error err = {0};
    int64_t passes = 0;
    int32_t rc;
    while ((rc = di_stream_next_many(streams, count, tokens, &err)) == DK_OK) {
        passes++;
        for (int64_t i = 0; i < count; i++)
            if (tokens[i]->id >= 0)
                hear_token(&out[i], tokens[i]->id, tokens[i]->log_prob, tokens[i]->text, (size_t)tokens[i]->size,
                           (int32_t)tokens[i]->finished);
    }
    CHECK_INT(rc, DK_E_END);
    for (int64_t i = 0; i < count; i++) CHECK_INT(tokens[i]->finished, DISTILL_FINISHED_BEFORE);
    return passes;
}

/* Prompts of several lengths, ways to write of several kinds. */
static void set_up(scene *s, di_stream **streams, int64_t count, const char *const *sections, int64_t section_count)
{
    dk_error err = {0};
    for (int64_t i = 0; i < count; i++) {
        di_options *options = options_of(s, sections[i % section_count]);
        if (i) CHECK_OK(di_stream_fork(streams[0], &streams[i], &err));
        CHECK_OK(di_stream_truncate(streams[i], 0, &err));
        CHECK_OK(di_stream_configure(streams[i], options, &err));
        CHECK_OK(di_stream_append(streams[i], tiny_ids, 3 + 2 * i, &err));
        di_options_free(options);
    }
}

static const char *const ways[] = {"generate: {max_tokens: 20, temperature: 0}", "generate: {max_tokens: 31, seed: 5}",
                                   "generate: {max_tokens: 9, seed: 6, top_k: 4, presence_penalty: 0.5}"};

TEST(side_by_side)
{
    scene s;
    di_stream *streams[STREAMS] = {NULL};
    heard got[STREAMS];
    open_scene(&s, "side_by_side");
    memset(got, 0, sizeof got);
    const int64_t count = most_streams(&s);
    streams[0] = open_stream(&s, section_of(&s));
    set_up(&s, streams, count, ways, 3);
    const int64_t passes = write_many(streams, count, got);
    CHECK(passes <= 32); /* side by side, not one after the other */
    for (int64_t i = 0; i < count; i++) {
        const heard want = generated(&s, tiny_ids, 3 + 2 * i, ways[i % 3]);
        same(&got[i], &want);
    }
    for (int64_t i = 0; i < count; i++) di_stream_free(streams[i]);
    close_scene(&s);
}

/* At any point of an answer: the rest is that of the whole. */
TEST(forks_go_on)
{
    scene s;
    dk_error err = {0};
    open_scene(&s, "forks_go_on");
    const heard want = generated(&s, tiny_ids, 7, section_of(&s));
    for (int64_t at = 0; at < want.count; at += 3) {
        const distill_token *token = NULL;
        di_stream *stream = open_stream(&s, section_of(&s)), *fork = NULL;
        heard first, second;
        memset(&first, 0, sizeof first);
        CHECK_OK(di_stream_append(stream, tiny_ids, 7, &err));
        for (int64_t i = 0; i < at; i++) {
            CHECK_OK(di_stream_next(stream, &token, &err));
            hear_token(&first, token->id, token->log_prob, token->text, (size_t)token->size, (int32_t)token->finished);
        }
        CHECK_OK(di_stream_fork(stream, &fork, &err));
        second = first;
        for (int64_t i = at; i < want.count; i++) { /* in turn */
            CHECK_OK(di_stream_next(stream, &token, &err));
            hear_token(&first, token->id, token->log_prob, token->text, (size_t)token->size, (int32_t)token->finished);
            CHECK_OK(di_stream_next(fork, &token, &err));
            hear_token(&second, token->id, token->log_prob, token->text, (size_t)token->size, (int32_t)token->finished);
        }
        same(&first, &want);
        same(&second, &want);
        di_stream_free(at % 2 ? stream : fork);
        di_stream_free(at % 2 ? fork : stream);
    }
    close_scene(&s);
}

TEST(what_begins_alike_is_read_once)
{
    scene s;
    dk_error err = {0};
    int32_t ids[40];
    di_stream *streams[3] = {NULL};
    heard got[3];
    open_scene(&s, "alike");
    memset(got, 0, sizeof got);
    for (int i = 0; i < 40; i++) ids[i] = (i * 7 + 3) % TINY_VOCAB;
    streams[0] = open_stream(&s, "{generate: {max_tokens: 8, seed: 5}, session: {places: 3}}");
    for (int i = 1; i < 3; i++) CHECK_OK(di_stream_fork(streams[0], &streams[i], &err));
    for (int i = 0; i < 3; i++) CHECK_OK(di_stream_append(streams[i], ids, 38 + i, &err));
    write_many(streams, 3, got);
    if (s.f.backend->invariant_rows == INT64_MAX)
        CHECK(stats_of(streams[1]).kept_tokens >= 37 && stats_of(streams[2]).kept_tokens >= 38);
    for (int i = 0; i < 3; i++) {
        const heard want = generated(&s, ids, 38 + i, "generate: {max_tokens: 8, seed: 5}");
        same(&got[i], &want);
        di_stream_free(streams[i]);
    }
    close_scene(&s);
}

TEST(refused)
{
    scene s;
    dk_error err = {0};
    const distill_token *tokens[3];
    di_stream *other = NULL;
    open_scene(&s, "refused_many");
    di_stream *stream = open_stream(&s, "session: {places: 2}"), *stranger = open_stream(&s, section_of(&s)),
              *fork = NULL;
    CHECK_OK(di_stream_fork(stream, &fork, &err));
    CHECK_INT(di_stream_fork(stream, &other, &err), DK_E_BUSY);
    CHECK_HAS(err.message, "all 2 places");
    CHECK_HAS(err.message, "session.places");
    CHECK_INT(di_stream_next_many((di_stream *[]){stream, stranger}, 2, tokens, &err), DK_E_MISMATCH);
    CHECK_HAS(err.message, "sessions[1] is of another family");
    CHECK_INT(di_stream_next_many((di_stream *[]){stream, fork, stream}, 3, tokens, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "sessions[2] is sessions[0], too");
    CHECK_INT(di_stream_next_many((di_stream *[]){stream, fork}, 2, tokens, &err), DK_E_STAGE);
    CHECK_HAS(err.message, "sessions[0]: nothing stands");
    CHECK_OK(di_stream_append(stream, tiny_ids, 7, &err));
    CHECK_OK(di_stream_append(fork, tiny_ids, 7, &err));
    di_stream_cancel(fork, 1);
    CHECK_OK(di_stream_next_many((di_stream *[]){stream, fork}, 2, tokens, &err));
    CHECK(tokens[0]->id >= 0);
    CHECK_INT(tokens[1]->finished, DISTILL_FINISHED_CANCELLED);
    CHECK_OK(di_stream_next_many((di_stream *[]){stream, fork}, 2, tokens, &err));
    CHECK_INT(tokens[1]->finished, DISTILL_FINISHED_BEFORE);
    di_stream_free(stream);
    CHECK_OK(di_stream_fork(fork, &other, &err)); /* the place is free again */
    di_stream_free(other);
    di_stream_free(fork);
    di_stream_free(stranger);
    close_scene(&s);
}

TEST_MAIN(TEST_CASE(side_by_side) TEST_CASE(forks_go_on) TEST_CASE(what_begins_alike_is_read_once) TEST_CASE(refused))
