/* saved.c - the state of a run as JSON, and back. */
#include "augment/saved.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"

enum { VERSION = 3 };

static void number(dk_strbuf *json, const char *name, int64_t value)
{
    dk_strbuf_printf(json, ",\"%s\":%lld", name, (long long)value);
}

static void step_json(const di_link *link, dk_strbuf *json)
{
    dk_strbuf_printf(json, "\"operator\":\"%s %s\"", link->step.verb, link->step.name);
    number(json, "in", link->in);
    number(json, "out", link->out);
    dk_strbuf_puts(json, ",\"counts\":");
    di_reasons_json(&link->reasons, json);
}

void di_steps_json(const di_pipeline *p, dk_strbuf *json)
{
    dk_strbuf_puts(json, "[");
    for (int64_t i = 0; i < p->count; i++) {
        dk_strbuf_puts(json, i ? ",{" : "{");
        step_json(&p->links[i], json);
        dk_strbuf_puts(json, "}");
    }
    dk_strbuf_puts(json, "]");
}

static int32_t write_steps(di_pipeline *p, dk_strbuf *json, dk_error *err)
{
    int32_t rc = DK_OK;
    dk_strbuf_puts(json, ",\"steps\":[");
    for (int64_t i = 0; i < p->count; i++) {
        di_link *link = &p->links[i];
        dk_strbuf_puts(json, i ? ",\n{" : "\n{");
        step_json(link, json);
        dk_strbuf_puts(json, ",\"state\":");
        if (link->functions->save) DK_TRY(link->functions->save(link->state, json, err));
        else dk_strbuf_puts(json, "null");
        dk_strbuf_puts(json, "}");
    }
    dk_strbuf_puts(json, "]}\n");
out:
    return rc;
}

int32_t di_saved_write(const di_saved *s, di_pipeline *p, const char *path, dk_error *err)
{
    dk_strbuf json;
    int32_t rc;
    dk_strbuf_init(&json, p->host);
    dk_strbuf_printf(&json, "{\"kind\":\"augment_state\",\"version\":%d,\"recipe\":\"%s\",\"teacher\":\"%s\",", VERSION,
                     s->recipe, s->teacher);
    dk_strbuf_printf(&json, "\"input\":\"%s\",\"ended\":\"%s\"", s->input, s->ended);
    number(&json, "first", s->first);
    number(&json, "offset", s->place.offset);
    number(&json, "number", s->place.number);
    number(&json, "made", s->place.made);
    number(&json, "given", s->place.given);
    number(&json, "bytes", s->bytes);
    number(&json, "aside", s->aside);
    number(&json, "written", s->written);
    number(&json, "tokens", s->tokens);
    number(&json, "tokens_before", s->tokens_before);
    number(&json, "chunk_end", s->chunk_end);
    dk_strbuf_puts(&json, ",\"seconds\":");
    dk_strbuf_f64(&json, s->seconds);
    dk_strbuf_puts(&json, ",\"seconds_before\":");
    dk_strbuf_f64(&json, s->seconds_before);
    DK_TRY(write_steps(p, &json, err));
    DK_TRY(dk_strbuf_check(&json, err));
    rc = dk_file_replace(p->host, path, json.data, json.size, err);
out:
    dk_strbuf_free(&json);
    return rc;
}

/* ---- and back ---- */

static int32_t read_text(const dk_document *d, const char *key, char *out, size_t cap, dk_error *err)
{
    const char *text;
    int32_t rc = dk_node_text(d, dk_document_root(d), key, "", &text, err);
    if (!rc) snprintf(out, cap, "%s", text);
    return rc;
}

static int32_t read_numbers(const dk_document *d, di_saved *s, dk_error *err)
{
    const struct {
        const char *key;
        int64_t *out;
    } numbers[] = {{"first", &s->first},         {"offset", &s->place.offset},
                   {"number", &s->place.number}, {"made", &s->place.made},
                   {"given", &s->place.given},   {"bytes", &s->bytes},
                   {"aside", &s->aside},         {"written", &s->written},
                   {"tokens", &s->tokens},       {"tokens_before", &s->tokens_before},
                   {"chunk_end", &s->chunk_end}};
    int32_t rc;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        DK_TRY(dk_node_i64(d, dk_document_root(d), numbers[i].key, 0, INT64_MAX, -1, numbers[i].out, err));
    DK_TRY(dk_node_f64(d, dk_document_root(d), "seconds", 0, &s->seconds, err));
    DK_TRY(dk_node_f64(d, dk_document_root(d), "seconds_before", 0, &s->seconds_before, err));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (*numbers[i].out < 0)
            return dk_fail(err, DK_E_FORMAT, "%s: %s is missing", dk_document_name(d), numbers[i].key);
out:
    return rc;
}

static int32_t check_same(const di_saved *found, const di_saved *wanted, const char *path, const char *out,
                          dk_error *err)
{
    const char *what = strcmp(found->recipe, wanted->recipe) != 0 ? "recipe (its steps, its seed or a file of theirs)"
                       : strcmp(found->teacher, wanted->teacher) != 0 ? "teacher"
                       : strcmp(found->input, wanted->input) != 0     ? "input"
                                                                      : NULL;
    if (!what) return DK_OK;
    return dk_fail(err, DK_E_MISMATCH,
                   "%s: was written with another %s: go on with that one, give another augment.out than %s, or begin "
                   "anew with augment.overwrite",
                   path, what, out);
}

static int32_t read_step(di_link *link, const dk_node *saved, int32_t restore, const char *path, dk_error *err)
{
    const dk_node *in = dk_node_get(saved, "in"), *out = dk_node_get(saved, "out"),
                  *state = dk_node_get(saved, "state");
    int32_t rc = DK_OK;
    if (!in || !out || !state) return dk_fail(err, DK_E_FORMAT, "%s: a step is not whole", path);
    link->in = in->i64;
    link->out = out->i64;
    DK_TRY(di_reasons_read(link->step.host, dk_node_get(saved, "counts"), &link->reasons, err));
    if (restore && link->functions->restore) rc = link->functions->restore(link->state, state, err);
out:
    return rc;
}

int32_t di_saved_read(const char *path, const char *out, di_pipeline *p, di_saved *saved, dk_error *err)
{
    dk_document *d = NULL;
    di_saved found = {.first = 0};
    int64_t version;
    int32_t rc;
    DK_TRY(dk_json_open(p->host, path, &d, err));
    const dk_node *root = dk_document_root(d), *steps = dk_node_get(root, "steps");
    if (!dk_node_is_text(dk_node_get(root, "kind"), "augment_state"))
        DK_TRY(dk_fail(err, DK_E_FORMAT, "%s: is no state of an augmentation", path));
    DK_TRY(dk_node_i64(d, root, "version", 0, INT32_MAX, 0, &version, err));
    if (version != VERSION)
        DK_TRY(dk_fail(err, DK_E_MISMATCH,
                       "%s: is of version %lld, and this library goes on from %d: begin anew with "
                       "augment.overwrite",
                       path, (long long)version, VERSION));
    DK_TRY(read_text(d, "recipe", found.recipe, sizeof found.recipe, err));
    DK_TRY(read_text(d, "teacher", found.teacher, sizeof found.teacher, err));
    DK_TRY(read_text(d, "input", found.input, sizeof found.input, err));
    DK_TRY(read_text(d, "ended", found.ended, sizeof found.ended, err));
    DK_TRY(read_numbers(d, &found, err));
    DK_TRY(check_same(&found, saved, path, out, err));
    if (!steps || (int64_t)steps->size != p->count || found.first >= p->count)
        DK_TRY(dk_fail(err, DK_E_FORMAT, "%s: has not the steps of the recipe", path));
    for (int64_t i = 0; i < p->count; i++)
        DK_TRY(read_step(&p->links[i], steps->items[i], i >= found.first && strcmp(found.ended, "whole") != 0, path,
                         err)); /* what is whole remembers nothing any more */
    *saved = found;
out:
    dk_document_free(d);
    return rc;
}
