/* recipe.c - teachers as options name them: sections teacher and teachers. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "teacher/teacher_parts.h"

enum { TEACHERS_MAX = 64, KEY_MAX = 160, PREFIX_BYTES = 1 << 20 };

typedef struct entry { /* of teachers */
    const char *name;
    di_teacher *teacher; /* opened once, however often it is named; NULL = not yet */
    double temperature;
    int32_t open; /* is being opened: to name it now is a cycle */
} entry;
typedef struct reader {
    dk_backend *backend;
    const di_options *options;
    const di_self *self; /* NULL = this is no training */
    entry entries[TEACHERS_MAX];
    int64_t count;
    const char *chain[TEACHERS_MAX]; /* what is being opened, outermost first */
    int64_t depth;
    int32_t look;   /* DI_CACHES_... */
    int32_t placed; /* the error has its file and line */
} reader;

/* Where the options of a teacher stand: section teacher, or an entry of teachers, which has the same ones. */
typedef struct node {
    const char *entry; /* NULL = section teacher */
    char key[KEY_MAX];
} node;

/* The key of "teacher.path" in this node; good until the next call. */
static const char *in(node *n, const char *key)
{
    if (n->entry) snprintf(n->key, sizeof n->key, "teachers.%.100s%.50s", n->entry, strchr(key, '.'));
    else snprintf(n->key, sizeof n->key, "%.100s", key);
    return n->key;
}

void di_blend_settings_read(const di_options *options, const char *entry_name, di_blend_settings *out)
{
    node n = {.entry = entry_name};
    out->mode = di_blend_mode_of(di_options_text(options, in(&n, "teacher.blend.mode")));
    out->weighting = di_weighting_of(di_options_text(options, in(&n, "teacher.blend.weighting")));
    out->softness = di_options_f64(options, in(&n, "teacher.blend.weighting_temperature"));
    out->per_sequence = di_options_is(options, in(&n, "teacher.blend.draw"), "sample");
    out->seed = (uint64_t)di_options_i64(options, in(&n, "teacher.blend.seed"));
    out->min_common_mass = di_options_f64(options, in(&n, "teacher.blend.min_common_mass"));
    out->parallel = di_options_flag(options, in(&n, "teacher.parallel"));
    out->given = (di_options_is_set(options, in(&n, "teacher.blend.seed")) ? DI_GIVEN_SEED : 0) |
                 (di_options_is_set(options, in(&n, "teacher.blend.min_common_mass")) ? DI_GIVEN_COMMON_MASS : 0);
}

int32_t di_route_settings_read(dk_host *host, const di_options *options, const char *entry_name, di_route_settings *out,
                               dk_error *err)
{
    node n = {.entry = entry_name};
    const int64_t count = di_options_list_size(options, in(&n, "teacher.route.map"));
    const int32_t rc = dk_new(host, count, &out->map, err);
    if (rc) return rc;
    out->by = di_route_by_of(di_options_text(options, in(&n, "teacher.route.by")));
    out->other = di_options_text(options, in(&n, "teacher.route.default"));
    for (int64_t i = 0; i < count; i++) {
        const di_options *rule = di_options_item(options, in(&n, "teacher.route.map"), i);
        out->map[i] = (di_route_name){di_options_name(rule), di_options_text(rule, "")};
    }
    out->map_count = count;
    out->parallel = di_options_flag(options, in(&n, "teacher.parallel"));
    return DK_OK;
}

void di_route_settings_free(dk_host *host, di_route_settings *settings)
{
    dk_free(host, settings->map);
    settings->map = NULL;
}

/* ---- nodes: teacher, or an entry of teachers ---- */

static int32_t open_node(reader *r, const char *entry_name, const char *path, di_teacher **out, double *temperature,
                         dk_error *err);

static int32_t fail_cycle(const reader *r, const char *name, dk_error *err)
{
    char text[400] = "";
    int64_t i = 0;
    while (i < r->depth && strcmp(r->chain[i], name)) i++;
    for (; i < r->depth; i++) snprintf(text + strlen(text), sizeof text - strlen(text), "%.60s -> ", r->chain[i]);
    return dk_fail(err, DK_E_OPTION, "teachers.%s is made of itself: %s%s (a folder of that name is ./%s)", name, text,
                   name, name);
}

static entry *find_entry(reader *r, const char *name)
{
    for (int64_t i = 0; i < r->count; i++)
        if (!strcmp(r->entries[i].name, name)) return &r->entries[i];
    if (r->count == TEACHERS_MAX) return NULL;
    r->entries[r->count] = (entry){.name = name};
    return &r->entries[r->count++];
}

/* An entry by its name; *out is borrowed. */
static int32_t open_entry(reader *r, const char *name, di_teacher **out, double *temperature, dk_error *err)
{
    entry *at = find_entry(r, name);
    int32_t rc;
    if (!at)
        return dk_fail(err, DK_E_OPTION,
                       "teachers.%s is one more than the %d entries that may be in use together: name fewer", name,
                       TEACHERS_MAX);
    if (at->open) return fail_cycle(r, name, err);
    if (!at->teacher) {
        at->open = 1;
        r->chain[r->depth++] = name;
        rc = open_node(r, name, NULL, &at->teacher, &at->temperature, err);
        r->depth--;
        at->open = 0;
        if (rc) return rc;
        if (!at->teacher)
            return dk_fail(err, DK_E_OPTION, "teachers.%s has neither path, self, blend, schedule, route nor cache",
                           name);
    }
    *temperature = at->temperature;
    *out = at->teacher;
    return DK_OK;
}

/* Of a blend, or of a schedule, where key is that one's; NULL = the item names nobody. */
static const char *member_name(reader *r, node *n, int32_t in_turn, int64_t index)
{
    const di_options *blend = di_options_map(r->options, in(n, "teacher.blend"));
    const di_options *turn = di_options_item(r->options, in(n, "teacher.schedule"), index);
    return in_turn ? di_options_text(turn, "teacher") : di_options_list_text(blend, "of", index);
}

static int64_t member_count(reader *r, node *n, int32_t in_turn)
{
    const di_options *blend = di_options_map(r->options, in(n, "teacher.blend"));
    return in_turn ? di_options_list_size(r->options, in(n, "teacher.schedule")) : di_options_list_size(blend, "of");
}

static int32_t check_count(const char *key, int64_t count, dk_error *err)
{
    if (count <= TEACHERS_MAX) return DK_OK;
    return dk_fail(err, DK_E_OPTION, "%s has %lld teachers, %d are the most: name fewer", key, (long long)count,
                   TEACHERS_MAX);
}

static int32_t check_once(const char *key, const di_blend_member *members, int64_t index, dk_error *err)
{
    const char *name = members[index].name;
    for (int64_t i = 0; i < index; i++)
        if (!strcmp(members[i].name, name))
            return dk_fail(err, DK_E_OPTION,
                           "%s.%lld is %s, and so is %s.%lld: name it once, or give it a second name (teachers.%s_2: "
                           "{path: %s})",
                           key, (long long)index, name, key, (long long)i, name, name);
    return DK_OK;
}

static int32_t open_members(reader *r, node *n, int32_t in_turn, int64_t count, di_blend_member *out, dk_error *err)
{
    const char *key = in_turn ? "teacher.schedule" : "teacher.blend.of";
    int32_t rc = DK_OK;
    if (!count) return dk_fail(err, DK_E_OPTION, "%s is not given: it names the teachers that are blended", in(n, key));
    DK_TRY(check_count(in(n, key), count, err));
    for (int64_t i = 0; i < count; i++) {
        out[i] = (di_blend_member){.name = member_name(r, n, in_turn, i)};
        if (!out[i].name) return dk_fail(err, DK_E_OPTION, "%s.%lld names no teacher", in(n, key), (long long)i);
        DK_TRY(check_once(in(n, key), out, i, err));
        DK_TRY(open_entry(r, out[i].name, &out[i].teacher, &out[i].temperature, err));
    }
out:
    return rc;
}

static int32_t all_entries(reader *r, di_blend_member *members, int64_t *count, dk_error *err)
{
    *count = di_options_list_size(r->options, "teachers");
    if (!*count)
        return dk_fail(err, DK_E_OPTION, "teacher.route: there are no teachers that samples could be routed to");
    const int32_t rc = check_count("teachers", *count, err);
    for (int64_t i = 0; i < *count && rc == DK_OK; i++)
        members[i] = (di_blend_member){.name = di_options_name(di_options_item(r->options, "teachers", i))};
    return rc;
}

static int32_t listed_entries(reader *r, node *n, di_blend_member *members, int64_t *count, dk_error *err)
{
    int32_t rc;
    *count = di_options_list_size(r->options, in(n, "teacher.route.of"));
    if (!*count && !n->entry) return all_entries(r, members, count, err);
    if (!*count)
        return dk_fail(err, DK_E_OPTION, "%s is not given: it names the teachers that samples are routed to",
                       in(n, "teacher.route.of"));
    DK_TRY(check_count(in(n, "teacher.route.of"), *count, err));
    for (int64_t i = 0; i < *count; i++) {
        members[i] = (di_blend_member){.name = di_options_list_text(r->options, in(n, "teacher.route.of"), i)};
        DK_TRY(check_once(in(n, "teacher.route.of"), members, i, err));
    }
out:
    return rc;
}

static int32_t open_route(reader *r, node *n, di_teacher **out, dk_error *err)
{
    di_blend_member members[TEACHERS_MAX];
    di_route_settings settings = {.by = DI_ROUTE_SOURCE};
    int64_t count = 0;
    int32_t rc;
    DK_TRY(listed_entries(r, n, members, &count, err));
    for (int64_t i = 0; i < count; i++)
        DK_TRY(open_entry(r, members[i].name, &members[i].teacher, &members[i].temperature, err));
    DK_TRY(di_route_settings_read(r->backend->host, r->options, n->entry, &settings, err));
    DK_TRY(di_teacher_route(r->backend, members, count, &settings, out, err));
out:
    di_route_settings_free(r->backend->host, &settings);
    return rc;
}

static int32_t open_blend(reader *r, node *n, di_teacher **out, dk_error *err)
{
    const int32_t in_turn = di_options_is_set(r->options, in(n, "teacher.schedule"));
    const int64_t count = member_count(r, n, in_turn);
    di_blend_member members[TEACHERS_MAX];
    di_ramp ramps[TEACHERS_MAX * DI_RAMPS];
    di_blend_settings settings;
    di_blend_plan plan;
    int32_t rc;
    DK_TRY(open_members(r, n, in_turn, count, members, err));
    DK_TRY(di_blend_plan_read(r->options, n->entry, count, members, ramps, &plan, err));
    di_blend_settings_read(r->options, n->entry, &settings);
    DK_TRY(di_teacher_blend_planned(r->backend, members, count, &settings, &plan, out, err));
out:
    return rc;
}

enum { BLEND = 1, SCHEDULE, ROUTE, SELF };

/* A node is one of path, blend, schedule, route and self; *made: what of these it is, 0 = none behind the first. */
static int32_t check_made(reader *r, node *n, const char *path, int32_t *made, dk_error *err)
{
    static const char *const keys[] = {"path", "teacher.blend", "teacher.schedule", "teacher.route", "teacher.self"};
    *made = 0;
    for (int32_t i = BLEND; i <= SELF; i++) {
        if (!di_options_is_set(r->options, in(n, keys[i]))) continue;
        if (*made || path)
            return dk_fail(err, DK_E_OPTION, "%s and a %s are both given: a teacher is one of them", in(n, keys[i]),
                           *made ? strchr(keys[*made], '.') + 1 : "path");
        *made = i;
    }
    return DK_OK;
}

static int32_t open_self(reader *r, node *n, di_teacher **out, dk_error *err)
{
    const char *which = di_options_text(r->options, in(n, "teacher.self"));
    const double decay = di_options_f64(r->options, in(n, "teacher.average.decay"));
    if (!r->self)
        return dk_fail(err, DK_E_OPTION,
                       "%s is a student while it is trained, which only a training has: give %s, a model that is saved",
                       in(n, "teacher.self"), n->entry ? "its path" : "teacher.path");
    if (!strcmp(which, "student") && !di_options_map(r->options, in(n, "teacher.prefix")))
        return dk_fail(
            err, DK_E_OPTION,
            "%s student would say what the student says, and nothing is learned of that: give %s, or average",
            in(n, "teacher.self"), n->entry ? "its prefix" : "teacher.prefix");
    return r->self->open(r->self->user, which, decay, out, err);
}

/* Who is asked, without prefix and cache around it. */
static int32_t open_asked(reader *r, const char *entry_name, const char *path, di_teacher **out, double *temperature,
                          dk_error *err)
{
    node n = {.entry = entry_name};
    const char *from = di_options_text(r->options, in(&n, "teacher.cache.from")), *name = NULL;
    di_teacher *named = NULL;
    double of_named = 1;
    int32_t made = 0, rc;
    if (!path) {
        name = di_options_named(r->options, in(&n, "teacher.path"));
        path = di_options_text(r->options, in(&n, "teacher.path"));
    }
    *temperature = di_options_f64(r->options, in(&n, "teacher.temperature"));
    if ((rc = check_made(r, &n, path, &made, err)) != DK_OK) return rc;
    if (from && (path || made))
        return dk_fail(err, DK_E_OPTION,
                       "%s and a teacher beside it are both given: who fills the cache is one of them",
                       in(&n, "teacher.cache.from"));
    if (from) {
        name = di_options_named(r->options, in(&n, "teacher.cache.from"));
        path = from;
    }
    if (made == SELF) return open_self(r, &n, out, err);
    if (made) return made == ROUTE ? open_route(r, &n, out, err) : open_blend(r, &n, out, err);
    if (di_options_flag(r->options, in(&n, "teacher.parallel")))
        return dk_fail(err, DK_E_OPTION, "%s is of a blend or a route: one teacher has nobody beside it",
                       in(&n, "teacher.parallel"));
    if (!name && path)
        return di_teacher_open(r->backend, path, di_options_flag(r->options, in(&n, "teacher.mmap")), out, err);
    if (!name) return DK_OK;
    if ((rc = open_entry(r, name, &named, &of_named, err)) != DK_OK) return rc;
    *temperature *= of_named;
    *out = di_teacher_retain(named);
    return DK_OK;
}

/* ---- what it reads before each sequence ---- */

static int32_t encode_prefix(reader *r, node *n, const dk_tokenizer *tokenizer, const char *text, size_t size,
                             int32_t **ids, int64_t *count, dk_error *err)
{
    int64_t room = 0;
    if (tokenizer) return dk_tokenizer_append(tokenizer, r->backend->host, text, size, 0, ids, &room, count, err);
    return dk_fail(err, DK_E_OPTION,
                   "%s is text, and this teacher has no tokenizer: give its ids (prefix: {ids: [...]})",
                   in(n, "teacher.prefix"));
}

static int32_t list_prefix(reader *r, node *n, int64_t size, int32_t **ids, int64_t *count, dk_error *err)
{
    const int32_t rc = dk_new(r->backend->host, size, ids, err);
    if (rc) return rc;
    for (int64_t i = 0; i < size; i++)
        (*ids)[i] = (int32_t)di_options_list_i64(r->options, in(n, "teacher.prefix.ids"), i);
    *count = size;
    return DK_OK;
}

static int32_t read_prefix(reader *r, node *n, const dk_tokenizer *tokenizer, int32_t **ids, int64_t *count,
                           dk_error *err)
{
    const char *text = di_options_text(r->options, in(n, "teacher.prefix.text")),
               *path = di_options_text(r->options, in(n, "teacher.prefix.file"));
    const int64_t size = di_options_list_size(r->options, in(n, "teacher.prefix.ids"));
    char *read = NULL;
    size_t bytes = text ? strlen(text) : 0;
    int32_t rc;
    if ((text != NULL) + (path != NULL) + (size > 0) != 1)
        return dk_fail(err, DK_E_OPTION, "%s: give one of text, file and ids", in(n, "teacher.prefix"));
    if (size) return list_prefix(r, n, size, ids, count, err);
    if (path) DK_TRY(dk_file_read(r->backend->host, path, PREFIX_BYTES, &read, &bytes, err));
    DK_TRY(encode_prefix(r, n, tokenizer, path ? read : text, bytes, ids, count, err));
    if (!*count) DK_TRY(dk_fail(err, DK_E_OPTION, "%s has no token: leave it out", in(n, "teacher.prefix")));
out:
    dk_free(r->backend->host, read);
    return rc;
}

static int32_t apply_prefix(reader *r, node *n, di_teacher **teacher, dk_error *err)
{
    di_teacher *made = NULL;
    int32_t *ids = NULL, rc;
    int64_t count = 0;
    if (!di_options_map(r->options, in(n, "teacher.prefix"))) return DK_OK;
    if (!*teacher)
        return dk_fail(err, DK_E_OPTION, "%s is given without a teacher that reads it", in(n, "teacher.prefix"));
    DK_TRY(read_prefix(r, n, di_teacher_tokenizer(*teacher), &ids, &count, err));
    rc = di_teacher_prefixed(*teacher, ids, count, &made, err);
    if (rc) {
        dk_error_context(err, "%s", in(n, "teacher.prefix"));
        goto out;
    }
    di_teacher_release(*teacher);
    *teacher = made;
out:
    dk_free(r->backend->host, ids);
    return rc;
}

/* The cache of an entry; that of section teacher goes around its temperature: di_teacher_keep. */
static int32_t keep_entry(reader *r, node *n, di_teacher **teacher, dk_error *err)
{
    const char *path = di_options_text(r->options, in(n, "teacher.cache.path"));
    di_teacher *kept = NULL;
    int32_t rc;
    if (!di_options_map(r->options, in(n, "teacher.cache"))) return DK_OK;
    if (!path)
        return dk_fail(err, DK_E_OPTION, "%s is not given: it is the file that targets are kept in",
                       in(n, "teacher.cache.path"));
    DK_TRY(di_teacher_cached_entry(r->backend, path, *teacher, r->options, n->entry, r->look, &kept, err));
    di_teacher_release(*teacher);
    *teacher = kept;
out:
    return rc;
}

/* The line of the innermost node that failed. */
static void say_where(reader *r, node *n, dk_error *err)
{
    static const char *const keys[] = {"teacher.blend", "teacher.schedule",   "teacher.route", "teacher.self",
                                       "teacher.path",  "teacher.cache.path", "teacher.prefix"};
    const char *origin = "";
    for (size_t i = 0; i < sizeof keys / sizeof *keys && !*origin; i++)
        origin = di_options_origin(r->options, in(n, keys[i]));
    if (*origin && !r->placed) dk_error_context(err, "%s", origin);
    r->placed = 1;
}

/* *out NULL = the node names nothing; *temperature is left to whoever uses the teacher. */
static int32_t open_node(reader *r, const char *entry_name, const char *path, di_teacher **out, double *temperature,
                         dk_error *err)
{
    node n = {.entry = entry_name};
    int32_t rc;
    DK_TRY(open_asked(r, entry_name, path, out, temperature, err));
    DK_TRY(apply_prefix(r, &n, out, err));
    if (entry_name) DK_TRY(keep_entry(r, &n, out, err));
out:
    if (rc && !path) say_where(r, &n, err);
    return rc;
}

/* A temperature of its own makes a teacher a blend of one. */
static int32_t apply_temperature(reader *r, double temperature, di_teacher **out, dk_error *err)
{
    const di_blend_settings linear = {.softness = 1};
    const di_blend_member member = {.teacher = *out, .name = "teacher", .temperature = temperature};
    di_teacher *softened = NULL;
    int32_t rc = di_teacher_blend(r->backend, &member, 1, &linear, &softened, err);
    di_teacher_release(*out);
    *out = softened;
    return rc;
}

static void name_unused(reader *r)
{
    const int64_t count = di_options_list_size(r->options, "teachers");
    for (int64_t i = 0; i < count; i++) {
        const char *name = di_options_name(di_options_item(r->options, "teachers", i));
        int64_t used = 0;
        while (used < r->count && strcmp(r->entries[used].name, name)) used++;
        if (used == r->count)
            dk_log(r->backend->host, DK_LOG_WARN, "teacher", "teachers.%s is not used: no teacher names it", name);
    }
}

static int32_t open_whole(dk_backend *backend, const di_options *options, const char *path, const di_self *self,
                          int32_t look, di_teacher **out, dk_error *err)
{
    reader r = {.backend = backend, .options = options, .self = self, .look = look};
    di_teacher *teacher = NULL;
    double temperature = 1;
    int32_t rc;
    DK_TRY(di_options_check(options, 1 << DI_TEACHERS | 1 << DI_TEACHER, err));
    DK_TRY(open_node(&r, NULL, path, &teacher, &temperature, err));
    if (!teacher && temperature != 1)
        DK_TRY(dk_fail(err, DK_E_OPTION, "teacher.temperature is given without a teacher"));
    if (teacher && temperature != 1) DK_TRY(apply_temperature(&r, temperature, &teacher, err));
    DK_TRY(di_teacher_keep(backend, options, look, &teacher, err));
    name_unused(&r);
    *out = teacher;
    teacher = NULL;
out:
    di_teacher_release(teacher);
    for (int64_t i = 0; i < r.count; i++) di_teacher_release(r.entries[i].teacher);
    return rc;
}

int32_t di_teacher_from_options(dk_backend *backend, const di_options *options, const char *path, di_teacher **out,
                                dk_error *err)
{
    return open_whole(backend, options, path, NULL, 0, out, err);
}

int32_t di_teacher_look(dk_backend *backend, const di_options *options, di_teacher **out, dk_error *err)
{
    return open_whole(backend, options, NULL, NULL, DI_CACHES_LOOK, out, err);
}

int32_t di_teacher_together(dk_backend *backend, const di_options *options, di_teacher **out, dk_error *err)
{
    return open_whole(backend, options, NULL, NULL, DI_CACHES_TOGETHER, out, err);
}

int32_t di_teacher_of_training(dk_backend *backend, const di_options *options, const di_self *self, di_teacher **out,
                               dk_error *err)
{
    return open_whole(backend, options, NULL, self, 0, out, err);
}

int32_t di_teacher_names_self(const di_options *options)
{
    int32_t named = di_options_is_set(options, "teacher.self");
    for (int64_t i = 0; !named && i < di_options_list_size(options, "teachers"); i++)
        named = di_options_is_set(di_options_item(options, "teachers", i), "self");
    return named;
}
