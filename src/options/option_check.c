/* One value against one row of the table. */
#include "options/suggest.h"
#include "options/values.h"

#include "base/file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SHOWN = 80 };

typedef struct spot { /* where a value goes: errors say path, which has the numbers and names that the row has not */
    dk_host *host;
    const di_option_info *row;
    const char *path, *folder;
} spot;

/* What stands in a message for a value of the wrong kind. */
static void show(const dk_node *node, char out[SHOWN + 8])
{
    char number[32] = "null";
    switch (node->type) {
    case DK_NODE_LIST:
        strcpy(out, "[a list]");
        return;
    case DK_NODE_MAP:
        strcpy(out, "{a map}");
        return;
    case DK_NODE_TEXT:
        snprintf(out, SHOWN, "\"%.*s\"", SHOWN - 8, node->text);
        return;
    case DK_NODE_INT:
        snprintf(number, sizeof number, "%lld", (long long)node->i64);
        break;
    case DK_NODE_FLOAT:
        dk_format_f64(node->f64, number);
        break;
    case DK_NODE_BOOL:
        strcpy(number, node->i64 ? "true" : "false");
        break;
    default:
        break;
    }
    snprintf(out, SHOWN, "%s", number);
}

static int32_t fail_kind(const spot *at, const dk_node *node, const char *wanted, dk_error *err)
{
    char shown[SHOWN + 8];
    show(node, shown);
    return dk_fail(err, DK_E_OPTION, "%s %s is not %s", at->path, shown, wanted);
}

static int32_t check_bounds(const spot *at, const dk_node *node, double value, dk_error *err)
{
    const di_option_info *row = at->row;
    const int32_t open_high = (row->flags & DI_OPTION_OPEN_HIGH) != 0, or_zero = (row->flags & DI_OPTION_OR_ZERO) != 0;
    char shown[SHOWN + 8], low[32], high[32];
    if (row->low == 0 && row->high == 0 && value == value) return DK_OK;
    if (value >= row->low && (open_high ? value < row->high : value <= row->high)) return DK_OK;
    if (or_zero && value == 0) return DK_OK;
    show(node, shown);
    dk_format_f64(row->low, low);
    dk_format_f64(row->high, high);
    if (or_zero)
        return dk_fail(err, DK_E_OPTION, "%s %s is neither 0 nor in [%s, %s%c: %s", at->path, shown, low, high,
                       open_high ? ')' : ']', row->help);
    return dk_fail(err, DK_E_OPTION, "%s %s is not in [%s, %s%c%s%s", at->path, shown, low, high, open_high ? ')' : ']',
                   row->unit ? " " : "", row->unit ? row->unit : "");
}

/* Beyond 2^53 an integer may be rounded down onto its bound. */
static double rounded_up(const dk_node *node)
{
    const int32_t below = node->type == DK_NODE_INT && node->f64 < 0x1p63 && (int64_t)node->f64 < node->i64;
    return below ? nextafter(node->f64, INFINITY) : node->f64;
}

static int32_t check_int(const spot *at, const dk_node *node, int64_t *out, dk_error *err)
{
    const int32_t any = (at->row->flags & DI_OPTION_AUTO_ZERO) && dk_node_is_text(node, "auto");
    int32_t whole = node->type == DK_NODE_FLOAT && fabs(node->f64) <= 0x1p62 && floor(node->f64) == node->f64;
    if (any) {
        *out = 0;
        return DK_OK;
    }
    if (node->type != DK_NODE_INT && !whole)
        return fail_kind(at, node, at->row->flags & DI_OPTION_AUTO_ZERO ? "an integer or auto" : "an integer", err);
    int32_t rc = check_bounds(at, node, rounded_up(node), err);
    if (!rc) *out = whole ? (int64_t)node->f64 : node->i64;
    return rc;
}

static int32_t check_number(const spot *at, const dk_node *node, double *out, dk_error *err)
{
    if (node->type != DK_NODE_INT && node->type != DK_NODE_FLOAT) return fail_kind(at, node, "a number", err);
    int32_t rc = check_bounds(at, node, node->f64, err);
    if (!rc) *out = node->f64;
    return rc;
}

static int32_t check_flag(const spot *at, const dk_node *node, int64_t *out, dk_error *err)
{
    if (node->type == DK_NODE_BOOL || (node->type == DK_NODE_INT && (node->i64 == 0 || node->i64 == 1)))
        *out = node->i64;
    else if (dk_node_is_text(node, "yes") || dk_node_is_text(node, "on")) *out = 1;
    else if (dk_node_is_text(node, "no") || dk_node_is_text(node, "off")) *out = 0;
    else return fail_kind(at, node, "true or false", err);
    return DK_OK;
}

/* A scalar of any type has a spelling, and a text takes it: `separator: 1` is the text "1". */
static int32_t check_text(const spot *at, const dk_node *node, char **out, dk_error *err)
{
    if (node->type == DK_NODE_LIST || node->type == DK_NODE_MAP || !node->text)
        return fail_kind(at, node, "a text", err);
    if (strlen(node->text) != node->size)
        return dk_fail(err, DK_E_OPTION, "%s: a NUL character cannot be part of a text", at->path);
    *out = dk_strdup(at->host, node->text);
    return *out ? DK_OK : dk_fail_nomem(err, (uint64_t)node->size + 1);
}

/* on and off are true and false to other readers of YAML, and what these write */
static const char *truth_of(const spot *at, const dk_node *node)
{
    const char *word = node->i64 ? "on" : "off";
    return node->type == DK_NODE_BOOL && di_option_has_choice(at->row->choices, word, strlen(word)) ? word : NULL;
}

static int32_t fail_choice(const spot *at, const dk_node *node, const char *otherwise, dk_error *err)
{
    char near[SHOWN];
    const char *meant = di_choice_suggest(at->row->choices, node->text, near, sizeof near);
    if (!strchr(at->row->choices, '|'))
        return dk_fail(err, DK_E_OPTION, "%s \"%.60s\" is not %s, the only value that it takes; %s", at->path,
                       node->text, at->row->choices, at->row->help);
    return dk_fail(err, DK_E_OPTION, "%s \"%.60s\" is none of %s%s%s%s%s", at->path, node->text, at->row->choices,
                   otherwise, meant ? "; did you mean " : "", meant ? meant : "", meant ? "?" : "");
}

static int32_t check_choice(const spot *at, const dk_node *node, char **out, dk_error *err)
{
    const char *truth = truth_of(at, node);
    int32_t rc = DK_OK;
    if (truth) {
        *out = dk_strdup(at->host, truth);
        return *out ? DK_OK : dk_fail_nomem(err, strlen(truth) + 1);
    }
    rc = check_text(at, node, out, err);
    if (rc || di_option_has_choice(at->row->choices, node->text, node->size)) return rc;
    return fail_choice(at, node, "", err);
}

static int32_t check_path(const spot *at, const dk_node *node, di_value *out, dk_error *err)
{
    int32_t rc = check_text(at, node, &out->text, err);
    if (rc) return rc;
    if (!*out->text) return dk_fail(err, DK_E_OPTION, "%s is empty; give a path, or null for none", at->path);
    if (at->row->choices && di_option_has_choice(at->row->choices, out->text, strlen(out->text))) return DK_OK;
    if (at->row->choices && !strpbrk(out->text, "./")) return fail_choice(at, node, " and no path of a file", err);
    if (!at->folder || !strcmp(at->folder, ".")) return DK_OK;
    char *joined = dk_path_join(at->host, at->folder, out->text);
    if (!joined) return dk_fail_nomem(err, strlen(at->folder) + node->size + 2);
    out->written = out->text;
    out->text = joined;
    return DK_OK;
}

/* ---- courses: {schedule: linear, from: 1, to: 0, steps: 100} ---- */

enum { SCHEDULE, FROM, TO, STEPS, KEYS };
static const char *const course_keys[KEYS] = {"schedule", "from", "to", "steps"};

static int32_t is_course(const spot *at, const dk_node *node)
{
    return (at->row->flags & DI_OPTION_SCHEDULE) && node->type == DK_NODE_MAP;
}

static int32_t course_members(const spot *at, const dk_node *map, const dk_node *out[KEYS], dk_error *err)
{
    for (size_t i = 0; i < map->size; i++) {
        int key = 0;
        while (key < KEYS && strcmp(map->items[i]->key, course_keys[key])) key++;
        if (key == KEYS)
            return dk_fail(err, DK_E_OPTION, "%s: %.60s is no key of a schedule; it has schedule, from, to and steps",
                           at->path, map->items[i]->key);
        out[key] = map->items[i];
    }
    for (int key = 0; key < KEYS; key++)
        if (!out[key])
            return dk_fail(err, DK_E_OPTION, "%s: the schedule lacks %s; it has schedule, from, to and steps", at->path,
                           course_keys[key]);
    return DK_OK;
}

static int32_t check_course(const spot *at, const dk_node *map, double *from, di_course *out, dk_error *err)
{
    static const di_option_info kinds = {.type = DI_OPTION_CHOICE, .choices = "linear|cosine|step"};
    static const di_option_info lengths = {.type = DI_OPTION_INT, .low = 1, .high = 1e12, .unit = "steps"};
    const dk_node *members[KEYS] = {NULL};
    char path[KEYS][DI_PATH_MAX + 16], *kind = NULL;
    int32_t rc;
    for (int key = 0; key < KEYS; key++) snprintf(path[key], sizeof path[key], "%s.%s", at->path, course_keys[key]);
    const spot kind_at = {at->host, &kinds, path[SCHEDULE], NULL}, steps_at = {at->host, &lengths, path[STEPS], NULL},
               from_at = {at->host, at->row, path[FROM], NULL}, to_at = {at->host, at->row, path[TO], NULL};
    DK_TRY(course_members(at, map, members, err));
    DK_TRY(check_choice(&kind_at, members[SCHEDULE], &kind, err));
    DK_TRY(check_number(&from_at, members[FROM], from, err));
    DK_TRY(check_number(&to_at, members[TO], &out->to, err));
    DK_TRY(check_int(&steps_at, members[STEPS], &out->steps, err));
    out->kind = *kind == 'l' ? DI_LINEAR : *kind == 'c' ? DI_COSINE : DI_STEP;
out:
    dk_free(at->host, kind);
    return rc;
}

/* ---- lists ---- */

static int32_t check_item(const spot *at, const dk_node *node, di_item *out, dk_error *err)
{
    if (at->row->item_type == DI_OPTION_INT) return check_int(at, node, &out->i64, err);
    if (is_course(at, node)) return check_course(at, node, &out->f64, &out->course, err);
    if (at->row->item_type == DI_OPTION_NUMBER) return check_number(at, node, &out->f64, err);
    return check_text(at, node, &out->text, err);
}

/* auto:N; no text in out = it is something else. */
static int32_t check_auto(const spot *at, const dk_node *node, di_value *out, dk_error *err)
{
    static const char begin[] = "auto";
    const size_t size = sizeof begin - 1;
    if (!(at->row->flags & DI_OPTION_OR_AUTO) || node->type != DK_NODE_TEXT || strncmp(node->text, begin, size) != 0)
        return DK_OK;
    if (node->text[size] != ':' || dk_parse_i64(node->text + size + 1, node->size - size - 1, &out->i64) == 0 ||
        out->i64 < 1 || (double)out->i64 > at->row->high)
        return dk_fail(err, DK_E_OPTION, "%s \"%.40s\": auto:N takes a number N in [1, %.0f], as in auto:10", at->path,
                       node->text, at->row->high);
    out->text = dk_strdup(at->host, node->text);
    return out->text ? DK_OK : dk_fail_nomem(err, node->size + 1);
}

/* One plain value is a list of one. */
static int32_t check_list(const spot *at, const dk_node *node, di_value *out, dk_error *err)
{
    const dk_node *const *items = node->type == DK_NODE_LIST ? node->items : &node;
    int64_t size = node->type == DK_NODE_LIST ? (int64_t)node->size : 1;
    int32_t rc;
    if ((rc = check_auto(at, node, out, err)) != DK_OK || out->text) return rc;
    if (node->type == DK_NODE_MAP && !is_course(at, node)) return fail_kind(at, node, "a list", err);
    if (!size && !(at->row->flags & DI_OPTION_OR_EMPTY))
        return dk_fail(err, DK_E_OPTION, "%s is an empty list; give at least one item, or null for none", at->path);
    DK_TRY(dk_new(at->host, size, &out->items, err));
    for (; out->size < size; out->size++) DK_TRY(check_item(at, items[out->size], &out->items[out->size], err));
out:
    return rc;
}

/* ---- any ---- */

static int32_t check_type(const spot *at, const dk_node *node, di_value *out, dk_error *err)
{
    int32_t rc;
    switch (at->row->type) {
    case DI_OPTION_INT:
        rc = check_int(at, node, &out->i64, err);
        out->f64 = (double)out->i64;
        return rc;
    case DI_OPTION_NUMBER:
        if (is_course(at, node)) return check_course(at, node, &out->f64, &out->course, err);
        return check_number(at, node, &out->f64, err);
    case DI_OPTION_FLAG:
        return check_flag(at, node, &out->i64, err);
    case DI_OPTION_PATH:
        return check_path(at, node, out, err);
    case DI_OPTION_CHOICE:
        return check_choice(at, node, &out->text, err);
    case DI_OPTION_LIST:
        return check_list(at, node, out, err);
    default:
        return check_text(at, node, &out->text, err);
    }
}

/* "recipe.yaml:7", for errors that come later, when other options are known. */
static int32_t note_origin(const spot *at, di_source source, di_value *out, dk_error *err)
{
    char line[16];
    if (!source.name || !source.node->line) return DK_OK;
    snprintf(line, sizeof line, ":%d", (int)source.node->line);
    const size_t size = strlen(source.name) + strlen(line) + 1;
    int32_t rc = dk_new(at->host, (int64_t)size, &out->origin, err);
    if (!rc) snprintf(out->origin, size, "%s%s", source.name, line);
    return rc;
}

int32_t di_check(const di_options *at, int64_t id, const char *path, di_source source, di_value *out, dk_error *err)
{
    const spot where = {at->host, di_table_row(at->table, id), path, source.folder};
    di_value value = {.id = id};
    int32_t rc = check_type(&where, source.node, &value, err);
    if (!rc) rc = note_origin(&where, source, &value, err);
    if (rc) di_value_free(at->host, &value);
    else *out = value;
    return rc;
}
