/* manifest_changes.c - what became another between two manifests of teachers: who, or which setting. */
#include <string.h>

#include "run/checkpoint_parts.h"

typedef struct comparer {
    dk_host *host;
    di_change_fn fn;
    void *user;
    int64_t told;
} comparer;

static const char *text_at(const dk_node *map, const char *key)
{
    const dk_node *node = dk_node_get(map, key);
    return node && node->type == DK_NODE_TEXT ? node->text : "";
}

/* "models/pt (0123456789ab)", "a blend of 2 (0123456789ab)" */
static void describe(const dk_node *teacher, dk_strbuf *out)
{
    const dk_node *members = dk_node_get(teacher, "members");
    const char *path = text_at(teacher, "path"), *hash = text_at(teacher, "hash");
    if (!*hash) {
        dk_strbuf_puts(out, "none");
        return;
    }
    if (*path) dk_strbuf_puts(out, path);
    else if (members) dk_strbuf_printf(out, "a %s of %zu", text_at(teacher, "kind"), members->size);
    else dk_strbuf_puts(out, "the host's");
    dk_strbuf_printf(out, " (%.12s)", hash);
}

static void write_value(const dk_node *value, dk_strbuf *out)
{
    if (!value) dk_strbuf_puts(out, "not given");
    else if (value->type == DK_NODE_TEXT) dk_strbuf_puts(out, value->text);
    else dk_node_write_json(value, out);
}

/* key NULL = the teachers themselves. */
static int32_t tell(comparer *c, const char *name, const char *key, const dk_node *before, const dk_node *now,
                    dk_error *err)
{
    dk_strbuf what, from, to;
    int32_t rc;
    dk_strbuf_init(&what, c->host);
    dk_strbuf_init(&from, c->host);
    dk_strbuf_init(&to, c->host);
    if (key) dk_strbuf_printf(&what, "the %s of ", key);
    dk_strbuf_puts(&what, name);
    (key ? write_value : describe)(before, &from);
    (key ? write_value : describe)(now, &to);
    DK_TRY(dk_strbuf_check(&what, err));
    DK_TRY(dk_strbuf_check(&from, err));
    DK_TRY(dk_strbuf_check(&to, err));
    if (key && strcmp(from.data, to.data) == 0) goto out;
    c->told++;
    DK_TRY(c->fn(c->user, what.data, from.data, to.data, err));
out:
    dk_strbuf_free(&what);
    dk_strbuf_free(&from);
    dk_strbuf_free(&to);
    return rc;
}

/* What is no setting of its own: who it is, and what it is to the whole. */
static int32_t is_no_setting(const char *key)
{
    static const char *const keys[] = {"kind", "path", "hash", "members", "name", "weight", "temperature"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(keys[i], key) == 0) return 1;
    return 0;
}

static int32_t compare_settings(comparer *c, const char *name, const dk_node *before, const dk_node *now, dk_error *err)
{
    const dk_node *sides[2] = {before, now};
    int32_t rc = DK_OK;
    for (int side = 0; side < 2; side++)
        for (size_t i = 0; i < sides[side]->size; i++) {
            const char *key = dk_node_at(sides[side], i)->key;
            if (is_no_setting(key) || (side && dk_node_get(before, key))) continue;
            DK_TRY(tell(c, name, key, dk_node_get(before, key), dk_node_get(now, key), err));
        }
out:
    return rc;
}

static const dk_node *find_member(const dk_node *teacher, const char *name)
{
    const dk_node *members = dk_node_get(teacher, "members");
    for (size_t i = 0; members && i < members->size; i++)
        if (dk_node_is_text(dk_node_get(dk_node_at(members, i), "name"), name)) return dk_node_at(members, i);
    return NULL;
}

static int32_t compare_teachers(comparer *c, const char *name, const dk_node *before, const dk_node *now,
                                dk_error *err);

static int32_t compare_shares(comparer *c, const char *name, const dk_node *before, const dk_node *now, dk_error *err)
{
    static const char *const keys[] = {"weight", "temperature"};
    int32_t rc = DK_OK;
    for (int i = 0; i < 2; i++)
        DK_TRY(tell(c, name, keys[i], dk_node_get(before, keys[i]), dk_node_get(now, keys[i]), err));
out:
    return rc;
}

static int32_t compare_member(comparer *c, const char *of, const char *name, const dk_node *before, const dk_node *now,
                              dk_error *err)
{
    dk_strbuf full;
    int32_t rc;
    dk_strbuf_init(&full, c->host);
    dk_strbuf_printf(&full, "%s%s%s", of, strchr(of, ' ') == strrchr(of, ' ') ? " " : "/", name);
    DK_TRY(dk_strbuf_check(&full, err));
    if (!before || !now) {
        rc = tell(c, full.data, NULL, before, now, err);
        goto out;
    }
    DK_TRY(compare_shares(c, full.data, before, now, err));
    DK_TRY(compare_teachers(c, full.data, before, now, err));
out:
    dk_strbuf_free(&full);
    return rc;
}

static int32_t compare_members(comparer *c, const char *of, const dk_node *before, const dk_node *now, dk_error *err)
{
    const dk_node *sides[2] = {dk_node_get(before, "members"), dk_node_get(now, "members")};
    int32_t rc = DK_OK;
    for (int side = 0; side < 2; side++)
        for (size_t i = 0; sides[side] && i < sides[side]->size; i++) {
            const char *name = text_at(dk_node_at(sides[side], i), "name");
            if (side && find_member(before, name)) continue;
            DK_TRY(compare_member(c, of, name, find_member(before, name), find_member(now, name), err));
        }
out:
    return rc;
}

static int32_t compare_teachers(comparer *c, const char *name, const dk_node *before, const dk_node *now, dk_error *err)
{
    const int32_t alike = strcmp(text_at(before, "kind"), text_at(now, "kind")) == 0,
                  same = strcmp(text_at(before, "hash"), text_at(now, "hash")) == 0;
    const int64_t told = c->told;
    int32_t rc = DK_OK;
    if (alike) DK_TRY(compare_settings(c, name, before, now, err));
    if (same) goto out;
    if (alike) DK_TRY(compare_members(c, name, before, now, err));
    if (c->told == told) DK_TRY(tell(c, name, NULL, before, now, err));
out:
    return rc;
}

int32_t di_manifest_changes(dk_host *host, const dk_node *before, const dk_node *now, di_change_fn fn, void *user,
                            dk_error *err)
{
    comparer c = {host, fn, user, 0};
    if (strcmp(text_at(before, "hash"), text_at(now, "hash")) == 0) return DK_OK;
    return compare_teachers(&c, "the teacher", before, now, err);
}
