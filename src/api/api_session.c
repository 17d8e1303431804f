#include "api/handles.h"

#include <stdio.h>
#include <string.h>

/* One call at a time in a family: a callback that calls back gets E_REENTRANT, and so does a second thread. */
static int32_t enter(const distill_session *session, uint32_t *environment, dk_error *err)
{
    dk_error_clear(err);
    int32_t rc = di_check_pointer(session, "session", err);
    if (rc != DK_OK) return rc;
    if (atomic_exchange(di_stream_guard(session->stream), 1))
        return dk_fail(err, DK_E_REENTRANT,
                       "the session, or one that it shares memory with, is inside another call: only cancel goes then, "
                       "and getters of its callbacks");
    *environment = dk_fp_enter();
    return DK_OK;
}

static int32_t leave(const distill_session *session, uint32_t environment, int32_t rc)
{
    dk_fp_leave(environment);
    atomic_store(di_stream_guard(session->stream), 0);
    return rc;
}

static int32_t make_handle(const distill_env *env, di_stream *stream, distill_session **out, dk_error *err)
{
    distill_session *handle = di_computing_handle_create(env, sizeof *handle, err);
    if (!handle) {
        di_stream_free(stream);
        return DK_E_NOMEM;
    }
    handle->stream = stream;
    *out = handle;
    return DK_OK;
}

int32_t distill_session_create(const distill_teacher *model, const distill_teacher *draft,
                               const distill_options *options, distill_session **out, distill_error *error)
{
    dk_error *err = di_err(error);
    di_stream *stream = NULL;
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(model, "model", err));
    DK_TRY(di_check_pointer(out, "out", err));
    DI_COMPUTE(di_stream_create(model->teacher, draft ? draft->teacher : NULL, di_tree(options), &stream, err));
    DK_TRY(make_handle(model->env, stream, out, err));
out:
    return rc;
}

void distill_session_free(distill_session *session)
{
    if (!session) return;
    di_stream_free(session->stream);
    di_handle_free(session);
}

static int32_t check_flags(int32_t flags, int32_t known, dk_error *err)
{
    if (!(flags & ~known)) return DK_OK;
    return dk_fail(err, DK_E_INVALID, "flags 0x%x has bits that are not known", (unsigned)flags);
}

int32_t distill_session_append(distill_session *session, const int32_t *ids, int64_t count, distill_error *error)
{
    dk_error *err = di_err(error);
    uint32_t environment;
    int32_t rc = enter(session, &environment, err);
    if (rc) return rc;
    if (count < 0 || (count && !ids))
        rc = dk_fail(err, DK_E_INVALID, "ids and count %lld do not fit together", (long long)count);
    else rc = di_stream_append(session->stream, ids, count, err);
    return leave(session, environment, rc);
}

int32_t distill_session_append_text(distill_session *session, const char *text, size_t size, int32_t flags,
                                    distill_error *error)
{
    dk_error *err = di_err(error);
    uint32_t environment;
    int32_t rc = enter(session, &environment, err);
    if (rc) return rc;
    if (size) DK_TRY(di_check_pointer(text, "text", err));
    DK_TRY(check_flags(flags, DISTILL_ENCODE_SPECIAL | DISTILL_ENCODE_PLAIN, err));
    DK_TRY(di_stream_append_text(session->stream, text ? text : "", size, (uint32_t)flags, err));
out:
    return leave(session, environment, rc);
}

int32_t distill_session_chat(distill_session *session, const char *messages_json, int32_t flags, distill_error *error)
{
    dk_error *err = di_err(error);
    uint32_t environment;
    int32_t rc = enter(session, &environment, err);
    if (rc) return rc;
    DK_TRY(di_check_pointer(messages_json, "messages_json", err));
    DK_TRY(check_flags(flags, DISTILL_CHAT_ANSWER | DISTILL_CHAT_CONTINUE, err));
    if (!flags) flags = DISTILL_CHAT_ANSWER;
    DK_TRY(di_stream_chat(session->stream, messages_json, flags & DISTILL_CHAT_ANSWER, flags & DISTILL_CHAT_CONTINUE,
                          err));
out:
    return leave(session, environment, rc);
}

int32_t distill_session_on_logits(distill_session *session, distill_logits_fn fn, void *user,
                                  distill_destroy_fn destroy, distill_error *error)
{
    dk_error *err = di_err(error);
    uint32_t environment;
    int32_t rc = enter(session, &environment, err);
    if (rc) {
        if (destroy) destroy(user);
        return rc;
    }
    rc = di_stream_set_logits(session->stream, fn, user, destroy, session, err);
    return leave(session, environment, rc);
}

int32_t distill_session_configure(distill_session *session, const distill_options *options, distill_error *error)
{
    dk_error *err = di_err(error);
    uint32_t environment;
    int32_t rc = enter(session, &environment, err);
    if (rc) return rc;
    rc = di_stream_configure(session->stream, di_tree(options), err);
    return leave(session, environment, rc);
}

/* What the caller's struct has room for. */
static void fill(distill_token *out, const distill_token *from)
{
    const uint32_t size = out->struct_size;
    memcpy(out, from, size < sizeof *from ? size : sizeof *from);
    out->struct_size = size;
}

static int32_t check_token(const distill_token *out, const char *name, dk_error *err)
{
    return di_check_struct(out, name, offsetof(distill_token, top_count) + sizeof out->top_count, err);
}

int32_t distill_session_next(distill_session *session, distill_token *out, distill_error *error)
{
    dk_error *err = di_err(error);
    const distill_token *token = NULL;
    uint32_t environment;
    int32_t rc = enter(session, &environment, err);
    if (rc) return rc;
    DK_TRY(check_token(out, "out", err));
    DK_TRY(di_stream_next(session->stream, &token, err));
    fill(out, token);
out:
    return leave(session, environment, rc);
}

static int32_t hand_out(const distill_token *token, distill_token_fn fn, void *user, dk_error *err)
{
    const int32_t code =
        fn(user, 0, token->id, token->log_prob, token->text, (size_t)token->size, (int32_t)token->finished);
    if (code == DISTILL_CB_OK) return DK_OK;
    if (code == DISTILL_CB_CANCEL) return dk_fail(err, DK_E_CANCELLED, "generate: stopped by its callback");
    dk_fail(err, DK_E_CALLBACK, "generate: the callback returned %d", (int)code);
    if (err) err->user_code = code;
    return DK_E_CALLBACK;
}

int32_t distill_session_generate(distill_session *session, distill_token_fn fn, void *user, distill_error *error)
{
    dk_error *err = di_err(error);
    const distill_token *token = NULL;
    uint32_t environment;
    int32_t rc = enter(session, &environment, err);
    if (rc) return rc;
    if (!fn) DK_TRY(dk_fail(err, DK_E_INVALID, "fn is NULL"));
    if (di_stream_top_count(session->stream))
        DK_TRY(dk_fail(err, DK_E_OPTION,
                       "generate.top_logprobs: distill_token_fn has no room for them: "
                       "distill_session_next hands them out"));
    do {
        DK_TRY(di_stream_next(session->stream, &token, err));
        DK_TRY(hand_out(token, fn, user, err));
    } while (!token->finished);
out:
    return leave(session, environment, rc);
}

/* ---- several ---- */

enum { MANY = 256 }; /* places of a family at most */

/* Structs may have grown at their end: they are as far apart as the first says. */
static distill_token *token_at(distill_token *outs, int64_t index)
{
    return (distill_token *)(void *)((char *)outs + (size_t)index * outs->struct_size);
}

static int32_t take_sessions(distill_session *const *sessions, int64_t count, distill_token *outs, di_stream **streams,
                             dk_error *err)
{
    char name[48];
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < count; i++) {
        snprintf(name, sizeof name, "sessions[%lld]", (long long)i);
        DK_TRY(di_check_pointer(sessions[i], name, err));
        snprintf(name, sizeof name, "outs[%lld]", (long long)i);
        DK_TRY(check_token(i ? token_at(outs, i) : outs, name, err));
        if (token_at(outs, i)->struct_size != outs->struct_size)
            return dk_fail(err, DK_E_INVALID, "%s has struct_size %u, outs[0] has %u", name,
                           (unsigned)token_at(outs, i)->struct_size, (unsigned)outs->struct_size);
        streams[i] = sessions[i]->stream;
    }
out:
    return rc;
}

int32_t distill_session_next_many(distill_session *const *sessions, int64_t count, distill_token *outs,
                                  distill_error *error)
{
    dk_error *err = di_err(error);
    di_stream *streams[MANY];
    const distill_token *tokens[MANY];
    uint32_t environment;
    int32_t rc;
    dk_error_clear(err);
    if (count < 1 || count > MANY || !sessions || !outs)
        return dk_fail(err, DK_E_INVALID, "sessions, outs and count %lld do not fit together; count is in [1, %d]",
                       (long long)count, MANY);
    if ((rc = take_sessions(sessions, count, outs, streams, err)) || (rc = enter(sessions[0], &environment, err)))
        return rc;
    rc = di_stream_next_many(streams, count, tokens, err);
    for (int64_t i = 0; (rc == DK_OK || rc == DK_E_END) && i < count; i++) fill(token_at(outs, i), tokens[i]);
    return leave(sessions[0], environment, rc);
}

int32_t distill_session_fork(const distill_session *session, distill_session **out, distill_error *error)
{
    dk_error *err = di_err(error);
    di_stream *stream = NULL;
    uint32_t environment;
    int32_t rc = enter(session, &environment, err);
    if (rc) return rc;
    DK_TRY(di_check_pointer(out, "out", err));
    DK_TRY(di_stream_fork(session->stream, &stream, err));
    DK_TRY(make_handle(session->env, stream, out, err));
out:
    return leave(session, environment, rc);
}

int32_t distill_session_truncate(distill_session *session, int64_t tokens, distill_error *error)
{
    dk_error *err = di_err(error);
    uint32_t environment;
    int32_t rc = enter(session, &environment, err);
    if (rc) return rc;
    rc = di_stream_truncate(session->stream, tokens, err);
    return leave(session, environment, rc);
}

int32_t distill_session_ids(const distill_session *session, int32_t *ids, int64_t cap, int64_t *needed,
                            distill_error *error)
{
    dk_error *err = di_err(error);
    int64_t count = 0;
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(session, "session", err));
    if (cap < 0 || (cap && !ids))
        return dk_fail(err, DK_E_INVALID, "ids and cap %lld do not fit together", (long long)cap);
    const int32_t *own = di_stream_ids(session->stream, &count);
    if (needed) *needed = count;
    if (!ids && needed) return DK_OK;
    if (cap < count)
        return dk_fail(err, DK_E_BUFFER, "cap is %lld, and %lld ids stand in the session", (long long)cap,
                       (long long)count);
    if (count) memcpy(ids, own, (size_t)count * sizeof *ids);
out:
    return rc;
}

int32_t distill_session_get_stats(const distill_session *session, distill_session_stats *out, distill_error *error)
{
    dk_error *err = di_err(error);
    distill_session_stats stats;
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(session, "session", err));
    DK_TRY(di_check_struct(out, "out", offsetof(distill_session_stats, dropped_messages) + 8, err));
    DISTILL_INIT(&stats);
    di_stream_stats(session->stream, &stats);
    stats.struct_size = out->struct_size;
    memcpy(out, &stats, out->struct_size < sizeof stats ? out->struct_size : sizeof stats);
out:
    return rc;
}

void distill_session_cancel(const distill_session *session, int32_t on)
{
    if (session) di_stream_cancel(session->stream, on);
}
