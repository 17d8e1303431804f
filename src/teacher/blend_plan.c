/* blend_plan.c - what options say of the weights of members: numbers, schedules, one teacher after another. */
#include <stdio.h>
#include <string.h>

#include "teacher/teacher_parts.h"

enum { KEY_MAX = 160 };

/* "teacher.blend.weights" of section teacher, or of an entry of teachers. */
static const char *key_in(char out[KEY_MAX], const char *entry_name, const char *key)
{
    if (entry_name) snprintf(out, KEY_MAX, "teachers.%.100s%.50s", entry_name, strchr(key, '.'));
    else snprintf(out, KEY_MAX, "%.100s", key);
    return out;
}

static int32_t take_weight(di_blend_member *member, double weight, const char *key, dk_error *err)
{
    if (member->weight != 0)
        return dk_fail(err, DK_E_OPTION, "%s and a member's weight are both given: leave one out", key);
    member->weight = weight;
    return DK_OK;
}

static int32_t read_weights(const di_options *blend, const char *key, int64_t count, di_blend_member *members,
                            di_ramp *ramps, dk_error *err)
{
    const int64_t given = di_options_list_size(blend, "weights");
    int32_t rc = DK_OK;
    if (given != count)
        return dk_fail(err, DK_E_OPTION, "%s has %lld weights for %lld teachers", key, (long long)given,
                       (long long)count);
    for (int64_t i = 0; i < count && rc == DK_OK; i++) {
        rc = take_weight(&members[i], di_options_list_f64(blend, "weights", i), key, err);
        ramps[i * DI_RAMPS].course = di_options_list_course(blend, "weights", i);
    }
    return rc;
}

/* ---- one teacher after another: a weight that goes from 0 to 1 and back ---- */

typedef struct turn {
    int64_t until, fade; /* until 0 = to the end */
} turn;

static int32_t read_turn(const di_options *options, const char *key, int64_t index, int64_t count, turn *out,
                         dk_error *err)
{
    const di_options *item = di_options_item(options, key, index);
    const int32_t last = index == count - 1;
    out->until = di_options_i64(item, "until");
    out->fade = di_options_i64(item, "fade");
    if (last && out->until)
        return dk_fail(err, DK_E_OPTION, "%s.%lld.until: the last teacher stays; leave it out", key, (long long)index);
    if (!last && !out->until)
        return dk_fail(err, DK_E_OPTION, "%s.%lld has no until: the step that the next teacher comes at", key,
                       (long long)index);
    if (!index && out->fade)
        return dk_fail(err, DK_E_OPTION, "%s.0.fade: the first teacher follows nobody; give fade to the next", key);
    return DK_OK;
}

/* Steps before `until` are a's alone, the `fade` next ones a mixture, those behind b's alone. */
static di_ramp ramp_to(double to, int64_t until, int64_t fade)
{
    return (di_ramp){until - 1, {.steps = fade + 1, .to = to, .kind = DI_LINEAR}};
}

static int32_t read_turns(const di_options *options, const char *key, int64_t count, di_blend_member *members,
                          di_ramp *ramps, dk_error *err)
{
    turn before = {0, 0}, now;
    int32_t rc;
    const int64_t given = di_options_list_size(options, key);
    if (given != count)
        return dk_fail(err, DK_E_OPTION, "%s has %lld items for %lld teachers", key, (long long)given,
                       (long long)count);
    for (int64_t i = 0; i < count; i++, before = now) {
        DK_TRY(read_turn(options, key, i, count, &now, err));
        DK_TRY(take_weight(&members[i], i == 0, key, err));
        if (i && now.until && now.until <= before.until + now.fade)
            return dk_fail(err, DK_E_OPTION,
                           "%s.%lld.until is %lld, and its teacher comes in up to step %lld: raise it", key,
                           (long long)i, (long long)now.until, (long long)(before.until + now.fade));
        if (!i) continue;
        ramps[i * DI_RAMPS] = ramp_to(1, before.until, now.fade);
        ramps[(i - 1) * DI_RAMPS + (i > 1)] = ramp_to(0, before.until, now.fade); /* the first has no rise before it */
    }
    return DK_OK;
out:
    return rc;
}

static void read_learning(const di_options *options, const char *entry_name, di_learning *out)
{
    char key[KEY_MAX];
    out->every = di_options_i64(options, key_in(key, entry_name, "teacher.blend.learn.every"));
    out->tokens = di_options_i64(options, key_in(key, entry_name, "teacher.blend.learn.tokens"));
    out->rate = di_options_f64(options, key_in(key, entry_name, "teacher.blend.learn.rate"));
    out->floor = di_options_f64(options, key_in(key, entry_name, "teacher.blend.learn.floor"));
}

/* ---- any ---- */

int32_t di_blend_plan_read(const di_options *options, const char *entry_name, int64_t count, di_blend_member *members,
                           di_ramp *ramps, di_blend_plan *out, dk_error *err)
{
    char key[KEY_MAX];
    const di_options *blend = di_options_map(options, key_in(key, entry_name, "teacher.blend"));
    *out = (di_blend_plan){.ramps = ramps};
    read_learning(options, entry_name, &out->learning);
    memset(ramps, 0, (size_t)(count * DI_RAMPS) * sizeof *ramps);
    if (di_options_is_set(options, key_in(key, entry_name, "teacher.schedule")))
        return read_turns(options, key, count, members, ramps, err);
    if (di_options_list_size(blend, "weights"))
        return read_weights(blend, key_in(key, entry_name, "teacher.blend.weights"), count, members, ramps, err);
    return DK_OK;
}
