/* generation_config.json: defaults of generation that pass through, and ids that end a text, which are used. */
#include "model/weights.h"

#include "base/notes.h"

#include <stdio.h>
#include <string.h>

int32_t dk_model_add_stop(dk_model *model, int64_t id, dk_error *err)
{
    int32_t rc = dk_config_add_stop(model->host, &model->config, id, err);
    if (!rc && model->config.stop_count) model->config.eos = model->config.stops[0];
    return rc;
}

/* ---- reading ---- */
static int32_t add_stop(dk_model *model, const dk_document *doc, const dk_node *node, dk_error *err)
{
    if (node->type == DK_NODE_NULL || (node->type == DK_NODE_INT && node->i64 == -1)) return DK_OK;
    if (node->type == DK_NODE_INT && node->i64 >= 0 && node->i64 < model->config.vocab_size)
        return dk_model_add_stop(model, node->i64, err);
    dk_config_note_id(&model->config, doc, "eos_token_id", node);
    return DK_OK;
}

static void note_id(dk_model *model, const dk_document *doc, const char *key, int64_t other)
{
    const dk_node *node = dk_node_get(dk_document_root(doc), key);
    if (node && node->type == DK_NODE_INT && other >= 0 && node->i64 != other)
        dk_note(&model->config.notes, "%s: %s is %lld, config.json says %lld; neither is used, the tokenizer's is",
                dk_document_name(doc), key, (long long)node->i64, (long long)other);
}

/* Keys that change what is generated even where nothing is drawn. */
static void note_unused(dk_model *model, const dk_document *doc)
{
    static const struct {
        const char *key;
        double neutral;
    } keys[] = {{"repetition_penalty", 1},
                {"encoder_repetition_penalty", 1},
                {"no_repeat_ngram_size", 0},
                {"bad_words_ids", 0},
                {"suppress_tokens", 0},
                {"begin_suppress_tokens", 0},
                {"forced_bos_token_id", -1},
                {"forced_eos_token_id", -1},
                {"stop_strings", 0},
                {"sequence_bias", 0},
                {"min_length", 0},
                {"min_new_tokens", 0},
                {"num_beams", 1},
                {"guidance_scale", 1}};
    char names[256] = "";
    size_t used = 0;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const dk_node *node = dk_node_get(dk_document_root(doc), keys[i].key);
        int32_t number = node && (node->type == DK_NODE_INT || node->type == DK_NODE_FLOAT);
        if (!node || node->type == DK_NODE_NULL || (number && node->f64 == keys[i].neutral)) continue;
        if ((node->type == DK_NODE_LIST || node->type == DK_NODE_MAP) && !node->size) continue;
        int length = snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", keys[i].key);
        if ((size_t)length >= sizeof names - used) break;
        used += (size_t)length;
    }
    if (used) dk_note(&model->config.notes, "%s: not used in generation: %s", dk_document_name(doc), names);
}

static int32_t read_facts(dk_model *model, const dk_document *doc, dk_error *err)
{
    int32_t rc = DK_OK;
    const dk_node *ends = dk_node_get(dk_document_root(doc), "eos_token_id");
    if (ends && ends->type != DK_NODE_LIST) DK_TRY(add_stop(model, doc, ends, err));
    for (size_t i = 0; ends && ends->type == DK_NODE_LIST && i < ends->size; i++)
        DK_TRY(add_stop(model, doc, ends->items[i], err));
    note_id(model, doc, "bos_token_id", model->config.bos);
    note_id(model, doc, "pad_token_id", model->config.pad);
    note_unused(model, doc);
out:
    return rc;
}

/* A damaged file is not worth an error, as in transformers: it is named, and made anew at the next save. */
int32_t dk_generation_open(dk_model *model, const char *folder, dk_error *err)
{
    int32_t rc = DK_OK;
    dk_error problem = {0};
    char *path = dk_path_join(model->host, folder, "generation_config.json"), *text = NULL;
    size_t size = 0;
    dk_document *doc = NULL;
    if (!path) DK_TRY(dk_fail_nomem(err, strlen(folder) + 24));
    if (dk_path_exists(path) != 1) goto out;
    rc = dk_file_read(model->host, path, 1 << 20, &text, &size, &problem);
    if (!rc) rc = dk_json_parse(model->host, text, size, path, &doc, &problem);
    if (!rc && dk_document_root(doc)->type != DK_NODE_MAP)
        rc = dk_fail(&problem, DK_E_FORMAT, "%s: is not a JSON object", path);
    if (rc == DK_E_NOMEM) {
        rc = dk_fail_nomem(err, size);
    } else if (rc) {
        dk_note(&model->config.notes, "%s; the file is not used", problem.message);
        rc = DK_OK;
    } else {
        DK_TRY(
            dk_config_rewrite(model->host, dk_document_root(doc), NULL, 0, &dk_model_state_of(model)->generation, err));
        DK_TRY(read_facts(model, doc, err));
    }
out:
    dk_document_free(doc);
    dk_free(model->host, text);
    dk_free(model->host, path);
    return rc;
}

/* ---- writing ---- */
/* The ends as JSON: one id, or a list. */
static void put_stops(const dk_config *config, dk_strbuf *out)
{
    if (config->stop_count != 1) dk_strbuf_puts(out, config->stop_count ? "[" : "null");
    for (int64_t i = 0; i < config->stop_count; i++)
        dk_strbuf_printf(out, "%s%d", i ? ", " : "", (int)config->stops[i]);
    if (config->stop_count > 1) dk_strbuf_puts(out, "]");
}

/* A text to begin with where the model came without one: the other ids of config.json. */
static int32_t make_text(const dk_model *model, dk_strbuf *out, dk_error *err)
{
    int32_t rc;
    dk_document *doc = NULL;
    static const char *const keys[] = {"bos_token_id", "pad_token_id"};
    DK_TRY(dk_json_parse(model->host, model->config.json, strlen(model->config.json), "config.json", &doc, err));
    dk_strbuf_puts(out, "{\"_from_model_config\": true");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const dk_node *id = dk_node_get(dk_document_root(doc), keys[i]);
        if (!id || id->type == DK_NODE_NULL) continue;
        dk_strbuf_printf(out, ", \"%s\": ", keys[i]);
        dk_node_write_json(id, out);
    }
    dk_strbuf_puts(out, "}");
    DK_TRY(dk_strbuf_check(out, err));
out:
    dk_document_free(doc);
    return rc;
}

/* Whether the ends that the text lists are all that there are: then it keeps its order. */
static int32_t says_all(const dk_config *config, const dk_node *ends)
{
    int64_t found = 0;
    for (int64_t i = 0; i < config->stop_count; i++)
        for (size_t j = 0; ends && ends->type == DK_NODE_LIST && j < ends->size; j++)
            if (ends->items[j]->type == DK_NODE_INT && ends->items[j]->i64 == config->stops[i]) {
                found++;
                break;
            }
    return ends && found == config->stop_count;
}

int32_t dk_generation_save(const dk_model *model, const char *folder, dk_error *err)
{
    int32_t rc;
    char *text = NULL, *path = dk_path_join(model->host, folder, "generation_config.json");
    dk_document *doc = NULL;
    dk_strbuf from, stops;
    const char *kept = dk_model_state_of(model)->generation;
    dk_strbuf_init(&from, model->host);
    dk_strbuf_init(&stops, model->host);
    if (!path) DK_TRY(dk_fail_nomem(err, strlen(folder) + 24));
    if (kept) dk_strbuf_puts(&from, kept);
    else DK_TRY(make_text(model, &from, err));
    put_stops(&model->config, &stops);
    DK_TRY(dk_strbuf_check(&from, err));
    DK_TRY(dk_strbuf_check(&stops, err));
    DK_TRY(dk_json_parse(model->host, from.data, from.size, path, &doc, err));
    const dk_config_change change = {"eos_token_id", stops.data, model->config.stop_count > 0};
    int32_t keep = says_all(&model->config, dk_node_get(dk_document_root(doc), "eos_token_id"));
    DK_TRY(dk_config_rewrite(model->host, dk_document_root(doc), &change, !keep, &text, err));
    DK_TRY(dk_file_replace(model->host, path, text, strlen(text), err));
out:
    dk_document_free(doc);
    dk_strbuf_free(&from);
    dk_strbuf_free(&stops);
    dk_free(model->host, text);
    dk_free(model->host, path);
    return rc;
}
