#include "session/session_parts.h"

#include <string.h>

#include "chat/chat.h"

typedef struct talk { /* a conversation as ids */
    const char *json;
    int32_t answer, open_last;
    int64_t turns, left; /* left out: turns, and messages of them */
    int32_t *ids;
    int64_t cap, count;
} talk;

static int32_t make_ids(const di_stream *s, talk *t, dk_error *err)
{
    dk_host *host = s->family->host;
    const dk_tokenizer *tokenizer = di_teacher_tokenizer(s->family->model);
    dk_chat chat = {0};
    int32_t rc;
    t->count = 0;
    DK_TRY(dk_chat_of_later(host, tokenizer, t->json, t->turns, t->answer, t->open_last, &chat, &t->left, err));
    DK_TRY(dk_tokenizer_append(tokenizer, host, chat.text, chat.size, 0, &t->ids, &t->cap, &t->count, err));
out:
    dk_chat_free(&chat);
    return rc;
}

static int64_t common(const di_stream *s, const talk *t)
{
    const int64_t most = s->count < t->count ? s->count : t->count;
    int64_t n = 0;
    while (n < most && s->ids[n] == t->ids[n]) n++;
    return n;
}

static int32_t fits(const di_stream *s, const talk *t)
{
    const int64_t context = s->family->context, quarter = context / 4, wanted = s->writing.args.max_tokens;
    return t->count <= context - (wanted < quarter ? wanted : quarter);
}

/* The turns that were left out before stay out, where it is the same conversation: what stands is kept then. */
static int32_t try_as_before(const di_stream *s, talk *t, dk_error *err)
{
    int32_t rc;
    t->turns = s->turns;
    rc = make_ids(s, t, err);
    if (rc == DK_OK && fits(s, t) && 2 * common(s, t) > s->count) return 1;
    t->turns = 0;
    if (rc == DK_E_END) rc = DK_OK; /* a shorter one */
    return rc;
}

static int32_t leave_out(const di_stream *s, talk *t, dk_error *err)
{
    int32_t rc = s->turns ? try_as_before(s, t, err) : DK_OK;
    if (rc < 0) return rc;
    while (!rc) {
        t->turns++;
        if ((rc = make_ids(s, t, err)) == DK_E_END) {
            dk_error_clear(err);
            t->turns--;
            rc = make_ids(s, t, err); /* the last turn has to do, with less room for its answer */
            if (rc == DK_OK && t->count > s->family->context)
                rc = dk_fail(err, DK_E_INVALID,
                             "the last turn of the conversation has %lld tokens, and the session room for %lld, even "
                             "without all others: shorten it, or create it with a larger session.context",
                             (long long)t->count, (long long)s->family->context);
            return rc;
        }
        if (rc || fits(s, t)) return rc;
    }
    return DK_OK;
}

static int32_t check_length(const di_stream *s, const talk *t, dk_error *err)
{
    if (t->count <= s->family->context) return DK_OK;
    return dk_fail(err, DK_E_INVALID,
                   "the conversation has %lld tokens, and the session room for %lld: shorten it, create it with a "
                   "larger session.context, or let session.overflow be oldest",
                   (long long)t->count, (long long)s->family->context);
}

static void tell_left(const di_stream *s, const talk *t)
{
    if (t->left != s->messages && t->left)
        dk_log(s->family->host, DK_LOG_WARN, "session",
               "%lld messages of the conversation are left out, the oldest ones: all have no room in %lld tokens",
               (long long)t->left, (long long)s->family->context);
}

static void take_over(di_stream *s, const talk *t)
{
    const int64_t kept = common(s, t);
    di_stream_change(s);
    s->count = kept;
    di_family_cut(s->family, s->place, kept);
    if (s->whole > kept) s->whole = kept;
    memcpy(s->ids + kept, t->ids + kept, (size_t)(t->count - kept) * sizeof *t->ids);
    s->count = t->count;
    tell_left(s, t);
    s->messages = t->left;
    s->turns = t->turns;
}

int32_t di_stream_chat(di_stream *s, const char *json, int32_t answer, int32_t open_last, dk_error *err)
{
    talk t = {.json = json, .answer = answer, .open_last = open_last};
    int32_t rc;
    if (!di_teacher_tokenizer(s->family->model))
        return dk_fail(err, DK_E_NOT_FOUND,
                       "this session's model has no tokenizer, and so no conversations: append "
                       "ids");
    DK_TRY(make_ids(s, &t, err));
    if (!fits(s, &t) && s->family->drops) DK_TRY(leave_out(s, &t, err));
    DK_TRY(check_length(s, &t, err));
    take_over(s, &t);
out:
    dk_free(s->family->host, t.ids);
    return rc;
}
