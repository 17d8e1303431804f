/* Typed members of maps, and nodes as JSON. */
#include "conf/document.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SHOWN = 60 };

int32_t dk_node_is_text(const dk_node *node, const char *text)
{
    return node && node->type == DK_NODE_TEXT && node->size == strlen(text) && !memcmp(node->text, text, node->size);
}

/* NULL where the fallback stands. */
static const dk_node *given(const dk_node *map, const char *key)
{
    const dk_node *node = dk_node_get(map, key);
    return node && node->type != DK_NODE_NULL ? node : NULL;
}

static void show(const dk_node *node, char out[SHOWN + 8])
{
    char number[32];
    switch (node->type) {
    case DK_NODE_NULL:
        strcpy(out, "null");
        break;
    case DK_NODE_BOOL:
        strcpy(out, node->i64 ? "true" : "false");
        break;
    case DK_NODE_INT:
        snprintf(out, SHOWN, "%lld", (long long)node->i64);
        break;
    case DK_NODE_FLOAT:
        dk_format_f64(node->f64, number), strcpy(out, number);
        break;
    case DK_NODE_TEXT:
        snprintf(out, SHOWN, "\"%.*s\"", SHOWN - 8, node->text);
        break;
    case DK_NODE_LIST:
        snprintf(out, SHOWN, "a list of %zu", node->size);
        break;
    default:
        snprintf(out, SHOWN, "a map of %zu", node->size);
        break;
    }
}

static int32_t fail_member(const dk_document *doc, const dk_node *node, const char *wanted, dk_error *err)
{
    char shown[SHOWN + 8], line[24] = "";
    show(node, shown);
    if (node->line) snprintf(line, sizeof line, "%d:", (int)node->line);
    return dk_fail_at(err, DK_E_FORMAT, node->line ? node->line : -1, "%s:%s %.60s is %s, not %s",
                      dk_document_name(doc), line, node->key, shown, wanted);
}

int32_t dk_node_i64(const dk_document *doc, const dk_node *map, const char *key, int64_t low, int64_t high,
                    int64_t fallback, int64_t *out, dk_error *err)
{
    const dk_node *node = given(map, key);
    char wanted[96];
    int64_t value = fallback;
    int32_t fits = 1;
    if (node) {
        fits = node->type == DK_NODE_INT;
        value = node->i64;
        if (node->type == DK_NODE_FLOAT && fabs(node->f64) <= 0x1p53 && floor(node->f64) == node->f64) {
            fits = 1;
            value = (int64_t)node->f64;
        }
        fits = fits && value >= low && value <= high;
    }
    if (!fits) {
        snprintf(wanted, sizeof wanted, "an integer in [%lld, %lld]", (long long)low, (long long)high);
        return fail_member(doc, node, wanted, err);
    }
    *out = value;
    return DK_OK;
}

int32_t dk_node_f64(const dk_document *doc, const dk_node *map, const char *key, double fallback, double *out,
                    dk_error *err)
{
    const dk_node *node = given(map, key);
    if (node && node->type != DK_NODE_INT && node->type != DK_NODE_FLOAT)
        return fail_member(doc, node, "a number", err);
    *out = node ? node->f64 : fallback;
    return DK_OK;
}

int32_t dk_node_bool(const dk_document *doc, const dk_node *map, const char *key, int32_t fallback, int32_t *out,
                     dk_error *err)
{
    const dk_node *node = given(map, key);
    if (node && node->type != DK_NODE_BOOL) return fail_member(doc, node, "true or false", err);
    *out = node ? (int32_t)node->i64 : fallback;
    return DK_OK;
}

int32_t dk_node_text(const dk_document *doc, const dk_node *map, const char *key, const char *fallback,
                     const char **out, dk_error *err)
{
    const dk_node *node = given(map, key);
    if (node && node->type != DK_NODE_TEXT) return fail_member(doc, node, "a text", err);
    *out = node ? node->text : fallback;
    return DK_OK;
}

/* A float keeps a point or an exponent, so that it reads back as a float. JSON has no inf and nan. */
static void write_float(double value, dk_strbuf *out)
{
    char text[32];
    size_t size = dk_format_f64(value, text);
    if (!isfinite(value)) {
        dk_strbuf_puts(out, "null");
        return;
    }
    dk_strbuf_append(out, text, size);
    if (!strpbrk(text, ".e")) dk_strbuf_puts(out, ".0");
}

static void write_children(const dk_node *node, dk_strbuf *out)
{
    int32_t is_map = node->type == DK_NODE_MAP;
    dk_strbuf_puts(out, is_map ? "{" : "[");
    for (size_t i = 0; i < node->size; i++) {
        if (i) dk_strbuf_puts(out, ",");
        if (is_map) {
            dk_strbuf_json(out, node->items[i]->key, node->items[i]->key_size);
            dk_strbuf_puts(out, ":");
        }
        dk_node_write_json(node->items[i], out);
    }
    dk_strbuf_puts(out, is_map ? "}" : "]");
}

void dk_node_write_json(const dk_node *node, dk_strbuf *out)
{
    switch (node ? node->type : DK_NODE_NULL) {
    case DK_NODE_NULL:
        dk_strbuf_puts(out, "null");
        break;
    case DK_NODE_BOOL:
        dk_strbuf_puts(out, node->i64 ? "true" : "false");
        break;
    case DK_NODE_INT:
        dk_strbuf_printf(out, "%lld", (long long)node->i64);
        break;
    case DK_NODE_FLOAT:
        write_float(node->f64, out);
        break;
    case DK_NODE_TEXT:
        dk_strbuf_json(out, node->text, node->size);
        break;
    default:
        write_children(node, out);
        break;
    }
}
