/* common_mass.c - how much of a sparse blend lies on ids that all of its members list, and whether that is enough. */
#include <math.h>

#include "teacher/teacher_parts.h"

void di_session_common(const di_session *s, di_common *into)
{
    if (s && s->teacher->kind->common) s->teacher->kind->common(s, into);
}

double di_teacher_least_common(const di_teacher *t) { return t->kind->least_common ? t->kind->least_common(t) : 0; }

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
