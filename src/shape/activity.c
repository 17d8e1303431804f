/* activity.c - forward passes over text, looked at from inside: how much a block turns its input, and how large what
 * heads and channels give is. Block influence: Men et al., ShortGPT (2403.03853); activations as importance:
 * Muralidharan et al., Minitron (2407.14679). Sums are in double and in the order of the data. */
#include <math.h>
#include <string.h>

#include "shape/shape_parts.h"

typedef struct observer {
    const dk_config *config;
    di_activity *out;
    di_importance importance;
    dk_host *host;
    const di_batch *batch;
    double *input, *seen; /* [rows, width]: of the block under work; of what was shown last */
    float *narrow;        /* the same on its way */
    double *places;       /* [2 layers + 1, hidden_size]: what was read at each place */
    double *sums;         /* [most]: of one sequence */
    int64_t rows;         /* room */
} observer;

/* ---- patience ---- */
di_patience di_patience_begin(dk_host *host, const char *what) { return (di_patience){host, what, dk_seconds()}; }

int32_t di_patience_tell(di_patience *patience, int64_t done, int64_t total, dk_error *err)
{
    const double now = dk_seconds();
    if (dk_host_cancelled(patience->host))
        return dk_fail(err, DK_E_CANCELLED, "stopped while %s, at %lld of %lld", patience->what, (long long)done,
                       (long long)total);
    if (now - patience->told < 2) return DK_OK;
    patience->told = now;
    dk_log(patience->host, DK_LOG_INFO, "student", "%s: %lld of %lld", patience->what, (long long)done,
           (long long)total);
    return DK_OK;
}

/* ---- what is shown ---- */
static void bring(observer *o, dk_queue *queue, dk_view value, double *to)
{
    const int64_t count = dk_view_count(&value);
    const int32_t wide = value.dtype == DK_F64;
    queue->backend->ops->copy_out(queue, value, wide ? (void *)to : (void *)o->narrow);
    (void)dk_queue_wait(queue, NULL);
    for (int64_t i = 0; !wide && i < count; i++) to[i] = (double)o->narrow[i];
}

/* A sequence's sum of |a|, as it counts. */
static double share(const observer *o, double sum, int64_t length)
{
    const double mean = sum / (double)length;
    return o->importance == DI_IMPORTANCE_MEAN ? sum : mean * mean;
}

/* size entries are one part, whose |a| is their length. [rows, parts, size] -> out [parts] */
static void add_parts(observer *o, const double *rows, int64_t parts, int64_t size, double *out)
{
    for (int64_t s = 0; s < o->batch->sequences; s++) {
        const int64_t first = o->batch->offsets[s], length = o->batch->offsets[s + 1] - first;
        memset(o->sums, 0, (size_t)parts * sizeof *o->sums);
        for (int64_t t = first; t < first + length; t++)
            for (int64_t p = 0; p < parts; p++) {
                const double *part = rows + (t * parts + p) * size;
                double squares = 0;
                for (int64_t i = 0; i < size; i++) squares += part[i] * part[i];
                o->sums[p] += size == 1 ? fabs(part[0]) : sqrt(squares);
            }
        for (int64_t p = 0; p < parts && length; p++) out[p] += share(o, o->sums[p], length);
    }
}

static double cosine(const double *a, const double *b, int64_t size)
{
    double ab = 0, aa = 0, bb = 0;
    for (int64_t i = 0; i < size; i++) {
        ab += a[i] * b[i];
        aa += a[i] * a[i];
        bb += b[i] * b[i];
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : aa == bb;
}

static void add_influence(observer *o, int64_t layer)
{
    const int64_t width = o->config->hidden_size;
    for (int64_t t = 0; t < o->batch->offsets[o->batch->sequences]; t++)
        o->out->influence[layer] += 1 - cosine(o->input + t * width, o->seen + t * width, width);
}

static void watch(void *user, dk_queue *queue, dk_seen what, int64_t layer, dk_view value)
{
    observer *o = user;
    const dk_config *c = o->config;
    const int64_t width = c->hidden_size;
    bring(o, queue, value, what == DK_SEEN_INPUT ? o->input : o->seen);
    switch (what) {
    case DK_SEEN_INPUT:
        break;
    case DK_SEEN_NORMED:
        add_parts(o, o->seen, width, 1, o->places + 2 * layer * width);
        break;
    case DK_SEEN_MLP_NORMED:
        add_parts(o, o->seen, width, 1, o->places + (2 * layer + 1) * width);
        break;
    case DK_SEEN_FINAL:
        add_parts(o, o->seen, width, 1, o->places + 2 * layer * width);
        break;
    case DK_SEEN_ATTENDED:
        add_parts(o, o->seen, c->heads, c->head_dim, o->out->head + layer * c->heads);
        break;
    case DK_SEEN_ACTIVE:
        add_parts(o, o->seen, c->intermediate_size, 1, o->out->inner + layer * c->intermediate_size);
        break;
    case DK_SEEN_OUTPUT:
        add_influence(o, layer);
        break;
    }
}

/* ---- sums become scores ---- */
static void finish_scores(const observer *o, double *sums, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        sums[i] = o->importance == DI_IMPORTANCE_MEAN ? sums[i] / (double)o->out->tokens : sqrt(sums[i]);
}

static void finish(observer *o)
{
    di_activity *a = o->out;
    const int64_t places = 2 * a->layers + 1;
    for (int64_t l = 0; l < a->layers; l++) a->influence[l] /= (double)a->tokens;
    finish_scores(o, o->places, places * a->hidden_size);
    finish_scores(o, a->head, a->layers * a->heads);
    finish_scores(o, a->inner, a->layers * a->inner_size);
    for (int64_t p = 0; p < places; p++)
        for (int64_t i = 0; i < a->hidden_size; i++) a->hidden[i] += o->places[p * a->hidden_size + i];
}

/* ---- over the text ---- */
static int64_t widest(const dk_config *c)
{
    const int64_t q = c->heads * c->head_dim;
    int64_t width = c->hidden_size > q ? c->hidden_size : q;
    return width > c->intermediate_size ? width : c->intermediate_size;
}

static int32_t plan(observer *o, int64_t rows, dk_error *err)
{
    const dk_config *c = o->config;
    di_activity *a = o->out;
    int32_t rc;
    *a = (di_activity){.host = o->host,
                       .layers = c->layers,
                       .hidden_size = c->hidden_size,
                       .heads = c->heads,
                       .inner_size = c->intermediate_size};
    DK_TRY(dk_new(o->host, c->layers, &a->influence, err));
    DK_TRY(dk_new(o->host, c->hidden_size, &a->hidden, err));
    DK_TRY(dk_new(o->host, c->layers * c->heads, &a->head, err));
    DK_TRY(dk_new(o->host, c->layers * c->intermediate_size, &a->inner, err));
    DK_TRY(dk_new(o->host, rows * c->hidden_size, &o->input, err));
    DK_TRY(dk_new(o->host, rows * widest(c), &o->seen, err));
    DK_TRY(dk_new(o->host, rows * widest(c), &o->narrow, err));
    DK_TRY(dk_new(o->host, (2 * c->layers + 1) * c->hidden_size, &o->places, err));
    DK_TRY(dk_new(o->host, widest(c), &o->sums, err));
out:
    return rc;
}

static void drop(observer *o)
{
    dk_free(o->host, o->input);
    dk_free(o->host, o->seen);
    dk_free(o->host, o->narrow);
    dk_free(o->host, o->places);
    dk_free(o->host, o->sums);
}

static int32_t read_text(observer *o, dk_pass *pass, di_dataset *data, uint64_t seed, int64_t tokens, di_batch *batch,
                         dk_error *err)
{
    di_patience patience = di_patience_begin(o->host, "tokens read to choose the student's shape");
    int64_t windows = 0;
    int32_t rc;
    DK_TRY(di_dataset_get_i64(data, "windows", &windows, err));
    for (int64_t k = 0; k < windows && o->out->tokens < tokens; k++) {
        DK_TRY(di_patience_tell(&patience, o->out->tokens, tokens, err));
        DK_TRY(di_dataset_batch(data, seed, k, 1, batch, err));
        const dk_tokens input = {.ids = batch->ids, .offsets = batch->offsets, .sequences = batch->sequences};
        DK_TRY(dk_pass_forward(pass, &input, err));
        o->out->tokens += batch->offsets[batch->sequences];
        o->out->sequences += batch->sequences;
    }
out:
    return rc;
}

int32_t di_activity_measure(dk_model *model, di_dataset *data, uint64_t seed, int64_t tokens, di_importance importance,
                            di_activity *out, dk_error *err)
{
    observer o = {.config = &model->config, .out = out, .importance = importance, .host = model->host};
    di_batch *batch = NULL;
    dk_pass *pass = NULL;
    int32_t rc;
    DK_TRY(di_batch_create(data, 1, &batch, err));
    o.batch = batch;
    DK_TRY(plan(&o, batch->max_tokens, err));
    const dk_pass_spec spec = {.max_rows = batch->max_tokens, .max_sequences = batch->max_sequences};
    DK_TRY(dk_pass_create(model, &spec, &pass, err));
    dk_pass_watch(pass, watch, &o);
    DK_TRY(read_text(&o, pass, data, seed, tokens, batch, err));
    if (out->tokens) finish(&o);
    else rc = dk_fail(err, DK_E_INVALID, "data.train has no token to choose a student's shape by");
out:
    dk_pass_free(pass);
    di_batch_free(batch);
    drop(&o);
    if (rc != DK_OK) di_activity_free(out);
    return rc;
}

void di_activity_free(di_activity *a)
{
    dk_host *host = a->host;
    if (!host) return;
    dk_free(host, a->influence);
    dk_free(host, a->hidden);
    dk_free(host, a->head);
    dk_free(host, a->inner);
    *a = (di_activity){.host = NULL};
}
