/* stages.c - a recipe as stages: what is laid over what, and who takes whose output. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "chain/chain_parts.h"

static const char prefix[] = "stages.";

void di_stages_free(di_stages *s)
{
    for (int64_t i = 0; i < s->count; i++) di_options_free(s->stages[i].options);
    dk_free(s->host, s->stages);
    *s = (di_stages){0};
}

int64_t di_stage_of_path(const di_stage *stage, const char *key)
{
    for (int64_t i = 0; i < stage->input_count; i++)
        if (strcmp(stage->inputs[i].key, key) == 0) return stage->inputs[i].stage;
    return -1;
}

static int32_t each_list(const di_options *o, const char *list, di_path_fn fn, void *user, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < di_options_list_size(o, list) && rc == DK_OK; i++) {
        const char *path = di_options_text(di_options_item(o, list, i), "path");
        char key[DI_STAGE_KEY];
        snprintf(key, sizeof key, "%s.%lld.path", list, (long long)i);
        if (path) rc = fn(user, key, path, err);
    }
    return rc;
}

/* Of section teacher, or of an entry of teachers: the model, who fills its cache, or the cache that nobody fills. */
static int32_t each_of_teacher(const di_options *o, const char *at, di_path_fn fn, void *user, dk_error *err)
{
    static const char *const keys[] = {"path", "cache.from", "cache.path"};
    char key[DI_STAGE_KEY];
    int32_t filled = 0, rc = DK_OK;
    snprintf(key, sizeof key, "%.80s.blend", at);
    filled |= di_options_map(o, key) != NULL;
    snprintf(key, sizeof key, "%.80s.route", at);
    filled |= di_options_map(o, key) != NULL;
    snprintf(key, sizeof key, "%.80s.schedule", at);
    filled |= di_options_list_size(o, key) > 0;
    for (int i = 0; i < 3 && rc == DK_OK; i++) {
        snprintf(key, sizeof key, "%.80s.%s", at, keys[i]);
        const char *path = di_options_text(o, key);
        if (!path || (i == 2 && filled)) continue;
        filled = 1;
        if (!di_options_named(o, key)) rc = fn(user, key, path, err);
    }
    return rc;
}

static int32_t each_teacher(const di_options *o, di_path_fn fn, void *user, dk_error *err)
{
    int32_t rc = each_of_teacher(o, "teacher", fn, user, err);
    for (int64_t i = 0; i < di_options_list_size(o, "teachers") && rc == DK_OK; i++) {
        char at[80];
        snprintf(at, sizeof at, "teachers.%.60s", di_options_name(di_options_item(o, "teachers", i)));
        rc = each_of_teacher(o, at, fn, user, err);
    }
    return rc;
}

int32_t di_stage_paths(const di_options *o, di_path_fn fn, void *user, dk_error *err)
{
    static const char *const keys[] = {"student.path", "student.config"};
    int32_t rc;
    DK_TRY(each_teacher(o, fn, user, err));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (di_options_text(o, keys[i])) DK_TRY(fn(user, keys[i], di_options_text(o, keys[i]), err));
    DK_TRY(each_list(o, "data.train", fn, user, err));
    DK_TRY(each_list(o, "data.eval", fn, user, err));
out:
    return rc;
}

int32_t di_stage_uses(const di_options *o, const char *teacher)
{
    const int32_t all = di_options_map(o, "teacher.route") && !di_options_list_size(o, "teacher.route.of");
    return all || di_options_uses(o, "teacher", "teachers", teacher);
}

int32_t di_stage_is_idle(const di_options *o, const char *key)
{
    static const char teachers[] = "teachers.";
    char name[64];
    if (strncmp(key, teachers, sizeof teachers - 1) != 0) return 0;
    key += sizeof teachers - 1;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(key, "."), key);
    return !di_stage_uses(o, name);
}

/* ---- names ---- */

static int32_t check_name(const di_stages *s, int64_t index, const char *name, dk_error *err)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789-";
    if (!name) return dk_fail(err, DK_E_OPTION, "stages.%lld has no name", (long long)index);
    if (!*name || strlen(name) > 60 || strspn(name, letters) < strlen(name))
        return dk_fail(err, DK_E_OPTION,
                       "stages.%lld.name \"%.60s\" is no name; names have up to 60 letters, digits, _ and -",
                       (long long)index, name);
    for (int64_t i = 0; i < index; i++)
        if (strcmp(s->stages[i].name, name) == 0)
            return dk_fail(err, DK_E_OPTION, "stages.%lld and stages.%lld are both called %s", (long long)i,
                           (long long)index, name);
    return DK_OK;
}

/* ---- one over the other ---- */

/* A setter puts a new tree in the old one's place. */
static void look_again(di_stage *stage)
{
    stage->name = di_options_text(stage->options, "name");
    stage->output = di_options_text(stage->options, "output.path");
}

/* A stage without a place of its own has one below the recipe's. */
static int32_t place_output(di_stages *s, di_stage *stage, const di_options *own, dk_error *err)
{
    const char *around = di_options_text(stage->options, "output.path");
    int32_t rc = DK_OK;
    if (!di_options_text(own, "output.path")) {
        if (!around)
            return dk_fail(err, DK_E_OPTION, "stages.%s has no output.path: nobody could take what it makes",
                           stage->name);
        char *path = dk_path_join(s->host, around, stage->name);
        rc = path ? di_options_set_str(stage->options, "output.path", path, err) : dk_fail_nomem(err, strlen(around));
        dk_free(s->host, path);
    }
    look_again(stage);
    return rc;
}

static int32_t read_one(di_stages *s, const di_options *options, int64_t index, dk_error *err)
{
    const di_options *own = di_options_item(options, "stages", index);
    di_stage *stage = &s->stages[index];
    int32_t rc;
    DK_TRY(check_name(s, index, di_options_text(own, "name"), err));
    if (di_options_is_set(own, "stages"))
        DK_TRY(dk_fail(err, DK_E_OPTION, "stages.%s has stages itself: list them beside it",
                       di_options_text(own, "name")));
    DK_TRY(di_options_copy(options, s->host, ~((int64_t)1 << DI_STAGES), &stage->options, err));
    s->count = index + 1;
    DK_TRY(di_options_lay_over(stage->options, own, err));
    look_again(stage);
    DK_TRY(place_output(s, stage, own, err));
out:
    return rc;
}

/* ---- who takes whose output ---- */

static int32_t fail_unknown(const di_stages *s, const di_stage *stage, const char *key, const char *name, dk_error *err)
{
    char known[300] = "";
    for (int64_t i = 0; i < s->count; i++)
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%.60s", i ? ", " : "", s->stages[i].name);
    return dk_fail(err, DK_E_OPTION,
                   "stages.%s: %s names stages.%.60s, and the stages are %s (a folder of that name is "
                   "./stages.%.60s)",
                   stage->name, key, name, known, name);
}

static int32_t drop_entry(di_stage *stage, const char *key, dk_error *err)
{
    char entry[DI_STAGE_KEY];
    const size_t size = strlen("teachers.");
    snprintf(entry, sizeof entry, "%.*s", (int)(size + strcspn(key + size, ".")), key);
    const int32_t rc = di_options_set(stage->options, entry, NULL, err);
    look_again(stage);
    return rc;
}

/* What another stage leaves for this one to open: its folder, or the one file that it writes. */
static int32_t take_output(di_stages *s, di_stage *stage, const char *key, const di_stage *from, dk_error *err)
{
    char *file = NULL;
    int32_t rc = DK_OK;
    if (!di_options_is(from->options, "output.format", "gguf"))
        return di_options_set_str(stage->options, key, from->output, err);
    if (!(file = dk_path_join(s->host, from->output, DI_GGUF_NAME))) return dk_fail_nomem(err, strlen(from->output));
    rc = di_options_set_str(stage->options, key, file, err);
    dk_free(s->host, file);
    return rc;
}

static int32_t resolve(di_stages *s, di_stage *stage, const di_options *own, const char *key, const char *given,
                       dk_error *err)
{
    const int64_t index = stage - s->stages;
    int64_t target = 0;
    given += sizeof prefix - 1;
    while (target < s->count && strcmp(s->stages[target].name, given) != 0) target++;
    if (target == s->count) return fail_unknown(s, stage, key, given, err);
    if (target >= index) {
        if (!di_options_is_set(own, key) && di_stage_is_idle(stage->options, key))
            return drop_entry(stage, key, err); /* inherited, and of others */
        return dk_fail(err, DK_E_OPTION, "stages.%s: %s names stages.%s, which %s", stage->name, key, given,
                       target == index ? "is the stage itself" : "comes after it: put it before");
    }
    if (stage->input_count == DI_STAGE_INPUTS)
        return dk_fail(err, DK_E_OPTION, "stages.%s takes more than %d outputs", stage->name, DI_STAGE_INPUTS);
    di_stage_input *input = &stage->inputs[stage->input_count++];
    snprintf(input->key, sizeof input->key, "%s", key);
    input->stage = target;
    const int32_t rc = take_output(s, stage, key, &s->stages[target], err);
    look_again(stage);
    return rc;
}

typedef struct keys {
    char key[DI_STAGE_INPUTS][DI_STAGE_KEY];
    int64_t count;
    const di_options *options;
    const char *stage;
} keys;

static int32_t collect(void *user, const char *key, const char *path, dk_error *err)
{
    keys *k = user;
    const char *given = di_options_given(k->options, key);
    (void)path;
    if (!given || strncmp(given, prefix, sizeof prefix - 1) != 0) return DK_OK;
    if (strcmp(key, "student.config") == 0 || strncmp(key, "data.", 5) == 0)
        return dk_fail(err, DK_E_OPTION,
                       "stages.%s: %s is %s; only teachers and student.path "
                       "take the output of a stage",
                       k->stage, key, given);
    if (k->count < DI_STAGE_INPUTS) snprintf(k->key[k->count++], DI_STAGE_KEY, "%s", key);
    return DK_OK;
}

static int32_t resolve_all(di_stages *s, di_stage *stage, const di_options *own, dk_error *err)
{
    keys k = {.options = stage->options, .stage = stage->name};
    int32_t rc;
    DK_TRY(di_stage_paths(stage->options, collect, &k, err));
    for (int64_t i = 0; i < k.count; i++) {
        const char *given = di_options_given(stage->options, k.key[i]);
        DK_TRY(resolve(s, stage, own, k.key[i], given, err));
    }
out:
    return rc;
}

int32_t di_stages_read(dk_host *host, const di_options *options, di_stages *out, dk_error *err)
{
    const int64_t count = di_options_list_size(options, "stages");
    int32_t rc;
    *out = (di_stages){.host = host};
    if (count > DI_STAGES_MAX) return dk_fail(err, DK_E_OPTION, "stages: more than %d", DI_STAGES_MAX);
    DK_TRY(dk_new(host, count + 1, &out->stages, err));
    for (int64_t i = 0; i < count; i++) DK_TRY(read_one(out, options, i, err));
    for (int64_t i = 0; i < count; i++)
        DK_TRY(resolve_all(out, &out->stages[i], di_options_item(options, "stages", i), err));
    return DK_OK;
out:
    di_stages_free(out);
    return rc;
}
