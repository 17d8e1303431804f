/* bench_draft.c - distill bench draft: what a smaller model's proposals are worth, measured and by the formula of
 * Leviathan et al. 2023 (arXiv 2211.17192), theorem 3.8. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

enum { TIMES = 3, MOST = 32 };

typedef struct draft_bench {
    bench b;
    const char *model_path, *draft_path, *data;
    int64_t prompts, keys, tokens, gamma;
    distill_teacher *model, *draft;
    int32_t *ids;                               /* [prompts, keys] */
    int32_t *bare, *text;                       /* [prompts, tokens] written without and with the draft */
    int64_t asked[MOST], accepted[MOST];        /* by place: proposals that the model looked at, and took */
    double model_s, drafted_s, draft_s, many_s; /* of a token, a token, a token, a pass of gamma + 1 rows */
    double model_first_s, drafted_first_s;      /* of the first one, behind a prompt */
} draft_bench;

/* ---- prompts ---- */

static int take_windows(draft_bench *d, const int32_t *ids, int64_t count)
{
    if (count < d->keys) return cli_message("%s: %lld tokens, fewer than --keys", d->data, (long long)count);
    const int64_t step = d->prompts > 1 ? (count - d->keys) / (d->prompts - 1) : 0;
    for (int64_t i = 0; i < d->prompts; i++)
        memcpy(d->ids + i * d->keys, ids + i * step, (size_t)d->keys * sizeof *ids);
    return -1;
}

static int read_prompts(draft_bench *d)
{
    cli_session *s = &d->b.session;
    distill_tokenizer *tokenizer = NULL;
    int64_t vocab = 0, count = 0;
    size_t size = 0;
    d->ids = cli_memory(NULL, (size_t)(d->prompts * d->keys) * sizeof *d->ids);
    if (distill_teacher_get_i64(d->model, "vocab_valid", &vocab, &s->err)) return cli_fail(&s->err);
    if (!d->data) return bench_fill_ids(d->ids, d->prompts * d->keys, vocab), -1;
    FILE *file = fopen(d->data, "rb");
    if (!file) return cli_message("%s: could not be opened", d->data);
    char *text = cli_read(file, d->data, (size_t)1 << 28, &size);
    fclose(file);
    if (!text) return CLI_FAILED;
    int32_t *ids = cli_memory(NULL, (size + 16) * sizeof *ids);
    int32_t rc = distill_teacher_tokenizer(d->model, &tokenizer, &s->err);
    if (!rc) rc = distill_tokenizer_encode(tokenizer, text, size, 0, ids, (int64_t)size + 16, &count, &s->err);
    int code = rc ? cli_fail(&s->err) : take_windows(d, ids, count);
    distill_tokenizer_free(tokenizer);
    free(ids);
    free(text);
    return code;
}

/* ---- a text ---- */

typedef struct written { /* a text, from its first token to its last */
    double seconds;
    int64_t count; /* tokens behind the first */
    double first;  /* seconds that the first one took, the prompt's reading among them */
} written;

/* How many were proposed since it was asked last: in a round, whose first token came just now. */
static int64_t proposed(const distill_session *session, int64_t *before)
{
    distill_session_stats stats;
    DISTILL_INIT(&stats);
    if (distill_session_get_stats(session, &stats, NULL)) return 0;
    const int64_t more = stats.drafted - *before;
    *before = stats.drafted;
    return more;
}

/* The places of proposals where seen is not NULL. */
static int32_t write_text(draft_bench *d, distill_session *session, int64_t prompt, int32_t *out, written *text,
                          draft_bench *seen)
{
    distill_error *err = &d->b.session.err;
    distill_token token;
    double first = 0, last = 0, begun;
    int64_t n = 0, run = 0, round = 0, before = 0, begins = 1;
    int32_t rc = distill_session_truncate(session, 0, err);
    if (!rc) rc = distill_session_append(session, d->ids + prompt * d->keys, d->keys, err);
    begun = bench_seconds();
    for (int going = 1; !rc && going; going = !token.finished) {
        DISTILL_INIT(&token);
        if ((rc = distill_session_next(session, &token, err))) break;
        last = bench_seconds();
        if (!n) first = last;
        if (out) out[n] = token.id;
        n++;
        if (!seen) continue;
        if (begins) round = proposed(session, &before);
        begins = !token.from_draft;
        if (token.from_draft) run++;
        if (token.from_draft || token.finished) continue; /* an answer's end cuts proposals short */
        for (int64_t i = 0; i <= run && i < round && i < MOST; i++) seen->asked[i]++, seen->accepted[i] += i < run;
        run = 0;
    }
    *text = (written){last - first, n > 0 ? n - 1 : 0, first - begun};
    return rc;
}

static int32_t open_session(draft_bench *d, const distill_teacher *model, const distill_teacher *draft, int64_t places,
                            distill_session **out)
{
    cli_session *s = &d->b.session;
    int32_t rc = distill_options_set_i64(s->options, "session.places", places, &s->err);
    if (!rc) rc = distill_options_set_i64(s->options, "session.context", d->keys + d->tokens, &s->err);
    return rc ? rc : distill_session_create(model, draft, s->options, out, &s->err);
}

static int is_set_to(const cli_session *s, const char *key, const char *value)
{
    char text[16] = "";
    distill_options_get(s->options, key, text, sizeof text, NULL, NULL);
    return strcmp(text, value) == 0;
}

static int32_t stays_quantised(draft_bench *d, int *out)
{
    static const char *const types[] = {"dtypes.Q8_0", "dtypes.Q4_0", "dtypes.Q4_1", "dtypes.Q2_K",
                                        "dtypes.Q3_K", "dtypes.Q4_K", "dtypes.Q5_K", "dtypes.Q6_K"};
    distill_report *report = NULL;
    double count = 0;
    const int32_t rc = distill_inspect(d->b.session.env, d->draft_path, &report, &d->b.session.err);
    for (size_t i = 0; !rc && i < sizeof types / sizeof *types; i++)
        *out |= !distill_report_get_f64(report, types[i], &count, NULL);
    distill_report_free(report);
    return rc;
}

/* The draft alone, as it computes in a session: quantised weights are multiplied as they are, beside bf16, too. */
static int32_t open_draft_alone(draft_bench *d, distill_session **out)
{
    cli_session *s = &d->b.session;
    const int bf16 = is_set_to(s, "generate.precision", "bf16") && !is_set_to(s, "generate.quantized", "exact");
    int quantised = 0;
    int32_t rc = bf16 ? stays_quantised(d, &quantised) : 0;
    if (!rc && quantised) rc = distill_options_set(s->options, "generate.precision", "fp32", &s->err);
    if (!rc) rc = open_session(d, d->draft, NULL, 1, out);
    if (!rc && quantised) rc = distill_options_set(s->options, "generate.precision", "bf16", &s->err);
    return rc;
}

/* One pass of gamma + 1 rows: as many forks that write a token each. */
static int32_t time_many(draft_bench *d, double *each)
{
    distill_session *sessions[MOST + 1] = {NULL};
    distill_token outs[MOST + 1];
    const int64_t rows = d->gamma + 1;
    distill_error *err = &d->b.session.err;
    double seconds = 0;
    int64_t passes = 0;
    int32_t rc = open_session(d, d->model, NULL, rows, &sessions[0]);
    for (int64_t i = 1; !rc && i < rows; i++) rc = distill_session_fork(sessions[0], &sessions[i], err);
    for (int64_t i = 0; !rc && i < rows; i++)
        rc = distill_session_append(sessions[i], d->ids + i % d->prompts * d->keys, d->keys, err);
    for (int64_t turn = 0; !rc && turn < d->tokens / 2; turn++) {
        int64_t wrote = 0;
        for (int64_t i = 0; i < rows; i++) DISTILL_INIT(&outs[i]);
        const double begin = bench_seconds();
        rc = distill_session_next_many(sessions, rows, outs, err);
        const double took = bench_seconds() - begin;
        for (int64_t i = 0; !rc && i < rows; i++) wrote += outs[i].id >= 0;
        if (turn > 0 && wrote == rows) seconds += took, passes++;
    }
    *each = passes ? seconds / (double)passes : NAN;
    for (int64_t i = 0; i < rows; i++) distill_session_free(sessions[i]);
    return rc == DISTILL_E_END ? DISTILL_OK : rc;
}

/* ---- all of it, in turns, so that what else the machine does goes over all ---- */

enum { BARE, DRAFT, DRAFTED, KINDS };
typedef struct times {
    distill_session *sessions[KINDS];
    written *texts; /* [KINDS, prompts, TIMES] */
    double many[TIMES];
} times;

static written *text_of(const draft_bench *d, const times *t, int64_t kind, int64_t prompt)
{
    return t->texts + (kind * d->prompts + prompt) * TIMES;
}

/* The first turn touches memory, and says what was accepted. */
static int32_t take_turn(draft_bench *d, times *t, int turn)
{
    int32_t rc = 0;
    for (int64_t p = 0; !rc && p < d->prompts; p++)
        for (int64_t kind = 0; !rc && kind < KINDS; kind++) {
            int32_t *out = kind == BARE ? d->bare + p * d->tokens : kind == DRAFTED ? d->text + p * d->tokens : NULL;
            written text;
            rc = write_text(d, t->sessions[kind], p, out, &text, turn < 0 && kind == DRAFTED ? d : NULL);
            if (turn >= 0) text_of(d, t, kind, p)[turn] = text;
        }
    double many = 0;
    if (!rc) rc = time_many(d, &many);
    if (turn >= 0) t->many[turn] = many;
    return rc;
}

/* Of a token: the medians of each prompt's times. */
static double each_token(const draft_bench *d, const times *t, int64_t kind)
{
    double seconds = 0, of[TIMES];
    int64_t count = 0;
    for (int64_t p = 0; p < d->prompts; p++) {
        const written *texts = text_of(d, t, kind, p);
        for (int i = 0; i < TIMES; i++) of[i] = texts[i].seconds;
        seconds += bench_median(of, TIMES);
        count += texts->count;
    }
    return count ? seconds / (double)count : NAN;
}

static double first_token(const draft_bench *d, const times *t, int64_t kind)
{
    double seconds = 0, of[TIMES];
    for (int64_t p = 0; p < d->prompts; p++) {
        for (int i = 0; i < TIMES; i++) of[i] = text_of(d, t, kind, p)[i].first;
        seconds += bench_median(of, TIMES);
    }
    return seconds / (double)d->prompts;
}

static int32_t measure(draft_bench *d)
{
    const size_t bytes = (size_t)(d->prompts * d->tokens) * sizeof(int32_t);
    times t = {.texts = cli_memory(NULL, (size_t)(KINDS * d->prompts * TIMES) * sizeof(written))};
    d->bare = memset(cli_memory(NULL, bytes), 0, bytes);
    d->text = memset(cli_memory(NULL, bytes), 0, bytes);
    int32_t rc = open_session(d, d->model, NULL, 1, &t.sessions[BARE]);
    if (!rc) rc = open_draft_alone(d, &t.sessions[DRAFT]);
    if (!rc) rc = open_session(d, d->model, d->draft, 1, &t.sessions[DRAFTED]);
    for (int i = -1; !rc && i < TIMES; i++) {
        rc = take_turn(d, &t, i);
        cli_progress_share(&d->b.progress, "drafting", i + 2, TIMES + 1);
    }
    if (!rc) {
        d->model_s = each_token(d, &t, BARE);
        d->draft_s = each_token(d, &t, DRAFT);
        d->drafted_s = each_token(d, &t, DRAFTED);
        d->many_s = bench_median(t.many, TIMES);
        d->model_first_s = first_token(d, &t, BARE);
        d->drafted_first_s = first_token(d, &t, DRAFTED);
    }
    for (int kind = 0; kind < KINDS; kind++) distill_session_free(t.sessions[kind]);
    free(t.texts);
    return rc;
}

static double acceptance(const draft_bench *d, json_t *places)
{
    int64_t asked = 0, accepted = 0;
    const int64_t most = is_set_to(&d->b.session, "session.draft_adaptive", "true") ? 2 * d->gamma : d->gamma;
    for (int64_t i = 0; i < most && i < MOST; i++) {
        asked += d->asked[i];
        accepted += d->accepted[i];
        json_array_append_new(places,
                              d->asked[i] ? cli_json_real((double)d->accepted[i] / (double)d->asked[i]) : json_null());
    }
    return asked ? (double)accepted / (double)asked : 0;
}

/* (1 - a^(g + 1)) / ((1 - a) (g c + v)): tokens of a round over what it takes; nothing where rounds are not alike. */
static json_t *result_of(const draft_bench *d)
{
    json_t *places = json_array();
    const double a = acceptance(d, places), g = (double)d->gamma, c = d->draft_s / d->model_s,
                 v = d->many_s / d->model_s, tokens = a < 1 ? (1 - pow(a, g + 1)) / (1 - a) : g + 1,
                 measured = d->model_s / d->drafted_s,
                 expected = is_set_to(&d->b.session, "session.draft_adaptive", "true") ? NAN : tokens / (g * c + v);
    const int same = !memcmp(d->bare, d->text, (size_t)(d->prompts * d->tokens) * sizeof *d->text);
    return json_pack("{s:I, s:I, s:o, s:f, s:o, s:o, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:o, s:b, s:o}", "gamma",
                     (json_int_t)d->gamma, "prompts", (json_int_t)d->prompts, "data",
                     d->data ? json_string(d->data) : json_null(), "acceptance", a, "acceptance_by_place", places,
                     "tokens_per_round", cli_json_real(isnan(expected) ? NAN : tokens), "draft_over_model", c,
                     "rows_over_one", v, "model_tokens_per_second", 1 / d->model_s, "drafted_tokens_per_second",
                     1 / d->drafted_s, "model_first_token_seconds", d->model_first_s, "drafted_first_token_seconds",
                     d->drafted_first_s, "speedup", measured, "of_expected", cli_json_real(measured / expected),
                     "same_text", same, "expected_speedup", cli_json_real(expected));
}

int bench_draft(const cli_command *command, int argc, char **argv)
{
    static const char *const own[] = {"generate.max_tokens",
                                      "--tokens",
                                      "session.draft_tokens",
                                      "--gamma",
                                      "session.context",
                                      "--keys",
                                      "session.places",
                                      "--gamma",
                                      NULL};
    draft_bench d = {.prompts = 8, .keys = 64, .tokens = 96, .gamma = 4};
    cli_settings settings = {
        .reads =
            " generate.quantized generate.precision session.cache_type session.draft_adaptive teacher.mmap compute ",
        .own = own};
    const cli_option options[] = {
        {"--model", CLI_TEXT, &d.model_path, NULL}, {"--draft", CLI_TEXT, &d.draft_path, NULL},
        {"--data", CLI_TEXT, &d.data, NULL},        {"--prompts", CLI_INT, &d.prompts, NULL},
        {"--keys", CLI_INT, &d.keys, NULL},         {"--tokens", CLI_INT, &d.tokens, NULL},
        {"--gamma", CLI_INT, &d.gamma, NULL},       {"--set", CLI_SETTINGS, &settings, NULL},
        {"--json", CLI_FLAG, &d.b.as_json, NULL}};
    json_t *result = NULL;
    int code = cli_parse(command, options, 9, argc, argv, NULL, 0);
    if (code >= 0) return code;
    if (!d.model_path || !d.draft_path) return cli_usage(command, "--model and --draft are both needed");
    if (d.prompts < 1 || d.prompts > 4096 || d.keys < 1 || d.keys > 1 << 16 || d.tokens < 4 || d.tokens > 1 << 16 ||
        d.gamma < 1 || d.gamma > MOST)
        return cli_usage(command, "--prompts is 1 to 4096, --keys 1 to 65536, --tokens 4 to 65536, --gamma 1 to %d",
                         MOST);
    if ((code = bench_open(&d.b, command, &settings)) < 0) {
        cli_session *s = &d.b.session;
        int32_t rc = distill_options_set_i64(s->options, "generate.max_tokens", d.tokens, &s->err);
        if (!rc) rc = distill_options_set_f64(s->options, "generate.temperature", 0, &s->err);
        if (!rc) rc = distill_options_set_i64(s->options, "session.draft_tokens", d.gamma, &s->err);
        if (!rc) rc = distill_teacher_open(s->env, d.model_path, s->options, &d.model, &s->err);
        if (!rc) rc = distill_teacher_open(s->env, d.draft_path, s->options, &d.draft, &s->err);
        code = rc ? cli_fail(&s->err) : read_prompts(&d);
        if (code < 0 && measure(&d)) code = cli_fail(&s->err);
        if (code < 0) result = result_of(&d);
    }
    distill_teacher_free(d.model);
    distill_teacher_free(d.draft);
    free(d.ids);
    free(d.bare);
    free(d.text);
    return bench_close(&d.b, code, result);
}
