/* sources.c - data.train and data.eval as the options give them: one file, or several sources with names, mixed as
 * data.mix says. */
#include <stdio.h>
#include <string.h>

#include "dataset/dataset_parts.h"
#include "options/suggest.h"

enum { SOURCES_MAX = 64, NAME_MAX = 60 };

typedef struct opener {
    dk_host *host;
    const char *list; /* "data.train" or "data.eval" */
    dk_tokenizer *tokenizer;
    const di_options *options;
    di_dataset *sources[SOURCES_MAX];
    const char *paths[SOURCES_MAX];
    char names[SOURCES_MAX][NAME_MAX + 4];
    double weights[SOURCES_MAX];
    int64_t count;
} opener;

/* ---- names ---- */

/* "data/pt.jsonl.gz" is pt. */
static void stem(const char *path, char out[NAME_MAX + 4])
{
    const char *name = dk_path_name(path), *dot;
    size_t size = strlen(name);
    if (size > 3 && !memcmp(name + size - 3, ".gz", 3)) size -= 3;
    else if (size > 4 && !memcmp(name + size - 4, ".zst", 4)) size -= 4;
    for (dot = name + size - 1; dot > name && *dot != '.'; dot--) {
    }
    if (dot > name) size = (size_t)(dot - name);
    snprintf(out, NAME_MAX + 4, "%.*s", (int)(size < NAME_MAX ? size : NAME_MAX), name);
}

static int32_t is_name(const char *text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789-";
    return *text && strlen(text) <= NAME_MAX && !text[strspn(text, letters)] && memchr(letters, *text, 53) != NULL;
}

static int32_t read_name(opener *o, const di_options *item, dk_error *err)
{
    const char *given = di_options_text(item, "source");
    char *name = o->names[o->count];
    if (given && !is_name(given))
        return dk_fail(err, DK_E_OPTION,
                       "%s.%lld.source \"%.80s\" is no name; names have up to %d letters, digits, _ and -, and begin "
                       "with a letter",
                       o->list, (long long)o->count, given, NAME_MAX);
    if (given) snprintf(name, NAME_MAX + 4, "%s", given);
    else stem(o->paths[o->count], name);
    for (int64_t s = 0; s < o->count; s++)
        if (!strcmp(o->names[s], name))
            return dk_fail(err, DK_E_OPTION,
                           "%s: two sources are called %s (%.120s and %.120s): give one of them another name, source: "
                           "NAME",
                           o->list, name, o->paths[s], o->paths[o->count]);
    return DK_OK;
}

/* ---- files ---- */

/* An option of a source stands in for that of the section, which has the same name behind "data.". */
static int32_t stand_in(dk_host *host, di_options *own, const di_options *item, int32_t given, const char *key,
                        dk_error *err)
{
    dk_strbuf text;
    int32_t rc;
    if (!given) return DK_OK;
    dk_strbuf_init(&text, host);
    DK_TRY(di_options_get(item, strchr(key, '.') + 1, &text, err));
    DK_TRY(dk_strbuf_check(&text, err));
    DK_TRY(di_options_set_str(own, key, text.data ? text.data : "", err));
out:
    dk_strbuf_free(&text);
    return rc;
}

static int32_t options_of(const opener *o, const di_options *item, di_options **out, dk_error *err)
{
    int32_t rc;
    DK_TRY(di_options_copy(o->options, o->host, 1 << DI_DATA, out, err));
    DK_TRY(stand_in(o->host, *out, item, di_options_is_set(item, "format"), "data.format", err));
    DK_TRY(stand_in(o->host, *out, item, di_options_is_set(item, "separator"), "data.separator", err));
    DK_TRY(stand_in(o->host, *out, item, di_options_is_set(item, "chat_template"), "data.chat_template", err));
    DK_TRY(stand_in(o->host, *out, item, di_options_is_set(item, "prompt_loss"), "data.prompt_loss", err));
out:
    return rc;
}

static int32_t open_source(opener *o, int64_t source, dk_error *err)
{
    di_dataset **out = &o->sources[source];
    di_options *own = NULL;
    int32_t rc;
    DK_TRY(options_of(o, di_options_item(o->options, o->list, source), &own, err));
    DK_TRY(di_dataset_open(o->host, o->paths[source], o->tokenizer, own, out, err));
    if (!((*out)->name = dk_strdup(o->host, o->names[source]))) rc = dk_fail_nomem(err, NAME_MAX);
out:
    di_options_free(own);
    return rc;
}

/* Before a file is opened, which may take long. */
static int32_t read_list(opener *o, dk_error *err)
{
    const int64_t count = di_options_list_size(o->options, o->list);
    int32_t rc = DK_OK;
    if (!count) return dk_fail(err, DK_E_OPTION, "%s is not set", o->list);
    if (count > SOURCES_MAX) return dk_fail(err, DK_E_OPTION, "%s has more than %d sources", o->list, SOURCES_MAX);
    for (; o->count < count; o->count++) {
        const di_options *item = di_options_item(o->options, o->list, o->count);
        if (!(o->paths[o->count] = di_options_text(item, "path")))
            return dk_fail(err, DK_E_OPTION, "%s.%lld has no path: give {path: FILE}", o->list, (long long)o->count);
        DK_TRY(read_name(o, item, err));
    }
out:
    return rc;
}

/* ---- weights ---- */

static int32_t fail_unknown(const opener *o, const char *name, dk_error *err)
{
    char all[SOURCES_MAX * 8] = "", near[NAME_MAX + 4];
    for (int64_t s = 0; s < o->count && strlen(all) + NAME_MAX + 4 < sizeof all; s++)
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", s ? "|" : "", o->names[s]);
    const char *meant = di_choice_suggest(all, name, near, sizeof near);
    return dk_fail(err, DK_E_OPTION, "data.mix.%s is not a source of data.train (%s)%s%s%s", name, all,
                   meant ? "; did you mean " : "", meant ? meant : "", meant ? "?" : "");
}

static int32_t read_mix(opener *o, dk_error *err)
{
    double sum = 0;
    for (int64_t s = 0; s < o->count; s++) o->weights[s] = -1;
    for (int64_t i = 0; i < di_options_list_size(o->options, "data.mix"); i++) {
        const di_options *entry = di_options_item(o->options, "data.mix", i);
        int64_t s = 0;
        while (s < o->count && strcmp(o->names[s], di_options_name(entry)) != 0) s++;
        if (s == o->count) return fail_unknown(o, di_options_name(entry), err);
        o->weights[s] = di_options_f64(entry, "");
        sum += o->weights[s];
    }
    for (int64_t s = 0; s < o->count; s++)
        if (o->weights[s] < 0)
            return dk_fail(err, DK_E_OPTION,
                           "data.mix has no weight for the source %s: give it one (0 leaves it out)%s", o->names[s],
                           is_name(o->names[s]) ? "" : ", and a name for it with source: NAME");
    if (!(sum > 0)) return dk_fail(err, DK_E_OPTION, "all weights of data.mix are 0: nothing would be trained on");
    for (int64_t s = 0; s < o->count; s++)
        if (o->weights[s] == 0)
            dk_log(o->host, DK_LOG_WARN, "dataset", "the source %s has weight 0 in data.mix: it is not trained on",
                   o->names[s]);
    return DK_OK;
}

int32_t di_dataset_open_list(dk_host *host, const char *list, dk_tokenizer *tokenizer, const di_options *options,
                             di_dataset **out, dk_error *err)
{
    const int32_t mixed = !strcmp(list, "data.train") && di_options_list_size(options, "data.mix") > 0;
    opener o = {.host = host, .list = list, .tokenizer = tokenizer, .options = options};
    int32_t rc;
    DK_TRY(read_list(&o, err));
    if (mixed) DK_TRY(read_mix(&o, err));
    for (int64_t s = 0; s < o.count; s++) DK_TRY(open_source(&o, s, err));
    if (o.count == 1) *out = di_dataset_retain(o.sources[0]);
    else rc = di_dataset_mix(host, o.sources, o.count, mixed ? o.weights : NULL, out, err);
out:
    for (int64_t s = 0; s < o.count; s++) di_dataset_release(o.sources[s]);
    return rc;
}
