/* Trees as YAML and as JSON. */
#include "options/values.h"

#include <stdio.h>
#include <string.h>

typedef struct writer {
    const di_options *root;
    const di_table *table;
    dk_strbuf *out;
    int32_t json, defaults;
    int32_t indent; /* YAML: of the line that comes next */
    int32_t dash;   /* that line begins an item */
} writer;

/* Plain YAML where it cannot be read as anything but this text, else the quoted form that JSON and YAML share. */
static int32_t is_plain(const char *text)
{
    static const char *const words[] = {"null", "true", "false"};
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_/";
    if (!*text || !strchr(letters, *text)) return 0;
    for (const char *at = text; *at; at++)
        if (!strchr(letters, *at) && !strchr("0123456789.-", *at)) return 0;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t n = 0;
        while (text[n] && (text[n] | 0x20) == words[i][n]) n++;
        if (!text[n] && !words[i][n]) return 0;
    }
    return 1;
}

static void write_text(const writer *w, const char *text)
{
    if (!w->json && is_plain(text)) dk_strbuf_puts(w->out, text);
    else dk_strbuf_json(w->out, text, strlen(text));
}

/* ---- options ---- */

static void write_course(const writer *w, double from, const di_course *course)
{
    static const char *const names[] = {"", "linear", "cosine", "step"};
    const char *quote = w->json ? "\"" : "", *colon = w->json ? "\":" : ": ", *comma = w->json ? ",\"" : ", ";
    dk_strbuf_printf(w->out, "{%sschedule%s%s%s%s%sfrom%s", quote, colon, quote, names[course->kind], quote, comma,
                     colon);
    dk_strbuf_f64(w->out, from);
    dk_strbuf_printf(w->out, "%sto%s", comma, colon);
    dk_strbuf_f64(w->out, course->to);
    dk_strbuf_printf(w->out, "%ssteps%s%lld}", comma, colon, (long long)course->steps);
}

static void write_list(const writer *w, const di_option_info *row, const di_value *value)
{
    dk_strbuf_puts(w->out, "[");
    for (int64_t i = 0; i < value->size; i++) {
        const di_item *item = &value->items[i];
        if (i) dk_strbuf_puts(w->out, w->json ? "," : ", ");
        if (item->text) dk_strbuf_json(w->out, item->text, strlen(item->text));
        else if (item->course.kind != DI_CONSTANT) write_course(w, item->f64, &item->course);
        else if (row->item_type == DI_OPTION_NUMBER) dk_strbuf_f64(w->out, item->f64);
        else dk_strbuf_printf(w->out, "%lld", (long long)item->i64);
    }
    dk_strbuf_puts(w->out, "]");
}

static void write_value(const writer *w, const di_option_info *row, const di_value *value)
{
    const int32_t is_text = row->type == DI_OPTION_TEXT || row->type == DI_OPTION_PATH || row->type == DI_OPTION_CHOICE;
    if (is_text) write_text(w, value ? value->text : row->default_text);
    else if (!value) dk_strbuf_puts(w->out, row->default_text);
    else if (row->type == DI_OPTION_LIST && value->text) write_text(w, value->text); /* auto:N */
    else if (row->type == DI_OPTION_LIST) write_list(w, row, value);
    else if (row->type == DI_OPTION_FLAG) dk_strbuf_puts(w->out, value->i64 ? "true" : "false");
    else if ((row->flags & DI_OPTION_AUTO_ZERO) && !value->i64) write_text(w, "auto");
    else if (row->type == DI_OPTION_INT) dk_strbuf_printf(w->out, "%lld", (long long)value->i64);
    else if (value->course.kind != DI_CONSTANT) write_course(w, value->f64, &value->course);
    else dk_strbuf_f64(w->out, value->f64);
}

/* ---- groups ---- */

static void write_map(writer *w, const di_options *node, int64_t group);

static int32_t has_members(const writer *w, const di_options *node, int64_t group);

static int32_t is_item(const di_options *node) { return node && node->is_item; }

/* Is a member of node (NULL = nothing set) written? */
static int32_t wanted(const writer *w, const di_options *node, int64_t group, int64_t id)
{
    const di_option_info *row = di_table_row(w->table, id);
    const di_group *below = di_table_group(w->table, id);
    if (!di_table_is_member(w->table, group, id)) return 0;
    if (di_node_find(node, id)) return 1;
    if (!w->defaults || !di_when_is_met(w->root, node, group, w->table, row ? row->when : below->when)) return 0;
    if (row) return row->default_text && !(is_item(node) && (row->flags & DI_OPTION_ALONE));
    if (below->shape == DI_GROUP_LIST || below->shape == DI_GROUP_NAMED) return 0;
    return has_members(w, NULL, di_table_members(w->table, id));
}

static int32_t has_members(const writer *w, const di_options *node, int64_t group)
{
    for (int64_t id = 0; id < w->table->row_count + w->table->group_count; id++)
        if (wanted(w, node, group, id)) return 1;
    return 0;
}

static void begin_line(writer *w)
{
    const int32_t spaces = w->indent - (w->dash ? 2 : 0);
    for (int32_t i = 0; i < spaces; i++) dk_strbuf_puts(w->out, " ");
    if (w->dash) dk_strbuf_puts(w->out, "- ");
    w->dash = 0;
}

static void write_key(writer *w, const char *key, int32_t first)
{
    if (w->json) {
        dk_strbuf_printf(w->out, "%s\"%s\":", first ? "" : ",", key);
    } else {
        begin_line(w);
        dk_strbuf_printf(w->out, "%s:", key);
    }
}

/* An entry that is one plain value, or a map behind its key. */
static void write_entry(writer *w, const di_options *node)
{
    const int64_t plain = di_table_member(w->table, node->group, "", 0);
    if (plain != DI_NONE) {
        const di_value *value = di_node_find(node, plain);
        if (!w->json) dk_strbuf_puts(w->out, " ");
        if (value) write_value(w, di_table_row(w->table, plain), value);
        else dk_strbuf_puts(w->out, "null");
        if (!w->json) dk_strbuf_puts(w->out, "\n");
    } else if (w->json) {
        write_map(w, node, node->group);
    } else if (!has_members(w, node, node->group)) {
        dk_strbuf_puts(w->out, " {}\n");
    } else {
        dk_strbuf_puts(w->out, "\n");
        w->indent += 2;
        write_map(w, node, node->group);
        w->indent -= 2;
    }
}

static void write_items(writer *w, const di_value *value)
{
    dk_strbuf_puts(w->out, w->json ? "[" : "");
    for (int64_t i = 0; i < value->size; i++) {
        if (w->json && i) dk_strbuf_puts(w->out, ",");
        w->indent += 2;
        w->dash = !w->json;
        if (w->json || has_members(w, value->nodes[i], value->nodes[i]->group)) {
            write_map(w, value->nodes[i], value->nodes[i]->group);
        } else {
            begin_line(w);
            dk_strbuf_puts(w->out, "{}\n");
        }
        w->indent -= 2;
    }
    dk_strbuf_puts(w->out, w->json ? "]" : "");
}

static void write_names(writer *w, const di_value *value)
{
    dk_strbuf_puts(w->out, w->json ? "{" : "");
    for (int64_t i = 0; i < value->size; i++) {
        write_key(w, value->nodes[i]->name, i == 0);
        write_entry(w, value->nodes[i]);
    }
    dk_strbuf_puts(w->out, w->json ? "}" : "");
}

/* What stands behind the key of a group; value NULL = its defaults. */
static void write_group(writer *w, int64_t id, const di_value *value)
{
    const int32_t shape = di_table_group(w->table, id)->shape;
    if (value && shape == DI_GROUP_NAMED) write_names(w, value);
    else if (value && value->is_list) write_items(w, value);
    else write_map(w, value && value->size ? value->nodes[0] : NULL, di_table_members(w->table, id));
}

static void write_map(writer *w, const di_options *node, int64_t group)
{
    int32_t first = 1;
    dk_strbuf_puts(w->out, w->json ? "{" : "");
    for (int64_t id = 0; id < w->table->row_count + w->table->group_count; id++) {
        const di_option_info *row = di_table_row(w->table, id);
        if (!wanted(w, node, group, id)) continue;
        write_key(w, di_table_key(w->table, id), first);
        first = 0;
        if (!w->json) dk_strbuf_puts(w->out, row ? " " : "\n");
        w->indent += 2;
        if (row) write_value(w, row, di_node_find(node, id));
        else write_group(w, id, di_node_find(node, id));
        w->indent -= 2;
        if (!w->json && row) dk_strbuf_puts(w->out, "\n");
    }
    dk_strbuf_puts(w->out, w->json ? "}" : "");
}

static int32_t write_all(const di_options *options, int32_t json, int32_t defaults, dk_strbuf *out, dk_error *err)
{
    writer w = {.root = options, .out = out, .json = json, .defaults = defaults};
    w.table = options ? options->table : &di_public_table;
    write_map(&w, options, options ? options->group : DI_ROOT);
    return dk_strbuf_check(out, err);
}

int32_t di_options_write_yaml(const di_options *options, int32_t defaults, dk_strbuf *out, dk_error *err)
{
    return write_all(options, 0, defaults, out, err);
}

int32_t di_options_write_json(const di_options *options, int32_t defaults, dk_strbuf *out, dk_error *err)
{
    return write_all(options, 1, defaults, out, err);
}

/* ---- one key ---- */

static int32_t fail_range(const char *key, int64_t size, dk_error *err)
{
    return dk_fail(err, DK_E_OPTION, "%.100s: there are %lld, numbered from 0", key, (long long)size);
}

static int32_t get_item(const writer *w, const char *key, const di_option_info *row, const di_place *place,
                        dk_error *err)
{
    const int64_t size = place->value ? place->value->size : 0;
    int64_t index;
    if (!di_part_index(place->rest, strlen(place->rest), &index) || index >= size) return fail_range(key, size, err);
    const di_item *item = &place->value->items[index];
    if (item->text) dk_strbuf_puts(w->out, item->text);
    else if (item->course.kind != DI_CONSTANT) write_course(w, item->f64, &item->course);
    else if (row->item_type == DI_OPTION_NUMBER) dk_strbuf_f64(w->out, item->f64);
    else dk_strbuf_printf(w->out, "%lld", (long long)item->i64);
    return DK_OK;
}

static int32_t get_option(const writer *w, const char *key, const di_place *place, dk_error *err)
{
    const di_option_info *row = di_table_row(w->table, place->id);
    if (place->in_list)
        return dk_fail(err, DK_E_OPTION, "%s: it stands in a list of maps; say which, as in loss.0.%s", key,
                       di_table_key(w->table, place->id));
    if (place->rest && row->type == DI_OPTION_LIST) return get_item(w, key, row, place, err);
    if (place->rest) return di_fail_unknown(w->root, "", key, err);
    if (place->value && place->value->text) dk_strbuf_puts(w->out, place->value->text);
    else if (place->value) write_value(w, row, place->value);
    else if (row->default_text) dk_strbuf_puts(w->out, row->default_text);
    return DK_OK;
}

int32_t di_options_get(const di_options *options, const char *key, dk_strbuf *out, dk_error *err)
{
    writer w = {.root = options, .table = options->table, .out = out};
    di_place place;
    int32_t rc = DK_OK;
    if (!*key) return di_options_write_yaml(options, 0, out, err);
    di_place_find(options, key, &place);
    if (place.size >= 0) return fail_range(key, place.size, err);
    if (place.id == DI_NONE) return di_fail_unknown(options, "", key, err);
    if (di_table_row(w.table, place.id)) DK_TRY(get_option(&w, key, &place, err));
    else if (!place.ends_at_child) write_group(&w, place.id, place.value);
    else if (place.node) write_map(&w, place.node, place.node->group);
    DK_TRY(dk_strbuf_check(out, err));
out:
    return rc;
}
