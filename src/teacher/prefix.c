/* prefix.c - a teacher that reads something before each sequence which the student does not: a privileged prompt, as
 * context distillation has it (Askell et al. 2021, arXiv 2112.00861; Snell et al. 2022, arXiv 2209.15189). It scores
 * prefix and sequence together, and gives the rows of the sequence. */
#include <string.h>

#include "base/hash.h"
#include "teacher/teacher_parts.h"

typedef struct prefix {
    di_teacher *from; /* a reference */
    int32_t *ids;     /* [count] */
    int64_t count;
} prefix;
typedef struct work { /* a session's state: the batch with the prefix in it */
    di_session *session;
    int32_t *ids;     /* [max_tokens + max_sequences * count] */
    int64_t *offsets; /* [max_sequences + 1] */
    int64_t *rows;    /* [max_rows] */
} work;

static const prefix *prefix_of(const di_teacher *t) { return t->state; }

static void free_state(di_teacher *t)
{
    prefix *p = t->state;
    di_teacher_release(p->from);
    dk_free(t->host, p->ids);
    dk_free(t->host, p);
}

/* ---- what is known of it ---- */

static void describe(const di_teacher *t, di_facts *out)
{
    *out = di_teacher_facts(prefix_of(t)->from);
    if (out->context_length > 0) out->context_length -= prefix_of(t)->count;
}

static const distill_target *form(const di_teacher *t) { return di_teacher_form(prefix_of(t)->from); }

static int32_t hash(const di_teacher *t, char hex[65], dk_error *err)
{
    const prefix *p = prefix_of(t);
    char from[65];
    uint8_t digest[32];
    dk_sha256 sha;
    const int32_t rc = di_teacher_hash(p->from, from, err);
    if (rc) return rc;
    dk_sha256_begin(&sha);
    dk_sha256_add(&sha, from, 64);
    dk_sha256_add(&sha, p->ids, (size_t)p->count * sizeof *p->ids);
    dk_sha256_end(&sha, digest);
    dk_hex(digest, 32, hex);
    return DK_OK;
}

static void settings(const di_teacher *t, dk_strbuf *json)
{
    dk_strbuf_printf(json, ",\"prefix_tokens\":%lld", (long long)prefix_of(t)->count);
}

/* The prefix is read anew before each sequence: there are tokens / mean_length of them. */
static double flops(const di_teacher *t, int64_t tokens, int64_t mean_length)
{
    const int64_t more = mean_length > 0 ? prefix_of(t)->count * tokens / mean_length : 0;
    return di_teacher_flops(prefix_of(t)->from, tokens + more, mean_length + prefix_of(t)->count);
}

static di_teacher *from(const di_teacher *t) { return prefix_of(t)->from; }

static int32_t changes(const di_teacher *t) { return di_teacher_changes(prefix_of(t)->from); }

static int32_t formed(const di_teacher *t) { return di_teacher_formed(prefix_of(t)->from); }

static int32_t shifted(const di_teacher *t) { return di_teacher_shifted(prefix_of(t)->from); }

static int32_t ahead(const di_teacher *t) { return di_teacher_ahead(prefix_of(t)->from); }

static int32_t in_caller(const di_teacher *t) { return di_teacher_in_caller(prefix_of(t)->from); }

static int32_t draws(const di_teacher *t) { return di_teacher_draws(prefix_of(t)->from); }

/* ---- a batch with the prefix in it ---- */

/* How much of a sequence stays before the prefix: its bos. */
static int64_t head_of(const di_teacher *t, const int32_t *ids, int64_t length)
{
    const int64_t bos = t->tokenizer ? dk_tokenizer_bos(t->tokenizer) : -1;
    return bos >= 0 && length > 0 && ids[0] == bos;
}

static void put_sequences(const di_teacher *t, const distill_batch *batch, int32_t *ids, int64_t *offsets)
{
    const prefix *p = prefix_of(t);
    int64_t used = offsets[0] = 0;
    for (int64_t s = 0; s < batch->sequences; s++) {
        const int32_t *from_ids = batch->ids + batch->offsets[s];
        const int64_t length = batch->offsets[s + 1] - batch->offsets[s], head = head_of(t, from_ids, length);
        memcpy(ids + used, from_ids, (size_t)head * sizeof *ids);
        memcpy(ids + used + head, p->ids, (size_t)p->count * sizeof *ids);
        memcpy(ids + used + head + p->count, from_ids + head, (size_t)(length - head) * sizeof *ids);
        offsets[s + 1] = used += length + p->count;
    }
}

/* Where a row's token stands now: a bos that stays in front has the prefix behind it, and what follows the prefix is
 * what followed the bos. So its row is that of the prefix's last token. */
static void put_rows(const di_session *s, work *w)
{
    int64_t sequence = 0;
    for (int64_t r = 0; r < s->row_count; r++) {
        while (s->batch.offsets[sequence + 1] <= s->places[r]) sequence++;
        w->rows[r] = s->places[r] + (sequence + 1) * prefix_of(s->teacher)->count;
    }
}

static int32_t begin(di_session *s, dk_error *err)
{
    work *w = s->state;
    distill_batch batch = s->batch;
    if (batch.sequences > s->max_sequences || batch.offsets[batch.sequences] > s->max_tokens)
        return dk_fail(err, DK_E_INVALID, "%lld sequences of %lld tokens do not fit a session of %lld of %lld",
                       (long long)batch.sequences, (long long)batch.offsets[batch.sequences],
                       (long long)s->max_sequences, (long long)s->max_tokens);
    put_sequences(s->teacher, &s->batch, w->ids, w->offsets);
    put_rows(s, w);
    batch.ids = w->ids;
    batch.offsets = w->offsets;
    batch.rows = w->rows;
    batch.row_count = s->row_count;
    di_session_follow(w->session, s);
    return di_session_begin(w->session, &batch, err);
}

static void end(di_session *s)
{
    const work *w = s->state;
    di_session_drop(w->session);
}

static int32_t forward(di_session *s, dk_error *err)
{
    const work *w = s->state;
    const int32_t rc = di_session_collect(w->session, err);
    s->source = *di_session_source(w->session);
    return rc;
}

static const distill_target *hidden(di_session *s)
{
    const work *w = s->state;
    w->session->row_count = s->row_count;
    return di_session_hidden(w->session);
}

static double session_flops(di_session *s)
{
    const work *w = s->state;
    return di_session_flops(w->session);
}

static void session_free(di_session *s)
{
    work *w = s->state;
    dk_host *host = s->teacher->host;
    di_session_free(w->session);
    dk_free(host, w->ids);
    dk_free(host, w->offsets);
    dk_free(host, w->rows);
    dk_free(host, w);
    s->state = NULL;
}

static int32_t session(di_session *s, dk_error *err)
{
    const prefix *p = prefix_of(s->teacher);
    const int64_t tokens = s->max_tokens + s->max_sequences * p->count;
    work *w = NULL;
    int32_t rc;
    DK_TRY(dk_new(s->teacher->host, 1, &w, err));
    s->state = w;
    DK_TRY(dk_new(s->teacher->host, tokens + 1, &w->ids, err));
    DK_TRY(dk_new(s->teacher->host, s->max_sequences + 1, &w->offsets, err));
    DK_TRY(dk_new(s->teacher->host, s->max_rows, &w->rows, err));
    DK_TRY(di_session_create(p->from, tokens, s->max_sequences, s->max_rows, &w->session, err));
    s->source = *di_session_source(w->session);
out:
    return rc;
}

/* ---- text ---- */

typedef struct prompts { /* with the prefix in them */
    int32_t *ids;
    int64_t *offsets;
} prompts;

static int32_t put_prompts(const di_teacher *t, const distill_batch *given, prompts *out, dk_error *err)
{
    const int64_t tokens = given->offsets[given->sequences] + given->sequences * prefix_of(t)->count;
    int32_t rc;
    DK_TRY(dk_new(t->host, tokens + 1, &out->ids, err));
    DK_TRY(dk_new(t->host, given->sequences + 1, &out->offsets, err));
    put_sequences(t, given, out->ids, out->offsets);
out:
    return rc;
}

static void free_prompts(const di_teacher *t, prompts *p)
{
    dk_free(t->host, p->ids);
    dk_free(t->host, p->offsets);
}

static int32_t generate(di_teacher *t, const distill_batch *given, const di_options *options,
                        const distill_options *user_options, const di_reader *reader, dk_error *err)
{
    prompts with = {NULL, NULL};
    distill_batch batch = *given;
    int32_t rc;
    DK_TRY(put_prompts(t, given, &with, err));
    batch.ids = with.ids;
    batch.offsets = with.offsets;
    DK_TRY(di_teacher_generate_to(prefix_of(t)->from, &batch, options, user_options, reader, err));
out:
    free_prompts(t, &with);
    return rc;
}

static int32_t write_ids(di_teacher *t, const dk_tokens *given, const dk_generate_args *args, dk_error *err)
{
    const distill_batch batch = {.ids = given->ids, .offsets = given->offsets, .sequences = given->sequences};
    prompts with = {NULL, NULL};
    int32_t rc;
    DK_TRY(put_prompts(t, &batch, &with, err));
    const dk_tokens tokens = {with.ids, with.offsets, given->sequences};
    DK_TRY(di_teacher_write(prefix_of(t)->from, &tokens, args, err));
out:
    free_prompts(t, &with);
    return rc;
}

static const di_teacher_kind prefix_kind = {.name = "a teacher that reads a prefix",
                                            .type = "prefix",
                                            .free = free_state,
                                            .describe = describe,
                                            .form = form,
                                            .hash = hash,
                                            .settings = settings,
                                            .flops = flops,
                                            .session_flops = session_flops,
                                            .from = from,
                                            .changes = changes,
                                            .ahead = ahead,
                                            .no_place = "its rows stand behind the prefix; give it without one",
                                            .formed = formed,
                                            .shifted = shifted,
                                            .begin = begin,
                                            .end = end,
                                            .session = session,
                                            .session_free = session_free,
                                            .in_caller = in_caller,
                                            .forward = forward,
                                            .hidden = hidden,
                                            .generate = generate,
                                            .draws = draws,
                                            .write = write_ids};

/* ---- how one comes to be ---- */

static int32_t check(const di_teacher *from_teacher, const int32_t *ids, int64_t count, dk_error *err)
{
    const di_facts facts = di_teacher_facts(from_teacher);
    const int64_t vocab = di_teacher_vocab_valid(from_teacher);
    const char *name;
    di_teacher *part;
    if (di_teacher_part(from_teacher, 0, &part, &name) || di_teacher_is_cached(from_teacher))
        return dk_fail(err, DK_E_OPTION,
                       "several teachers, or a cache, do not read one together: give it to those that they are made "
                       "of (teachers.NAME.prefix)");
    for (int64_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= vocab)
            return dk_fail(err, DK_E_OPTION, "id %d is not in [0, %lld), the teacher's", (int)ids[i], (long long)vocab);
    if (facts.context_length > 0 && count >= facts.context_length - 1)
        return dk_fail(err, DK_E_OPTION, "%lld tokens leave no room for a sequence in the teacher's context of %lld",
                       (long long)count, (long long)facts.context_length);
    return DK_OK;
}

int32_t di_teacher_prefixed(di_teacher *from_teacher, const int32_t *ids, int64_t count, di_teacher **out,
                            dk_error *err)
{
    di_teacher *t = NULL;
    prefix *p = NULL;
    int32_t rc;
    DK_TRY(check(from_teacher, ids, count, err));
    DK_TRY(di_teacher_create(from_teacher->backend, &prefix_kind, from_teacher->path, &t, err));
    DK_TRY(dk_new(t->host, 1, &p, err));
    t->state = p;
    p->from = di_teacher_retain(from_teacher);
    p->count = count;
    DK_TRY(dk_new(t->host, count, &p->ids, err));
    memcpy(p->ids, ids, (size_t)count * sizeof *ids);
    if (from_teacher->tokenizer) t->tokenizer = dk_tokenizer_retain(from_teacher->tokenizer);
    *out = t;
    t = NULL;
out:
    di_teacher_release(t);
    return rc;
}
