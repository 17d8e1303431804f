/* Getters cannot fail, so a mistyped key would read as 0 for ever: every key that the sources ask for must exist. */
#include "base/file.h"
#include "options/options.h"
#include "test.h"

typedef struct scan {
    dk_host *host;
    const char *folder;
    int files, keys;
    char *asked; /* [di_option_count()] */
} scan;

/* An item of a list or an entry of a map of names is asked for the keys inside; "" is an entry of one plain value. */
static int ask_inside(const scan *s, const char *key)
{
    int found = 0;
    for (int64_t i = 0; i < di_option_count(); i++) {
        const char *name = di_option_at(i)->name, *dot = strrchr(name, '.');
        if (!dot || strchr(name, '.') == dot || strcmp(dot + 1, *key ? key : "NAME") != 0) continue;
        s->asked[i] = 1;
        found = 1;
    }
    return found;
}

static int32_t is_getter(const char *name, size_t size, int32_t *in_list)
{
    static const char *const getters[] = {"i64",       "f64",       "f64_at",    "flag",      "text",
                                          "is_set",    "is",        "list_size", "list_i64",  "list_f64",
                                          "list_text", "at_f64",    "at_text",   "at_is_set", "at_i64",
                                          "course",    "at_course", "refuse",    "differs",   "named"};
    *in_list = size > 3 && !memcmp(name, "at_", 3);
    for (size_t i = 0; i < sizeof getters / sizeof *getters; i++)
        if (strlen(getters[i]) == size && !memcmp(getters[i], name, size)) return 1;
    return 0;
}

/* The text between the next quotes before end, and where it ends; NULL = none. */
static const char *next_text(const char *at, const char *end, char out[64])
{
    const char *quote = strchr(at, '"');
    if (!quote || !end || quote > end) return NULL;
    size_t length = strcspn(quote + 1, "\"");
    snprintf(out, 64, "%.*s", (int)(length < 60 ? length : 60), quote + 1);
    return quote + 1 + length + 1;
}

static void check_keys(scan *s, const char *path, const char *text)
{
    static const char prefix[] = "di_options_";
    for (const char *at = text; (at = strstr(at, prefix));) {
        char first[64], second[64], key[130];
        int32_t in_list;
        at += sizeof prefix - 1;
        size_t size = strcspn(at, "(");
        const char *end = strpbrk(at, ";{"), *next;
        int32_t reads = strncmp(at, "refuse(", 7) && strncmp(at, "differs(", 8);
        if (!reads && strncmp(at + strcspn(at, ","), ", \"", 3)) continue; /* a key out of a list */
        if (!is_getter(at, size, &in_list) || !(next = next_text(at, end, first))) continue;
        if (in_list && !next_text(next, end, second)) continue;
        snprintf(key, sizeof key, in_list ? "%s.%s" : "%s", first, second);
        int64_t option = di_option_find(key, strlen(key));
        int32_t is_group = 0;
        for (int64_t i = 0; i < di_public_table.group_count; i++)
            is_group |= !strcmp(key, di_public_table.groups[i].name);
        if (option < 0 && !strchr(key, '.')) is_group |= ask_inside(s, key); /* a member may be called as a group is */
        if (option < 0 && !is_group) FAIL("%s asks for %s, which is not in the table", path, key);
        if (option >= 0 && reads) s->asked[option] = 1;
        s->keys++;
    }
}

/* Built-in losses name their options in a table, so do operators and their verbs. */
static void check_names(scan *s, const char *group, const char *text)
{
    char name[64], key[80];
    while ((text = next_text(text, text + strlen(text), name))) {
        snprintf(key, sizeof key, "%s.%s", group, name);
        const int64_t option = di_option_find(key, strlen(key));
        if (option >= 0) s->asked[option] = 1;
    }
}

static int32_t visit(void *user, const char *name, int32_t is_dir, dk_error *err)
{
    scan *s = user, below = *s;
    char *text = NULL, *path = dk_path_join(s->host, s->folder, name);
    size_t size, length = strlen(name);
    int32_t rc = DK_OK;
    below.folder = path;
    if (is_dir) {
        rc = dk_dir_list(s->host, path, visit, &below, err);
        s->files = below.files, s->keys = below.keys;
    } else if (length > 2 && !strcmp(name + length - 2, ".c")) {
        rc = dk_file_read(s->host, path, 1 << 24, &text, &size, err);
        if (!rc) check_keys(s, path, text), s->files++;
    }
    if (!rc && !strcmp(name, "loss_table.h")) {
        rc = dk_file_read(s->host, path, 1 << 24, &text, &size, err);
        if (!rc) check_names(s, "loss", text);
    }
    if (!rc && (!strcmp(name, "operator_find.c") || !strcmp(name, "expand_template.c")))
        check_names(s, "augment.steps.N", text);
    dk_free(s->host, text);
    dk_free(s->host, path);
    return rc;
}

/* And every row of the table must be read by somebody, or it would be an option that does nothing. */
TEST(every_key_exists_and_every_option_is_read)
{
    dk_error err;
    scan s = {.folder = TEST_DATA "/../../src"};
    REQUIRE_OK(dk_host_create(NULL, &s.host, &err));
    REQUIRE_OK(dk_new(s.host, di_option_count(), &s.asked, &err));
    check_keys(&s, "a sample", "di_options_i64(o, \"train.steps\"); di_options_at_f64(o, \"loss\", 0, \"weight\");");
    CHECK_INT(s.keys, 2);
    CHECK(s.asked[di_option_find("loss.weight", 11)] && !s.asked[di_option_find("loss.type", 9)]);
    memset(s.asked, 0, (size_t)di_option_count());
    CHECK_OK(dk_dir_list(s.host, s.folder, visit, &s, &err));
    CHECK(s.files > 5);
    for (int64_t i = 0; i < di_option_count(); i++)
        if (!s.asked[i] && di_option_at(i)->type != DI_OPTION_MAP) FAIL("nothing reads %s", di_option_at(i)->name);
    dk_free(s.host, s.asked);
    dk_host_release(s.host);
}

TEST_MAIN(TEST_CASE(every_key_exists_and_every_option_is_read))
