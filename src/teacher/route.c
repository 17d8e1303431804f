/* route.c - several teachers of which each sample has one: who belongs to it, do they fit together, and what is known
 * of it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "teacher/route.h"

static const char *const ways[] = {"source", "tag", "teacher", "prompt_perplexity", "callback"};

di_route_by di_route_by_of(const char *name)
{
    int32_t i = 0;
    while (i < DI_ROUTE_CALLBACK && strcmp(ways[i], name)) i++;
    return (di_route_by)i;
}

static const di_route *route_of(const di_teacher *t) { return t->state; }
static int64_t least_known(int64_t a, int64_t b) { return a < 0 || (b >= 0 && b < a) ? b : a; }

static void free_state(di_teacher *t)
{
    di_route *route = t->state;
    for (int64_t i = 0; i < route->count; i++) {
        di_teacher_release(route->members[i].teacher);
        dk_free(t->host, route->members[i].name);
    }
    for (int64_t i = 0; i < route->rule_count; i++) dk_free(t->host, route->rules[i].name);
    if (route->destroy) route->destroy(route->user);
    dk_free(t->host, route->members);
    dk_free(t->host, route->rules);
    dk_free(t->host, route);
}

/* ---- what is known of it ---- */

static void describe(const di_teacher *t, di_facts *out)
{
    const di_route *route = route_of(t);
    out->vocab_size = route->vocab;
    out->vocab_valid = route->valid;
    out->parameters = out->bytes = 0;
    for (int64_t i = 0; i < route->count; i++) {
        const di_facts facts = di_teacher_facts(route->members[i].teacher);
        di_facts_add(out, &facts);
    }
}

static const distill_target *form_of(const di_teacher *t) { return &route_of(t)->form; }

static void hash_text(dk_sha256 *sha, const char *text) { dk_sha256_add(sha, text, strlen(text) + 1); }

/* A host's function is known by its members alone. */
static int32_t hash(const di_teacher *t, char hex[65], dk_error *err)
{
    const di_route *route = route_of(t);
    const int64_t numbers[] = {route->by, route->count, route->other, route->rule_count};
    dk_sha256 sha;
    uint8_t digest[32];
    int32_t rc = DK_OK;
    dk_sha256_begin(&sha);
    hash_text(&sha, "route");
    dk_sha256_add(&sha, numbers, sizeof numbers);
    for (int64_t i = 0; i < route->count; i++) {
        char of_member[65];
        DK_TRY(di_teacher_hash(route->members[i].teacher, of_member, err));
        hash_text(&sha, of_member);
        hash_text(&sha, route->members[i].name);
    }
    for (int64_t i = 0; i < route->rule_count; i++) {
        hash_text(&sha, route->rules[i].name);
        dk_sha256_add(&sha, &route->rules[i].member, sizeof route->rules[i].member);
    }
    dk_sha256_end(&sha, digest);
    dk_hex(digest, sizeof digest, hex);
out:
    return rc;
}

static void settings(const di_teacher *t, dk_strbuf *json)
{
    const di_route *route = route_of(t);
    dk_strbuf_printf(json, ",\"by\":\"%s\"", ways[route->by]);
    if (route->other >= 0) {
        dk_strbuf_puts(json, ",\"default\":");
        dk_strbuf_json(json, route->members[route->other].name, strlen(route->members[route->other].name));
    }
    for (int64_t i = 0; i < route->rule_count; i++) {
        const di_route_rule *rule = &route->rules[i];
        const char *name = route->members[rule->member].name;
        dk_strbuf_puts(json, i ? "," : ",\"map\":{");
        dk_strbuf_json(json, rule->name, strlen(rule->name));
        dk_strbuf_puts(json, ":");
        dk_strbuf_json(json, name, strlen(name));
    }
    if (route->rule_count) dk_strbuf_puts(json, "}");
}

/* Which member has how many tokens is known to a session alone (di_session_flops): the mean of all. */
static double flops(const di_teacher *t, int64_t tokens, int64_t mean_length)
{
    const di_route *route = route_of(t);
    double total = 0;
    for (int64_t i = 0; i < route->count; i++)
        total += di_teacher_flops(route->members[i].teacher, tokens, mean_length);
    return total / (double)route->count;
}

/* The blend of one that gives a member its temperature is nobody's member. */
static int32_t member(const di_teacher *t, di_session *session, int64_t index, di_member_view *out)
{
    const di_route *route = route_of(t);
    if (index >= route->count) return 0;
    const di_routed *routed = &route->members[index];
    *out = (di_member_view){.name = routed->name, .teacher = routed->given, .temperature = routed->temperature};
    if (session) di_route_tally(session, index, out);
    if (session && routed->teacher != routed->given) {
        di_member_view alone;
        routed->teacher->kind->member(routed->teacher, out->session, 0, &alone);
        out->session = alone.session;
    }
    return 1;
}

/* Prompts are scored by members, whatever they are. */
static int32_t in_caller(const di_teacher *t) { return route_of(t)->by == DI_ROUTE_PROMPT_PERPLEXITY; }

static double least_common(const di_teacher *t)
{
    double most = 0;
    for (int64_t i = 0; i < route_of(t)->count; i++) {
        const double least = di_teacher_least_common(route_of(t)->members[i].teacher);
        if (least > most) most = least;
    }
    return most;
}

static int32_t ahead(const di_teacher *t)
{
    const di_route *route = route_of(t);
    if (route->by == DI_ROUTE_PROMPT_PERPLEXITY) return 0; /* who is asked is not known before prompts are scored */
    for (int64_t i = 0; i < route->count; i++)
        if (di_teacher_ahead(route->members[i].teacher)) return 1;
    return 0;
}

static int32_t routes(const di_teacher *t, const char *source, const char *tag, int64_t *member, dk_error *err)
{
    return di_route_of_origin(route_of(t), source, tag, member, err);
}

static const char *mapped(const di_teacher *t, int64_t index, int32_t *is_tag)
{
    *is_tag = route_of(t)->by == DI_ROUTE_TAG;
    return index < route_of(t)->rule_count ? route_of(t)->rules[index].name : NULL;
}

static int32_t formed(const di_teacher *t) { return route_of(t)->formed; }

/* A function is taken for one of what it is given. */
static uint32_t goes_by(const di_teacher *t)
{
    static const uint32_t parts[] = {DI_BY_SOURCE, DI_BY_TAG, DI_BY_TAG, DI_BY_PROMPT, DI_BY_SOURCE | DI_BY_TAG};
    return parts[route_of(t)->by];
}

/* Prompts have no source: the default answers them. */
static int32_t writer(const di_teacher *t, di_teacher **out, dk_error *err)
{
    const di_route *route = route_of(t);
    if (route->other < 0)
        return dk_fail(err, DK_E_UNSUPPORTED,
                       "a route of teachers without a default only scores: give teacher.route.default, or let one of "
                       "its members generate");
    *out = route->members[route->other].teacher;
    return DK_OK;
}

static int32_t generate(di_teacher *t, const distill_batch *prompts, const di_options *options,
                        const distill_options *user_options, const di_reader *reader, dk_error *err)
{
    di_teacher *one = NULL;
    int32_t rc = writer(t, &one, err);
    return rc ? rc : di_teacher_generate_to(one, prompts, options, user_options, reader, err);
}

static int32_t write_ids(di_teacher *t, const dk_tokens *prompts, const dk_generate_args *args, dk_error *err)
{
    di_teacher *one = NULL;
    int32_t rc = writer(t, &one, err);
    return rc ? rc : di_teacher_write(one, prompts, args, err);
}

static const di_teacher_kind route_kind = {
    .name = "a route of teachers",
    .no_place = "its members need not agree on blocks and widths, so one projection could not serve them",
    .type = "route",
    .free = free_state,
    .describe = describe,
    .form = form_of,
    .hash = hash,
    .settings = settings,
    .flops = flops,
    .member = member,
    .ahead = ahead,
    .goes_by = goes_by,
    .mapped = mapped,
    .routes = routes,
    .formed = formed,
    .session = di_route_session,
    .session_free = di_route_session_free,
    .begin = di_route_begin,
    .end = di_route_end,
    .in_caller = in_caller,
    .forward = di_route_forward,
    .common = di_route_common,
    .least_common = least_common,
    .generate = generate,
    .write = write_ids};

/* ---- who belongs to it ---- */

static void name_of(const di_blend_member *members, int64_t index, char out[64])
{
    if (members[index].name) snprintf(out, 64, "%.63s", members[index].name);
    else snprintf(out, 64, "%lld", (long long)index);
}

static int32_t check_given(const di_blend_member *members, int64_t count, dk_error *err)
{
    for (int64_t i = 0; i < count; i++) {
        char name[64], other[64], text[32];
        name_of(members, i, name);
        if (members[i].weight != 0) {
            dk_format_f64(members[i].weight, text);
            return dk_fail(err, DK_E_OPTION,
                           "route: teacher %s has weight %s: a sample has one teacher, and weights are a blend's", name,
                           text);
        }
        for (int64_t j = 0; j < i; j++) {
            name_of(members, j, other);
            if (!strcmp(name, other))
                return dk_fail(err, DK_E_OPTION,
                               "route: two teachers are called %s (members %lld and %lld): rename one", name,
                               (long long)j, (long long)i);
        }
    }
    return DK_OK;
}

/* A temperature of its own makes a member a blend of one. */
static int32_t take_teacher(dk_backend *backend, const di_blend_member *member, const char *name, di_teacher **out,
                            dk_error *err)
{
    const di_blend_settings linear = {.softness = 1};
    const di_blend_member alone = {.teacher = member->teacher, .name = name, .temperature = member->temperature};
    if (member->temperature != 0 && member->temperature != 1)
        return di_teacher_blend(backend, &alone, 1, &linear, out, err);
    *out = di_teacher_retain(member->teacher);
    return DK_OK;
}

static int by_name(const void *a, const void *b)
{
    const di_routed *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static int rule_by_name(const void *a, const void *b)
{
    const di_route_rule *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static int32_t take_members(di_teacher *t, di_route *route, const di_blend_member *members, int64_t count,
                            dk_error *err)
{
    char name[64];
    int32_t rc;
    DK_TRY(dk_new(t->host, count, &route->members, err));
    for (; route->count < count; route->count++) {
        di_routed *to = &route->members[route->count];
        name_of(members, route->count, name);
        DK_TRY(take_teacher(t->backend, &members[route->count], name, &to->teacher, err));
        to->given = members[route->count].teacher;
        to->temperature = members[route->count].temperature;
        if (!(to->name = dk_strdup(t->host, name))) {
            di_teacher_release(to->teacher);
            return dk_fail_nomem(err, strlen(name) + 1);
        }
    }
    if (!route->fn) qsort(route->members, (size_t)count, sizeof *route->members, by_name);
    for (int64_t i = 0; i < count && !t->tokenizer; i++)
        if (di_teacher_tokenizer(route->members[i].teacher))
            t->tokenizer = dk_tokenizer_retain(di_teacher_tokenizer(route->members[i].teacher));
out:
    return rc;
}

static int32_t find_member(const di_route *route, const char *what, const char *name, int64_t *out, dk_error *err)
{
    char all[240] = "";
    for (*out = 0; *out < route->count; ++*out)
        if (!strcmp(route->members[*out].name, name)) return DK_OK;
    for (int64_t i = 0; i < route->count; i++)
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%.60s", i ? ", " : "", route->members[i].name);
    return dk_fail(err, DK_E_OPTION, "route: %s is %s, which is none of its teachers (%s)", what, name, all);
}

static int32_t take_rules(di_teacher *t, di_route *route, const di_route_settings *settings, dk_error *err)
{
    char what[100];
    int32_t rc = DK_OK;
    route->other = -1;
    if (settings->other) DK_TRY(find_member(route, "the default", settings->other, &route->other, err));
    if (settings->map_count && route->by != DI_ROUTE_SOURCE && route->by != DI_ROUTE_TAG)
        return dk_fail(err, DK_E_OPTION, "route: a map goes with routes by source or by tag");
    DK_TRY(dk_new(t->host, settings->map_count, &route->rules, err));
    for (int64_t i = 0; i < settings->map_count; i++) {
        const di_route_name *from = &settings->map[i];
        di_route_rule *to = &route->rules[i];
        snprintf(what, sizeof what, "the teacher of %.60s", from->from);
        DK_TRY(find_member(route, what, from->to, &to->member, err));
        if (!(to->name = dk_strdup(t->host, from->from))) return dk_fail_nomem(err, strlen(from->from) + 1);
        route->rule_count++;
    }
    qsort(route->rules, (size_t)route->rule_count, sizeof *route->rules, rule_by_name);
out:
    return rc;
}

/* ---- do they fit together ---- */

static int32_t is_dense(int32_t kind) { return kind == DISTILL_DENSE || kind == DISTILL_HIDDEN; }
static double temperature_of(const distill_target *form) { return form->temperature > 0 ? form->temperature : 1; }

static int32_t check_kinds(di_route *route, dk_error *err)
{
    const distill_target *first = di_teacher_form(route->members[0].teacher);
    for (int64_t i = 1; i < route->count; i++) {
        const distill_target *form = di_teacher_form(route->members[i].teacher);
        char a[32], b[32];
        if (is_dense(first->kind) ? !is_dense(form->kind) : form->kind != first->kind)
            return dk_fail(err, DK_E_UNSUPPORTED,
                           "route: teacher %s gives %s targets and %s %s ones: all give logits (DENSE, HIDDEN), or all "
                           "the same kind",
                           route->members[0].name, di_kind_name(first->kind), route->members[i].name,
                           di_kind_name(form->kind));
        if (is_dense(first->kind) || temperature_of(form) == temperature_of(first)) continue;
        dk_format_f64(temperature_of(first), a);
        dk_format_f64(temperature_of(form), b);
        return dk_fail(err, DK_E_UNSUPPORTED,
                       "route: the targets of teacher %s are at temperature %s, those of %s at %s: a loss has one",
                       route->members[0].name, a, route->members[i].name, b);
    }
    return DK_OK;
}

static int32_t check_tokens(di_route *route, dk_error *err)
{
    int32_t rc = DK_OK;
    route->vocab = route->valid = -1;
    for (int64_t i = 0; i < route->count; i++) {
        const di_routed *member = &route->members[i];
        const di_facts facts = di_teacher_facts(member->teacher);
        for (int64_t j = 0; j < i; j++)
            DK_TRY(di_check_same_tokenizers(route->members[j].name, route->members[j].teacher, member->name,
                                            member->teacher, err));
        route->vocab = least_known(route->vocab, facts.vocab_size);
        route->valid = least_known(route->valid, facts.vocab_valid);
        if (route->by == DI_ROUTE_PROMPT_PERPLEXITY && !is_dense(di_teacher_form(member->teacher)->kind))
            return dk_fail(err, DK_E_UNSUPPORTED,
                           "route: teacher %s gives %s targets: by: prompt_perplexity needs logits", member->name,
                           di_kind_name(di_teacher_form(member->teacher)->kind));
    }
out:
    return rc;
}

static void make_form(di_route *route)
{
    const distill_target *first = di_teacher_form(route->members[0].teacher);
    const int32_t dense = is_dense(first->kind);
    int32_t has_tail = 0, has_entropy = first->kind == DISTILL_SAMPLED;
    for (int64_t i = 0; i < route->count; i++) {
        const distill_target *form = di_teacher_form(route->members[i].teacher);
        const int64_t width = dense || form->kind == DISTILL_ONE_HOT ? 1 : form->values->shape[1];
        if (width > route->shape[1]) route->shape[1] = width;
        if (form->tail) has_tail = 1;
        if (!form->entropy) has_entropy = 0;
        if (dense && (di_teacher_formed(route->members[i].teacher) || temperature_of(form) != temperature_of(first)))
            route->formed = 1;
    }
    if (dense) route->shape[1] = route->vocab;
    route->values = di_tensor_of(NULL, DISTILL_FLOAT, 32, 2, route->shape);
    DISTILL_INIT(&route->form);
    route->form.kind = dense ? DISTILL_DENSE : first->kind;
    route->form.values = &route->values;
    route->form.tail = has_tail ? &route->values : NULL;
    route->form.entropy = has_entropy ? &route->values : NULL;
    route->form.temperature = route->formed ? 1 : temperature_of(first);
    route->form.vocab_valid = route->valid > 0 ? route->valid : 0;
}

/* ---- how one comes to be ---- */

int32_t di_teacher_route(dk_backend *backend, const di_blend_member *members, int64_t count,
                         const di_route_settings *settings, di_teacher **out, dk_error *err)
{
    di_teacher *t = NULL;
    di_route *route = NULL;
    int32_t rc;
    DK_TRY(count < 1 ? dk_fail(err, DK_E_OPTION, "route: it has no teachers") : DK_OK);
    DK_TRY(check_given(members, count, err));
    DK_TRY(di_teacher_create(backend, &route_kind, "", &t, err));
    DK_TRY(dk_new(t->host, 1, &route, err));
    t->state = route;
    route->by = settings->by;
    route->fn = settings->fn;
    route->user = settings->user;
    route->destroy = settings->destroy; /* from here on free_state calls it */
    DK_TRY(take_members(t, route, members, count, err));
    DK_TRY(take_rules(t, route, settings, err));
    DK_TRY(check_kinds(route, err));
    DK_TRY(check_tokens(route, err));
    make_form(route);
    t->parallel = settings->parallel;
    *out = t;
    return DK_OK;
out:
    if (!route && settings->destroy) settings->destroy(settings->user);
    di_teacher_release(t);
    return rc;
}
