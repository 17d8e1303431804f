#include "format/open_tokenizer.h"

#include "base/file.h"
#include "base/notes.h"
#include "format/checkpoint.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MODEL_LIMIT = 1 << 28 }; /* bytes of a tokenizer.model */

typedef struct parts { /* what a dk_vocabulary points to */
    char *model, *pre, *chat_template;
    float *scores;
    int32_t *types;
    char *charsmap;
} parts;

static int32_t read_text_list(const dk_checkpoint *file, const char *key, const dk_slice **out, int64_t *count,
                              dk_error *err)
{
    const dk_metadata *list = dk_metadata_find(file, key);
    if (!list) return DK_OK;
    if (list->type != DK_META_LIST || (list->item_type != DK_META_TEXT && list->count))
        return dk_fail(err, DK_E_FORMAT, "%s: metadata key '%s' is not a list of texts", dk_checkpoint_path(file), key);
    *out = list->texts;
    *count = list->count;
    return DK_OK;
}

/* A list of numbers of one type, one for each token; *out = NULL when the key is absent. */
static int32_t find_number_list(const dk_checkpoint *file, const char *key, dk_metadata_type type, int64_t count,
                                const dk_metadata **out, dk_error *err)
{
    const dk_metadata *list = dk_metadata_find(file, key);
    *out = NULL;
    if (!list) return DK_OK;
    if (list->type != DK_META_LIST || !list->items || list->item_type != type)
        return dk_fail(err, DK_E_FORMAT, "%s: metadata key '%s' is not a list of %s", dk_checkpoint_path(file), key,
                       type == DK_META_INT ? "whole numbers" : "floats");
    if (list->count != count)
        return dk_fail(err, DK_E_FORMAT, "%s: metadata key '%s' has %lld entries for %lld tokens",
                       dk_checkpoint_path(file), key, (long long)list->count, (long long)count);
    *out = list;
    return DK_OK;
}

static int32_t read_scores(const dk_checkpoint *file, const dk_metadata *list, float *out, dk_error *err)
{
    for (int64_t i = 0; i < list->count; i++) {
        double score = dk_metadata_item_f64(list, i);
        if (!(fabs(score) <= FLT_MAX))
            return dk_fail(err, DK_E_FORMAT, "%s: tokenizer.ggml.scores[%lld] is not a number of 32 bits",
                           dk_checkpoint_path(file), (long long)i);
        out[i] = (float)score;
    }
    return DK_OK;
}

static int32_t read_types(const dk_checkpoint *file, const dk_metadata *list, int32_t *out, dk_error *err)
{
    for (int64_t i = 0; i < list->count; i++) {
        int64_t type = dk_metadata_item_i64(list, i);
        if (type < 0 || type > DK_TOKEN_BYTE)
            return dk_fail(err, DK_E_FORMAT, "%s: tokenizer.ggml.token_type[%lld] is %lld; 0 to %d is expected",
                           dk_checkpoint_path(file), (long long)i, (long long)type, (int)DK_TOKEN_BYTE);
        out[i] = type ? (int32_t)type : DK_TOKEN_NORMAL;
    }
    return DK_OK;
}

static int32_t read_numbers(dk_host *host, const dk_checkpoint *file, int64_t count, parts *own, dk_error *err)
{
    int32_t rc;
    const dk_metadata *scores, *types;
    DK_TRY(find_number_list(file, "tokenizer.ggml.scores", DK_META_FLOAT, count, &scores, err));
    DK_TRY(find_number_list(file, "tokenizer.ggml.token_type", DK_META_INT, count, &types, err));
    if (scores) DK_TRY(dk_new(host, count, &own->scores, err));
    if (types) DK_TRY(dk_new(host, count, &own->types, err));
    if (scores) DK_TRY(read_scores(file, scores, own->scores, err));
    if (types) DK_TRY(read_types(file, types, own->types, err));
out:
    return rc;
}

static int32_t read_ids(const dk_checkpoint *file, dk_vocabulary *out, dk_error *err)
{
    int32_t rc;
    int64_t last = out->count - 1;
    DK_TRY(dk_metadata_i64(file, "tokenizer.ggml.bos_token_id", 0, last, -1, &out->bos, err));
    DK_TRY(dk_metadata_i64(file, "tokenizer.ggml.eos_token_id", 0, last, -1, &out->eos, err));
    DK_TRY(dk_metadata_i64(file, "tokenizer.ggml.unknown_token_id", 0, last, -1, &out->unk, err));
    DK_TRY(dk_metadata_i64(file, "tokenizer.ggml.padding_token_id", INT64_MIN, INT64_MAX, -1, &out->pad, err));
    DK_TRY(dk_metadata_bool(file, "tokenizer.ggml.add_bos_token", -1, &out->add_bos, err));
    DK_TRY(dk_metadata_bool(file, "tokenizer.ggml.add_eos_token", -1, &out->add_eos, err));
    DK_TRY(dk_metadata_bool(file, "tokenizer.ggml.add_space_prefix", -1, &out->add_space_prefix, err));
    DK_TRY(dk_metadata_bool(file, "tokenizer.ggml.remove_extra_whitespaces", -1, &out->remove_extra_whitespaces, err));
out:
    return rc;
}

/* Converters fill up the rows of a padded embedding with unused tokens [PAD262], [PAD263], ...: no part of the
 * tokenizer, which the id of a special token may not lie in. */
static void cut_padding(dk_vocabulary *vocabulary)
{
    const int64_t named[] = {vocabulary->bos, vocabulary->eos, vocabulary->unk, vocabulary->pad};
    int64_t needed = 1;
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (named[i] >= needed) needed = named[i] + 1;
    while (vocabulary->types && vocabulary->count > needed) {
        char name[32];
        const dk_slice *last = &vocabulary->tokens[vocabulary->count - 1];
        int length = snprintf(name, sizeof name, "[PAD%lld]", (long long)(vocabulary->count - 1));
        if (vocabulary->types[vocabulary->count - 1] != DK_TOKEN_UNUSED || last->size != (size_t)length ||
            memcmp(last->data, name, last->size) != 0)
            return;
        vocabulary->count--;
    }
}

static int32_t read_charsmap(dk_host *host, const dk_checkpoint *file, parts *own, dk_slice *out, dk_error *err)
{
    const dk_metadata *list = dk_metadata_find(file, "tokenizer.ggml.precompiled_charsmap");
    if (!list || !list->count) return DK_OK;
    if (list->type != DK_META_LIST || !list->items || list->item_type != DK_META_INT)
        return dk_fail(err, DK_E_FORMAT,
                       "%s: metadata key 'tokenizer.ggml.precompiled_charsmap' is not a list of bytes",
                       dk_checkpoint_path(file));
    int32_t rc = dk_new(host, list->count, &own->charsmap, err);
    for (int64_t i = 0; i < list->count && !rc; i++) {
        const int64_t byte = dk_metadata_item_i64(list, i);
        if (byte < -128 || byte > 255)
            rc = dk_fail(err, DK_E_FORMAT, "%s: tokenizer.ggml.precompiled_charsmap[%lld] is %lld, no byte",
                         dk_checkpoint_path(file), (long long)i, (long long)byte);
        else own->charsmap[i] = (char)(uint8_t)byte;
    }
    *out = (dk_slice){own->charsmap, (size_t)list->count};
    return rc;
}

static int32_t read_vocabulary(dk_host *host, const dk_checkpoint *file, parts *own, dk_vocabulary *out, dk_error *err)
{
    int32_t rc;
    dk_vocabulary_init(out);
    DK_TRY(dk_metadata_text(file, "tokenizer.ggml.model", &own->model, err));
    if (!own->model || !strcmp(own->model, "none") || !strcmp(own->model, "no_vocab"))
        DK_TRY(dk_fail(err, DK_E_NOT_FOUND,
                       "%s: has no tokenizer (no key tokenizer.ggml.model, or none); use a file that was converted "
                       "with its vocabulary",
                       dk_checkpoint_path(file)));
    DK_TRY(dk_metadata_text(file, "tokenizer.ggml.pre", &own->pre, err));
    DK_TRY(dk_metadata_text(file, "tokenizer.chat_template", &own->chat_template, err));
    DK_TRY(read_text_list(file, "tokenizer.ggml.tokens", &out->tokens, &out->count, err));
    if (!out->count)
        DK_TRY(dk_fail(err, DK_E_FORMAT, "%s: tokenizer.ggml.tokens is empty or absent", dk_checkpoint_path(file)));
    DK_TRY(read_text_list(file, "tokenizer.ggml.merges", &out->merges, &out->merge_count, err));
    if (!out->merges && !strcmp(own->model, "gpt2") && (!own->pre || strcmp(own->pre, "kimi-k2") != 0))
        DK_TRY(dk_fail(err, DK_E_FORMAT, "%s: tokenizer.ggml.merges is absent, which a \"gpt2\" vocabulary needs",
                       dk_checkpoint_path(file)));
    DK_TRY(read_numbers(host, file, out->count, own, err));
    DK_TRY(read_ids(file, out, err));
    if (out->pad < 0 || out->pad >= out->count) out->pad = -1; /* named by note_keys */
    DK_TRY(read_charsmap(host, file, own, &out->charsmap, err));
    out->model = own->model;
    out->pre = own->pre;
    out->chat_template = own->chat_template;
    out->scores = own->scores;
    out->types = own->types;
    cut_padding(out);
out:
    return rc;
}

/* ---- what is left of a file's keys about text ---- */
static int32_t is_default(const dk_metadata *found)
{
    return found->type == DK_META_TEXT && found->text.size == 7 && !memcmp(found->text.data, "default", 7);
}

/* Converters give tokens that are merged by rank scores that say nothing. */
static int32_t is_constant(const dk_metadata *list)
{
    for (int64_t i = 1; i < list->count; i++)
        if (dk_metadata_item_f64(list, i) != dk_metadata_item_f64(list, 0)) return 0;
    return 1;
}

static int32_t is_known(const dk_metadata *found, const dk_vocabulary *vocabulary)
{
    static const char *const keys[] = {"model",
                                       "tokens",
                                       "token_type",
                                       "bos_token_id",
                                       "eos_token_id",
                                       "unknown_token_id",
                                       "padding_token_id",
                                       "add_bos_token",
                                       "add_eos_token",
                                       "eot_token_id",
                                       "eom_token_id",
                                       "mask_token_id",
                                       "cls_token_id",
                                       "sep_token_id",
                                       "seperator_token_id",
                                       "token_type_count",
                                       "prefix_token_id",
                                       "suffix_token_id",
                                       "middle_token_id",
                                       "fim_pre_token_id",
                                       "fim_suf_token_id",
                                       "fim_mid_token_id",
                                       "fim_pad_token_id",
                                       "fim_rep_token_id",
                                       "fim_sep_token_id"};
    const int32_t unigram = !strcmp(vocabulary->model, "t5"),
                  merged = !unigram && strcmp(vocabulary->model, "llama") != 0;
    const char *key = found->key + 15;
    if (!strcmp(found->key, "tokenizer.chat_template")) return 1;
    if (strncmp(found->key, "tokenizer.ggml.", 15) != 0) return 0;
    if (!strcmp(key, "merges")) return merged;
    if (!strcmp(key, "scores")) return !merged || is_constant(found);
    if (!strcmp(key, "add_space_prefix")) return !merged || !found->i64;
    if (!strcmp(key, "pre")) return merged || is_default(found);
    if (!strcmp(key, "remove_extra_whitespaces") || !strcmp(key, "precompiled_charsmap")) return unigram;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!strcmp(keys[i], key)) return 1;
    return 0;
}

/* A file says so where a family has none, too. */
static void note_padding(const dk_checkpoint *file, int64_t count, dk_strbuf *notes)
{
    const dk_metadata *found = dk_metadata_find(file, "tokenizer.ggml.padding_token_id");
    if (found && found->i64 != -1 && (found->i64 < 0 || found->i64 >= count))
        dk_note(notes, "%s: metadata key '%s' is %lld, no id of its %lld tokens; it is not used",
                dk_checkpoint_path(file), found->key, (long long)found->i64, (long long)count);
}

static int32_t note_keys(dk_host *host, const dk_checkpoint *file, const dk_vocabulary *vocabulary, dk_strbuf *notes,
                         dk_error *err)
{
    dk_strbuf names;
    dk_strbuf_init(&names, host);
    note_padding(file, vocabulary->count, notes);
    for (int64_t i = 0; i < dk_metadata_count(file); i++) {
        const dk_metadata *found = dk_metadata_at(file, i);
        if (strncmp(found->key, "tokenizer.", 10) != 0 || is_known(found, vocabulary)) continue;
        dk_strbuf_printf(&names, "%s%.80s", names.size ? ", " : "", found->key);
    }
    if (names.size) dk_note(notes, "%s: metadata that is not used: %s", dk_checkpoint_path(file), names.data);
    int32_t rc = dk_strbuf_check(&names, err);
    dk_strbuf_free(&names);
    return rc ? rc : dk_strbuf_check(notes, err);
}

/* How much the model in the same file can see. */
static int32_t read_context(dk_host *host, const dk_checkpoint *file, int64_t *out, dk_error *err)
{
    int32_t rc;
    char *name = NULL, key[96];
    DK_TRY(dk_metadata_text(file, "general.architecture", &name, err));
    snprintf(key, sizeof key, "%.60s.context_length", name ? name : "");
    DK_TRY(dk_metadata_i64(file, key, 1, INT32_MAX, 0, out, err));
out:
    dk_free(host, name);
    return rc;
}

static int32_t open_gguf(dk_host *host, const char *path, dk_tokenizer **out, dk_error *err)
{
    int32_t rc;
    dk_checkpoint *file = NULL;
    dk_tokenizer *made = NULL;
    parts own = {0};
    dk_vocabulary vocabulary;
    DK_TRY(dk_checkpoint_open(host, path, DK_OPEN_MMAP | DK_OPEN_VOCABULARY, &file, err));
    DK_TRY(read_vocabulary(host, file, &own, &vocabulary, err));
    DK_TRY(read_context(host, file, &vocabulary.max_length, err));
    rc = dk_tokenizer_from_vocabulary(host, &vocabulary, &made, err);
    if (rc) dk_error_context(err, "%s", path);
    if (rc) goto out;
    DK_TRY(note_keys(host, file, &vocabulary, dk_tokenizer_notes(made), err));
    dk_notes_log(dk_tokenizer_notes(made), host, "tokenizer");
    *out = made;
    made = NULL;
out:
    dk_tokenizer_release(made);
    dk_free(host, own.model);
    dk_free(host, own.pre);
    dk_free(host, own.chat_template);
    dk_free(host, own.scores);
    dk_free(host, own.types);
    dk_free(host, own.charsmap);
    dk_checkpoint_close(file);
    return rc;
}

static int32_t fail_folder(const char *path, dk_error *err)
{
    return dk_fail(err, DK_E_NOT_FOUND,
                   "%s: has no tokenizer.json and no tokenizer.model; copy it there from where the model comes from",
                   path);
}

static int32_t is_model_file(const char *path)
{
    const size_t size = strlen(path);
    return size > 6 && !strcmp(path + size - 6, ".model") && dk_path_exists(path) == 1;
}

static int32_t open_model_file(dk_host *host, const char *path, dk_tokenizer **out, dk_error *err)
{
    char *bytes = NULL;
    size_t size;
    int32_t rc = dk_file_read(host, path, MODEL_LIMIT, &bytes, &size, err);
    if (!rc) rc = dk_tokenizer_from_model(host, path, bytes, size, out, err);
    dk_free(host, bytes);
    return rc;
}

int32_t dk_open_tokenizer(dk_host *host, const char *path, dk_tokenizer **out, dk_error *err)
{
    dk_path_type kind = DK_PATH_MISSING;
    if (is_model_file(path)) return open_model_file(host, path, out, err);
    int32_t rc = dk_path_kind(host, path, &kind, err);
    if (rc) return rc;
    if (kind == DK_PATH_MISSING) return dk_fail(err, DK_E_NOT_FOUND, "%s: there is no such file or folder", path);
    if (kind == DK_PATH_GGUF || kind == DK_PATH_GGUF_VOCABULARY) return open_gguf(host, path, out, err);
    if (dk_path_exists(path) != 2)
        return dk_fail(err, DK_E_FORMAT,
                       "%s: is %s; name a folder with tokenizer.json, a tokenizer.model or a GGUF file", path,
                       dk_path_kind_text(kind));
    rc = dk_tokenizer_open(host, path, out, err);
    return rc == DK_E_NOT_FOUND ? fail_folder(path, err) : rc;
}
