/* blend.c - several teachers as one: who belongs to it, do they fit together, and what is known of it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "teacher/blend_join.h"
#include "teacher/blend_sparse.h"

static const di_blend *blend_of(const di_teacher *t) { return t->state; }

static void free_state(di_teacher *t)
{
    di_blend *blend = t->state;
    for (int64_t i = 0; i < blend->count; i++) {
        di_teacher_release(blend->members[i].teacher);
        dk_free(t->host, blend->members[i].name);
    }
    dk_free(t->host, blend->members);
    dk_free(t->host, blend);
}

/* ---- what is known of it ---- */

static void describe(const di_teacher *t, di_facts *out)
{
    const di_blend *blend = blend_of(t);
    out->vocab_size = blend->columns < INT32_MAX ? blend->columns : -1;
    out->vocab_valid = blend->width < INT32_MAX ? blend->width : -1;
    out->parameters = out->bytes = 0;
    for (int64_t i = 0; i < blend->count; i++) {
        const di_facts facts = di_teacher_facts(blend->members[i].teacher);
        di_facts_add(out, &facts);
    }
}

static const distill_target *form_of(const di_teacher *t) { return &blend_of(t)->form; }

static void add_ramp(dk_sha256 *sha, const di_ramp *ramp)
{
    const int64_t numbers[] = {ramp->begin, ramp->course.kind, ramp->course.steps};
    if (ramp->course.kind == DI_CONSTANT) return;
    dk_sha256_add(sha, numbers, sizeof numbers);
    dk_sha256_add(sha, &ramp->course.to, sizeof ramp->course.to);
}

/* Names have no part in it, but for the order in which members are taken. */
static int32_t hash(const di_teacher *t, char hex[65], dk_error *err)
{
    const di_blend *blend = blend_of(t);
    const di_blend_settings *settings = &blend->settings;
    const int64_t numbers[] = {settings->mode, settings->weighting, settings->per_sequence, (int64_t)settings->seed};
    dk_sha256 sha;
    uint8_t digest[32];
    int32_t rc = DK_OK;
    dk_sha256_begin(&sha);
    dk_sha256_add(&sha, "blend", 5);
    dk_sha256_add(&sha, numbers, sizeof numbers);
    dk_sha256_add(&sha, &settings->softness, sizeof settings->softness);
    for (int64_t i = 0; i < blend->count; i++) {
        const di_blended *member = &blend->members[i];
        const double shares[2] = {member->weight, member->temperature};
        char of_member[65];
        DK_TRY(di_teacher_hash(member->teacher, of_member, err));
        dk_sha256_add(&sha, of_member, 64);
        dk_sha256_add(&sha, shares, sizeof shares);
        for (int k = 0; k < DI_RAMPS; k++) add_ramp(&sha, &member->ramps[k]);
    }
    if (settings->weighting == DI_WEIGH_LEARNED) {
        const di_learning *how = &blend->learning;
        const int64_t counts[] = {how->every, how->tokens};
        const double rates[] = {how->rate, how->floor};
        dk_sha256_add(&sha, counts, sizeof counts);
        dk_sha256_add(&sha, rates, sizeof rates);
    }
    dk_sha256_end(&sha, digest);
    dk_hex(digest, sizeof digest, hex);
out:
    return rc;
}

static int32_t changes(const di_teacher *t)
{
    if (blend_of(t)->settings.weighting == DI_WEIGH_LEARNED) return 1;
    for (int64_t i = 0; i < blend_of(t)->count; i++)
        if (!di_blended_stays(&blend_of(t)->members[i])) return 1;
    return 0;
}

static void learning_json(const di_learning *how, dk_strbuf *json)
{
    dk_strbuf_printf(json, ",\"learn\":{\"every\":%lld,\"tokens\":%lld,\"rate\":", (long long)how->every,
                     (long long)how->tokens);
    dk_strbuf_f64(json, how->rate);
    dk_strbuf_puts(json, ",\"floor\":");
    dk_strbuf_f64(json, how->floor);
    dk_strbuf_puts(json, "}");
}

static void settings(const di_teacher *t, dk_strbuf *json)
{
    const di_blend_settings *s = &blend_of(t)->settings;
    dk_strbuf_printf(json, ",\"mode\":\"%s\",\"weighting\":\"%s\"", di_blend_mode_name(s->mode),
                     di_weighting_name(s->weighting));
    if (s->weighting == DI_WEIGH_ENTROPY || s->weighting == DI_WEIGH_LABEL) {
        dk_strbuf_puts(json, ",\"weighting_temperature\":");
        dk_strbuf_f64(json, s->softness);
    }
    if (blend_of(t)->kind == DISTILL_SAMPLED) dk_strbuf_printf(json, ",\"seed\":%llu", (unsigned long long)s->seed);
    if (s->weighting == DI_WEIGH_LEARNED) learning_json(&blend_of(t)->learning, json);
    else if (changes(t)) di_blended_json(blend_of(t)->members, blend_of(t)->count, json);
    if (s->mode == DI_BLEND_STOCHASTIC)
        dk_strbuf_printf(json, ",\"draw\":\"%s\",\"seed\":%llu", s->per_sequence ? "sample" : "token",
                         (unsigned long long)s->seed);
}

static double flops(const di_teacher *t, int64_t tokens, int64_t mean_length)
{
    double total = 0;
    for (int64_t i = 0; i < blend_of(t)->count; i++)
        total += di_teacher_flops(blend_of(t)->members[i].teacher, tokens, mean_length);
    return total;
}

static int32_t member(const di_teacher *t, di_session *session, int64_t index, di_member_view *out)
{
    const di_blend *blend = blend_of(t);
    if (index >= blend->count) return 0;
    *out = (di_member_view){.name = blend->members[index].name,
                            .teacher = blend->members[index].teacher,
                            .weight = blend->members[index].weight,
                            .temperature = blend->members[index].temperature};
    if (session && blend->kind == DISTILL_DENSE) di_blend_tally(session, index, out);
    else if (session) di_sparse_tally(session, index, out);
    return 1;
}

static int32_t ahead(const di_teacher *t)
{
    for (int64_t i = 0; i < blend_of(t)->count; i++)
        if (di_teacher_ahead(blend_of(t)->members[i].teacher)) return 1;
    return 0;
}

static void tell_late(const di_teacher *t, int64_t steps)
{
    di_blended_tell_late(t->host, blend_of(t)->members, blend_of(t)->count, steps);
}

static int32_t formed(const di_teacher *t) { return blend_of(t)->kind == DISTILL_DENSE; }

static int32_t new_text(const di_teacher *t, dk_error *err)
{
    const di_blend_settings *how = &blend_of(t)->settings;
    if (!di_blend_goes_by_label(how)) return DK_OK;
    return dk_fail(
        err, DK_E_OPTION,
        "teacher.blend.%s goes by the true next token, and of text that a model has just written nobody knows "
        "it: take another one",
        how->mode == DI_BLEND_MIN_CROSS_ENTROPY ? "mode min_cross_entropy" : "weighting label");
}

static const char nothing_inside[] =
    "members need not agree on blocks and widths, and what is inside them has no mean that a teacher would say";

/* Whose turn it is hangs on the text's number where it is drawn. */
static int32_t draws_as_told(const di_teacher *t) { return blend_of(t)->settings.mode != DI_BLEND_STOCHASTIC; }

static const di_teacher_kind blend_kind = {.name = "a blend of teachers",
                                           .no_place = nothing_inside,
                                           .type = "blend",
                                           .free = free_state,
                                           .describe = describe,
                                           .form = form_of,
                                           .hash = hash,
                                           .settings = settings,
                                           .flops = flops,
                                           .changes = changes,
                                           .tell_late = tell_late,
                                           .member = member,
                                           .ahead = ahead,
                                           .formed = formed,
                                           .new_text = new_text,
                                           .session = di_blend_session,
                                           .session_free = di_blend_session_free,
                                           .begin = di_blend_begin,
                                           .end = di_blend_end,
                                           .forward = di_blend_forward,
                                           .generate = di_blend_generate,
                                           .draws = draws_as_told};

static double least_common(const di_teacher *t)
{
    return blend_of(t)->kind == DISTILL_TOPK ? blend_of(t)->settings.min_common_mass : 0;
}

static const di_teacher_kind sparse_kind = {.name = "a blend of teachers",
                                            .no_place = nothing_inside,
                                            .type = "blend",
                                            .settings = settings,
                                            .member = member,
                                            .free = free_state,
                                            .describe = describe,
                                            .form = form_of,
                                            .hash = hash,
                                            .flops = flops,
                                            .ahead = ahead,
                                            .new_text = new_text,
                                            .session = di_sparse_session,
                                            .session_free = di_sparse_session_free,
                                            .begin = di_sparse_begin,
                                            .end = di_sparse_end,
                                            .forward = di_sparse_forward,
                                            .common = di_sparse_common,
                                            .least_common = least_common,
                                            .generate = di_blend_generate,
                                            .draws = draws_as_told};

const di_learning *di_teacher_learning(const di_teacher *t)
{
    return t->kind == &blend_kind && blend_of(t)->settings.weighting == DI_WEIGH_LEARNED ? &blend_of(t)->learning
                                                                                         : NULL;
}

/* ---- who belongs to it ---- */

static void name_of(const di_blend_member *members, int64_t index, char out[64])
{
    if (members[index].name) snprintf(out, 64, "%.63s", members[index].name);
    else snprintf(out, 64, "%lld", (long long)index);
}

static int32_t check_names(const di_blend_member *members, int64_t count, dk_error *err)
{
    for (int64_t i = 0; i < count; i++) {
        char name[64], other[64];
        name_of(members, i, name);
        if (members[i].temperature != 0 &&
            !(members[i].temperature >= DK_TEMPERATURE_MIN && members[i].temperature <= DK_TEMPERATURE_MAX)) {
            char text[32];
            dk_format_f64(members[i].temperature, text);
            return dk_fail(err, DK_E_OPTION, "blend: the temperature of teacher %s is %s, outside 0.001..1000 (0 = 1)",
                           name, text);
        }
        for (int64_t j = 0; j < i; j++) {
            name_of(members, j, other);
            if (!strcmp(name, other))
                return dk_fail(err, DK_E_OPTION,
                               "blend: two teachers are called %s (members %lld and %lld): rename one", name,
                               (long long)j, (long long)i);
        }
    }
    return DK_OK;
}

/* What a weight would say is what the mode decides. */
static int32_t check_mode(const di_blend *blend, dk_error *err)
{
    const di_blend_mode mode = blend->settings.mode;
    if (mode == DI_BLEND_LINEAR || mode == DI_BLEND_LOG_LINEAR || mode == DI_BLEND_STOCHASTIC) return DK_OK;
    for (int64_t i = 0; i < blend->count; i++)
        if (blend->members[i].weight != blend->members[0].weight || !di_blended_stays(&blend->members[i]))
            return dk_fail(
                err, DK_E_OPTION,
                "blend: weights that differ have no use where each token has the teacher that knows it best; "
                "give mode linear, log_linear or stochastic, or no weights");
    return DK_OK;
}

static int32_t check_members(di_blend *blend, dk_error *err)
{
    int32_t rc = DK_OK;
    blend->width = INT64_MAX;
    for (int64_t i = 0; i < blend->count; i++) {
        const di_blended *member = &blend->members[i];
        for (int64_t j = 0; j < i; j++)
            DK_TRY(di_check_same_tokenizers(blend->members[j].name, blend->members[j].teacher, member->name,
                                            member->teacher, err));
        const int64_t valid = di_teacher_vocab_valid(member->teacher);
        if (valid < blend->width) blend->width = valid;
    }
    DK_TRY(di_blend_fit(blend, err));
out:
    return rc;
}

static int by_name(const void *a, const void *b)
{
    const di_blended *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static int32_t are_equal(const di_blend_member *members, int64_t count, const di_blend_plan *plan)
{
    for (int64_t i = 0; i < count; i++)
        if (members[i].weight != 0) return 0;
    for (int64_t i = 0; plan->ramps && i < count * DI_RAMPS; i++)
        if (plan->ramps[i].course.kind != DI_CONSTANT) return 0;
    return 1;
}

static int32_t take_member(di_teacher *t, const di_blend_member *from, int64_t index, di_blended *to, dk_error *err)
{
    char name[64];
    name_of(from, index, name);
    to->weight = from[index].weight;
    to->temperature = from[index].temperature != 0 ? from[index].temperature : 1;
    to->teacher = di_teacher_retain(from[index].teacher);
    to->name = dk_strdup(t->host, name);
    return to->name ? DK_OK : dk_fail_nomem(err, strlen(name) + 1);
}

/* Those that are never asked are checked with the others, and let go. */
static void drop_idle(di_teacher *t, di_blend *blend)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < blend->count; i++) {
        if (di_blended_is_asked(&blend->members[i])) {
            blend->members[kept++] = blend->members[i];
            continue;
        }
        di_teacher_release(blend->members[i].teacher);
        dk_free(t->host, blend->members[i].name);
    }
    blend->count = kept;
}

static int32_t take_members(di_teacher *t, di_blend *blend, const di_blend_member *members, int64_t count,
                            const di_blend_plan *plan, dk_error *err)
{
    const int32_t equal = are_equal(members, count, plan);
    int32_t rc;
    DK_TRY(dk_new(t->host, count, &blend->members, err));
    for (int64_t i = 0; i < count; i++) {
        di_blended *to = &blend->members[blend->count++];
        DK_TRY(take_member(t, members, i, to, err));
        if (equal) to->weight = 1 / (double)count;
        for (int k = 0; plan->ramps && k < DI_RAMPS; k++) to->ramps[k] = plan->ramps[i * DI_RAMPS + k];
    }
    qsort(blend->members, (size_t)blend->count, sizeof *blend->members, by_name);
    DK_TRY(di_blended_check(blend->members, count, err));
    drop_idle(t, blend);
    for (int64_t i = 0; i < blend->count && !t->tokenizer; i++)
        if (di_teacher_tokenizer(blend->members[i].teacher))
            t->tokenizer = dk_tokenizer_retain(di_teacher_tokenizer(blend->members[i].teacher));
out:
    return rc;
}

/* What is learned begins as numbers, and keeps every member alive. */
static int32_t check_learning(di_blend *blend, dk_error *err)
{
    char text[32];
    if (blend->settings.weighting != DI_WEIGH_LEARNED) return DK_OK;
    blend->learning.count = blend->count;
    for (int64_t i = 0; i < blend->count; i++)
        if (!di_blended_stays(&blend->members[i]))
            return dk_fail(err, DK_E_OPTION, "blend: the weight of teacher %s has a schedule, and is learned: give one",
                           blend->members[i].name);
    if (!blend->learning.every)
        return dk_fail(err, DK_E_OPTION, "blend: weights that are learned need teacher.blend.learn.every above 0");
    if (blend->learning.floor * (double)blend->count < 1) return DK_OK;
    dk_format_f64(blend->learning.floor, text);
    return dk_fail(err, DK_E_OPTION, "blend: teacher.blend.learn.floor %s for %lld teachers is 1 or more together",
                   text, (long long)blend->count);
}

static void make_form(const di_teacher *t, di_blend *blend)
{
    const int32_t sparse = blend->kind != DISTILL_DENSE;
    blend->columns = blend->width;
    for (int64_t i = 0; changes(t) && i < blend->count; i++)
        if (di_teacher_vocab(blend->members[i].teacher) > blend->columns)
            blend->columns = di_teacher_vocab(blend->members[i].teacher);
    blend->shape[1] = sparse ? blend->sparse_width : blend->columns;
    blend->values = di_tensor_of(NULL, DISTILL_FLOAT, 32, 2, blend->shape);
    DISTILL_INIT(&blend->form);
    blend->form.kind = blend->kind;
    blend->form.values = &blend->values;
    blend->form.temperature = blend->temperature;
    blend->form.vocab_valid = blend->width < INT32_MAX ? blend->width : 0; /* sparse targets name ids, not a width */
}

int32_t di_teacher_blend(dk_backend *backend, const di_blend_member *members, int64_t count,
                         const di_blend_settings *settings, di_teacher **out, dk_error *err)
{
    const di_blend_plan none = {.ramps = NULL};
    return di_teacher_blend_planned(backend, members, count, settings, &none, out, err);
}

int32_t di_teacher_blend_planned(dk_backend *backend, const di_blend_member *members, int64_t count,
                                 const di_blend_settings *settings, const di_blend_plan *plan, di_teacher **out,
                                 dk_error *err)
{
    di_teacher *t = NULL;
    di_blend *blend = NULL;
    int32_t rc;
    if (count < 1) return dk_fail(err, DK_E_OPTION, "blend: it has no teachers");
    if (backend->real != DK_F32)
        return dk_fail(err, DK_E_UNSUPPORTED, "blend: backend %s does not compute in f32", backend->name);
    DK_TRY(check_names(members, count, err));
    DK_TRY(di_teacher_create(backend, &blend_kind, "", &t, err));
    DK_TRY(dk_new(t->host, 1, &blend, err));
    t->state = blend;
    blend->settings = *settings;
    DK_TRY(take_members(t, blend, members, count, plan, err));
    blend->learning = plan->learning;
    DK_TRY(check_learning(blend, err));
    DK_TRY(check_mode(blend, err));
    DK_TRY(check_members(blend, err));
    make_form(t, blend);
    if (blend->kind != DISTILL_DENSE) t->kind = &sparse_kind;
    *out = t;
    t->parallel = settings->parallel && blend->count > 1;
    if (settings->parallel && !t->parallel)
        dk_log(t->host, DK_LOG_INFO, "teacher", "teacher.parallel has no use: of this blend only teacher %s is asked",
               blend->members[0].name);
    if (blend->count > 1 || blend->members[0].temperature != 1) return DK_OK;
    *out = di_teacher_retain(blend->members[0].teacher);
out:
    di_teacher_release(t);
    return rc;
}
