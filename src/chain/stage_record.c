/* stage_record.c - stage.json in the output folder of a stage: its recipe and what its files held when it began; and
 * what is another since then. Files are known by size and CRC-32C, wherever they lie: a chain may be moved. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "chain/chain_parts.h"
#include "conf/document.h"

#define FORMAT "libdistill stage"
enum { VERSION = 1 };

static char *in_output(const di_stages *s, const di_stage *stage, const char *name)
{
    return dk_path_join(s->host, stage->output, name);
}

/* ---- what a file or a folder holds ---- */

typedef struct print {
    dk_host *host;
    const char *folder;
    uint64_t bytes;
    uint32_t crc;
} print;

static int32_t add_file(print *p, const char *path, dk_error *err)
{
    uint64_t size = 0;
    uint32_t crc = 0;
    int32_t rc = di_file_checksum(p->host, path, &size, &crc, err);
    uint8_t bytes[4] = {(uint8_t)crc, (uint8_t)(crc >> 8), (uint8_t)(crc >> 16), (uint8_t)(crc >> 24)};
    p->bytes += size;
    p->crc = dk_crc32c(p->crc, bytes, sizeof bytes);
    return rc;
}

/* Files of a model; not what a run tells of itself, which has times in it. */
static int32_t add_listed(void *user, const char *name, int32_t is_dir, dk_error *err)
{
    static const char *const of_run[] = {"result.json", "metrics.jsonl", "stage.json", "report.html"};
    print *p = user;
    if (is_dir || dk_is_temporary(name)) return DK_OK;
    for (size_t i = 0; i < sizeof of_run / sizeof *of_run; i++)
        if (strcmp(of_run[i], name) == 0) return DK_OK;
    char *path = dk_path_join(p->host, p->folder, name);
    int32_t rc = path ? add_file(p, path, err) : dk_fail_nomem(err, strlen(name));
    p->crc = dk_crc32c(p->crc, name, strlen(name));
    dk_free(p->host, path);
    return rc;
}

static int32_t fingerprint(print *p, const char *path, dk_error *err)
{
    if (dk_path_exists(path) != 2) return add_file(p, path, err);
    p->folder = path;
    return dk_dir_list(p->host, path, add_listed, p, err);
}

/* ---- the record ---- */

typedef struct recorder {
    const di_stages *stages;
    di_options *options; /* a copy in which paths are no more */
    dk_strbuf *out;
    int64_t count;
} recorder;

static int32_t record_input(void *user, const char *key, const char *path, dk_error *err)
{
    recorder *r = user;
    print p = {.host = r->stages->host};
    if (di_stage_is_idle(r->options, key)) return DK_OK;
    int32_t rc = fingerprint(&p, path, err);
    dk_strbuf_printf(r->out, "%s\n{\"key\":\"%s\",\"path\":", r->count++ ? "," : "", key);
    dk_strbuf_json(r->out, path, strlen(path));
    dk_strbuf_printf(r->out, ",\"bytes\":%llu,\"crc32c\":%u}", (unsigned long long)p.bytes, (unsigned)p.crc);
    return rc;
}

typedef struct keys {
    char key[256][DI_STAGE_KEY];
    int64_t count;
} keys;

static int32_t keep_key(void *user, const char *key, const char *path, dk_error *err)
{
    keys *k = user;
    (void)path, (void)err;
    if (k->count < 256) snprintf(k->key[k->count++], DI_STAGE_KEY, "%s", key);
    return DK_OK;
}

/* Where files lie, how much is told and kept on the way: not what the stage is. A file's name may name its source. */
static int32_t forget_places(di_options *o, keys *k, dk_error *err)
{
    static const char *const silent[] = {"name",
                                         "generate",
                                         "output.path",
                                         "output.overwrite",
                                         "output.metrics",
                                         "teacher.mmap",
                                         "teacher.cache.path",
                                         "student.mmap",
                                         "data.token_cache",
                                         "train.checkpoint_every",
                                         "train.checkpoint_minutes",
                                         "train.checkpoint_keep",
                                         "train.log_every"};
    int32_t rc;
    DK_TRY(di_stage_paths(o, keep_key, k, err));
    for (int64_t i = 0; i < k->count; i++) {
        const char *path = di_options_text(o, k->key[i]);
        const int32_t data = strncmp(k->key[i], "data.", 5) == 0;
        char name[256];
        snprintf(name, sizeof name, "%.250s", data ? dk_path_name(path) : "-");
        DK_TRY(di_options_set_str(o, k->key[i], *name ? name : "-", err));
    }
    for (int64_t i = 0; i < di_options_list_size(o, "teachers"); i++) { /* a cache that is filled grows meanwhile */
        char key[DI_STAGE_KEY];
        snprintf(key, sizeof key, "teachers.%.100s.cache.path", di_options_name(di_options_item(o, "teachers", i)));
        const int32_t given = di_options_is_set(o, key);
        if (given) DK_TRY(di_options_set_str(o, key, "-", err));
    }
    for (size_t i = 0; i < sizeof silent / sizeof *silent; i++) DK_TRY(di_options_set(o, silent[i], NULL, err));
out:
    return rc;
}

static int32_t plain_options(const di_stages *s, const di_stage *stage, di_options **out, dk_error *err)
{
    keys *k = NULL;
    int32_t rc;
    *out = NULL;
    DK_TRY(dk_new(s->host, 1, &k, err));
    DK_TRY(di_options_copy(stage->options, s->host, -1, out, err));
    DK_TRY(forget_places(*out, k, err));
out:
    dk_free(s->host, k);
    return rc;
}

int32_t di_stage_record(const di_stages *s, const di_stage *stage, dk_strbuf *json, dk_error *err)
{
    recorder r = {s, NULL, json, 0};
    int32_t rc;
    DK_TRY(plain_options(s, stage, &r.options, err));
    dk_strbuf_printf(json, "{\"format\":\"%s\",\"version\":%d,\"name\":\"%s\",\"options\":", FORMAT, VERSION,
                     stage->name);
    DK_TRY(di_options_write_json(r.options, 0, json, err));
    dk_strbuf_puts(json, ",\"inputs\":[");
    DK_TRY(di_stage_paths(stage->options, record_input, &r, err));
    dk_strbuf_puts(json, "]}\n");
    DK_TRY(dk_strbuf_check(json, err));
out:
    di_options_free(r.options);
    return rc;
}

int32_t di_stage_record_write(const di_stages *s, const di_stage *stage, dk_error *err)
{
    char *path = in_output(s, stage, "stage.json");
    dk_strbuf json;
    int32_t rc = path ? DK_OK : dk_fail_nomem(err, strlen(stage->output));
    dk_strbuf_init(&json, s->host);
    if (rc != DK_OK) goto out;
    DK_TRY(di_stage_record(s, stage, &json, err));
    DK_TRY(dk_dir_create(s->host, stage->output, err));
    DK_TRY(dk_file_replace(s->host, path, json.data, json.size, err));
out:
    dk_strbuf_free(&json);
    dk_free(s->host, path);
    return rc;
}

/* ---- what is another ---- */

typedef struct differ {
    const di_stages *stages;
    di_options *before, *now;
    dk_strbuf *out;
    dk_strbuf old_text, new_text;
} differ;

static void on_one_line(dk_strbuf *text)
{
    while (text->size && text->data[text->size - 1] == '\n') text->data[--text->size] = 0;
    for (size_t i = 0; i < text->size; i++)
        if (text->data[i] == '\n') text->data[i] = ';';
}

static int32_t compare_key(differ *d, const char *key, dk_error *err)
{
    dk_error absent;
    int32_t rc;
    dk_strbuf_clear(&d->old_text);
    dk_strbuf_clear(&d->new_text);
    if (di_options_get(d->before, key, &d->old_text, &absent)) dk_strbuf_clear(&d->old_text);
    if (di_options_get(d->now, key, &d->new_text, &absent)) dk_strbuf_clear(&d->new_text);
    DK_TRY(dk_strbuf_check(&d->old_text, err));
    DK_TRY(dk_strbuf_check(&d->new_text, err));
    on_one_line(&d->old_text);
    on_one_line(&d->new_text);
    const char *before = d->old_text.size ? d->old_text.data : "not given",
               *now = d->new_text.size ? d->new_text.data : "not given";
    if (strcmp(before, now) != 0) dk_strbuf_printf(d->out, "%s changed: %.120s -> %.120s", key, before, now);
out:
    return rc;
}

/* Lists and maps with names are compared as one. */
static int32_t is_inside(const char *name)
{
    for (int64_t i = 0; i < di_public_table.group_count; i++) {
        const di_group *group = &di_public_table.groups[i];
        const size_t size = strlen(group->name);
        if (group->shape != DI_GROUP_MAP && strncmp(name, group->name, size) == 0 &&
            (name[size] == '.' || name[size] == '\0'))
            return 1;
    }
    return 0;
}

static int32_t compare_options(differ *d, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < di_public_table.group_count && !d->out->size; i++) {
        const di_group *group = &di_public_table.groups[i];
        if (group->shape != DI_GROUP_MAP) DK_TRY(compare_key(d, group->name, err));
    }
    for (int64_t i = 0; i < di_option_count() && !d->out->size; i++)
        if (!is_inside(di_option_at(i)->name)) DK_TRY(compare_key(d, di_option_at(i)->name, err));
out:
    return rc;
}

static int32_t compare_inputs(differ *d, const dk_node *before, const dk_node *now, dk_error *err)
{
    for (size_t i = 0; now && i < now->size && !d->out->size; i++) {
        const dk_node *input = dk_node_at(now, i), *old = NULL;
        for (size_t k = 0; before && k < before->size; k++)
            if (dk_node_is_text(dk_node_get(dk_node_at(before, k), "key"), dk_node_get(input, "key")->text))
                old = dk_node_at(before, k);
        const dk_node *bytes = dk_node_get(old, "bytes"), *crc = dk_node_get(old, "crc32c"),
                      *path = dk_node_get(old, "path");
        if (bytes && crc && bytes->i64 == dk_node_get(input, "bytes")->i64 &&
            crc->i64 == dk_node_get(input, "crc32c")->i64)
            continue;
        dk_strbuf_printf(d->out, "%s holds other files: %.120s, before it was %.120s", dk_node_get(input, "key")->text,
                         dk_node_get(input, "path")->text, path && path->type == DK_NODE_TEXT ? path->text : "none");
    }
    return dk_strbuf_check(d->out, err);
}

static int32_t read_before(differ *d, const dk_document *doc, dk_error *err)
{
    const dk_node *options = dk_node_get(dk_document_root(doc), "options");
    dk_strbuf json;
    int32_t rc;
    dk_strbuf_init(&json, d->stages->host);
    DK_TRY(di_options_create(d->stages->host, &d->before, err));
    if (options) dk_node_write_json(options, &json);
    DK_TRY(dk_strbuf_check(&json, err));
    if (options) DK_TRY(di_options_parse(d->before, json.data, json.size, dk_document_name(doc), NULL, err));
out:
    dk_strbuf_free(&json);
    return rc;
}

int32_t di_stage_difference(const di_stages *s, const di_stage *stage, dk_strbuf *out, dk_error *err)
{
    differ d = {.stages = s, .out = out};
    dk_document *before = NULL, *now = NULL;
    char *path = in_output(s, stage, "stage.json");
    dk_strbuf json;
    int32_t rc = path ? DK_OK : dk_fail_nomem(err, strlen(stage->output));
    dk_strbuf_init(&json, s->host);
    dk_strbuf_init(&d.old_text, s->host);
    dk_strbuf_init(&d.new_text, s->host);
    if (rc != DK_OK) goto out;
    DK_TRY(dk_json_open(s->host, path, &before, err));
    if (!dk_node_is_text(dk_node_get(dk_document_root(before), "format"), FORMAT))
        DK_TRY(dk_fail(err, DK_E_FORMAT, "%s is not the record of a stage", path));
    DK_TRY(read_before(&d, before, err));
    DK_TRY(plain_options(s, stage, &d.now, err));
    DK_TRY(compare_options(&d, err));
    DK_TRY(di_stage_record(s, stage, &json, err));
    DK_TRY(dk_json_parse(s->host, json.data, json.size, "the stage", &now, err));
    DK_TRY(compare_inputs(&d, dk_node_get(dk_document_root(before), "inputs"),
                          dk_node_get(dk_document_root(now), "inputs"), err));
out:
    di_options_free(d.before);
    di_options_free(d.now);
    dk_document_free(before);
    dk_document_free(now);
    dk_strbuf_free(&json);
    dk_strbuf_free(&d.old_text);
    dk_strbuf_free(&d.new_text);
    dk_free(s->host, path);
    return rc;
}

/* ---- where it stands ---- */

static int32_t has(const di_stages *s, const di_stage *stage, const char *name)
{
    char *path = in_output(s, stage, name);
    const int32_t found = path && dk_path_exists(path);
    dk_free(s->host, path);
    return found;
}

int32_t di_stage_look(const di_stages *s, const di_stage *stage, di_stage_state *out, dk_error *err)
{
    const int32_t result = has(s, stage, "result.json"),
                  model = has(s, stage, "config.json") || has(s, stage, DI_GGUF_NAME);
    char *checkpoint = NULL;
    int32_t rc = di_checkpoint_newest(s->host, stage->output, &checkpoint, err);
    if (rc != DK_OK) return rc;
    if (!has(s, stage, "stage.json"))
        *out = result || model || checkpoint || has(s, stage, "metrics.jsonl") ? DI_STAGE_FOREIGN : DI_STAGE_NEW;
    else *out = result && model ? DI_STAGE_FINISHED : checkpoint ? DI_STAGE_BEGUN : DI_STAGE_NEW;
    dk_free(s->host, checkpoint);
    return DK_OK;
}
