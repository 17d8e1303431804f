/* The rows of a micro-batch through the loss, strip by strip: logits in, all terms over them, gradient out. */
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "loss/kernels/pair_point.h"
#include "loss/workspace.h"

typedef struct di_run {
    di_workspace *workspace;
    const di_loss_batch *batch;
    di_strip strip;
    di_loss_sums sums;
    _Atomic int64_t taken; /* rows of the strip that chunks have taken */
} di_run;

/* ---- what cannot be evaluated is said before anything is ---- */

static int64_t valid_vocab(const di_loss_batch *batch)
{
    const int64_t student = batch->student->vocab_valid;
    if (!batch->teacher || batch->teacher->vocab_valid <= 0) return student;
    return student < batch->teacher->vocab_valid ? student : batch->teacher->vocab_valid;
}

static int32_t check_pairs(const di_run *run, dk_error *err)
{
    int64_t term, item;
    if (run->batch->pairs || !di_loss_pair_term(run->workspace->loss, &term, &item)) return DK_OK;
    return dk_fail(err, DK_E_INVALID, "loss %s compares pairs of sequences, and there are none",
                   run->workspace->loss->terms[term].entry->name);
}

static int32_t check_batch(const di_run *run, dk_error *err)
{
    const di_loss_batch *batch = run->batch;
    const di_workspace *workspace = run->workspace;
    const int32_t kind = batch->teacher ? batch->teacher->kind : 0;
    int32_t rc;
    DK_TRY(di_loss_check(workspace->loss, kind, batch->teacher ? batch->teacher->temperature : 1,
                         batch->labels || kind == DISTILL_ONE_HOT, err));
    if (!batch->of) DK_TRY(di_loss_refuse_apart(workspace->loss, err));
    DK_TRY(check_pairs(run, err));
    if (batch->teacher && batch->teacher->rows_at) DK_TRY(di_loss_check_shifted(workspace->loss, err));
    if (batch->student->kind != DISTILL_DENSE)
        return dk_fail(err, DK_E_UNSUPPORTED, "the student gives %s; a loss needs DENSE or HIDDEN",
                       di_kind_name(batch->student->kind));
    if (batch->student->width != workspace->spec.student_width || valid_vocab(batch) > workspace->vocab ||
        (kind == DISTILL_DENSE && di_loss_reads_teacher(workspace->loss) &&
         batch->teacher->width != workspace->spec.teacher_width))
        return dk_fail(err, DK_E_INTERNAL, "workspace planned for other widths");
    if (batch->want_gradient && batch->student->needs_logits && !workspace->spec.keeps_logits)
        return dk_fail(err, DK_E_INTERNAL, "workspace planned for a student that needs no logits");
    for (int64_t i = 0; batch->labels && i < batch->rows; i++)
        if (batch->labels[i] >= valid_vocab(batch) && (!batch->weights || batch->weights[i] != 0) &&
            !di_loss_skips_labels(workspace->loss))
            return dk_fail(err, DK_E_INVALID, "label of row %lld is %d, outside the %lld ids that both sides know",
                           (long long)di_batch_number(batch, i), (int)batch->labels[i], (long long)valid_vocab(batch));
out:
    return rc;
}

static int32_t check_sparse(const di_run *run, const distill_target *target, dk_error *err)
{
    const di_sparse_rules rules = {run->strip.vocab, run->strip.first, run->batch->numbers,
                                   run->batch->teacher->rounding};
    for (int64_t i = 0; i < run->strip.count; i++) {
        int32_t rc = di_sparse_check_row(run->workspace->sparse, target, run->strip.rows[i], &rules, err);
        if (rc) return rc;
    }
    return DK_OK;
}

/* ---- one strip ---- */

static int32_t is_masked(const di_loss_batch *batch, int64_t row)
{
    return (batch->labels && batch->labels[row] < 0) || (batch->weights && batch->weights[row] == 0);
}

static void find_rows(di_run *run, int64_t first, int64_t count)
{
    run->strip.first = first;
    run->strip.count = 0;
    for (int64_t r = 0; r < count; r++)
        if (!is_masked(run->batch, first + r)) run->workspace->rows[run->strip.count++] = r;
}

/* Rows that a chunk takes at once: a few of its heights, and few enough that all end at about the same time. */
static int64_t rows_at_once(const di_run *run)
{
    enum { HEIGHTS = 8, TURNS = 4 };
    const int64_t height = run->workspace->chunks[0].capacity, chunks = run->workspace->chunk_count,
                  even = run->strip.count / (chunks * TURNS * height);
    if (chunks == 1) return run->strip.count;
    return height * (even < 1 ? 1 : even < HEIGHTS ? even : HEIGHTS);
}

/* A row that fails ends its chunk. Rows are taken in order, so the first one that fails in all is among those that
 * end. */
static void run_task(void *context, int64_t begin, int64_t end)
{
    di_run *run = context;
    const int64_t count = run->strip.count, rows = rows_at_once(run);
    for (int64_t task = begin; task < end; task++) {
        di_chunk *chunk = &run->workspace->chunks[task];
        chunk->rc = DK_OK;
        chunk->upcoming = atomic_fetch_add(&run->taken, rows);
        while (chunk->upcoming < count && chunk->rc == DK_OK) {
            int64_t at = chunk->upcoming;
            chunk->end = count - at < rows ? count : at + rows;
            chunk->upcoming = atomic_fetch_add(&run->taken, rows);
            for (; at < chunk->end && chunk->rc == DK_OK; at += chunk->capacity)
                di_chunk_run(chunk, &run->strip, at,
                             chunk->end - at < chunk->capacity ? chunk->end - at : chunk->capacity);
        }
    }
}

static int32_t run_chunks(di_run *run, dk_error *err)
{
    di_workspace *workspace = run->workspace;
    const di_chunk *failed = NULL;
    atomic_store(&run->taken, 0);
    /* whose rows are shared out inside; callbacks stay on this thread */
    if (workspace->chunk_count == 1) run_task(run, 0, 1);
    else dk_parallel_for(workspace->host, workspace->chunk_count, 1, run_task, run);
    for (int64_t i = 0; i < workspace->chunk_count; i++) {
        di_chunk *chunk = &workspace->chunks[i];
        run->sums.floored += chunk->floored;
        chunk->floored = 0;
        if (chunk->rc && (!failed || chunk->first < failed->first)) failed = chunk;
    }
    if (failed && err) *err = failed->error;
    return failed ? failed->rc : DK_OK;
}

static int32_t is_rejected(const di_loss_batch *batch, int64_t row)
{
    const int64_t sequence = batch->sequences ? batch->sequences[row] : 0;
    return batch->pairs && batch->pairs->sides[sequence] == DISTILL_REJECTED;
}

static void add_sums(di_run *run)
{
    const di_loss_batch *batch = run->batch;
    for (int64_t i = 0; i < run->strip.count; i++) {
        const int64_t row = run->strip.first + run->strip.rows[i];
        const double weight = batch->weights ? (double)batch->weights[row] : 1;
        run->sums.sum += weight * run->strip.totals[i];
        for (int64_t term = 0; term < run->strip.loss->count; term++) {
            const int64_t at = term * run->strip.capacity + i;
            run->sums.terms[term] += weight * run->strip.parts[at];
            if (run->strip.squares) run->sums.squares[term] += weight * weight * run->strip.squares[at];
        }
        if (batch->row_values) batch->row_values[row] = run->strip.totals[i];
        if (is_rejected(batch, row)) continue;
        run->sums.weight_sum += weight;
        run->sums.count++;
    }
}

/* Rows that are masked have no gradient, whatever their logits are. */
static void zero_masked(di_run *run, int64_t count)
{
    const dk_view view = run->strip.gradient;
    const size_t size = (size_t)view.shape[1] * dk_dtype_size(view.dtype);
    const di_host_rows *rows = &run->strip.gradient_rows;
    for (int64_t r = 0; r < count; r++)
        if (is_masked(run->batch, run->strip.first + r)) memset(rows->data + r * rows->step, 0, size);
}

/* One-hot targets are labels to a loss that takes no teacher. */
static int32_t wants_teacher(const di_run *run)
{
    const di_source *teacher = run->batch->teacher;
    if (!teacher) return 0;
    if (teacher->kind == DISTILL_ONE_HOT && !run->batch->labels) return 1; /* its ids are the labels, in both passes */
    return run->strip.measured ? di_loss_measures_teacher(run->workspace->loss)
                               : di_loss_reads_teacher(run->workspace->loss);
}

/* Logits, or log-probabilities at each temperature of the loss. */
static int32_t dense_rows(di_run *run, int64_t first, int64_t count, dk_error *err)
{
    const di_source *teacher = run->batch->teacher;
    di_workspace *workspace = run->workspace;
    di_strip *strip = &run->strip;
    dk_view levels[DI_TEMPERATURES];
    int32_t rc = DK_OK;
    di_host_rows none;
    for (int64_t i = 0; i < strip->levels; i++) levels[i] = dk_view_rows(workspace->levels[i], 0, count);
    strip->teacher = levels[0];
    if (teacher->place && teacher->place(teacher->self, first, count, &strip->teacher_rows[0], &none)) return DK_OK;
    if (teacher->rows_at)
        DK_TRY(teacher->rows_at(teacher->self, first, count, strip->levels, strip->temperatures, levels, err));
    else DK_TRY(teacher->rows(teacher->self, first, count, levels[0], &strip->target, err));
    for (int64_t i = 0; i < strip->levels; i++)
        DK_TRY(di_host_read(&workspace->queue, i ? &workspace->level_copied[i] : &workspace->copied[1], levels[i],
                            &strip->teacher_rows[i], err));
out:
    return rc;
}

static int32_t teacher_rows(di_run *run, int64_t first, int64_t count, dk_error *err)
{
    const di_source *teacher = run->batch->teacher;
    const distill_target *target = NULL;
    int32_t rc = DK_OK;
    run->strip.target = NULL;
    run->strip.teacher = dk_view_none();
    if (!wants_teacher(run)) return DK_OK;
    if (teacher->kind == DISTILL_DENSE) return dense_rows(run, first, count, err);
    DK_TRY(teacher->rows(teacher->self, first, count, dk_view_none(), &target, err));
    run->strip.target = target;
    DK_TRY(check_sparse(run, target, err));
    if (teacher->kind != DISTILL_ONE_HOT || run->batch->labels) goto out;
    run->strip.labels = target->ids->data;
    run->strip.label_first = first;
out:
    return rc;
}

static int32_t student_rows(di_run *run, int64_t first, int64_t count, dk_error *err)
{
    const di_source *student = run->batch->student;
    const distill_target *none = NULL;
    int32_t rc = student->rows(student->self, first, count, run->strip.student, &none, err);
    if (rc) return rc;
    return di_host_read(&run->workspace->queue, &run->workspace->copied[0], run->strip.student,
                        &run->strip.student_rows, err);
}

/* What only products will read is written as they read it. */
static int32_t halve(di_run *run, int64_t count)
{
    const di_source *student = run->batch->student;
    di_strip *strip = &run->strip;
    if (!student->halves) return 0;
    const dk_view to = student->halves(student->self, strip->first, count, strip->student);
    uint8_t *data = dk_view_present(to) ? run->workspace->backend->ops->map(to) : NULL;
    if (!data) return 0;
    strip->gradient = to;
    strip->gradient_rows = (di_host_rows){.data = data, .step = to.stride[0] * (int64_t)sizeof(uint16_t)};
    return 1;
}

/* Where the gradient goes: into the place of the strip's logits, unless they are needed again or are the caller's. */
static int32_t gradient_rows(di_run *run, int64_t count, const di_host_rows *placed, dk_error *err)
{
    di_workspace *workspace = run->workspace;
    run->strip.gradient = run->strip.student;
    run->strip.gradient_rows = placed && placed->data ? *placed : run->strip.student_rows;
    if (placed && !placed->data)
        return di_host_place(&workspace->queue, &workspace->copied[0], run->strip.gradient, &run->strip.gradient_rows,
                             err);
    if (placed || halve(run, count) || !run->batch->student->needs_logits) return DK_OK;
    run->strip.gradient = dk_view_rows(workspace->gradient, 0, count);
    return di_host_place(&workspace->queue, &workspace->copied[2], run->strip.gradient, &run->strip.gradient_rows, err);
}

/* Both sides' rows; *placed = they were there, and so is room for the student's gradient if into->data is not NULL. */
static int32_t open_strip(di_run *run, int64_t first, int64_t count, int32_t *placed, di_host_rows *into, dk_error *err)
{
    const di_source *student = run->batch->student;
    int32_t rc;
    find_rows(run, first, count);
    DK_TRY(teacher_rows(run, first, count, err));
    run->strip.student = dk_view_rows(run->workspace->student, 0, count);
    *placed = student->place && student->place(student->self, first, count, &run->strip.student_rows, into);
    if (!*placed) DK_TRY(student_rows(run, first, count, err));
out:
    return rc;
}

/* Does the gradient lie in rows of the caller's, and is it larger than what caches hold near? */
static int32_t is_far(const di_run *run, const di_host_rows *placed)
{
    enum { NEAR = 8 << 20 };
    if (!placed || !placed->data || run->strip.gradient.dtype != DK_F32) return 0;
    return run->batch->rows * run->strip.vocab * (int64_t)sizeof(float) > NEAR;
}

static int32_t run_strip(di_run *run, int64_t first, int64_t count, dk_error *err)
{
    di_workspace *workspace = run->workspace;
    const di_source *student = run->batch->student;
    di_host_rows into = {0};
    int32_t rc, placed;
    find_rows(run, first, count);
    if (!di_loss_compares_rows(workspace->loss)) { /* neither head is asked */
        memset(workspace->totals, 0, (size_t)count * sizeof *workspace->totals);
        memset(workspace->parts, 0, (size_t)(workspace->loss->count * workspace->strip_rows) * sizeof(double));
        add_sums(run);
        return DK_OK;
    }
    if (run->strip.squares) /* a term without weight has no gradient */
        memset(run->strip.squares, 0, (size_t)(workspace->loss->count * workspace->strip_rows) * sizeof(double));
    DK_TRY(open_strip(run, first, count, &placed, &into, err));
    if (run->batch->want_gradient) DK_TRY(gradient_rows(run, count, placed ? &into : NULL, err));
    run->strip.past = is_far(run, placed ? &into : NULL);
    DK_TRY(run_chunks(run, err));
    add_sums(run);
    if (!run->batch->want_gradient) goto out;
    zero_masked(run, count);
    if (placed && into.data) goto out;
    DK_TRY(di_host_write(&workspace->queue, run->strip.gradient, &run->strip.gradient_rows, err));
    DK_TRY(student->gradient(student->self, first, count, run->strip.student, run->strip.gradient, err));
out:
    return rc;
}

/* ---- the pass that comes first: what sequences add up to ---- */

/* Row after row, so that the sums' bits are those of any strips and threads. */
static void add_measured(di_run *run)
{
    const di_loss_batch *batch = run->batch;
    const di_strip *strip = &run->strip;
    for (int64_t term = 0, before = 0; term < strip->loss->count; term++) {
        const int64_t sums = strip->terms[term].entry->table.sums;
        const double *numbers = strip->measured + before * strip->capacity;
        double *into = run->workspace->sums + before * strip->sequence_count;
        for (int64_t i = 0; sums && i < strip->count; i++) {
            const int64_t row = strip->first + strip->rows[i], sequence = batch->sequences ? batch->sequences[row] : 0;
            for (int64_t k = 0; k < sums; k++) into[sequence * sums + k] += numbers[i * sums + k];
        }
        before += sums;
    }
}

static int32_t measure_strip(di_run *run, int64_t first, int64_t count, dk_error *err)
{
    di_host_rows into = {0};
    int32_t rc, placed;
    run->strip.measured = run->workspace->measured;
    run->strip.gradient = dk_view_none();
    DK_TRY(open_strip(run, first, count, &placed, &into, err));
    DK_TRY(run_chunks(run, err));
    add_measured(run);
out:
    run->strip.measured = NULL;
    return rc;
}

/* Rewards of the pairs, before their gradients. */
static void add_pairs(di_run *run)
{
    const di_loss_batch *batch = run->batch;
    const di_pairs *pairs = batch->pairs;
    int64_t term, item;
    if (!di_loss_pair_term(run->workspace->loss, &term, &item)) return;
    for (int64_t s = 0; s < run->strip.sequence_count; s++) {
        if (pairs->sides[s] != DISTILL_CHOSEN) continue;
        const di_pair_point point = di_pair_at(pairs, run->strip.sums[term], s, run->workspace->terms[term].options);
        if (!(point.rows > 0)) continue;
        run->sums.pairs++;
        run->sums.preferred += point.margin > 0;
        run->sums.margin += point.margin;
        run->sums.pair_weight_sum += point.weight;
    }
}

static int32_t set_sums(di_run *run, dk_error *err)
{
    di_workspace *workspace = run->workspace;
    const int64_t all = di_loss_sum_count(workspace->loss), sequences = run->strip.sequence_count;
    if (all && sequences > workspace->spec.max_sequences)
        return dk_fail(err, DK_E_INTERNAL, "workspace planned for fewer sequences than %lld", (long long)sequences);
    if (all) memset(workspace->sums, 0, (size_t)(all * sequences) * sizeof *workspace->sums);
    for (int64_t term = 0, before = 0; term < workspace->loss->count; term++) {
        const int64_t sums = workspace->terms[term].entry->table.sums;
        workspace->sums_of[term] = sums ? workspace->sums + before * sequences : NULL;
        before += sums;
    }
    return DK_OK;
}

/* ---- all strips ---- */

/* End of the strip that begins at first: of even height, or behind the last sequence that fits whole. */
static int32_t strip_end(const di_run *run, int64_t first, int64_t height, int64_t *end, dk_error *err)
{
    const di_loss_batch *batch = run->batch;
    int64_t at = first + height;
    if (at >= batch->rows) at = batch->rows;
    else if (di_loss_whole_sequences(run->workspace->loss) && batch->sequences)
        while (at > first && batch->sequences[at - 1] == batch->sequences[at]) at--;
    else if (di_loss_whole_sequences(run->workspace->loss)) at = first;
    if (at == first)
        return dk_fail(err, DK_E_INVALID,
                       "the sequence at row %lld does not fit into a strip of %lld rows, and the loss takes whole "
                       "sequences; raise %s",
                       (long long)first, (long long)height, run->workspace->spec.limit);
    *end = at;
    return DK_OK;
}

static int32_t check_sequences(const di_run *run, int64_t height, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int64_t first = 0; rc == DK_OK && first < run->batch->rows;) rc = strip_end(run, first, height, &first, err);
    return rc;
}

static int32_t is_cancelled(const di_run *run, const _Atomic int32_t *cancel)
{
    return (cancel && *cancel) || dk_host_cancelled(run->workspace->host);
}

static int64_t even_height(const di_workspace *workspace, int64_t rows)
{
    const int64_t strips = rows / workspace->strip_rows + (rows % workspace->strip_rows != 0);
    if (di_loss_whole_sequences(workspace->loss) || strips < 1) return workspace->strip_rows;
    return rows / strips + (rows % strips != 0);
}

/* At which temperatures the teacher's strips are. */
static int32_t set_levels(di_run *run, dk_error *err)
{
    const di_source *teacher = run->batch->teacher;
    di_strip *strip = &run->strip;
    strip->levels = 1;
    strip->temperatures[0] = teacher ? teacher->temperature : 1;
    if (!teacher || teacher->kind != DISTILL_DENSE || !di_loss_reads_teacher(run->workspace->loss)) return DK_OK;
    if (teacher->rows_at)
        strip->levels = di_loss_temperatures(run->workspace->loss, run->batch->step, strip->temperatures);
    if (strip->levels > DI_TEMPERATURES)
        return dk_fail(err, DK_E_UNSUPPORTED, "the loss has %lld temperatures; a blend of teachers takes %d at most",
                       (long long)strip->levels, DI_TEMPERATURES);
    if (strip->levels > run->workspace->spec.levels)
        return dk_fail(err, DK_E_INTERNAL, "workspace planned for %lld temperatures",
                       (long long)run->workspace->spec.levels);
    return DK_OK;
}

static void set_strip(di_run *run)
{
    di_workspace *workspace = run->workspace;
    run->strip.loss = workspace->loss;
    run->strip.terms = workspace->terms;
    for (int64_t i = 0; i < workspace->loss->count; i++) {
        workspace->terms[i] = di_term_at(&workspace->loss->terms[i], run->batch->step);
        if (run->batch->factors) workspace->terms[i].weight *= run->batch->factors[i];
        workspace->terms[i].passed = !di_loss_term_is_of(workspace->loss, i, run->batch->of);
    }
    run->strip.batch = run->batch;
    run->strip.kernels = di_rows_for(workspace->backend->isa);
    run->strip.backend = workspace->backend;
    run->strip.vocab = valid_vocab(run->batch);
    run->strip.teacher_kind = run->batch->teacher ? run->batch->teacher->kind : 0;
    run->strip.labels = run->batch->labels;
    run->strip.rows = workspace->rows;
    run->strip.totals = workspace->totals;
    run->strip.parts = workspace->parts;
    run->strip.squares = run->batch->want_squares && run->batch->want_gradient ? workspace->squares : NULL;
    run->strip.capacity = workspace->strip_rows;
    run->strip.sums = workspace->sums_of;
    run->strip.sequence_count = run->batch->sequence_count ? run->batch->sequence_count : 1;
    for (int64_t i = 0; i < workspace->chunk_count; i++) {
        workspace->chunks[i].vocab = run->strip.vocab;
        workspace->chunks[i].floored = 0;
    }
}

static int32_t walk(di_run *run, int64_t height,
                    int32_t (*strip)(di_run *run, int64_t first, int64_t count, dk_error *err),
                    const _Atomic int32_t *cancel, dk_error *err)
{
    const int64_t rows = run->batch->rows;
    int64_t end = 0;
    int32_t rc = DK_OK;
    for (int64_t first = 0; first < rows; first = end) {
        if (is_cancelled(run, cancel))
            return dk_fail(err, DK_E_CANCELLED, "cancelled at row %lld of %lld", (long long)first, (long long)rows);
        DK_TRY(strip_end(run, first, height, &end, err));
        DK_TRY(strip(run, first, end - first, err));
        DK_TRY(dk_parallel_check(run->workspace->host, err));
    }
out:
    return rc;
}

int32_t di_loss_run(const di_loss *loss, di_workspace *workspace, const di_loss_batch *batch,
                    const _Atomic int32_t *cancel, di_loss_sums *sums, dk_error *err)
{
    di_run run = {0};
    int64_t height;
    int32_t rc;
    run.workspace = workspace;
    run.batch = batch;
    if (workspace->loss != loss) return dk_fail(err, DK_E_INTERNAL, "workspace planned for another loss");
    DK_TRY(check_batch(&run, err));
    height = even_height(workspace, batch->rows);
    DK_TRY(check_sequences(&run, height, err));
    DK_TRY(set_levels(&run, err));
    set_strip(&run);
    if (batch->row_values && batch->rows) memset(batch->row_values, 0, (size_t)batch->rows * sizeof *batch->row_values);
    DK_TRY(set_sums(&run, err));
    if (di_loss_sum_count(loss)) DK_TRY(walk(&run, height, measure_strip, cancel, err));
    add_pairs(&run);
    DK_TRY(walk(&run, height, run_strip, cancel, err));
    sums->sum += run.sums.sum;
    sums->weight_sum += run.sums.weight_sum;
    sums->count += run.sums.count;
    sums->floored += run.sums.floored;
    sums->pairs += run.sums.pairs;
    sums->preferred += run.sums.preferred;
    sums->margin += run.sums.margin;
    sums->pair_weight_sum += run.sums.pair_weight_sum;
    sums->step = batch->step;
    sums->of = batch->of;
    sums->teacher_kind = batch->teacher ? batch->teacher->kind : 0;
    sums->without_entropy = sums->teacher_kind == DISTILL_SAMPLED && !batch->teacher->has_entropy;
    for (int64_t term = 0; term < loss->count; term++) {
        sums->terms[term] += run.sums.terms[term];
        sums->squares[term] += run.sums.squares[term];
        sums->factors[term] = batch->factors ? batch->factors[term] : 0;
    }
out:
    return rc;
}
