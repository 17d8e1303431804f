/* projection.c - what brings a student's width to the teacher's: a matrix for each pair, trained with the student. */
#include <math.h>

#include "base/hash.h"
#include "base/random.h"
#include "features/features_parts.h"

static void name_layer(int64_t layer, dk_strbuf *out)
{
    if (layer < 0) dk_strbuf_puts(out, "final");
    else dk_strbuf_printf(out, "%lld", (long long)layer);
}

/* "loss.0.hidden_mse.projection.3-5" */
static int32_t name_of(dk_host *host, const di_feature *term, const di_pair *pair, const char **out, dk_error *err)
{
    dk_strbuf name;
    int32_t rc;
    dk_strbuf_init(&name, host);
    dk_strbuf_printf(&name, "loss.%lld.%s.projection.", (long long)term->item, term->builtin->name);
    name_layer(pair->layer, &name);
    dk_strbuf_puts(&name, "-");
    name_layer(pair->teacher_layer, &name);
    DK_TRY(dk_strbuf_check(&name, err));
    if (!(*out = dk_strdup(host, name.data))) rc = dk_fail_nomem(err, name.size);
out:
    dk_strbuf_free(&name);
    return rc;
}

/* Normal with variance 1/width, a pure function of seed and name: W x is as large as x is. */
static int32_t fill(di_features *f, const dk_parameter *parameter, uint64_t seed, dk_error *err)
{
    const int64_t count = dk_view_count(&parameter->value);
    const double size = 1 / sqrt((double)parameter->value.shape[1]);
    const uint64_t stream = dk_hash64(parameter->name, strlen(parameter->name)) | 1;
    const int32_t doubles = f->backend->real == DK_F64;
    double *values = NULL;
    int32_t rc;
    DK_TRY(dk_new(f->host, count, &values, err));
    float *floats = (float *)(void *)values; /* in place: i is read before it is written over */
    for (int64_t i = 0; i < count; i++) {
        const double value = size * dk_random_normal(seed, stream, (uint64_t)i);
        if (doubles) values[i] = value;
        else floats[i] = (float)value;
    }
    f->backend->ops->copy_in(&f->queue, parameter->value, values);
    DK_TRY(dk_queue_wait(&f->queue, err));
out:
    dk_free(f->host, values);
    return rc;
}

static void take(di_features *f, const di_feature *term, const di_pair *pair)
{
    dk_parameter *parameter = &f->parameters[pair->projection];
    (void)term;
    parameter->value = dk_arena_2d(&f->weights, f->backend->real, pair->teacher_place[0].width, pair->place[0].width);
    parameter->gradient =
        dk_arena_2d(&f->weights, f->backend->real, pair->teacher_place[0].width, pair->place[0].width);
}

static void take_all(di_features *f)
{
    for (int64_t i = 0; i < f->count; i++)
        for (int64_t k = 0; k < f->terms[i].count; k++)
            if (f->terms[i].pairs[k].projection >= 0) take(f, &f->terms[i], &f->terms[i].pairs[k]);
}

static int32_t finish(di_features *f, const di_feature *term, const di_pair *pair, uint64_t seed, dk_error *err)
{
    dk_parameter *parameter = &f->parameters[pair->projection], *const weights[] = {parameter};
    const dk_linear_spec spec = {
        .weights = weights, .count = 1, .uses = DK_USE_ALL, .precisions = f->backend->precisions};
    int32_t rc;
    DK_TRY(name_of(f->host, term, pair, &parameter->name, err));
    DK_TRY(fill(f, parameter, seed, err));
    DK_TRY(f->backend->ops->linear_create(f->backend, &spec, &f->linears[pair->projection], err));
out:
    return rc;
}

int32_t di_projections_create(di_features *f, const di_features_spec *spec, dk_error *err)
{
    int32_t rc;
    DK_TRY(dk_new(f->host, f->projection_count + 1, &f->parameters, err));
    DK_TRY(dk_new(f->host, f->projection_count + 1, &f->linears, err));
    take_all(f);
    DK_TRY(dk_arena_commit(&f->weights, err));
    take_all(f);
    for (int64_t i = 0; i < f->count; i++)
        for (int64_t k = 0; k < f->terms[i].count; k++)
            if (f->terms[i].pairs[k].projection >= 0)
                DK_TRY(finish(f, &f->terms[i], &f->terms[i].pairs[k], spec->seed, err));
out:
    return rc;
}

void di_projections_free(di_features *f)
{
    for (int64_t i = 0; f->linears && i < f->projection_count; i++)
        if (f->linears[i]) f->backend->ops->linear_free(f->backend, f->linears[i]);
    for (int64_t i = 0; f->parameters && i < f->projection_count; i++)
        dk_free(f->host, (void *)(uintptr_t)f->parameters[i].name);
    dk_free(f->host, f->parameters);
    dk_free(f->host, f->linears);
    dk_arena_free(&f->weights);
}
