/* tiers.c - what each tier keeps of a teacher, and for how many bytes, on some windows of data. */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/ranks.h"
#include "cache/cache_format.h"
#include "fill/fill_parts.h"
#include "fill/row_asker.h"
#include "fill/trial.h"

enum { TRIALS = 16, STRIP_ELEMENTS = 1 << 22, STRIP_MOST = 256 };

typedef struct measure {
    const di_tiers_args *args;
    dk_backend *backend;
    di_fill_parts parts;
    di_dataset *data;
    int64_t windows; /* to be visited, of all */
    int64_t of;
    di_batch *window;
    di_row_asker teacher, states, student;
    int64_t most; /* rows of a strip */
    di_trial trials[TRIALS];
    int64_t count;
    di_trial own; /* the student's, as if it were a tier */
    double temperature;
    di_truth *truths;    /* [most] */
    float *kept, *given; /* [most, state width] hidden states as they were, and decoded */
    uint8_t (*keys)[16]; /* [max_sequences] */
    int64_t rows, tokens, sequences, done;
    double begin, told;
} measure;

/* ---- what is tried ---- */

static int32_t same(const di_cache_header *a, const di_cache_header *b)
{
    return a->tier == b->tier && a->width == b->width && a->bits == b->bits && a->step == b->step && a->seed == b->seed;
}

static int32_t add_trial(measure *m, const di_cache_header *header, dk_error *err)
{
    int32_t rc;
    for (int64_t i = 0; i < m->count; i++)
        if (same(&m->trials[i].header, header)) return DK_OK;
    if (m->count == TRIALS || (header->tier == DI_TIER_TOP_K && header->width > header->vocab_valid)) return DK_OK;
    DK_TRY(di_trial_open(m->backend->host, header, &m->trials[m->count], err));
    m->count++;
out:
    return rc;
}

static int32_t add_dense(measure *m, di_cache_header header, dk_error *err)
{
    const uint32_t state = (uint32_t)di_teacher_facts(m->parts.teacher).hidden_size;
    int32_t rc = DK_OK;
    header.seed = header.step = header.entropy = 0;
    header.temperature = 1;
    header.tier = DI_TIER_HIDDEN;
    header.width = state;
    for (uint32_t bits = 32; m->kept && bits >= 16; bits -= 16) {
        header.bits = bits;
        DK_TRY(add_trial(m, &header, err));
    }
    header.tier = DI_TIER_FULL;
    header.width = (uint32_t)header.vocab;
    header.bits = 16;
    if (!m->teacher.formed && header.vocab <= DI_CACHE_LARGEST_WIDTH) DK_TRY(add_trial(m, &header, err));
out:
    return rc;
}

static int32_t add_sparse(measure *m, di_cache_header header, dk_error *err)
{
    static const struct {
        uint32_t k, step;
    } top_k[] = {{200, 32}, {100, 32}, {50, 128}, {50, 32}, {50, 8}, {20, 32}, {10, 32}};
    static const uint32_t draws[] = {50, 12};
    int32_t rc = DK_OK;
    header.temperature = m->temperature;
    header.bits = 0;
    header.seed = 0;
    header.entropy = 0;
    header.tier = DI_TIER_TOP_K;
    for (size_t i = 0; i < sizeof top_k / sizeof *top_k; i++) {
        header.width = top_k[i].k;
        header.step = top_k[i].step;
        DK_TRY(add_trial(m, &header, err));
    }
    header.tier = DI_TIER_SAMPLED;
    header.entropy = 1;
    header.step = 0;
    header.seed = (uint64_t)di_options_i64(m->args->fill.options, "teacher.cache.seed");
    for (size_t i = 0; i < sizeof draws / sizeof *draws; i++) {
        header.width = draws[i];
        DK_TRY(add_trial(m, &header, err));
    }
out:
    return rc;
}

static int32_t open_trials(measure *m, dk_error *err)
{
    di_cache_header wanted;
    int32_t there, rc;
    DK_TRY(di_teacher_cache_header(NULL, m->parts.teacher, m->args->fill.options, &wanted, &there, err));
    DK_TRY(add_dense(m, wanted, err));
    DK_TRY(add_sparse(m, wanted, err));
    if (wanted.tier != DI_TIER_HIDDEN || m->kept) DK_TRY(add_trial(m, &wanted, err));
out:
    return rc;
}

/* ---- who is asked ---- */

static int32_t open_student(measure *m, dk_error *err)
{
    di_teacher *student = m->args->student, *teacher = m->parts.teacher;
    int32_t rc = DK_OK;
    if (!student) return DK_OK;
    DK_TRY(
        di_check_same_tokens("teacher", di_teacher_tokenizer(teacher), "student", di_teacher_tokenizer(student), err));
    if (di_teacher_vocab_valid(student) != di_teacher_vocab_valid(teacher))
        DK_TRY(dk_fail(err, DK_E_MISMATCH, "the student has %lld ids that count, the teacher %lld",
                       (long long)di_teacher_vocab_valid(student), (long long)di_teacher_vocab_valid(teacher)));
    DK_TRY(di_row_asker_open(m->backend, student, m->window, m->most, m->temperature, &m->student, err));
out:
    return rc;
}

static int32_t open_states(measure *m, dk_error *err)
{
    dk_host *host = m->backend->host;
    int32_t rc = DK_OK;
    if (m->teacher.formed || !di_teacher_model(m->parts.teacher)) return DK_OK;
    DK_TRY(di_row_asker_open(m->backend, m->parts.teacher, m->window, m->most, m->temperature, &m->states, err));
    const int64_t width = di_row_asker_state_width(&m->states);
    if (!width || width != di_teacher_facts(m->parts.teacher).hidden_size) goto out;
    DK_TRY(dk_new(host, m->most * width, &m->given, err));
    DK_TRY(dk_new(host, m->most * width, &m->kept, err));
out:
    return rc;
}

static int32_t open_measure(measure *m, dk_error *err)
{
    dk_host *host = m->backend->host;
    int32_t rc;
    DK_TRY(di_fill_parts_look_bare(&m->args->fill, &m->parts, err));
    m->temperature = di_options_f64(m->args->fill.options, "teacher.cache.temperature");
    m->data = m->parts.sets[m->parts.count - 1];
    m->of = m->parts.windows[m->parts.count - 1];
    m->most = STRIP_ELEMENTS / di_teacher_vocab(m->parts.teacher);
    if (m->most > STRIP_MOST) m->most = STRIP_MOST;
    if (m->most < 1) m->most = 1;
    DK_TRY(di_batch_create(m->data, 1, &m->window, err));
    DK_TRY(dk_new(host, m->most, &m->truths, err));
    DK_TRY(dk_new(host, m->window->max_sequences, &m->keys, err));
    DK_TRY(di_row_asker_open(m->backend, m->parts.teacher, m->window, m->most, m->temperature, &m->teacher, err));
    DK_TRY(open_student(m, err));
    DK_TRY(open_states(m, err));
    DK_TRY(open_trials(m, err));
out:
    return rc;
}

static void close_measure(measure *m)
{
    dk_host *host = m->backend->host;
    for (int64_t i = 0; i < m->count; i++) di_trial_close(&m->trials[i]);
    di_row_asker_close(&m->teacher);
    di_row_asker_close(&m->states);
    di_row_asker_close(&m->student);
    dk_free(host, m->truths);
    dk_free(host, m->kept);
    dk_free(host, m->given);
    dk_free(host, m->keys);
    di_batch_free(m->window);
    di_fill_parts_close(&m->parts);
}

/* ---- a strip of a window ---- */

static int32_t try_tier(measure *m, di_trial *t, const di_trial_rows *rows, dk_error *err)
{
    const int64_t width = t->header.width;
    di_row_reader reader;
    int32_t rc;
    DK_TRY(di_trial_put(t, rows, &reader, err));
    for (int64_t r = 0; r < rows->count; r++) {
        DK_TRY(di_trial_compare(t, &reader, &m->truths[r], err));
        if (t->header.tier == DI_TIER_HIDDEN) memcpy(m->given + r * width, t->values, (size_t)width * sizeof *m->given);
    }
    if (t->header.tier != DI_TIER_HIDDEN) goto out;
    di_row_asker_set_states(&m->states, rows->first, rows->count, m->given);
    DK_TRY(di_row_asker_read(&m->states, rows->first, rows->count, err));
    for (int64_t r = 0; r < rows->count; r++)
        di_trial_compare_logits(t, m->states.rows + r * m->states.width, m->states.scale, &m->truths[r]);
out:
    return rc;
}

static int32_t one_strip(measure *m, int64_t first, int64_t count, dk_error *err)
{
    const di_trial_rows rows = {m->window, (const uint8_t(*)[16])m->keys, first, count, m->truths, m->kept};
    const int64_t valid = di_teacher_vocab_valid(m->parts.teacher);
    int32_t rc;
    DK_TRY(di_row_asker_read(&m->teacher, first, count, err));
    for (int64_t r = 0; r < count; r++)
        di_truth_of(m->teacher.rows + r * m->teacher.width, m->teacher.scale, valid, &m->truths[r]);
    if (m->student.rows) DK_TRY(di_row_asker_read(&m->student, first, count, err));
    for (int64_t r = 0; m->student.rows && r < count; r++)
        di_trial_compare_logits(&m->own, m->student.rows + r * m->student.width, m->student.scale, &m->truths[r]);
    if (m->kept) di_row_asker_get_states(&m->states, first, count, m->kept);
    for (int64_t i = 0; i < m->count; i++) DK_TRY(try_tier(m, &m->trials[i], &rows, err));
out:
    return rc;
}

static int32_t tell(measure *m, dk_error *err)
{
    const double now = dk_seconds(), passed = now - m->begin;
    distill_progress p;
    if (!m->args->fill.fn || (m->done < m->windows && now - m->told < 0.1)) return DK_OK;
    m->told = now;
    DISTILL_INIT(&p);
    p.phase = DISTILL_PHASE_CACHING;
    p.done = m->done;
    p.total = m->windows;
    p.tokens = m->tokens;
    p.tokens_per_second = passed > 0 ? (double)m->tokens / passed : 0;
    p.seconds_left = passed * (double)(m->windows - m->done) / (double)m->done;
    const int32_t code = m->args->fill.fn(m->args->fill.user, &p);
    if (code == DISTILL_CB_OK) return DK_OK;
    if (code == DISTILL_CB_CANCEL) return dk_fail(err, DK_E_CANCELLED, "stopped by the progress callback");
    dk_fail(err, DK_E_CALLBACK, "the progress callback returned %d", (int)code);
    if (err) err->user_code = code;
    return DK_E_CALLBACK;
}

static int32_t one_window(measure *m, int64_t window, dk_error *err)
{
    int32_t rc;
    if (dk_host_cancelled(m->backend->host)) return dk_fail(err, DK_E_CANCELLED, "measuring was cancelled");
    DK_TRY(di_dataset_windows(m->data, window, 1, m->window, err));
    di_trial_keys(m->window, m->trials[0].header.key_parts, m->keys);
    DK_TRY(di_row_asker_begin(&m->teacher, m->window, err));
    if (m->student.rows) DK_TRY(di_row_asker_begin(&m->student, m->window, err));
    if (m->kept) DK_TRY(di_row_asker_begin(&m->states, m->window, err));
    for (int64_t first = 0; first < m->window->rows; first += m->most) {
        const int64_t left = m->window->rows - first;
        DK_TRY(one_strip(m, first, left < m->most ? left : m->most, err));
    }
    m->rows += m->window->rows;
    m->tokens += m->window->offsets[m->window->sequences];
    m->sequences += m->window->sequences;
    m->done++;
    DK_TRY(tell(m, err));
out:
    return rc;
}

/* As many as hold so many rows, evenly over the data. */
static int32_t all_windows(measure *m, dk_error *err)
{
    int64_t seen = 0;
    int32_t rc = DK_OK;
    m->windows = m->of;
    for (int64_t i = 0; m->args->rows > 0 && i < m->of && !seen; i++) {
        DK_TRY(di_dataset_windows(m->data, i, 1, m->window, err));
        seen = m->window->rows;
    }
    if (seen && (m->args->rows + seen - 1) / seen < m->of) m->windows = (m->args->rows + seen - 1) / seen;
    for (int64_t i = 0; i < m->windows; i++)
        DK_TRY(one_window(m, (int64_t)((double)i * (double)m->of / (double)m->windows), err));
    if (!m->rows) DK_TRY(dk_fail(err, DK_E_INVALID, "the data has no row to measure on"));
out:
    return rc;
}

/* ---- as JSON ---- */

static void number(dk_strbuf *json, const char *name, double value)
{
    dk_strbuf_printf(json, ",\"%s\":", name);
    dk_strbuf_f64(json, value);
}

static void describe_settings(const di_cache_header *h, dk_strbuf *json)
{
    dk_strbuf_printf(json, "{\"tier\":\"%s\"", di_tier_name(h->tier));
    if (h->tier == DI_TIER_HIDDEN) dk_strbuf_printf(json, ",\"precision\":\"%s\"", h->bits == 32 ? "f32" : "bf16");
    if (h->tier == DI_TIER_TOP_K)
        dk_strbuf_printf(json, ",\"k\":%u,\"steps_per_nat\":%u", (unsigned)h->width, (unsigned)h->step);
    if (h->tier == DI_TIER_SAMPLED) dk_strbuf_printf(json, ",\"draws\":%u", (unsigned)h->width);
}

static void describe_tier(const measure *m, const di_trial *t, dk_strbuf *json)
{
    const double rows = (double)m->rows;
    describe_settings(&t->header, json);
    number(json, "bytes_per_token",
           (double)(t->bytes + DI_CACHE_RECORD_HEADER * m->sequences) / rows); /* a record for each sequence */
    if (t->header.tier != DI_TIER_SAMPLED) {
        number(json, "forward_kl", t->kl / rows);
        number(json, "forward_kl_max", t->kl_largest);
        if (t->header.tier == DI_TIER_TOP_K) number(json, "forward_kl_listed", t->kl_listed / rows);
        if (m->student.rows && m->own.kl > 0) number(json, "share_of_student", t->kl / m->own.kl);
    }
    number(json, "gradient_error", t->error / rows);
    dk_strbuf_puts(json, "}");
}

static void describe(const measure *m, dk_strbuf *json)
{
    dk_strbuf_printf(json, "{\"rows\":%lld,\"tokens\":%lld,\"windows\":%lld,\"vocab_valid\":%lld", (long long)m->rows,
                     (long long)m->tokens, (long long)m->windows, (long long)di_teacher_vocab_valid(m->parts.teacher));
    number(json, "temperature", m->temperature);
    if (m->student.rows) {
        dk_strbuf_puts(json, ",\"student\":{\"forward_kl\":");
        dk_strbuf_f64(json, m->own.kl / (double)m->rows);
        number(json, "forward_kl_max", m->own.kl_largest);
        number(json, "gradient_error", m->own.error / (double)m->rows);
        dk_strbuf_puts(json, "}");
    }
    dk_strbuf_puts(json, ",\"tiers\":[");
    for (int64_t i = 0; i < m->count; i++) {
        if (i) dk_strbuf_puts(json, ",");
        describe_tier(m, &m->trials[i], json);
    }
    dk_strbuf_puts(json, "]}");
}

int32_t di_cache_measure(const di_tiers_args *args, dk_strbuf *json, dk_error *err)
{
    measure m = {.args = args, .backend = args->fill.backend, .begin = dk_seconds()};
    int32_t rc;
    DK_TRY(dk_ranks_refuse(m.backend->host, "measuring of tiers", err));
    DK_TRY(open_measure(&m, err));
    DK_TRY(all_windows(&m, err));
    describe(&m, json);
    rc = dk_strbuf_check(json, err);
out:
    close_measure(&m);
    return rc;
}
