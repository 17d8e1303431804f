/* pairs.c - losses on pairs of tokens: attention_mse and relation. A sequence and some heads at a time, in doubles, row
 * by row, so that no [tokens, tokens] exists: what is kept of a head is its keys and one row of scores. */
#include "features/features_parts.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

typedef struct rows_of { /* a place of one model on the host */
    const uint8_t *data;
    uint8_t *gradient; /* NULL = not wanted */
    int64_t step, gradient_step;
} rows_of;
typedef struct walk {
    const di_feature_call *call;
    const di_pair *pair;
    rows_of student[3], teacher[3];
    int64_t *first_row; /* [sequences + 1] of the unmasked rows */
    int64_t units;      /* of a sequence, that are independent of each other */
    int32_t doubles;
    atomic_llong next; /* task: sequence * units + unit */
    void (*run)(const struct walk *w, int64_t sequence, int64_t unit, double *scratch);
} walk;

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t element(const walk *w) { return w->doubles ? (int64_t)sizeof(double) : (int64_t)sizeof(float); }

static int64_t length_of(const walk *w, int64_t sequence)
{
    return w->call->batch->offsets[sequence + 1] - w->call->batch->offsets[sequence];
}

/* Where a token's numbers from a column on stand. */
static const uint8_t *at(const walk *w, const rows_of *rows, int64_t token, int64_t column)
{
    return rows->data + token * rows->step + column * element(w);
}

static void turn(const walk *w, const rows_of *rows, int64_t sequence, int64_t column, int64_t dim, double *out)
{
    const int64_t length = length_of(w, sequence);
    w->call->kernels->turn(at(w, rows, w->call->batch->offsets[sequence], column), w->doubles, rows->step, length, dim,
                           di_feature_stride(length), out);
}

static void add(const walk *w, uint8_t *to, int64_t index, double value)
{
    if (w->doubles) ((double *)(void *)to)[index] += value;
    else ((float *)(void *)to)[index] += (float)value;
}

/* What was gathered for the keys of a head goes to its place. */
static void give_keys(const walk *w, const rows_of *rows, int64_t sequence, int64_t column, int64_t dim,
                      const double *gradient)
{
    const int64_t length = length_of(w, sequence), stride = di_feature_stride(length);
    for (int64_t i = 0; i < length; i++) {
        uint8_t *to = rows->gradient + (w->call->batch->offsets[sequence] + i) * rows->gradient_step;
        for (int64_t d = 0; d < dim; d++) add(w, to, column + d, gradient[d * stride + i]);
    }
}

static double weight_of(const walk *w, int64_t row)
{
    return w->call->weight * (double)w->call->batch->weights[w->call->features->kept[row]];
}

/* ---- attention ---- */

typedef struct attention { /* one unit: heads of the student, and those of the teacher that they are compared with */
    const walk *w;
    int64_t sequence, length, stride;
    int64_t heads, first_head, groups, first_group; /* of the student: query heads, and the key heads that they share */
    int64_t teacher_heads, teacher_first, teacher_groups, teacher_first_group;
    int64_t dim, teacher_dim;
    double *keys, *key_gradient;    /* [groups, dim, stride] */
    double *teacher_keys;           /* [teacher_groups, teacher_dim, stride] */
    double *weights;                /* [heads, stride] */
    double *caps;                   /* [heads, stride] slope of the soft-cap; where there is one */
    double *mean, *other, *scratch; /* [stride] */
    double *query, *query_gradient; /* [dim] */
    double *teacher_query;          /* [teacher_dim] */
} attention;

static int64_t first_seen(const di_place *place, int64_t token)
{
    return place->window && token >= place->window ? token - place->window + 1 : 0;
}

/* softmax of a head's scores over the keys that the token sees; zeros before them. slope NULL = not wanted. */
static void attend(const attention *a, const di_place *place, const double *query, const double *keys, int64_t dim,
                   int64_t token, double *out, double *slope)
{
    const di_feature_rows *kernels = a->w->call->kernels;
    const int64_t first = first_seen(place, token), n = token + 1 - first;
    double *scores = a->scratch;
    kernels->scores(query, keys + first, dim, a->stride, n, place->scale, scores);
    for (int64_t i = 0; place->softcap != 0 && i < n; i++) {
        const double bent = tanh(scores[i] / place->softcap);
        scores[i] = place->softcap * bent;
        if (slope) slope[first + i] = 1 - bent * bent;
    }
    memset(out, 0, (size_t)first * sizeof *out);
    kernels->softmax(scores, n, out + first);
    for (int64_t i = token + 1; i < a->stride; i++) out[i] = 0; /* softmax ends in a vector of its own */
}

static void teacher_head(const attention *a, int64_t head, int64_t token, double *out)
{
    const walk *w = a->w;
    const di_place *place = &w->pair->teacher_place[0];
    const int64_t group = head / (place->heads / w->pair->teacher_place[1].heads) - a->teacher_first_group;
    w->call->kernels->take(at(w, &w->teacher[0], w->call->batch->offsets[a->sequence] + token, head * a->teacher_dim),
                           w->doubles, a->teacher_dim, a->teacher_query);
    attend(a, place, a->teacher_query, a->teacher_keys + group * a->teacher_dim * a->stride, a->teacher_dim, token, out,
           NULL);
}

static double *group_of(const attention *a, double *keys, int64_t head)
{
    const int64_t shared = a->w->pair->place[0].heads / a->w->pair->place[1].heads;
    return keys + (head / shared - a->first_group) * a->dim * a->stride;
}

static void student_head(const attention *a, int64_t head, int64_t token)
{
    const walk *w = a->w;
    const int64_t row = (head - a->first_head) * a->stride;
    w->call->kernels->take(at(w, &w->student[0], w->call->batch->offsets[a->sequence] + token, head * a->dim),
                           w->doubles, a->dim, a->query);
    attend(a, &w->pair->place[0], a->query, group_of(a, a->keys, head), a->dim, token, a->weights + row,
           a->caps ? a->caps + row : NULL);
}

/* d [stride]: the gradient of a head's weights becomes that of its query and keys. */
static void head_backward(const attention *a, int64_t head, int64_t token, double *d)
{
    const walk *w = a->w;
    const di_feature_rows *kernels = w->call->kernels;
    const di_place *place = &w->pair->place[0];
    const int64_t row = (head - a->first_head) * a->stride, first = first_seen(place, token), n = token + 1 - first;
    const int64_t at_token = w->call->batch->offsets[a->sequence] + token;
    kernels->inward(a->weights + row, token + 1, d);
    for (int64_t i = first; a->caps && i <= token; i++) d[i] *= a->caps[row + i];
    for (int64_t i = token + 1; i <= token + DI_FEATURE_LANES; i++) d[i] = 0; /* the last vector of keys ends there */
    kernels->take(at(w, &w->student[0], at_token, head * a->dim), w->doubles, a->dim, a->query);
    memset(a->query_gradient, 0, (size_t)a->dim * sizeof *a->query_gradient);
    kernels->gather(d + first, group_of(a, a->keys, head) + first, a->dim, a->stride, n, place->scale,
                    a->query_gradient);
    kernels->spread(d + first, a->query, a->dim, a->stride, n, place->scale,
                    group_of(a, a->key_gradient, head) + first);
    for (int64_t i = 0; i < a->dim; i++)
        add(w, w->student[0].gradient + at_token * w->student[0].gradient_step, head * a->dim + i,
            a->query_gradient[i]);
}

/* Head by head; the value is a mean over all heads of the model and the keys that one of the two sees. */
static double compare_heads(const attention *a, int64_t token, double share, double weight)
{
    const di_feature_rows *kernels = a->w->call->kernels;
    double sum = 0;
    for (int64_t h = a->first_head; h < a->first_head + a->heads; h++) {
        teacher_head(a, h, token, a->other);
        student_head(a, h, token);
        sum += kernels->squared(a->weights + (h - a->first_head) * a->stride, a->other, token + 1, 2 * weight * share,
                                weight != 0 ? a->mean : NULL);
        if (weight != 0) head_backward(a, h, token, a->mean);
    }
    return share * sum;
}

static void add_to(double *sum, const double *x, int64_t n, double factor)
{
    for (int64_t i = 0; i < n; i++) sum[i] += factor * x[i];
}

/* The means over heads; mean and other end in zeros as their parts do. */
static double compare_means(const attention *a, int64_t token, double share, double weight)
{
    const di_feature_rows *kernels = a->w->call->kernels;
    double *difference = a->mean + a->stride, *one = a->other + a->stride, sum;
    memset(a->mean, 0, (size_t)a->stride * sizeof *a->mean);
    memset(a->other, 0, (size_t)a->stride * sizeof *a->other);
    for (int64_t h = 0; h < a->teacher_heads; h++) {
        teacher_head(a, h, token, one);
        add_to(a->other, one, token + 1, 1 / (double)a->teacher_heads);
    }
    for (int64_t h = 0; h < a->heads; h++) {
        student_head(a, h, token);
        add_to(a->mean, a->weights + h * a->stride, token + 1, 1 / (double)a->heads);
    }
    sum = kernels->squared(a->mean, a->other, token + 1, 2 * weight * share / (double)a->heads,
                           weight != 0 ? difference : NULL);
    for (int64_t h = 0; weight != 0 && h < a->heads; h++) {
        memcpy(one, difference, (size_t)a->stride * sizeof *one);
        head_backward(a, h, token, one);
    }
    return share * sum;
}

/* Which heads a unit has: all, or those of one key head of the student. */
static void choose_heads(attention *a, int64_t unit)
{
    const di_pair *pair = a->w->pair;
    const di_place *place = pair->place, *other = pair->teacher_place;
    const int32_t all = a->w->call->term->by_mean;
    const int64_t shared = place[0].heads / place[1].heads, teacher_shared = other[0].heads / other[1].heads;
    a->first_group = all ? 0 : unit;
    a->groups = all ? place[1].heads : 1;
    a->first_head = a->first_group * shared;
    a->heads = a->groups * shared;
    a->teacher_first = all ? 0 : a->first_head;
    a->teacher_heads = all ? other[0].heads : a->heads;
    a->teacher_first_group = a->teacher_first / teacher_shared;
    a->teacher_groups = (a->teacher_first + a->teacher_heads - 1) / teacher_shared + 1 - a->teacher_first_group;
    a->dim = place[0].width / place[0].heads;
    a->teacher_dim = other[0].width / other[0].heads;
}

/* Of scratch, in order; memory NULL = only measured. */
static double *part(double *memory, int64_t *used, int64_t size)
{
    double *out = memory ? memory + *used : NULL;
    *used += size;
    return out;
}

static int64_t place_attention(attention *a, double *memory)
{
    const int64_t stride = a->stride;
    int64_t used = 0;
    a->keys = part(memory, &used, a->groups * a->dim * stride);
    a->key_gradient = part(memory, &used, a->groups * a->dim * stride);
    a->teacher_keys = part(memory, &used, a->teacher_groups * a->teacher_dim * stride);
    a->weights = part(memory, &used, a->heads * stride);
    if (a->w->pair->place[0].softcap != 0) a->caps = part(memory, &used, a->heads * stride);
    a->mean = part(memory, &used, 2 * stride);
    a->other = part(memory, &used, 2 * stride);
    a->scratch = part(memory, &used, stride);
    a->query = part(memory, &used, di_feature_padded(a->dim));
    a->query_gradient = part(memory, &used, di_feature_padded(a->dim));
    a->teacher_query = part(memory, &used, di_feature_padded(a->teacher_dim));
    return used;
}

static void run_attention(const walk *w, int64_t sequence, int64_t unit, double *memory)
{
    const di_features *f = w->call->features;
    const int64_t length = length_of(w, sequence), begin = w->call->batch->offsets[sequence];
    attention a = {.w = w, .sequence = sequence, .length = length, .stride = di_feature_stride(length)};
    choose_heads(&a, unit);
    place_attention(&a, memory);
    for (int64_t g = 0; g < a.groups; g++)
        turn(w, &w->student[1], sequence, (a.first_group + g) * a.dim, a.dim, a.keys + g * a.dim * a.stride);
    for (int64_t g = 0; g < a.teacher_groups; g++)
        turn(w, &w->teacher[1], sequence, (a.teacher_first_group + g) * a.teacher_dim, a.teacher_dim,
             a.teacher_keys + g * a.teacher_dim * a.stride);
    memset(a.key_gradient, 0, (size_t)(a.groups * a.dim * a.stride) * sizeof *a.key_gradient);
    for (int64_t row = w->first_row[sequence]; row < w->first_row[sequence + 1]; row++) {
        const int64_t token = f->numbers[row] - begin;
        const int64_t seen =
            token + 1 - smaller(first_seen(w->pair->place, token), first_seen(w->pair->teacher_place, token));
        const double share = 1 / ((double)w->call->term->count * (double)seen *
                                  (w->call->term->by_mean ? 1 : (double)w->pair->place[0].heads));
        f->parts[unit * f->max_rows + row] = w->call->term->by_mean
                                                 ? compare_means(&a, token, share, weight_of(w, row))
                                                 : compare_heads(&a, token, share, weight_of(w, row));
    }
    if (!w->student[1].gradient) return;
    for (int64_t g = 0; g < a.groups; g++)
        give_keys(w, &w->student[1], sequence, (a.first_group + g) * a.dim, a.dim,
                  a.key_gradient + g * a.dim * a.stride);
}

/* ---- relations ---- */

/* Of a unit: q, k or v, and one of the heads that all of its width is cut into. */
static void run_relation(const walk *w, int64_t sequence, int64_t unit, double *memory)
{
    const di_features *f = w->call->features;
    const di_feature_rows *kernels = w->call->kernels;
    const int64_t heads = w->call->term->heads, which = unit / heads, head = unit % heads;
    const int64_t dim = w->pair->place[which].width / heads, other_dim = w->pair->teacher_place[which].width / heads;
    const int64_t length = length_of(w, sequence), stride = di_feature_stride(length);
    const double scale = 1 / sqrt((double)dim), other_scale = 1 / sqrt((double)other_dim),
                 share = 1 / ((double)w->call->term->count * 3 * (double)heads);
    int64_t used = 0;
    double *x = part(memory, &used, dim * stride), *gradient = part(memory, &used, dim * stride),
           *other = part(memory, &used, other_dim * stride), *scores = part(memory, &used, stride),
           *other_scores = part(memory, &used, stride), *q = part(memory, &used, stride),
           *p = part(memory, &used, stride), *d = part(memory, &used, stride), *query = part(memory, &used, dim),
           *query_gradient = part(memory, &used, dim), *other_query = part(memory, &used, other_dim);
    turn(w, &w->student[which], sequence, head * dim, dim, x);
    turn(w, &w->teacher[which], sequence, head * other_dim, other_dim, other);
    memset(gradient, 0, (size_t)(dim * stride) * sizeof *gradient);
    for (int64_t row = w->first_row[sequence]; row < w->first_row[sequence + 1]; row++) {
        const int64_t token = f->numbers[row] - w->call->batch->offsets[sequence], n = token + 1;
        const double weight = weight_of(w, row);
        for (int64_t i = 0; i < dim; i++) query[i] = x[i * stride + token];
        for (int64_t i = 0; i < other_dim; i++) other_query[i] = other[i * stride + token];
        kernels->scores(query, x, dim, stride, n, scale, scores);
        kernels->scores(other_query, other, other_dim, stride, n, other_scale, other_scores);
        const double log_q = kernels->softmax(scores, n, q), log_p = kernels->softmax(other_scores, n, p);
        f->parts[unit * f->max_rows + row] = share * kernels->divergence(p, q, other_scores, scores, log_p - log_q, n,
                                                                         share * weight, weight != 0 ? d : NULL);
        if (weight == 0) continue;
        memset(query_gradient, 0, (size_t)dim * sizeof *query_gradient);
        kernels->gather(d, x, dim, stride, n, scale, query_gradient);
        kernels->spread(d, query, dim, stride, n, scale, gradient);
        for (int64_t i = 0; i < dim; i++) gradient[i * stride + token] += query_gradient[i];
    }
    if (w->student[which].gradient) give_keys(w, &w->student[which], sequence, head * dim, dim, gradient);
}

/* ---- all of a micro-batch ---- */

static void run_tasks(void *context, int64_t begin, int64_t end)
{
    walk *w = context;
    const di_features *f = w->call->features;
    const int64_t tasks = w->call->batch->sequences * w->units;
    for (int64_t slot = begin; slot < end; slot++)
        for (int64_t task = atomic_fetch_add(&w->next, 1); task < tasks; task = atomic_fetch_add(&w->next, 1))
            w->run(w, task / w->units, task % w->units, f->scratch + slot * f->scratch_size);
}

static int64_t units_of(const di_feature *term, const di_pair *pair)
{
    if (term->builtin->feature == DI_FEATURE_RELATION) return 3 * term->heads;
    return term->by_mean ? 1 : pair->place[1].heads;
}

/* Rows are in order of their sequences. */
static void find_sequences(const walk *w)
{
    const di_feature_call *call = w->call;
    int64_t row = 0;
    for (int64_t s = 0; s < call->batch->sequences; s++) {
        while (row < call->rows && call->features->numbers[row] < call->batch->offsets[s]) row++;
        w->first_row[s] = row;
        while (row < call->rows && call->features->numbers[row] < call->batch->offsets[s + 1]) row++;
        w->first_row[s + 1] = row;
    }
}

static int32_t place_count(const di_feature *term) { return term->builtin->feature == DI_FEATURE_RELATION ? 3 : 2; }

static int32_t read_places(walk *w, dk_error *err)
{
    di_features *f = w->call->features;
    const di_taps *taps[2] = {w->call->batch->student, w->call->batch->teacher};
    int32_t rc = DK_OK;
    for (int32_t i = 0; i < 2 * place_count(w->call->term); i++) {
        const int32_t which = i / 2, of_teacher = i % 2;
        const int64_t tap = of_teacher ? w->pair->teacher_tap[which] : w->pair->tap[which];
        rows_of *rows = of_teacher ? &w->teacher[which] : &w->student[which];
        di_host_rows seen;
        dk_view view;
        DK_TRY(taps[of_teacher]->values(taps[of_teacher]->self, tap, &view, err));
        DK_TRY(di_host_read(&f->queue, &f->copied[i], view, &seen, err));
        rows->data = seen.data;
        rows->step = seen.step;
    }
out:
    return rc;
}

/* What is there already is read, added to, and written back once the walk is over. */
static int32_t read_gradients(walk *w, dk_view views[3], di_host_rows seen[3], dk_error *err)
{
    di_features *f = w->call->features;
    const di_taps *taps = w->call->batch->student;
    int32_t rc = DK_OK;
    for (int32_t which = 0; which < place_count(w->call->term); which++) {
        DK_TRY(taps->gradient(taps->self, w->pair->tap[which], &views[which], err));
        DK_TRY(di_host_read(&f->queue, &f->copied[6 + which], views[which], &seen[which], err));
        w->student[which].gradient = seen[which].data;
        w->student[which].gradient_step = seen[which].step;
    }
out:
    return rc;
}

int32_t di_pairs_run(const di_feature_call *call, const di_pair *pair, dk_error *err)
{
    di_features *f = call->features;
    walk w = {.call = call,
              .pair = pair,
              .first_row = f->first_row,
              .units = units_of(call->term, pair),
              .doubles = f->backend->real == DK_F64,
              .run = call->term->builtin->feature == DI_FEATURE_RELATION ? run_relation : run_attention};
    dk_view views[3];
    di_host_rows seen[3];
    int32_t rc;
    atomic_init(&w.next, 0);
    find_sequences(&w);
    DK_TRY(read_places(&w, err));
    if (call->weight != 0) DK_TRY(read_gradients(&w, views, seen, err));
    dk_parallel_for(f->host, f->slots, 1, run_tasks, &w);
    DK_TRY(dk_parallel_check(f->host, err));
    for (int32_t which = 0; call->weight != 0 && which < place_count(call->term); which++)
        DK_TRY(di_host_write(&f->queue, views[which], &seen[which], err));
    DK_TRY(dk_queue_wait(&f->queue, err));
    for (int64_t unit = 0; unit < w.units; unit++)
        for (int64_t row = 0; row < call->rows; row++) f->values[row] += f->parts[unit * f->max_rows + row];
out:
    return rc;
}

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

static int64_t room_of(const di_feature *term, const di_pair *pair, int64_t length)
{
    const di_feature_call call = {.term = term};
    const walk w = {.call = &call, .pair = pair};
    const int64_t stride = di_feature_stride(length);
    attention a = {.w = &w, .stride = stride};
    int64_t room = 0;
    if (term->builtin->feature != DI_FEATURE_RELATION)
        for (int64_t unit = 0; unit < units_of(term, pair); unit++) {
            choose_heads(&a, unit);
            room = larger(room, place_attention(&a, NULL));
        }
    else
        for (int i = 0; i < 3; i++) {
            const int64_t dim = pair->place[i].width / term->heads, other = pair->teacher_place[i].width / term->heads;
            room = larger(room, (2 * dim + other + 5) * stride + 2 * dim + other);
        }
    return room;
}

void di_pairs_plan(di_features *f, int64_t length)
{
    for (int64_t i = 0; i < f->count; i++)
        for (int64_t k = 0; place_count(&f->terms[i]) && k < f->terms[i].count; k++) {
            const di_feature *term = &f->terms[i];
            if (term->builtin->feature < DI_FEATURE_ATTENTION_MSE) continue;
            f->units = larger(f->units, units_of(term, &term->pairs[k]));
            f->scratch_size = larger(f->scratch_size, room_of(term, &term->pairs[k], length));
        }
}
