/* dataset_open.c - a file becomes a dataset: told by its bytes, unpacked where it is packed, tokenised or taken from
 * the cache. */
#include <string.h>

#include "dataset/sample.h"
#include "dataset/dataset_parts.h"
#include "dataset/read.h"
#include "dataset/token_file.h"
#include "dataset/unpack.h"

typedef struct opening {
    dk_host *host;
    const char *path;
    dk_tokenizer *tokenizer;
    const di_options *options;
    uint64_t memory_limit;
    di_dataset_progress_fn progress;
    void *user;
} opening;

/* The bytes of a file of data as they are read: mapped, or unpacked. */
typedef struct source {
    dk_mapping map;
    di_spool spool;
    const uint8_t *data;
    uint64_t size;
} source;

static void close_source(source *s)
{
    di_spool_free(&s->spool);
    dk_map_close(&s->map);
}

static int32_t unpack_source(const opening *o, source *s, dk_error *err)
{
    di_packed packed = di_file_packed(s->data, s->size);
    int32_t rc = DK_OK;
    if (packed == DI_PACKED_NONE) return DK_OK;
    DK_TRY(di_unpack(o->host, o->path, packed, s->data, s->size, &s->spool, err));
    DK_TRY(di_spool_finish(&s->spool, &s->data, err));
    s->size = s->spool.size;
    dk_log(o->host, DK_LOG_INFO, "dataset", "%s: %llu bytes of %s are %llu bytes of text", o->path,
           (unsigned long long)s->map.size, di_packed_name(packed), (unsigned long long)s->size);
out:
    return rc;
}

/* What the option says; an array is one whatever the name of the file. */
static di_format format_of(const opening *o, const source *s)
{
    di_format guessed = di_file_guess(o->path, s->data, s->size);
    if (di_options_is(o->options, "data.format", "text")) return DI_FORMAT_TEXT;
    if (di_options_is(o->options, "data.format", "jsonl"))
        return guessed == DI_FORMAT_ARRAY ? DI_FORMAT_ARRAY : DI_FORMAT_JSONL;
    if (guessed == DI_FORMAT_TEXT && di_file_is_table(o->path))
        dk_log(o->host, DK_LOG_WARN, "dataset",
               "%s: a table is read as plain text, its heading and its separators with it; write its rows as JSONL to "
               "learn from their columns",
               o->path);
    return guessed;
}

/* One set of options reads every file of a run, so what one of them does not use is no error, but said. */
static void name_unread(const opening *o, const char *const *keys, const char *holds)
{
    for (; *keys; keys++)
        if (di_options_differs(o->options, *keys))
            dk_log(o->host, DK_LOG_WARN, "dataset", "%s is not used for %s, which holds %s", *keys, o->path, holds);
}

/* The samples of a file whose bytes are known to be text. */
static int32_t read_samples(const opening *o, const source *s, di_format format, di_builder *builder, dk_error *err)
{
    di_encoder encoder;
    di_reading reading = {&encoder, builder, o->path, o->progress, o->user};
    int32_t rc;
    DK_TRY(di_encoder_init(&encoder, o->host, o->tokenizer, o->options, err));
    DK_TRY(di_builder_init(builder, o->host, o->path, o->tokenizer, o->memory_limit, err));
    builder->store->lines = format == DI_FORMAT_JSONL;
    rc = di_read_file(&reading, s->data, s->size, format, di_options_text(o->options, "data.separator"), err);
out:
    di_encoder_free(&encoder);
    return rc;
}

static int32_t tokenise(const opening *o, source *s, di_store **out, dk_error *err)
{
    static const char *const of_samples[] = {"data.chat_template", "data.prompt_loss", NULL};
    di_builder builder = {0};
    int32_t rc;
    DK_TRY(unpack_source(o, s, err));
    DK_TRY(di_file_check_text(o->host, o->path, s->data, s->size, err));
    di_format format = format_of(o, s);
    if (format == DI_FORMAT_TEXT) name_unread(o, of_samples, "text");
    DK_TRY(read_samples(o, s, format, &builder, err));
    DK_TRY(di_builder_finish(&builder, out, err));
out:
    di_builder_free(&builder);
    return rc;
}

static int32_t map_source(const opening *o, source *s, dk_error *err)
{
    memset(s, 0, sizeof *s);
    di_spool_init(&s->spool, o->host, o->memory_limit);
    int32_t rc = dk_map_open(o->host, o->path, 1, &s->map, err);
    s->data = s->map.data;
    s->size = s->map.size;
    return rc;
}

static int32_t open_source(const opening *o, di_store **out, dk_error *err)
{
    const char *folder = di_options_text(o->options, "data.token_cache");
    source s;
    di_store *store = NULL;
    uint8_t key[32];
    int32_t rc;
    DK_TRY(map_source(o, &s, err));
    if (!o->tokenizer) DK_TRY(dk_fail(err, DK_E_INVALID, "%s: text cannot be read without a tokenizer", o->path));
    if (folder && *folder) {
        DK_TRY(di_token_cache_key(o->host, o->path, di_options_text(o->options, "data.format"), o->tokenizer,
                                  o->options, key, err));
        DK_TRY(di_token_cache_open(o->host, folder, o->path, key, o->tokenizer, &store, err));
    }
    if (!store) {
        DK_TRY(tokenise(o, &s, &store, err));
        if (folder && *folder) DK_TRY(di_token_cache_keep(folder, o->path, key, o->tokenizer, &store, err));
    }
    *out = store;
    store = NULL;
out:
    di_store_release(store);
    close_source(&s);
    return rc;
}

int32_t di_dataset_open_limited(dk_host *host, const char *path, dk_tokenizer *tokenizer, const di_options *options,
                                uint64_t memory_limit, di_dataset_progress_fn fn, void *user, di_dataset **out,
                                dk_error *err)
{
    const opening o = {host, path, tokenizer, options, memory_limit, fn, user};
    static const char *const of_text[] = {"data.separator",       "data.chat_template", "data.prompt_loss",
                                          "data.special_in_text", "data.token_cache",   NULL};
    int32_t as_tokens = di_options_is(options, "data.format", "tokens");
    di_rules rules;
    di_store *store;
    int32_t rc;
    di_rules_read(&rules, options);
    as_tokens = as_tokens || (di_options_is(options, "data.format", "auto") && di_token_file_is(host, path));
    if (as_tokens) name_unread(&o, of_text, "tokens");
    if (as_tokens) DK_TRY(di_token_file_open(host, path, tokenizer, NULL, &store, err));
    else {
        DK_TRY(open_source(&o, &store, err));
        if ((rc = di_chat_named(host, tokenizer, options, &store->chat_template, err))) di_store_release(store);
        DK_TRY(rc);
    }
    DK_TRY(di_dataset_create(store, &rules, NULL, out, err));
    di_dataset_tell(*out);
out:
    return rc;
}

int32_t di_dataset_open_watched(dk_host *host, const char *path, dk_tokenizer *tokenizer, const di_options *options,
                                di_dataset_progress_fn fn, void *user, di_dataset **out, dk_error *err)
{
    return di_dataset_open_limited(host, path, tokenizer, options, DI_MEMORY_LIMIT, fn, user, out, err);
}

typedef struct teller { /* tells the log, where nobody else watches */
    dk_host *host;
    const char *path;
    double began, told;
} teller;

static int32_t tell(void *user, int64_t done, int64_t total)
{
    teller *t = user;
    double now = dk_seconds(), share = total > 0 ? (double)done / (double)total : 0;
    if (now - t->told < 2) return 0;
    t->told = now;
    dk_log(t->host, DK_LOG_INFO, "dataset", "tokenising %s: %d %%, %d s left", t->path, (int)(100 * share),
           share > 0 ? (int)((now - t->began) * (1 - share) / share) : -1);
    return 0;
}

int32_t di_dataset_open(dk_host *host, const char *path, dk_tokenizer *tokenizer, const di_options *options,
                        di_dataset **out, dk_error *err)
{
    double now = dk_seconds();
    teller t = {host, path, now, now};
    return di_dataset_open_watched(host, path, tokenizer, options, tell, &t, out, err);
}

/* ---- what a file is, without a tokenizer ---- */

int32_t di_dataset_inspect(dk_host *host, const char *path, dk_strbuf *json, dk_error *err)
{
    const opening o = {.host = host, .path = path, .memory_limit = DI_MEMORY_LIMIT};
    di_builder builder = {0};
    dk_error problem;
    source s;
    int32_t rc;
    dk_error_clear(&problem);
    DK_TRY(map_source(&o, &s, err));
    di_packed packed = di_file_packed(s.data, s.size);
    DK_TRY(unpack_source(&o, &s, err));
    DK_TRY(di_file_check_text(host, path, s.data, s.size, err));
    di_format format = format_of(&o, &s);
    read_samples(&o, &s, format, &builder, &problem);
    dk_strbuf_printf(json, "{\"kind\":\"data\",\"format\":\"%s\",\"packed\":\"%s\",\"bytes\":%llu,\"text_bytes\":%llu",
                     di_format_name(format), di_packed_name(packed), (unsigned long long)s.map.size,
                     (unsigned long long)s.size);
    dk_strbuf_printf(json, ",\"samples\":%lld,\"whole\":%s", builder.store ? (long long)builder.store->empty : 0,
                     problem.code ? "false" : "true");
    if (problem.code) {
        dk_strbuf_puts(json, ",\"problem\":");
        dk_strbuf_json(json, problem.message, strlen(problem.message));
    }
    dk_strbuf_puts(json, "}");
    rc = problem.code == DK_E_NOMEM || problem.code == DK_E_CANCELLED ? problem.code : dk_strbuf_check(json, err);
    if (rc == problem.code && rc != DK_OK && err) *err = problem;
out:
    di_builder_free(&builder);
    close_source(&s);
    return rc;
}
