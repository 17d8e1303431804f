/* The loss alone, on a caller's tensors. Rows that are masked never leave the tensors, so whatever stands there is
 * harmless. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "loss/loss_parts.h"

enum { EVAL_MEMORY = 64 * 1024 * 1024, NEAR_MEMORY = 4 * 1024 * 1024 };
enum { SOON = 64 * 1024 * 1024 }; /* logits of a strip of rows that are used where they lie: cancelling waits for one */

/* An older caller's struct ends earlier: what it does not have is not said. */
#define HAS(args, field) ((args)->struct_size >= offsetof(distill_loss_args, field) + sizeof(args)->field)

typedef struct di_eval {
    dk_backend *backend;
    dk_host *host;
    const di_loss *loss;
    distill_loss_args *args;
    int64_t memory;                /* 0 = not said */
    const distill_tensor *grouped; /* args.sequences; NULL = not said */
    int64_t rows, count;           /* all, and those that are not masked */
    int64_t sequence_count;
    int32_t in_place; /* rows are used where they lie */
    int64_t *places, *sequences;
    int32_t *labels;
    float *weights;
    double *values;
    double divisor; /* as args say, then what a preset divides by; else 1 */
    di_pair_sides pairs;
    di_workspace *workspace;
    di_wrapped *student, *teacher;
} di_eval;

/* ---- checks: nothing is written before they are through ---- */

static int32_t check_outputs(const distill_loss_args *args, dk_error *err)
{
    const distill_target *student = args->student;
    const int32_t hidden = student->kind == DISTILL_HIDDEN;
    int32_t rc = DK_OK;
    if (args->grad_values)
        DK_TRY(di_check_tensor(args->grad_values, "args.grad_values", 2, student->values->shape, 1, err));
    if (args->row_values)
        DK_TRY(di_check_tensor(args->row_values, "args.row_values", 1, student->values->shape, 1, err));
    if ((args->grad_head && !hidden) || (args->grad_bias && !student->bias))
        return dk_fail(err, DK_E_INVALID, "args.%s: the student has none",
                       args->grad_head && !hidden ? "grad_head" : "grad_bias");
    if (args->grad_head) DK_TRY(di_check_tensor(args->grad_head, "args.grad_head", 2, student->head->shape, 1, err));
    if (args->grad_bias) DK_TRY(di_check_tensor(args->grad_bias, "args.grad_bias", 1, student->head->shape, 1, err));
out:
    return rc;
}

static int32_t check_student(const distill_loss_args *args, dk_error *err)
{
    int32_t rc = di_check_target(args->student, "args.student", -1, err);
    if (rc) return rc;
    if (args->student->kind != DISTILL_DENSE && args->student->kind != DISTILL_HIDDEN)
        return dk_fail(err, DK_E_UNSUPPORTED, "args.student is %s; a student is DENSE or HIDDEN",
                       di_kind_name(args->student->kind));
    if (args->student->temperature != 0 && args->student->temperature != 1)
        return dk_fail(err, DK_E_INVALID,
                       "args.student.temperature must be 0 or 1; the loss has the temperature (loss.temperature)");
    return DK_OK;
}

static int32_t check_args(const di_eval *eval, dk_error *err)
{
    const distill_loss_args *args = eval->args;
    int64_t shape[1];
    double temperature;
    int32_t rc, kind;
    if (eval->memory < 0)
        return dk_fail(err, DK_E_INVALID, "args.memory is %lld; it is bytes, or 0 for %d", (long long)eval->memory,
                       EVAL_MEMORY);
    if (args->flags & ~(uint32_t)(DISTILL_ADD_VALUES | DISTILL_ADD_HEAD))
        return dk_fail(err, DK_E_INVALID, "args.flags 0x%x has bits that are not known", (unsigned)args->flags);
    DK_TRY(di_preset_check_divisor(eval->loss, eval->divisor, err));
    if (!isfinite(args->grad_scale)) return dk_fail(err, DK_E_INVALID, "args.grad_scale is not finite");
    if (args->step < 0)
        return dk_fail(err, DK_E_INVALID, "args.step is %lld; steps count from 0", (long long)args->step);
    DK_TRY(check_student(args, err));
    shape[0] = args->student->values->shape[0];
    if (args->teacher) DK_TRY(di_check_target(args->teacher, "args.teacher", shape[0], err));
    if (args->labels) DK_TRY(di_check_ids(args->labels, "args.labels", 1, shape, err));
    if (args->weights) DK_TRY(di_check_tensor(args->weights, "args.weights", 1, shape, 0, err));
    if (eval->grouped) DK_TRY(di_check_ids(eval->grouped, "args.sequences", 1, shape, err));
    DK_TRY(check_outputs(args, err));
    DK_TRY(di_check_overlap(args, err));
    kind = args->teacher ? args->teacher->kind : 0;
    temperature = args->teacher && args->teacher->temperature > 0 ? args->teacher->temperature : 1;
    DK_TRY(di_loss_check(eval->loss, kind, temperature, args->labels || kind == DISTILL_ONE_HOT, err));
out:
    return rc;
}

/* ---- rows ---- */

enum { ROW_ARRAYS = 2 * sizeof(int64_t) + sizeof(int32_t) + sizeof(float) + sizeof(double) }; /* bytes of a row */

/* Numbers from 0 on, so that whoever looks for another sequence finds it by its number. */
static int32_t read_sequences(di_eval *eval, dk_error *err)
{
    int32_t rc = DK_OK, before = 0, number;
    eval->sequence_count = 1;
    for (int64_t r = 0; eval->grouped && r < eval->rows; r++) {
        DK_TRY(di_tensor_read_ids(eval->grouped, "args.sequences", r, 1, &number, err));
        if (number < before || number > before + (r > 0))
            return dk_fail(
                err, DK_E_INVALID,
                "args.sequences: entry %lld is %d behind %d; they begin at 0, and each is its row's before it "
                "or one more",
                (long long)r, (int)number, (int)before);
        eval->sequences[r] = before = number;
    }
    if (eval->grouped) eval->sequence_count = (int64_t)before + 1;
out:
    return rc;
}

static int32_t read_rows(di_eval *eval, dk_error *err)
{
    const distill_loss_args *args = eval->args;
    int32_t rc;
    eval->rows = args->student->values->shape[0];
    DK_TRY(dk_new(eval->host, eval->rows + 1, &eval->places, err));
    DK_TRY(dk_new(eval->host, eval->rows + 1, &eval->sequences, err));
    DK_TRY(dk_new(eval->host, eval->rows + 1, &eval->labels, err));
    DK_TRY(dk_new(eval->host, eval->rows + 1, &eval->weights, err));
    DK_TRY(dk_new(eval->host, eval->rows + 1, &eval->values, err));
    if (args->labels) DK_TRY(di_tensor_read_ids(args->labels, "args.labels", 0, eval->rows, eval->labels, err));
    if (args->weights) di_tensor_read_rows(args->weights, 0, eval->rows, eval->weights);
    DK_TRY(read_sequences(eval, err));
    for (int64_t r = 0; r < eval->rows; r++) {
        const float weight = args->weights ? eval->weights[r] : 1;
        if (!isfinite(weight))
            return dk_fail(err, DK_E_INVALID, "args.weights: entry %lld is not finite", (long long)r);
        if (weight < 0)
            return dk_fail(err, DK_E_INVALID,
                           "args.weights: entry %lld is %g; weights are at least 0, since their sum is the divisor",
                           (long long)r, (double)weight);
        if (weight == 0 || eval->labels[r] < 0) continue;
        if (weight != 1 && di_loss_preset(eval->loss))
            return dk_fail(
                err, DK_E_INVALID,
                "args.weights: entry %lld is %g; with loss %s rows count (1) or they do not (0), as its tool "
                "has it",
                (long long)r, (double)weight, di_loss_preset(eval->loss)->name);
        eval->places[eval->count] = r;
        eval->sequences[eval->count] = eval->sequences[r];
        eval->labels[eval->count] = eval->labels[r];
        eval->weights[eval->count++] = weight;
    }
out:
    return rc;
}

static int32_t check_labels(const di_eval *eval, dk_error *err)
{
    const distill_target *student = eval->args->student, *teacher = eval->args->teacher;
    int64_t vocab = student->vocab_valid ? student->vocab_valid : di_target_width(student);
    const int64_t other = !teacher ? 0 : teacher->vocab_valid ? teacher->vocab_valid : di_target_width(teacher);
    if (other && other < vocab) vocab = other;
    for (int64_t i = 0; eval->args->labels && !di_loss_skips_labels(eval->loss) && i < eval->count; i++)
        if (eval->labels[i] >= vocab)
            return dk_fail(err, DK_E_INVALID,
                           "args.labels: entry %lld is %d, outside the %lld ids that both sides know",
                           (long long)eval->places[i], (int)eval->labels[i], (long long)vocab);
    return DK_OK;
}

/* The others are written as their strips are done, and not before: they may be the student's own values. */
static void zero_masked_rows(const di_eval *eval)
{
    int64_t row = 0;
    for (int64_t i = 0; i <= eval->count; i++) {
        const int64_t next = i < eval->count ? eval->places[i] : eval->rows;
        di_tensor_zero(eval->args->grad_values, row, next - row);
        row = next + 1;
    }
}

static int32_t open_sources(di_eval *eval, dk_error *err)
{
    const distill_loss_args *args = eval->args;
    const int64_t strip = di_workspace_strip_rows(eval->workspace);
    di_wrapped_spec spec = {0};
    int32_t rc;
    spec.places = eval->places;
    spec.rows = eval->count;
    spec.max_count = strip;
    spec.in_place = eval->in_place;
    if (args->teacher) {
        spec.target = args->teacher;
        spec.name = "args.teacher";
        DK_TRY(di_wrapped_create(eval->backend, &spec, &eval->teacher, err));
    }
    spec.target = args->student;
    spec.name = "args.student";
    spec.grad_values = args->grad_values;
    spec.grad_head = args->grad_head;
    spec.grad_bias = args->grad_bias;
    spec.add_values = (args->flags & DISTILL_ADD_VALUES) != 0;
    spec.add_head = (args->flags & DISTILL_ADD_HEAD) != 0;
    if (args->grad_values && !spec.add_values) zero_masked_rows(eval);
    DK_TRY(di_wrapped_create(eval->backend, &spec, &eval->student, err));
out:
    return rc;
}

static int32_t wants_gradient(const distill_loss_args *args)
{
    return args->grad_values || args->grad_head || args->grad_bias;
}

static int32_t read_pairs(di_eval *eval, dk_error *err)
{
    const distill_loss_args *args = eval->args;
    const di_pair_rows rows = {.host = eval->host,
                               .loss = eval->loss,
                               .reference = HAS(args, reference) ? args->reference : NULL,
                               .preference = HAS(args, preference) ? args->preference : NULL,
                               .grouped = eval->grouped != NULL,
                               .sequence_count = eval->sequence_count,
                               .count = eval->count,
                               .sequences = eval->sequences,
                               .weights = eval->weights};
    return di_pair_sides_read(&rows, &eval->pairs, err);
}

static int32_t run(di_eval *eval, di_loss_sums *sums, dk_error *err)
{
    const distill_loss_args *args = eval->args;
    di_loss_batch batch = {0};
    int32_t rc;
    batch.student = di_wrapped_source(eval->student);
    batch.teacher = eval->teacher ? di_wrapped_source(eval->teacher) : NULL;
    batch.rows = eval->count;
    batch.labels = args->labels ? eval->labels : NULL;
    batch.weights = eval->weights;
    batch.sequences = eval->sequences;
    batch.sequence_count = eval->sequence_count;
    batch.numbers = eval->places;
    batch.step = args->step;
    batch.want_gradient = wants_gradient(args);
    batch.grad_scale = (args->grad_scale != 0 ? args->grad_scale : 1) / eval->divisor;
    batch.row_values = eval->values;
    batch.pairs = eval->pairs.sides ? &eval->pairs.pairs : NULL;
    DK_TRY(di_loss_run(eval->loss, eval->workspace, &batch, NULL, sums, err));
    DK_TRY(di_wrapped_finish(eval->student, err));
out:
    return rc;
}

static void write_values(const di_eval *eval)
{
    const distill_tensor *to = eval->args->row_values;
    if (!to) return;
    di_tensor_zero(to, 0, eval->rows);
    for (int64_t i = 0; i < eval->count; i++) {
        const float value = (float)eval->values[i];
        di_tensor_write_rows(to, eval->places[i], 1, &value, 0);
    }
}

static int32_t is_plain(const distill_tensor *tensor)
{
    return tensor->dtype_code == DISTILL_FLOAT && tensor->dtype_bits == 32 &&
           (!tensor->strides || tensor->strides[1] == 1);
}

/* A head wants high strips; rows that are there already only have to be near, which low ones are, unless they are used
 * where they lie. */
static int64_t strip_rows(const di_eval *eval, const di_workspace_spec *spec)
{
    const distill_loss_args *args = eval->args;
    const int32_t fused =
        args->student->kind == DISTILL_HIDDEN || (args->teacher && args->teacher->kind == DISTILL_HIDDEN);
    const int64_t near = spec->in_place
                             ? SOON / spec->student_width
                             : NEAR_MEMORY / ((spec->student_width + spec->teacher_width) * (int64_t)sizeof(float));
    if (fused || di_loss_serial(eval->loss)) return eval->count;
    return near > eval->count ? eval->count : near > 1 ? near : 1;
}

/* Are rows used where they lie, and is the gradient written where it is wanted? */
static int32_t is_in_place(const di_eval *eval)
{
    const distill_loss_args *args = eval->args;
    const distill_target *student = args->student, *teacher = args->teacher;
    if (eval->count != eval->rows || student->kind != DISTILL_DENSE || !is_plain(student->values)) return 0;
    if (teacher && (teacher->kind == DISTILL_HIDDEN || (teacher->kind == DISTILL_DENSE && !is_plain(teacher->values))))
        return 0;
    return !args->grad_values || (is_plain(args->grad_values) && !(args->flags & DISTILL_ADD_VALUES));
}

/* What the sources take for a row of a strip. */
static int64_t row_bytes(const distill_loss_args *args, int32_t in_place)
{
    const int32_t is_dense = args->teacher && args->teacher->kind == DISTILL_DENSE;
    return (in_place ? 0 : di_wrapped_row_bytes(args->student)) +
           (!args->teacher || (in_place && is_dense) ? 0 : di_wrapped_row_bytes(args->teacher));
}

static int64_t listed_ids(const distill_target *target)
{
    const distill_tensor *ids = target ? target->ids : NULL;
    return !ids ? 0 : ids->ndim == 2 ? ids->shape[1] : 1;
}

static int32_t plan(di_eval *eval, dk_error *err)
{
    const distill_loss_args *args = eval->args;
    di_workspace_spec spec = {.memory = eval->memory ? eval->memory : EVAL_MEMORY + eval->rows * ROW_ARRAYS,
                              .limit = "args.memory",
                              .student_width = di_target_width(args->student),
                              .teacher_width = args->teacher ? di_target_width(args->teacher) : 0,
                              .keeps_logits = wants_gradient(args) && di_wrapped_needs_logits(args->student),
                              .listed = listed_ids(args->teacher),
                              .buffer_row = {di_wrapped_buffer_row(args->student, args->grad_values != NULL),
                                             args->teacher ? di_wrapped_buffer_row(args->teacher, 0) : 0},
                              .row_bytes = row_bytes(args, eval->in_place),
                              .bytes = eval->rows * ROW_ARRAYS,
                              .max_sequences = eval->sequence_count,
                              .in_place = eval->in_place};
    spec.max_rows = strip_rows(eval, &spec);
    return di_workspace_create(eval->backend, eval->loss, &spec, &eval->workspace, err);
}

int32_t di_loss_eval(dk_backend *backend, const di_loss *loss, distill_loss_args *args, dk_error *err)
{
    di_eval eval = {0};
    di_loss_sums sums = {0};
    di_feature_term feature;
    int32_t rc;
    eval.backend = backend;
    eval.host = backend->host;
    eval.loss = loss;
    eval.args = args;
    DK_TRY(di_check_struct(args, "args", offsetof(distill_loss_args, sequences), err));
    eval.memory = HAS(args, memory) ? args->memory : 0;
    eval.divisor = HAS(args, divisor) ? args->divisor : 0;
    eval.grouped = HAS(args, sequences) ? args->sequences : NULL;
    DK_TRY(check_args(&eval, err));
    if (di_loss_feature(loss, 0, &feature)) {
        rc = dk_fail(err, DK_E_UNSUPPORTED,
                     "loss %s compares what is inside two models: a trainer evaluates it, and not a call on rows",
                     feature.builtin->name);
        goto out;
    }
    DK_TRY(read_rows(&eval, err));
    DK_TRY(check_labels(&eval, err));
    DK_TRY(read_pairs(&eval, err));
    eval.in_place = is_in_place(&eval);
    DK_TRY(plan(&eval, err));
    DK_TRY(open_sources(&eval, err));
    eval.divisor = di_preset_divisor(loss, eval.divisor, eval.count);
    DK_TRY(run(&eval, &sums, err));
    write_values(&eval);
    args->sum = sums.sum / eval.divisor;
    args->count = eval.count;
    args->weight_sum = di_loss_preset(loss) ? 1 : eval.pairs.sides ? sums.pair_weight_sum : sums.weight_sum;
    args->floored = sums.floored;
out:
    di_wrapped_free(eval.student);
    di_wrapped_free(eval.teacher);
    di_workspace_free(eval.workspace);
    di_pair_sides_free(eval.host, &eval.pairs);
    dk_free(eval.host, eval.places);
    dk_free(eval.host, eval.sequences);
    dk_free(eval.host, eval.labels);
    dk_free(eval.host, eval.weights);
    dk_free(eval.host, eval.values);
    return rc;
}
