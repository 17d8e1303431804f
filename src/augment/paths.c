/* paths.c - names of files beside a result. */
#include "augment/paths.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/strbuf.h"

static int32_t take(dk_strbuf *text, char **path, dk_error *err)
{
    int32_t rc = dk_strbuf_check(text, err);
    if (!rc && !(*path = dk_strdup(text->host, text->data))) rc = dk_fail_nomem(err, text->size + 1);
    dk_strbuf_free(text);
    return rc;
}

int32_t di_path_beside(dk_host *host, const char *out, const char *kind, char **path, dk_error *err)
{
    dk_strbuf text;
    dk_strbuf_init(&text, host);
    dk_strbuf_printf(&text, "%s.%s", out, kind);
    return take(&text, path, err);
}

int32_t di_path_before(dk_host *host, const char *out, int64_t number, char **path, dk_error *err)
{
    dk_strbuf text;
    dk_strbuf_init(&text, host);
    dk_strbuf_printf(&text, "%s.before%lld.jsonl", out, (long long)number);
    return take(&text, path, err);
}

int32_t di_path_is_same(const char *a, const char *b)
{
    struct stat first, second;
    if (!strcmp(a, b)) return 1;
    return !stat(a, &first) && !stat(b, &second) && first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

int32_t di_path_remove(const char *path, dk_error *err)
{
    if (!unlink(path) || errno == ENOENT) return DK_OK;
    return dk_fail_errno(err, errno, "%s: cannot be removed", path);
}

typedef struct clearing {
    dk_host *host;
    const char *folder, *name; /* of the result */
} clearing;

static int32_t is_digits(const char *text, size_t size) { return size && strspn(text, "0123456789") >= size; }

/* "partial", "state", "step3.index", "before3.jsonl" */
static int32_t is_of_run(const char *kind)
{
    if (!strcmp(kind, "partial") || !strcmp(kind, "state") || !strcmp(kind, "aside.jsonl")) return 1;
    if (!strcmp(kind, "targets") || !strcmp(kind, "targets.index")) return 1;
    const size_t word = !strncmp(kind, "step", 4) ? 4 : !strncmp(kind, "before", 6) ? 6 : 0;
    const char *dot = word ? strchr(kind, '.') : NULL;
    return dot && is_digits(kind + word, (size_t)(dot - kind) - word);
}

static int32_t clear_one(void *user, const char *name, int32_t is_dir, dk_error *err)
{
    const clearing *c = user;
    const size_t size = strlen(c->name);
    char *path;
    int32_t rc = DK_OK;
    if (is_dir || strncmp(name, c->name, size) != 0 || name[size] != '.' || !is_of_run(name + size + 1)) return DK_OK;
    if (!(path = dk_path_join(c->host, c->folder, name))) return dk_fail_nomem(err, size);
    rc = di_path_remove(path, err);
    dk_free(c->host, path);
    return rc;
}

int32_t di_path_clear(dk_host *host, const char *out, dk_error *err)
{
    char *folder = dk_path_folder(host, out);
    const clearing c = {host, folder, dk_path_name(out)};
    if (!folder) return dk_fail_nomem(err, strlen(out));
    const int32_t rc = dk_dir_list(host, folder, clear_one, (void *)(uintptr_t)&c, err);
    dk_free(host, folder);
    return rc;
}
