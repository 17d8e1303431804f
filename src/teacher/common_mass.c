/* common_mass.c - how much of a sparse blend lies on ids that all of its members list, and whether that is enough. */
#include <math.h>

#include "teacher/teacher_parts.h"

/* Of a blend in a blend the outer one's; of a route, those of all members. */
void di_session_common(di_session *s, di_common *into)
{
    const di_teacher_kind *kind = s ? s->teacher->kind : NULL;
    di_member_view view;
    if (kind && kind->common) kind->common(s, into);
    else if (kind && kind->member)
        for (int64_t i = 0; kind->member(s->teacher, s, i, &view); i++) di_session_common(view.session, into);
}

double di_teacher_least_common(const di_teacher *t)
{
    double least = t->kind->least_common ? t->kind->least_common(t) : 0;
    di_member_view view;
    for (int64_t i = 0; t->kind->member && t->kind->member(t, NULL, i, &view); i++) {
        const double own = di_teacher_least_common(view.teacher);
        if (own > least) least = own;
    }
    return least;
}

void di_common_add(di_common *into, const di_common *from)
{
    into->rows += from->rows;
    into->mass += from->mass;
    into->least += from->least;
}

void di_common_text(const di_common *common, char out[32])
{
    dk_format_f64(floor(common->mass / (double)common->rows * 1e4) / 1e4, out);
}

int32_t di_common_check(const di_common *common, dk_error *err)
{
    const double rows = (double)common->rows;
    char mass[32], least[32];
    if (!common->rows || common->mass >= common->least - 1e-9 * rows) return DK_OK;
    di_common_text(common, mass);
    dk_format_f64(round(common->least / rows * 1e6) / 1e6, least);
    return dk_fail(err, DK_E_MISMATCH,
                   "the teachers of the blend know ids of mass %s together, below teacher.blend.min_common_mass %s: "
                   "keep more ids of each row (teacher.cache.k), give teachers with logits, or lower that bound",
                   mass, least);
}
