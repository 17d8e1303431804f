/* Getters cannot fail, so a mistyped key would read as 0 for ever: every key that the sources ask for must exist. */
#include "base/file.h"
#include "options/options.h"
#include "test.h"

typedef struct scan {
    dk_host *host;
    const char *folder;
    int files, keys;
} scan;

static int32_t is_getter(const char *name, size_t size, int32_t *term)
{
    static const char *const getters[] = {"i64",       "f64",      "flag",      "text",     "is_set",    "is",
                                          "list_size", "list_i64", "list_text", "term_f64", "term_text", "term_is_set"};
    *term = size > 5 && !memcmp(name, "term_", 5);
    for (size_t i = 0; i < sizeof getters / sizeof *getters; i++)
        if (strlen(getters[i]) == size && !memcmp(getters[i], name, size)) return 1;
    return 0;
}

static void check_keys(scan *s, const char *path, const char *text)
{
    static const char prefix[] = "di_options_";
    for (const char *at = text; (at = strstr(at, prefix));) {
        char key[80];
        int32_t term;
        at += sizeof prefix - 1;
        size_t size = strcspn(at, "(");
        const char *end = strpbrk(at, ";{"), *quote = strchr(at, '"');
        if (!is_getter(at, size, &term) || !quote || !end || quote > end) continue;
        size_t length = strcspn(quote + 1, "\"");
        snprintf(key, sizeof key, "%s%.*s", term ? "loss." : "", (int)(length < 60 ? length : 60), quote + 1);
        if (di_option_find(key, strlen(key)) < 0) FAIL("%s asks for %s, which is not in the table", path, key);
        s->keys++;
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
    dk_free(s->host, text);
    dk_free(s->host, path);
    return rc;
}

TEST(every_key_exists)
{
    dk_error err;
    scan s = {.folder = TEST_DATA "/../../src"};
    REQUIRE_OK(dk_host_create(NULL, &s.host, &err));
    check_keys(&s, "a sample", "di_options_i64(o, \"train.steps\"); di_options_term_f64(o, 0, \"weight\");");
    CHECK_INT(s.keys, 2);
    CHECK_OK(dk_dir_list(s.host, s.folder, visit, &s, &err));
    CHECK(s.files > 5);
    dk_host_release(s.host);
}

TEST_MAIN(TEST_CASE(every_key_exists))
