#include "session/session_parts.h"

#include <string.h>

/* ---- how it is to write ---- */

static int32_t hear(void *user, int64_t sequence, const distill_token *token)
{
    di_stream *s = user;
    (void)sequence;
    s->token = *token;
    dk_strbuf_clear(&s->text);
    dk_strbuf_append(&s->text, token->text, (size_t)token->size);
    return DISTILL_CB_OK;
}

static int32_t ask_host(void *user, int64_t sequence, const int32_t *ids, int64_t count, float *logits, int64_t vocab)
{
    di_stream *s = user;
    (void)sequence, (void)ids, (void)count;
    return s->logits(s->user, s->session, logits, vocab);
}

/* Keys and values were computed in a precision, which stays. */
static int32_t keep_precision(const di_stream *s, di_writing *w, const di_options *options, dk_error *err)
{
    const int32_t says =
        di_options_is_set(options, "generate.precision") || di_options_is_set(options, "generate.quantized");
    if (!s->family) return DK_OK;
    if (di_options_is_set(options, "generate.cache_type"))
        return dk_fail(err, DK_E_OPTION,
                       "generate.cache_type is of answers without a session: session.cache_type says what a session "
                       "keeps its keys and values in");
    if (w->args.precision == s->family->precision) return DK_OK;
    if (says)
        return dk_fail(err, DK_E_OPTION,
                       "generate.precision and generate.quantized of a session are those that it was "
                       "created with: create another one");
    w->args.precision = s->family->precision;
    return DK_OK;
}

int32_t di_stream_open_writing(di_stream *s, di_teacher *model, const di_voices *voices, const di_options *options,
                               di_writing *out, dk_error *err)
{
    const di_reader reader = {.table = &s->listener};
    int32_t rc;
    if (di_options_i64(options, "generate.samples") != 1)
        return dk_fail(err, DK_E_OPTION, "generate.samples: a session has one answer at a time: fork it for others");
    DK_TRY(di_writing_open(model, options, &reader, voices->stops, voices->stop_count, voices->vocab, out, err));
    DK_TRY(keep_precision(s, out, options, err));
    DK_TRY(di_voices_check(voices, &out->args, err));
out:
    return rc;
}

void di_stream_use_writing(di_stream *s, di_options *options, const di_writing *writing)
{
    di_writing_close(&s->writing);
    di_options_free(s->options);
    s->options = options;
    s->writing = *writing;
    s->writing.args.user = s;
    s->writing.args.logits = s->logits ? ask_host : NULL;
}

int32_t di_stream_configure(di_stream *s, const di_options *options, dk_error *err)
{
    di_options *copy = NULL;
    di_writing writing = {.host = NULL};
    int32_t rc;
    DK_TRY(di_options_check(options, 1 << DI_GENERATE, err));
    DK_TRY(di_options_copy(options, s->family->host, 1 << DI_GENERATE, &copy, err));
    DK_TRY(di_stream_open_writing(s, s->family->model, s->family->voices, copy, &writing, err));
    di_stream_change(s);
    di_stream_use_writing(s, copy, &writing);
    DK_TRY(di_answer_room_for_top(s, err));
    return DK_OK;
out:
    if (copy != s->options) {
        di_writing_close(&writing);
        di_options_free(copy);
    }
    return rc;
}

int32_t di_stream_set_logits(di_stream *s, distill_logits_fn fn, void *user, distill_destroy_fn destroy,
                             const distill_session *session, dk_error *err)
{
    (void)err;
    if (s->destroy) s->destroy(s->user);
    s->logits = fn;
    s->user = user;
    s->destroy = destroy;
    s->session = session;
    s->writing.args.logits = fn ? ask_host : NULL;
    di_answer_forget(s);
    return DK_OK;
}

int64_t di_stream_top_count(const di_stream *s) { return s->writing.args.top_count; }

int64_t di_stream_drafted(const di_stream *s) { return s->stats.drafted; }

/* ---- how one comes to be ---- */

static di_teacher *writer_of(di_teacher *model, const char *what, int32_t blends, dk_error *err)
{
    di_teacher *writer = di_teacher_writer(model);
    if (!writer && blends) writer = di_teacher_choir(model);
    if (!writer)
        dk_fail(err, DK_E_UNSUPPORTED, "a session's %s is %s, and this is %s: open a model, or one of its members",
                what, blends ? "a model in this process, or a blend of such" : "a model in this process",
                di_teacher_kind_name(model));
    return writer;
}

di_stream *di_stream_new(dk_host *host, dk_error *err)
{
    di_stream *s = NULL;
    if (dk_new(host, 1, &s, err)) return NULL;
    dk_strbuf_init(&s->text, host);
    s->listener = (distill_writer_callbacks){.struct_size = sizeof s->listener, .user = s, .token = hear};
    return s;
}

static int32_t open_family(di_stream *s, di_teacher *model, di_voices *voices, di_teacher *draft,
                           const di_options *options, dk_error *err)
{
    di_family *family = NULL;
    int32_t rc = di_family_create(model, voices, draft, options, &s->writing, &family, err);
    if (rc == DK_OK) rc = di_family_take_place(family, s, err);
    return rc;
}

int32_t di_stream_create(di_teacher *model, di_teacher *draft, const di_options *options, di_stream **out,
                         dk_error *err)
{
    di_teacher *writer = writer_of(model, "model", 1, err);
    di_teacher *proposer = writer && draft ? writer_of(draft, "draft", 0, err) : NULL;
    di_voices *voices = NULL;
    di_stream *s = NULL;
    di_options *copy = NULL;
    di_writing writing = {.host = NULL};
    int32_t rc;
    if (!writer || (draft && !proposer)) return DK_E_UNSUPPORTED;
    dk_host *host = di_teacher_host(writer);
    DK_TRY(di_options_check(options, 1 << DI_GENERATE | 1 << DI_SESSION | 1 << DI_COST, err));
    if (!(s = di_stream_new(host, err))) return DK_E_NOMEM;
    DK_TRY(di_options_copy(options, host, 1 << DI_GENERATE, &copy, err));
    DK_TRY(di_voices_open(writer, &voices, err));
    DK_TRY(di_stream_open_writing(s, writer, voices, copy, &writing, err));
    di_stream_use_writing(s, copy, &writing);
    copy = NULL;
    writing.host = NULL;
    rc = open_family(s, writer, voices, proposer, options, err);
    voices = NULL;
    DK_TRY(rc);
    DK_TRY(dk_new(host, s->family->context + 2, &s->ids, err));
    DK_TRY(di_answer_room_for_top(s, err));
    *out = s;
    s = NULL;
out:
    di_voices_close(voices);
    di_writing_close(&writing);
    di_options_free(copy);
    di_stream_free(s);
    return rc;
}

void di_stream_free(di_stream *s)
{
    if (!s) return;
    dk_host *host = s->text.host;
    di_answer_end(s);
    if (s->family) {
        di_cost_forget(s);
        di_family_cut(s->family, s->place, 0);
        s->family->at[s->place] = NULL;
        s->family->streams--;
        di_family_release(s->family);
    }
    if (s->destroy) s->destroy(s->user);
    di_writing_close(&s->writing);
    di_options_free(s->options);
    dk_free(host, s->ids);
    dk_free(host, s->drawn);
    dk_free(host, s->top_ids);
    dk_free(host, s->top);
    dk_strbuf_free(&s->text);
    dk_free(host, s);
}

atomic_int *di_stream_guard(const di_stream *s) { return &s->family->guard; }

void di_stream_cancel(const di_stream *s, int32_t on) { ((di_stream *)(uintptr_t)s)->cancelled = on; }

/* ---- what stands in it ---- */

void di_stream_change(di_stream *s)
{
    di_answer_forget(s);
    di_answer_end(s);
    s->ended = 0;
}

int32_t di_stream_no_room(const di_stream *s, int64_t tokens, dk_error *err)
{
    return dk_fail(err, DK_E_INVALID,
                   "the session has room for %lld tokens, of which %lld are taken, and %lld more come: truncate it, or "
                   "create it with a larger session.context",
                   (long long)s->family->context, (long long)s->count, (long long)tokens);
}

static int32_t check_ids(const di_stream *s, const int32_t *ids, int64_t count, dk_error *err)
{
    const int64_t vocab = s->family->voices->ids;
    for (int64_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= vocab)
            return dk_fail_at(err, DK_E_INVALID, i, "ids[%lld] is %d, not in [0, %lld)", (long long)i, (int)ids[i],
                              (long long)vocab);
    return DK_OK;
}

int32_t di_stream_append(di_stream *s, const int32_t *ids, int64_t count, dk_error *err)
{
    int32_t rc;
    DK_TRY(check_ids(s, ids, count, err));
    if (count > s->family->context - s->count) return di_stream_no_room(s, count, err);
    di_stream_change(s);
    if (count) memcpy(s->ids + s->count, ids, (size_t)count * sizeof *ids);
    s->count += count;
out:
    return rc;
}

int32_t di_stream_append_text(di_stream *s, const char *text, size_t size, uint32_t flags, dk_error *err)
{
    const dk_tokenizer *tokenizer = di_teacher_tokenizer(s->family->model);
    int32_t *ids = NULL;
    int64_t cap = 0, count = 0;
    int32_t rc;
    if (!tokenizer) return dk_fail(err, DK_E_NOT_FOUND, "this session's model has no tokenizer: append ids");
    flags |= dk_tokenizer_continue_flags(tokenizer, s->ids, s->count);
    DK_TRY(dk_tokenizer_append(tokenizer, s->family->host, text, size, flags, &ids, &cap, &count, err));
    DK_TRY(di_stream_append(s, ids, count, err));
out:
    dk_free(s->family->host, ids);
    return rc;
}

int32_t di_stream_truncate(di_stream *s, int64_t tokens, dk_error *err)
{
    if (tokens < 0 || tokens > s->count)
        return dk_fail(err, DK_E_INVALID, "tokens is %lld, not in [0, %lld]: so many stand in the session",
                       (long long)tokens, (long long)s->count);
    di_stream_change(s);
    s->count = tokens;
    di_family_cut(s->family, s->place, tokens);
    if (s->whole > tokens) s->whole = tokens;
    if (tokens) return DK_OK;
    di_cost_forget(s);
    memset(&s->stats, 0, sizeof s->stats);
    memset(&s->latency, 0, sizeof s->latency);
    s->messages = s->turns = 0;
    return DK_OK;
}

const int32_t *di_stream_ids(const di_stream *s, int64_t *count)
{
    *count = s->count;
    return s->ids;
}

void di_stream_stats(const di_stream *s, distill_session_stats *out)
{
    const uint32_t size = out->struct_size;
    *out = s->stats;
    out->struct_size = size;
    out->token_seconds_p50 = di_latency_at(&s->latency, 0.5);
    out->token_seconds_p95 = di_latency_at(&s->latency, 0.95);
    out->token_seconds_p99 = di_latency_at(&s->latency, 0.99);
    di_cost_tell(s, out);
    out->context = s->family->context;
    out->length = s->count;
    out->dropped_messages = s->messages;
}
