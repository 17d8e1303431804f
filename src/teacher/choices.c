/* choices.c - each choice is a way through a tree of tokens. A sequence of the batch is the prompt with the tokens of a
 * choice but the last; choices that lie on the way of another one are read from that one's rows, so that choices of
 * one token cost one sequence together. */
#include "teacher/choices.h"

#include <math.h>

#include "target/target.h"
#include "teacher/score.h"
#include "teacher/teacher_parts.h"

enum { BATCH_TOKENS = 4096, BATCH_SEQUENCES = 16 }; /* of sequences that are scored at once, but for one alone */

struct di_choices {
    dk_host *host;
    di_teacher *teacher;
    dk_precision precision;
    int64_t count;
    char **texts;
    size_t *sizes;
    int32_t beginnings; /* a choice may be what another one begins with */
    uint32_t flags;     /* that ids were encoded with */
    int32_t *ids;       /* choice i is ids[offsets[i] .. offsets[i+1]) */
    int64_t *offsets;   /* [count + 1] */
    int64_t *lengths;   /* [count] */
    int64_t *leaders;   /* [count] the choice on whose way it lies: itself, or a longer one */
    di_scorer *scorer;
    int64_t max_tokens, max_sequences, max_rows; /* of the scorer; 0 = there is none */
    /* the batch under work */
    int32_t *batch_ids;
    int64_t batch_cap;
    int64_t batch_offsets[BATCH_SEQUENCES + 1], first_rows[BATCH_SEQUENCES], members[BATCH_SEQUENCES];
    int64_t *rows;
    double *log_probs;
};

static void drop_choices(di_choices *c)
{
    dk_host *host = c->host;
    for (int64_t i = 0; c->texts && i < c->count; i++) dk_free(host, c->texts[i]);
    dk_free(host, c->texts);
    dk_free(host, c->sizes);
    dk_free(host, c->ids);
    dk_free(host, c->offsets);
    dk_free(host, c->lengths);
    dk_free(host, c->leaders);
    c->texts = NULL;
    c->sizes = NULL;
    c->ids = NULL;
    c->offsets = c->lengths = c->leaders = NULL;
    c->count = 0;
}

void di_choices_free(di_choices *c)
{
    if (!c) return;
    dk_host *host = c->host;
    drop_choices(c);
    dk_free(host, c->batch_ids);
    dk_free(host, c->rows);
    di_scorer_free(c->scorer);
    di_teacher_release(c->teacher);
    dk_free(host, c);
}

/* ---- what the choices are ---- */

static int64_t way(const di_choices *c, int64_t choice) { return c->lengths[choice] - 1; } /* tokens but the last */

/* Tokens that a and b begin with together. */
static int64_t shared(const di_choices *c, int64_t a, int64_t b)
{
    const int32_t *x = c->ids + c->offsets[a], *y = c->ids + c->offsets[b];
    int64_t n = 0;
    while (n < c->lengths[a] && n < c->lengths[b] && x[n] == y[n]) n++;
    return n;
}

static int32_t check_apart(const di_choices *c, dk_error *err)
{
    for (int64_t a = 0; a < c->count; a++)
        for (int64_t b = 0; b < c->count; b++)
            if (a != b && shared(c, a, b) == c->lengths[a])
                return dk_fail(err, DK_E_INVALID,
                               "choice %lld, \"%.80s\", is what choice %lld, \"%.80s\", begins with, and so always "
                               "the likelier: end both with a full stop",
                               (long long)a, c->texts[a], (long long)b, c->texts[b]);
    return DK_OK;
}

static void lead(di_choices *c)
{
    for (int64_t a = 0; a < c->count; a++) {
        c->leaders[a] = a;
        for (int64_t b = 0; b < c->count; b++) {
            const int64_t longest = c->leaders[a];
            if (shared(c, a, b) >= way(c, a) && way(c, b) > way(c, longest)) c->leaders[a] = b;
        }
        for (int64_t b = 0; b < c->count; b++) /* of ways that are one, the first */
            if (way(c, b) == way(c, c->leaders[a]) && shared(c, b, c->leaders[a]) >= way(c, b)) {
                c->leaders[a] = b;
                break;
            }
    }
}

static int32_t encode(di_choices *c, uint32_t flags, dk_error *err)
{
    const dk_tokenizer *tokenizer = di_teacher_tokenizer(c->teacher);
    int64_t cap = 0, count = 0;
    int32_t rc;
    if (c->ids && c->flags == flags) return DK_OK;
    dk_free(c->host, c->ids);
    c->ids = NULL;
    for (int64_t i = 0; i < c->count; i++) {
        DK_TRY(dk_tokenizer_append(tokenizer, c->host, c->texts[i], c->sizes[i], flags | DK_ENCODE_PLAIN, &c->ids, &cap,
                                   &count, err));
        c->offsets[i + 1] = count;
        c->lengths[i] = count - c->offsets[i];
        if (!c->lengths[i])
            DK_TRY(dk_fail(err, DK_E_INVALID, "choice %lld, \"%.80s\", has no token", (long long)i, c->texts[i]));
    }
    if (!c->beginnings) DK_TRY(check_apart(c, err));
    lead(c);
    c->flags = flags;
out:
    if (rc) {
        dk_free(c->host, c->ids);
        c->ids = NULL;
    }
    return rc;
}

static int32_t keep_texts(di_choices *c, const dk_slice *choices, dk_error *err)
{
    int32_t rc;
    DK_TRY(dk_new(c->host, c->count, &c->texts, err));
    DK_TRY(dk_new(c->host, c->count, &c->sizes, err));
    DK_TRY(dk_new(c->host, c->count + 1, &c->offsets, err));
    DK_TRY(dk_new(c->host, c->count, &c->lengths, err));
    DK_TRY(dk_new(c->host, c->count, &c->leaders, err));
    for (int64_t i = 0; i < c->count; i++) {
        c->sizes[i] = choices[i].size;
        if (!(c->texts[i] = dk_strndup(c->host, choices[i].data, choices[i].size)))
            return dk_fail_nomem(err, choices[i].size);
    }
out:
    return rc;
}

int32_t di_choices_take(di_choices *c, const dk_slice *choices, int64_t count, dk_error *err)
{
    int32_t rc;
    if (count < 2)
        return dk_fail(err, DK_E_INVALID, "%lld choices: there are at least two to choose from", (long long)count);
    drop_choices(c);
    c->count = count;
    DK_TRY(keep_texts(c, choices, err));
    DK_TRY(encode(c, DK_ENCODE_CONTINUES, err));
out:
    return rc;
}

int32_t di_choices_open(di_teacher *teacher, int32_t beginnings, di_choices **out, dk_error *err)
{
    const int32_t kind = di_teacher_form(teacher)->kind;
    di_choices *c = NULL;
    int32_t rc;
    if (kind != DISTILL_DENSE && kind != DISTILL_HIDDEN)
        return dk_fail(err, DK_E_UNSUPPORTED, "this teacher gives %s targets, which have no logits to score choices by",
                       di_kind_name(kind));
    if (!di_teacher_tokenizer(teacher))
        return dk_fail(err, DK_E_UNSUPPORTED, "this teacher has no tokenizer, which choices are encoded by");
    DK_TRY(dk_new(teacher->host, 1, &c, err));
    c->host = teacher->host;
    c->teacher = di_teacher_retain(teacher);
    c->beginnings = beginnings;
    c->precision = DK_PRECISION_FULL;
    *out = c;
out:
    return rc;
}

int32_t di_choices_create(di_teacher *teacher, const dk_slice *choices, int64_t count, di_choices **out, dk_error *err)
{
    di_choices *c = NULL;
    int32_t rc;
    DK_TRY(di_choices_open(teacher, 0, &c, err));
    DK_TRY(di_choices_take(c, choices, count, err));
out:
    if (rc) di_choices_free(c);
    else *out = c;
    return rc;
}

void di_choices_set_precision(di_choices *c, dk_precision precision) { c->precision = precision; }

const int64_t *di_choices_lengths(const di_choices *c) { return c->lengths; }

/* ---- scoring ---- */

static int32_t make_room(di_choices *c, int64_t tokens, int64_t sequences, int64_t rows, dk_error *err)
{
    int32_t rc;
    if (tokens <= c->max_tokens && sequences <= c->max_sequences && rows <= c->max_rows) return DK_OK;
    di_scorer_free(c->scorer);
    c->scorer = NULL;
    if (c->max_tokens < tokens) c->max_tokens = tokens + tokens / 4;
    if (c->max_sequences < sequences) c->max_sequences = sequences;
    if (c->max_rows < rows) c->max_rows = rows + rows / 4;
    DK_TRY(di_scorer_create(c->teacher, c->max_tokens, c->max_sequences, c->max_rows, &c->scorer, err));
    dk_free(c->host, c->batch_ids);
    dk_free(c->host, c->rows);
    c->batch_ids = NULL;
    c->rows = NULL;
    DK_TRY(dk_new(c->host, c->max_tokens, &c->batch_ids, err));
    DK_TRY(dk_new(c->host, c->max_rows, &c->rows, err));
out:
    if (rc) c->max_tokens = 0;
    return rc;
}

/* The sequence that a row is of, and how many tokens of the choice it stands behind. */
static int64_t place_of(const di_choices *c, int64_t sequences, int64_t row, int64_t *depth)
{
    int64_t s = sequences - 1;
    while (c->first_rows[s] > row) s--;
    *depth = row - c->first_rows[s];
    return s;
}

typedef struct reading {
    di_choices *choices;
    int64_t sequences;
} reading;

static int32_t on_strip(void *user, const di_session *session, int64_t first, int64_t count, const float *rows,
                        dk_error *err)
{
    const reading *r = user;
    const di_choices *c = r->choices;
    const di_source *source = di_session_source(session);
    for (int64_t i = 0; i < count; i++) {
        int64_t depth, leader = c->members[place_of(c, r->sequences, first + i, &depth)];
        for (int64_t a = 0; a < c->count; a++) {
            if (c->leaders[a] != leader || depth >= c->lengths[a]) continue;
            const int32_t id = c->ids[c->offsets[a] + depth];
            if (id >= source->vocab_valid)
                return dk_fail(err, DK_E_INVALID, "choice %lld, \"%.80s\", has id %d, outside the %lld that count",
                               (long long)a, c->texts[a], (int)id, (long long)source->vocab_valid);
            c->log_probs[a] += (double)rows[i * source->width + id];
        }
    }
    return DK_OK;
}

/* The leaders from *next on that go into one batch; *next becomes the one behind them. */
static int64_t gather(di_choices *c, int64_t prompt_count, int64_t *next, int64_t *tokens, int64_t *rows)
{
    int64_t sequences = 0;
    *tokens = *rows = 0;
    for (; *next < c->count && sequences < BATCH_SEQUENCES; ++*next) {
        const int64_t length = prompt_count + way(c, *next);
        if (c->leaders[*next] != *next) continue;
        if (sequences && *tokens + length > BATCH_TOKENS) break;
        c->first_rows[sequences] = *rows;
        c->members[sequences++] = *next;
        *tokens += length;
        *rows += c->lengths[*next];
    }
    return sequences;
}

static void fill(di_choices *c, const int32_t *prompt, int64_t prompt_count, int64_t sequences)
{
    int64_t at = 0, row = 0;
    for (int64_t s = 0; s < sequences; s++) {
        const int64_t choice = c->members[s], tokens = way(c, choice);
        c->batch_offsets[s] = at;
        memcpy(c->batch_ids + at, prompt, sizeof *prompt * (size_t)prompt_count);
        memcpy(c->batch_ids + at + prompt_count, c->ids + c->offsets[choice], sizeof *prompt * (size_t)tokens);
        for (int64_t k = 0; k <= tokens; k++) c->rows[row++] = at + prompt_count - 1 + k;
        at += prompt_count + tokens;
    }
    c->batch_offsets[sequences] = at;
}

static int32_t score_some(di_choices *c, const int32_t *prompt, int64_t prompt_count, int64_t *next, dk_error *err)
{
    int64_t tokens, rows;
    reading r = {.choices = c};
    distill_batch batch;
    int32_t rc;
    if (!(r.sequences = gather(c, prompt_count, next, &tokens, &rows))) return DK_OK;
    DK_TRY(make_room(c, tokens, r.sequences, rows, err));
    fill(c, prompt, prompt_count, r.sequences);
    DISTILL_INIT(&batch);
    batch.ids = c->batch_ids;
    batch.offsets = c->batch_offsets;
    batch.rows = c->rows;
    batch.sequences = r.sequences;
    batch.row_count = rows;
    di_session_set_precision(di_scorer_session(c->scorer), c->precision);
    DK_TRY(di_scorer_run(c->scorer, &batch, 1, on_strip, &r, err));
out:
    return rc;
}

static int32_t check_prompt(const di_choices *c, const int32_t *prompt, int64_t count, dk_error *err)
{
    const int64_t context = di_teacher_facts(c->teacher).context_length, vocab = di_teacher_vocab(c->teacher);
    int64_t longest = 0;
    if (count < 1) return dk_fail(err, DK_E_INVALID, "the prompt of a choice has no token");
    for (int64_t i = 0; i < count; i++)
        if (prompt[i] < 0 || prompt[i] >= vocab)
            return dk_fail(err, DK_E_INVALID, "token %lld of the prompt is id %d, outside the teacher's %lld",
                           (long long)i, (int)prompt[i], (long long)vocab);
    for (int64_t a = 0; a < c->count; a++) longest = way(c, a) > longest ? way(c, a) : longest;
    if (context > 0 && count + longest > context)
        return dk_fail(err, DK_E_INVALID,
                       "a prompt of %lld tokens and choices of up to %lld are longer than the teacher's context of "
                       "%lld: shorten the prompt",
                       (long long)count, (long long)longest + 1, (long long)context);
    return DK_OK;
}

int32_t di_choices_score(di_choices *c, const int32_t *prompt, int64_t prompt_count, double *log_probs, dk_error *err)
{
    int32_t rc;
    DK_TRY(check_prompt(c, prompt, prompt_count, err));
    DK_TRY(encode(c, dk_tokenizer_continue_flags(di_teacher_tokenizer(c->teacher), prompt, prompt_count), err));
    DK_TRY(check_prompt(c, prompt, prompt_count, err)); /* they may be longer now */
    memset(log_probs, 0, sizeof *log_probs * (size_t)c->count);
    c->log_probs = log_probs;
    for (int64_t next = 0; next < c->count;) DK_TRY(score_some(c, prompt, prompt_count, &next, err));
out:
    return rc;
}

void di_choices_share(const double *log_probs, const int64_t *lengths, int64_t count, double *probabilities)
{
    double peak = -INFINITY, sum = 0;
    for (int64_t i = 0; i < count; i++) {
        probabilities[i] = lengths ? log_probs[i] / (double)lengths[i] : log_probs[i];
        if (probabilities[i] > peak) peak = probabilities[i];
    }
    for (int64_t i = 0; i < count; i++) sum += probabilities[i] = exp(probabilities[i] - peak);
    for (int64_t i = 0; i < count; i++) probabilities[i] /= sum;
}
