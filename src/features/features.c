/* features.c - memory, and a micro-batch through all terms. */
#include <string.h>

#include "features/features_parts.h"

int32_t di_features_bind(const di_features_spec *spec, di_features **out, dk_error *err)
{
    di_features *f = NULL;
    di_feature_term term;
    int64_t count = 0;
    int32_t rc;
    while (di_loss_feature(spec->loss, count, &term)) count++;
    *out = NULL;
    if (!count) return DK_OK;
    DK_TRY(dk_new(spec->backend->host, 1, &f, err));
    f->host = spec->backend->host;
    f->backend = spec->backend;
    dk_arena_init(&f->weights, f->backend);
    dk_arena_init(&f->arena, f->backend);
    DK_TRY(dk_queue_open(&f->queue, f->backend, err));
    DK_TRY(dk_new(f->host, count, &f->terms, err));
    while (f->count < count) {
        di_loss_feature(spec->loss, f->count++, &term);
        DK_TRY(di_feature_bind(f, spec, &term, &f->terms[f->count - 1], err));
    }
    DK_TRY(di_projections_create(f, spec, err));
    *out = f;
    f = NULL;
out:
    di_features_free(f);
    return rc;
}

static void plan(di_features *f, dk_arena *arena) { di_hidden_plan(f, arena); }

int32_t di_features_plan(di_features *f, int64_t max_tokens, int64_t max_sequences, int64_t max_rows,
                         int64_t max_length, dk_error *err)
{
    const int64_t threads = dk_host_threads(f->host);
    int32_t rc;
    f->max_tokens = max_tokens;
    f->max_sequences = max_sequences;
    f->max_rows = max_rows > 0 ? max_rows : 1;
    f->width = di_feature_width(f);
    f->scratch_size = 3 * di_feature_padded(f->width);
    f->max_length = max_length < max_tokens ? max_length : max_tokens;
    di_pairs_plan(f, f->max_length);
    f->slots = threads < 1 ? 1 : threads < DI_FEATURE_SLOTS ? threads : DI_FEATURE_SLOTS;
    plan(f, &f->arena);
    if (f->arena.used) DK_TRY(dk_arena_commit(&f->arena, err));
    plan(f, &f->arena);
    DK_TRY(dk_new(f->host, f->max_rows, &f->numbers, err));
    DK_TRY(dk_new(f->host, f->max_rows, &f->kept, err));
    DK_TRY(dk_new(f->host, f->max_rows, &f->values, err));
    DK_TRY(dk_new(f->host, f->slots * f->scratch_size, &f->scratch, err));
    DK_TRY(dk_new(f->host, f->units * f->max_rows, &f->parts, err));
    DK_TRY(dk_new(f->host, f->max_sequences + 1, &f->first_row, err));
out:
    return rc;
}

void di_features_free(di_features *f)
{
    if (!f) return;
    dk_host *host = f->host;
    di_projections_free(f);
    dk_arena_free(&f->arena);
    for (size_t i = 0; i < sizeof f->copied / sizeof *f->copied; i++) di_staging_free(host, &f->copied[i]);
    dk_queue_close(&f->queue);
    for (int64_t i = 0; f->terms && i < f->count; i++) dk_free(host, f->terms[i].pairs);
    dk_free(host, f->terms);
    dk_free(host, f->student.taps);
    dk_free(host, f->teacher.taps);
    dk_free(host, f->numbers);
    dk_free(host, f->kept);
    dk_free(host, f->values);
    dk_free(host, f->scratch);
    dk_free(host, f->parts);
    dk_free(host, f->first_row);
    dk_free(host, f);
}

const di_asked *di_features_of_student(const di_features *f) { return f ? &f->student.asked : NULL; }

const di_asked *di_features_of_teacher(const di_features *f) { return f ? &f->teacher.asked : NULL; }

int64_t di_features_bytes(const di_features *f)
{
    return f->arena.size + f->weights.size + f->slots * f->scratch_size * (int64_t)sizeof *f->scratch +
           f->units * f->max_rows * (int64_t)sizeof *f->parts +
           f->max_rows * (int64_t)(sizeof *f->numbers + sizeof *f->kept + sizeof *f->values);
}

int64_t di_features_parameters(const di_features *f, dk_parameter **out)
{
    if (!f) return 0;
    *out = f->parameters;
    return f->projection_count;
}

static const di_feature *find(const di_features *f, const di_feature_term *term)
{
    for (int64_t i = 0; f && i < f->count; i++)
        if (f->terms[i].number == term->number && f->terms[i].builtin == term->builtin) return &f->terms[i];
    return NULL;
}

int32_t di_features_serve(const di_features *f, const di_loss *loss)
{
    di_feature_term term;
    for (int64_t i = 0; di_loss_feature(loss, i, &term); i++)
        if (!find(f, &term)) return 0;
    return 1;
}

/* ---- what is said of them ---- */

static void term_json(const di_feature *term, dk_strbuf *out)
{
    int64_t projections = 0;
    dk_strbuf_printf(out, "{\"loss\":\"%s\",\"pairs\":[", term->builtin->name);
    for (int64_t k = 0; k < term->count; k++) {
        dk_strbuf_printf(out, "%s[%lld,%lld]", k ? "," : "", (long long)term->pairs[k].layer,
                         (long long)term->pairs[k].teacher_layer);
        projections += term->pairs[k].projection >= 0;
    }
    dk_strbuf_printf(out, "],\"projections\":%lld}", (long long)projections);
}

void di_features_json(const di_features *f, dk_strbuf *out)
{
    int64_t parameters = 0;
    for (int64_t i = 0; i < f->projection_count; i++) parameters += dk_view_count(&f->parameters[i].value);
    dk_strbuf_puts(out, "{\"terms\":[");
    for (int64_t i = 0; i < f->count; i++) {
        if (i) dk_strbuf_puts(out, ",");
        term_json(&f->terms[i], out);
    }
    dk_strbuf_printf(out, "],\"parameters\":%lld,\"bytes\":%lld}", (long long)parameters,
                     (long long)di_features_bytes(f));
}

/* ---- a micro-batch ---- */

static int64_t find_rows(di_features *f, const di_features_batch *batch)
{
    int64_t rows = 0;
    for (int64_t r = 0; r < batch->rows; r++) {
        if (batch->labels[r] < 0 || batch->weights[r] == 0) continue;
        f->kept[rows] = r;
        f->numbers[rows++] = (int32_t)batch->places[r];
    }
    return rows;
}

static int32_t run_pair(const di_feature_call *call, const di_pair *pair, dk_error *err)
{
    if (call->term->builtin->feature < DI_FEATURE_ATTENTION_MSE) return di_hidden_run(call, pair, err);
    return di_pairs_run(call, pair, err);
}

static int32_t run_term(const di_feature_call *call, int64_t index, di_loss_sums *sums, dk_error *err)
{
    di_features *f = call->features;
    double sum = 0;
    int32_t rc = DK_OK;
    memset(f->values, 0, (size_t)f->max_rows * sizeof *f->values);
    for (int64_t k = 0; k < call->term->count; k++) DK_TRY(run_pair(call, &call->term->pairs[k], err));
    for (int64_t r = 0; r < call->rows; r++) sum += (double)call->batch->weights[f->kept[r]] * f->values[r];
    sums->terms[index] += sum;
    sums->sum += call->weight * sum;
out:
    return rc;
}

int32_t di_features_run(di_features *f, const di_loss *loss, const di_features_batch *batch,
                        const _Atomic int32_t *cancel, di_loss_sums *sums, dk_error *err)
{
    di_feature_call call = {.features = f, .batch = batch, .kernels = di_feature_rows_for(f->backend->isa)};
    di_feature_term term;
    int32_t rc = DK_OK;
    for (int64_t s = 0; s < batch->sequences; s++)
        if (batch->offsets[s + 1] - batch->offsets[s] > f->max_length)
            return dk_fail(err, DK_E_INTERNAL,
                           "a sequence is longer than the %lld tokens that features were planned for",
                           (long long)f->max_length);
    call.rows = find_rows(f, batch);
    for (int64_t i = 0; di_loss_feature(loss, i, &term); i++) {
        if (!di_loss_term_is_of(loss, term.term, batch->of)) continue;
        if ((cancel && *cancel) || dk_host_cancelled(f->host))
            return dk_fail(err, DK_E_CANCELLED, "cancelled in loss %s", term.builtin->name);
        if (!(call.term = find(f, &term)))
            return dk_fail(err, DK_E_INTERNAL, "loss %s was not bound", term.builtin->name);
        call.weight = di_loss_weight(loss, term.term, batch->step);
        DK_TRY(run_term(&call, term.term, sums, err));
    }
    if (batch->student->finish) DK_TRY(batch->student->finish(batch->student->self, err));
out:
    return rc;
}
