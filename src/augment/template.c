/* template.c - a template is read, its fields are checked, and it is filled. */
#include "augment/template.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "options/suggest.h"

enum { TEMPLATE_LIMIT = 1 << 20, FIELD = 64 };

struct di_template {
    dk_host *host;
    char *name; /* for messages */
    char *text;
    size_t size;
    char hash[65];
};

void di_template_free(di_template *t)
{
    if (!t) return;
    dk_free(t->host, t->name);
    dk_free(t->host, t->text);
    dk_free(t->host, t);
}

const char *di_template_hash(const di_template *t) { return t->hash; }

/* ---- fields ---- */

/* The next {{field}} at or behind *at: its name into field, its bytes from *begin to *at; 0 = there is none. */
static int32_t next_field(const di_template *t, size_t *at, size_t *begin, char field[FIELD])
{
    for (size_t i = *at; i + 1 < t->size; i++) {
        if (t->text[i] != '{' || t->text[i + 1] != '{') continue;
        const char *name = t->text + i + 2, *end = strstr(name, "}}");
        if (!end) return 0;
        while (*name == ' ') name++;
        const char *last = end;
        while (last > name && last[-1] == ' ') last--;
        snprintf(field, FIELD, "%.*s", (int)(last - name < FIELD - 1 ? last - name : FIELD - 1), name);
        *begin = i;
        *at = (size_t)(end - t->text) + 2;
        return 1;
    }
    return 0;
}

static int32_t is_known(const char *field, const char *const *known)
{
    for (; *known; known++)
        if (!strcmp(field, *known)) return 1;
    return !strncmp(field, "sample.", 7) && field[7];
}

static int32_t check_fields(const di_template *t, const di_step *step, const char *const *known, dk_error *err)
{
    char field[FIELD], names[256] = "", near[FIELD];
    size_t at = 0, begin;
    for (const char *const *k = known; *k; k++)
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", *names ? "|" : "", *k);
    if (strlen(t->text) != t->size)
        return di_step_fail(step, err, "%s: a NUL character is no part of a template", t->name);
    while (next_field(t, &at, &begin, field)) {
        if (strlen(field) == FIELD - 1)
            return di_step_fail(step, err, "%s: {{%s... has %d bytes or more, and no field's name is that long",
                                t->name, field, FIELD - 1);
        if (is_known(field, known)) continue;
        const char *meant = di_choice_suggest(names, field, near, sizeof near);
        return di_step_fail(step, err, "%s: {{%s}} is no field here: there are %s, and sample.KEY of the sample%s%s%s",
                            t->name, field, names, meant ? "; did you mean " : "", meant ? meant : "",
                            meant ? "?" : "");
    }
    const char *open = strstr(t->text + at, "{{");
    if (open) return di_step_fail(step, err, "%s: \"%.20s\" begins a field that no }} ends", t->name, open);
    return DK_OK;
}

/* ---- reading ---- */

static int32_t read_file(di_template *t, const char *path, dk_error *err)
{
    int32_t rc;
    DK_TRY(dk_file_read(t->host, path, TEMPLATE_LIMIT, &t->text, &t->size, err));
    if (!(t->name = dk_strdup(t->host, path))) rc = dk_fail_nomem(err, 64);
out:
    return rc;
}

static int32_t take_shipped(di_template *t, const di_step *step, const char *name, dk_error *err)
{
    char whole[96];
    const di_shipped_template *s = di_shipped_templates;
    snprintf(whole, sizeof whole, "%s/%s", di_options_text(step->options, "language"), name);
    while (s->name && strcmp(s->name, whole) != 0) s++;
    if (!s->name) return di_step_fail(step, err, "no template %s is shipped", whole);
    t->text = dk_strndup(t->host, s->text, s->size);
    t->size = s->size;
    t->name = dk_strdup(t->host, whole);
    return t->text && t->name ? DK_OK : dk_fail_nomem(err, s->size);
}

static void finish(di_template *t)
{
    uint8_t digest[32];
    dk_sha256 sha;
    while (t->size && strchr("\r\n", t->text[t->size - 1])) t->text[--t->size] = 0;
    dk_sha256_begin(&sha);
    dk_sha256_add(&sha, t->text, t->size);
    dk_sha256_end(&sha, digest);
    dk_hex(digest, sizeof digest, t->hash);
}

int32_t di_template_open(const di_step *step, const char *name, const char *const *known, di_template **out,
                         dk_error *err)
{
    const char *path = di_options_text(step->options, "template");
    di_template *t = NULL;
    int32_t rc;
    DK_TRY(dk_new(step->host, 1, &t, err));
    t->host = step->host;
    DK_TRY(path ? read_file(t, path, err) : take_shipped(t, step, name, err));
    finish(t);
    if (!t->size) DK_TRY(di_step_fail(step, err, "%s: the template is empty", t->name));
    DK_TRY(check_fields(t, step, known, err));
    *out = t;
    return DK_OK;
out:
    di_template_free(t);
    return rc;
}

/* ---- filling ---- */

static int32_t put_field(const char *field, const di_record *record, const di_template_value *values, int64_t count,
                         dk_strbuf *out)
{
    for (int64_t i = 0; i < count; i++)
        if (!strcmp(values[i].field, field)) return dk_strbuf_append(out, values[i].text, values[i].size), 1;
    const di_field *own = strncmp(field, "sample.", 7) ? NULL : di_record_field(record, field + 7);
    if (!own) return 0;
    dk_strbuf_append(out, own->data, own->size);
    return 1;
}

int32_t di_template_fill(const di_template *t, const di_record *record, const di_template_value *values, int64_t count,
                         dk_strbuf *out, const char **missing, dk_error *err)
{
    char field[FIELD];
    size_t at = 0, before = 0, begin;
    *missing = NULL;
    while (next_field(t, &at, &begin, field)) {
        dk_strbuf_append(out, t->text + before, begin - before);
        if (!put_field(field, record, values, count, out)) *missing = "no_such_field";
        before = at;
    }
    dk_strbuf_append(out, t->text + before, t->size - before);
    return dk_strbuf_check(out, err);
}
