/* cache_plan.c - what a cache will be and how long it will take, from some windows that are asked now. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cache/cache_index.h"
#include "cache/target_cache.h"
#include "fill/fill_parts.h"
#include "fill/row_asker.h"
#include "fill/trial.h"

enum { SAMPLES = 32, SECONDS = 4, STRIP_ELEMENTS = 1 << 22, STRIP_MOST = 256, BLOCK = 1 << 18, INDEX_ENTRY = 40 };

typedef struct plan { /* of one cache */
    dk_host *host;
    const di_fill_parts *parts;
    di_cache_header header;
    di_cache *cache;  /* as it is */
    di_teacher *from; /* that would fill it; NULL = nobody */
    di_batch *window;
    uint8_t (*keys)[16];
    di_cache_index seen;           /* rows of the data so far that it lacks */
    int64_t rows, missing, tokens; /* tokens: of windows that lack rows */
    int64_t records;               /* that these rows become */
    /* of the sample */
    di_row_asker asker;
    di_trial trial;
    di_truth *truths;
    float *states;
    int64_t most, sampled;
    double pace[SAMPLES]; /* seconds of a token, of each window */
} plan;

typedef struct plan_sums { /* of all caches */
    int64_t missing, bytes, there, index_bytes;
    double added, seconds;
} plan_sums;

/* ---- what is missing ---- */

/* A route asks about samples of its own. */
static int32_t is_asked(const plan *p, int64_t sequence)
{
    const di_origin *origin = &p->window->origins[sequence];
    return di_teacher_reaches(p->parts->teacher, p->cache, origin->source, origin->teacher ? origin->teacher : "");
}

/* What came before in the data counts as there: it is asked once. */
static int32_t is_missing(const plan *p, const uint8_t key[16], int64_t length, int64_t position)
{
    return !di_cache_has(p->cache, key, length, position) &&
           !di_cache_index_find(&p->seen, key, (uint32_t)length, (uint32_t)position, NULL);
}

static int32_t end_run(plan *p, di_cache_record *run, dk_error *err)
{
    int32_t rc = DK_OK;
    if (!run->rows) return DK_OK;
    DK_TRY(di_cache_index_add(&p->seen, run, 0, err));
    p->missing += run->rows;
    p->records++;
    run->rows = 0;
out:
    return rc;
}

static int32_t count_window(plan *p, dk_error *err)
{
    const di_batch *w = p->window;
    const int64_t before = p->missing;
    di_cache_record run = {.rows = 0};
    int32_t rc = DK_OK;
    di_trial_keys(w, p->header.key_parts, p->keys);
    for (int64_t r = 0; r < w->rows; r++) {
        const int64_t sequence = w->row_sequence[r], length = w->offsets[sequence + 1] - w->offsets[sequence];
        const int64_t position = w->row[r] - w->offsets[sequence];
        const uint8_t *key = p->keys[sequence];
        if (run.length != length || run.first + run.rows != position || memcmp(run.key, key, sizeof run.key) != 0)
            DK_TRY(end_run(p, &run, err));
        if (!is_missing(p, key, length, position) || !is_asked(p, sequence)) continue;
        if (!run.rows) run = (di_cache_record){.length = (uint32_t)length, .first = (uint32_t)position};
        memcpy(run.key, key, sizeof run.key);
        run.rows++;
    }
    DK_TRY(end_run(p, &run, err));
    p->rows += w->rows;
    if (p->missing > before) p->tokens += w->offsets[w->sequences];
out:
    return rc;
}

static int32_t count_all(plan *p, dk_error *err)
{
    int32_t rc;
    di_cache_index_init(&p->seen, p->host);
    DK_TRY(di_cache_index_place(&p->seen, 0, 1, err));
    for (int64_t s = 0; s < p->parts->count; s++) {
        dk_host *host = p->host;
        DK_TRY(di_batch_create(p->parts->sets[s], 1, &p->window, err));
        DK_TRY(dk_new(host, p->window->max_sequences, &p->keys, err));
        for (int64_t i = 0; i < p->parts->windows[s]; i++) {
            if (dk_host_cancelled(host)) DK_TRY(dk_fail(err, DK_E_CANCELLED, "planning was cancelled"));
            DK_TRY(di_dataset_windows(p->parts->sets[s], i, 1, p->window, err));
            DK_TRY(count_window(p, err));
        }
        di_batch_free(p->window);
        dk_free(host, p->keys);
        p->window = NULL;
        p->keys = NULL;
    }
out:
    return rc;
}

/* ---- a sample ---- */

static int32_t ask_strip(plan *p, int64_t first, int64_t count, dk_error *err)
{
    const di_trial_rows rows = {p->window, (const uint8_t(*)[16])p->keys, first, count, p->truths, p->states};
    di_row_reader reader;
    int32_t rc;
    if (p->states) {
        di_row_asker_get_states(&p->asker, first, count, p->states);
    } else {
        DK_TRY(di_row_asker_read(&p->asker, first, count, err));
        for (int64_t r = 0; r < count; r++)
            di_truth_of(p->asker.rows + r * p->asker.width, p->asker.scale, p->header.vocab_valid, &p->truths[r]);
    }
    DK_TRY(di_trial_put(&p->trial, &rows, &reader, err));
out:
    return rc;
}

static int32_t ask_window(plan *p, int64_t window, dk_error *err)
{
    int32_t rc;
    DK_TRY(di_dataset_windows(p->parts->sets[0], window, 1, p->window, err));
    di_trial_keys(p->window, p->header.key_parts, p->keys);
    DK_TRY(di_row_asker_begin(&p->asker, p->window, err));
    for (int64_t first = 0; first < p->window->rows; first += p->most) {
        const int64_t left = p->window->rows - first;
        DK_TRY(ask_strip(p, first, left < p->most ? left : p->most, err));
    }
out:
    return rc;
}

static int32_t open_sample(plan *p, dk_backend *backend, dk_error *err)
{
    int32_t rc;
    p->most = STRIP_ELEMENTS / p->header.vocab;
    if (p->most > STRIP_MOST) p->most = STRIP_MOST;
    if (p->most < 1) p->most = 1;
    DK_TRY(di_batch_create(p->parts->sets[0], 1, &p->window, err));
    DK_TRY(dk_new(p->host, p->window->max_sequences, &p->keys, err));
    DK_TRY(dk_new(p->host, p->most, &p->truths, err));
    DK_TRY(di_row_asker_open(backend, p->from, p->window, p->most, p->header.temperature, &p->asker, err));
    DK_TRY(di_trial_open(p->host, &p->header, &p->trial, err));
    if (p->header.tier != DI_TIER_HIDDEN) goto out;
    if (di_row_asker_state_width(&p->asker) != p->header.width)
        DK_TRY(dk_fail(err, DK_E_UNSUPPORTED, "the teacher's hidden states are not in the host's memory"));
    DK_TRY(dk_new(p->host, p->most * p->header.width, &p->states, err));
out:
    return rc;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The first window is asked twice: what it takes once has no part in the time. */
static int32_t sample(plan *p, dk_backend *backend, dk_error *err)
{
    const int64_t of = p->parts->windows[0], count = of < SAMPLES ? of : SAMPLES;
    const double begin = dk_seconds();
    int32_t rc;
    DK_TRY(open_sample(p, backend, err));
    DK_TRY(of ? ask_window(p, 0, err) : DK_OK);
    p->trial.bytes = p->trial.rows = 0;
    for (int64_t i = 0; i < count && (i < SAMPLES / 4 || dk_seconds() - begin < SECONDS); i++) {
        const double before = dk_seconds();
        DK_TRY(ask_window(p, i * of / count, err));
        const int64_t tokens = p->window->offsets[p->window->sequences];
        if (tokens) p->pace[p->sampled++] = (dk_seconds() - before) / (double)tokens;
    }
    qsort(p->pace, (size_t)p->sampled, sizeof *p->pace, ascending);
out:
    return rc;
}

/* ---- as JSON ---- */

static void number(dk_strbuf *json, const char *name, double value)
{
    dk_strbuf_printf(json, ",\"%s\":", name);
    dk_strbuf_f64(json, value);
}

static void add_sums(const plan *p, plan_sums *sums, dk_strbuf *json)
{
    const di_cache_info info = di_cache_get_info(p->cache);
    const double row = p->trial.rows ? (double)p->trial.bytes / (double)p->trial.rows
                       : info.rows   ? (double)info.bytes / (double)info.rows
                                     : 0;
    const double added = row * (double)p->missing + (double)p->records * DI_CACHE_RECORD_HEADER;
    const int64_t there = info.bytes;
    const int64_t bytes =
        (int64_t)((double)(there ? there : DI_CACHE_HEADER) + added * (1 + (double)DI_CACHE_BLOCK_HEADER / BLOCK));
    const double seconds = p->pace[p->sampled / 2] * (double)p->tokens;
    dk_strbuf_printf(json, ",\"rows\":%lld,\"missing\":%lld", (long long)p->rows, (long long)p->missing);
    number(json, "bytes_per_row", p->missing ? added / (double)p->missing : row);
    dk_strbuf_printf(json, ",\"bytes\":%lld,\"there\":%lld,\"index_bytes\":%lld", (long long)bytes, (long long)there,
                     (long long)(p->records * INDEX_ENTRY));
    number(json, "seconds", seconds);
    sums->missing += p->missing;
    sums->added += added;
    sums->bytes += bytes;
    sums->there += there;
    sums->index_bytes += p->records * INDEX_ENTRY;
    sums->seconds += seconds;
}

static void close_plan(plan *p)
{
    di_row_asker_close(&p->asker);
    di_trial_close(&p->trial);
    di_batch_free(p->window);
    dk_free(p->host, p->keys);
    dk_free(p->host, p->truths);
    dk_free(p->host, p->states);
    di_cache_index_free(&p->seen);
}

static int32_t plan_one(dk_backend *backend, plan *p, plan_sums *sums, dk_strbuf *json, dk_error *err)
{
    int32_t rc;
    p->header = *di_cache_get_header(p->cache);
    DK_TRY(count_all(p, err));
    if (p->from && p->missing) DK_TRY(sample(p, backend, err));
    dk_strbuf_puts(json, sums->bytes ? ",{\"path\":" : "{\"path\":");
    dk_strbuf_json(json, di_cache_path(p->cache), strlen(di_cache_path(p->cache)));
    dk_strbuf_printf(json, ",\"tier\":\"%s\"", di_tier_name(p->header.tier));
    add_sums(p, sums, json);
    dk_strbuf_puts(json, "}");
    rc = dk_strbuf_check(json, err);
out:
    close_plan(p);
    return rc;
}

int32_t di_cache_plan(const di_fill_args *args, dk_strbuf *json, dk_error *err)
{
    plan p = {.host = args->backend->host};
    plan_sums sums = {0};
    di_fill_parts parts;
    di_cache *cache;
    di_teacher *from;
    int32_t rc;
    DK_TRY(di_fill_parts_look(args, &parts, err));
    dk_strbuf_printf(json, "{\"windows\":%lld,\"caches\":[", (long long)parts.total);
    for (int64_t i = 0; di_teacher_cache_at(parts.teacher, i, &cache, &from); i++) {
        p = (plan){.host = p.host, .parts = &parts, .cache = cache, .from = from};
        DK_TRY(plan_one(args->backend, &p, &sums, json, err));
    }
    dk_strbuf_printf(json, "],\"rows\":%lld,\"missing\":%lld", (long long)p.rows, (long long)sums.missing);
    number(json, "bytes_per_row", sums.missing ? sums.added / (double)sums.missing : 0);
    dk_strbuf_printf(json, ",\"bytes\":%lld,\"there\":%lld,\"index_bytes\":%lld", (long long)sums.bytes,
                     (long long)sums.there, (long long)sums.index_bytes);
    number(json, "seconds", sums.seconds);
    dk_strbuf_puts(json, "}");
    rc = dk_strbuf_check(json, err);
out:
    di_fill_parts_close(&parts);
    return rc;
}
