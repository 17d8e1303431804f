/* blend_weights.c - the weight of each member of a blend at a step: numbers, and courses over the steps. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "teacher/teacher_parts.h"

enum { BETWEEN = 32, MEMBER_POINTS = 4 * DI_RAMPS }; /* places that are looked at */

double di_blended_weight(const di_blended *member, int64_t step)
{
    double weight = member->weight;
    for (int i = 0; i < DI_RAMPS; i++)
        weight = di_course_at(&member->ramps[i].course, weight, step - member->ramps[i].begin);
    return weight;
}

int32_t di_blended_stays(const di_blended *member)
{
    for (int i = 0; i < DI_RAMPS; i++)
        if (member->ramps[i].course.kind != DI_CONSTANT) return 0;
    return 1;
}

int32_t di_blended_is_asked(const di_blended *member)
{
    int32_t asked = member->weight > 0;
    for (int i = 0; i < DI_RAMPS; i++)
        asked |= member->ramps[i].course.kind != DI_CONSTANT && member->ramps[i].course.to > 0;
    return asked;
}

/* Courses that are constant are over at once. */
static int64_t ends(const di_ramp *ramp)
{
    return ramp->course.kind == DI_CONSTANT ? 0 : ramp->begin + ramp->course.steps;
}

static int64_t first_asked(const di_blended *member)
{
    for (int i = 0; i < DI_RAMPS && member->weight <= 0; i++) {
        const di_ramp *ramp = &member->ramps[i];
        if (ramp->course.kind == DI_CONSTANT || ramp->course.to <= 0) continue;
        return ramp->course.kind == DI_STEP ? ends(ramp) : ramp->begin + 1;
    }
    return 0;
}

void di_blended_tell_late(dk_host *host, const di_blended *members, int64_t count, int64_t steps)
{
    for (int64_t i = 0; i < count; i++) {
        const di_blended *member = &members[i];
        const int64_t first = first_asked(member);
        int64_t last = 0;
        for (int k = 0; k < DI_RAMPS; k++)
            if (member->ramps[k].begin < steps && ends(&member->ramps[k]) > last) last = ends(&member->ramps[k]);
        if (first >= steps)
            dk_log(host, DK_LOG_WARN, "teacher",
                   "teacher %s has no weight before step %lld, and the run ends after %lld steps: it is never asked",
                   member->name, (long long)first, (long long)steps);
        else if (last > steps)
            dk_log(host, DK_LOG_WARN, "teacher",
                   "the weight of teacher %s changes up to step %lld, and the run ends after %lld steps: it never gets "
                   "there",
                   member->name, (long long)last, (long long)steps);
    }
}

static void write_ramp(const di_ramp *ramp, int32_t first, dk_strbuf *json)
{
    static const char *const names[] = {"", "linear", "cosine", "step"};
    dk_strbuf_printf(json, "%s{\"schedule\":\"%s\",\"after\":%lld,\"steps\":%lld,\"to\":", first ? "" : ",",
                     names[ramp->course.kind], (long long)ramp->begin, (long long)ramp->course.steps);
    dk_strbuf_f64(json, ramp->course.to);
    dk_strbuf_puts(json, "}");
}

void di_blended_json(const di_blended *members, int64_t count, dk_strbuf *json)
{
    dk_strbuf_puts(json, ",\"schedules\":{");
    for (int64_t i = 0, told = 0; i < count; i++) {
        if (di_blended_stays(&members[i])) continue;
        if (told++) dk_strbuf_puts(json, ",");
        dk_strbuf_json(json, members[i].name, strlen(members[i].name));
        dk_strbuf_puts(json, ":[");
        for (int k = 0; k < DI_RAMPS; k++)
            if (members[i].ramps[k].course.kind != DI_CONSTANT) write_ramp(&members[i].ramps[k], k == 0, json);
        dk_strbuf_puts(json, "]");
    }
    dk_strbuf_puts(json, "}");
}

/* ---- checks ---- */

static int ascending(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Where courses begin and end, and beside: a step course jumps there. */
static int64_t break_points(const di_blended *members, int64_t count, int64_t *out)
{
    int64_t found = 1;
    out[0] = 0;
    for (int64_t i = 0; i < count * DI_RAMPS; i++) {
        const di_ramp *ramp = &members[i / DI_RAMPS].ramps[i % DI_RAMPS];
        if (ramp->course.kind == DI_CONSTANT) continue;
        const int64_t begin = ramp->begin > 0 ? ramp->begin : 0, end = ramp->begin + ramp->course.steps;
        out[found++] = begin;
        out[found++] = begin + 1;
        out[found++] = end > 1 ? end - 1 : 0;
        out[found++] = end;
    }
    qsort(out, (size_t)found, sizeof *out, ascending);
    return found;
}

static int32_t check_at(const di_blended *members, int64_t count, int64_t step, dk_error *err)
{
    double sum = 0;
    char text[32];
    for (int64_t i = 0; i < count; i++) {
        const double weight = di_blended_weight(&members[i], step);
        sum += weight;
        if (weight >= 0 && isfinite(weight)) continue;
        dk_format_f64(weight, text);
        return dk_fail(err, DK_E_OPTION, "blend: the weight of teacher %s is %s; weights are 0 or more, and 1 together",
                       members[i].name, text);
    }
    if (fabs(sum - 1) <= 1e-6) return DK_OK;
    dk_format_f64(round(sum * 1e9) / 1e9, text);
    for (int64_t i = 0; i < count; i++)
        if (!di_blended_stays(&members[i]))
            return dk_fail(err, DK_E_OPTION,
                           "blend: the weights of the %lld teachers are %s together at step %lld, not 1: where one "
                           "goes down others go up by as much, by the same schedule",
                           (long long)count, text, (long long)step);
    return dk_fail(err, DK_E_OPTION, "blend: the weights of the %lld teachers are %s together, not 1", (long long)count,
                   text);
}

/* Between two of these points every course is constant, linear or a piece of a cosine: sums that are 1 at so many
 * places are 1. */
int32_t di_blended_check(const di_blended *members, int64_t count, dk_error *err)
{
    dk_host *host = members[0].teacher->host;
    int64_t *points = NULL, found;
    int32_t rc;
    DK_TRY(dk_new(host, count * MEMBER_POINTS + 1, &points, err));
    found = break_points(members, count, points);
    for (int64_t i = 0; i < found; i++) {
        const int64_t gap = i + 1 < found ? points[i + 1] - points[i] : 1;
        for (int64_t k = 0; k < BETWEEN; k++)
            DK_TRY(check_at(members, count, points[i] + (int64_t)((double)gap * (double)k / BETWEEN), err));
    }
out:
    dk_free(host, points);
    return rc;
}
