/* blend_sparse.c - blends with sparse members: who fits to whom, and at which temperature. */
#include <math.h>

#include "teacher/blend_sparse.h"

static int32_t is_sparse(int32_t kind) { return kind == DISTILL_TOPK || kind == DISTILL_SAMPLED; }

static int32_t kind_of(const di_blended *member) { return di_teacher_form(member->teacher)->kind; }

/* p_i = softmax(z_i / (T t_i)): T of a member that is at one temperature. */
static double temperature_of(const di_blended *member)
{
    const double own = di_teacher_form(member->teacher)->temperature;
    return (own > 0 ? own : 1) / member->temperature;
}

static int32_t refuse_kinds(const di_blended *a, const di_blended *b, dk_error *err)
{
    return dk_fail(err, DK_E_UNSUPPORTED,
                   "blend: teacher %s gives %s targets and teacher %s %s ones: draws do not say what the ids of others "
                   "weigh; keep both in one tier",
                   a->name, di_kind_name(kind_of(a)), b->name, di_kind_name(kind_of(b)));
}

static int32_t refuse_temperatures(const di_blended *a, const di_blended *b, dk_error *err)
{
    char text[2][32];
    dk_format_f64(temperature_of(a), text[0]);
    dk_format_f64(temperature_of(b), text[1]);
    return dk_fail(err, DK_E_MISMATCH,
                   "blend: the targets of teacher %s are for temperature %s and those of teacher %s for %s: keep both "
                   "at the temperature of the loss (teacher.cache.temperature)",
                   a->name, text[0], b->name, text[1]);
}

/* What goes by entropies, by the likeliest id or by a product needs every id of a row. */
static int32_t check_mode(const di_blend *blend, const di_blended *sparse, dk_error *err)
{
    const di_blend_settings *how = &blend->settings;
    if (how->mode == DI_BLEND_LINEAR && how->weighting == DI_WEIGH_STATIC) return DK_OK;
    return dk_fail(err, DK_E_UNSUPPORTED,
                   "blend: teacher %s gives %s targets, of which mode linear alone can be made, with weights that are "
                   "given; other modes and weightings need logits (a model, or tier hidden of a cache)",
                   sparse->name, di_kind_name(kind_of(sparse)));
}

/* Ids that all list are as many as the shortest list has; where not all are asked at every step, up to the longest. */
static int32_t join_kind(di_blend *blend, const di_blended *member, int32_t stays, const di_blended **sparse,
                         dk_error *err)
{
    const int32_t kind = kind_of(member);
    const int64_t width = di_teacher_form(member->teacher)->values->shape[1];
    if (kind == DISTILL_DENSE || kind == DISTILL_HIDDEN) return DK_OK;
    if (!is_sparse(kind))
        return dk_fail(err, DK_E_UNSUPPORTED,
                       "blend: teacher %s gives %s targets; a blend is made of logits, TOPK or SAMPLED targets",
                       member->name, di_kind_name(kind));
    if (*sparse && kind != kind_of(*sparse)) return refuse_kinds(*sparse, member, err);
    if (*sparse && fabs(temperature_of(*sparse) / temperature_of(member) - 1) > 1e-6)
        return refuse_temperatures(*sparse, member, err);
    if (!*sparse) *sparse = member;
    blend->sparse_most = width > blend->sparse_most ? width : blend->sparse_most;
    if (kind == DISTILL_SAMPLED) blend->sparse_width += width;
    else if (!blend->sparse_width || (width < blend->sparse_width) == stays) blend->sparse_width = width;
    return DK_OK;
}

/* draws_dense: some members are drawn from. */
static int32_t check_given(const di_blend *blend, int32_t draws_dense, dk_error *err)
{
    const di_blend_settings *how = &blend->settings;
    if (how->given & DI_GIVEN_COMMON_MASS && blend->kind != DISTILL_TOPK)
        return dk_fail(err, DK_E_OPTION,
                       "teacher.blend.min_common_mass has no use: no teacher of the blend gives TOPK targets");
    if (how->given & DI_GIVEN_SEED && how->mode == DI_BLEND_LINEAR && !draws_dense)
        return dk_fail(err, DK_E_OPTION,
                       "teacher.blend.seed has no use: nothing is drawn in mode linear, unless some teachers give "
                       "SAMPLED targets and others logits");
    return DK_OK;
}

int32_t di_blend_fit(di_blend *blend, dk_error *err)
{
    const di_blended *sparse = NULL;
    int32_t draws_dense = 0, stays = 1, rc = DK_OK;
    blend->kind = DISTILL_DENSE;
    blend->temperature = 1;
    for (int64_t i = 0; i < blend->count; i++) stays &= di_blended_stays(&blend->members[i]);
    for (int64_t i = 0; i < blend->count; i++) DK_TRY(join_kind(blend, &blend->members[i], stays, &sparse, err));
    if (sparse) {
        blend->kind = kind_of(sparse);
        blend->temperature = temperature_of(sparse);
    }
    for (int64_t i = 0; i < blend->count && blend->kind == DISTILL_SAMPLED; i++) {
        if (is_sparse(kind_of(&blend->members[i]))) continue;
        blend->sparse_width += blend->sparse_most;
        draws_dense = 1;
    }
    DK_TRY(check_given(blend, draws_dense, err));
    if (!sparse) goto out;
    for (int64_t i = 0; i < blend->count; i++) { /* whose bound is higher than the blend's that it is in */
        const double least = di_teacher_least_common(blend->members[i].teacher);
        if (least > blend->settings.min_common_mass) blend->settings.min_common_mass = least;
    }
    DK_TRY(check_mode(blend, sparse, err));
out:
    return rc;
}
