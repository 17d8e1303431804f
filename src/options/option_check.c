/* One value against one row of the table. */
#include "options/values.h"

#include "base/file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SHOWN = 80 };

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

static int32_t fail_kind(const di_option_info *option, const dk_node *node, const char *wanted, dk_error *err)
{
    char shown[SHOWN + 8];
    show(node, shown);
    return dk_fail(err, DK_E_OPTION, "%s %s is not %s", option->name, shown, wanted);
}

static int32_t check_bounds(const di_option_info *option, const dk_node *node, double value, dk_error *err)
{
    char shown[SHOWN + 8], low[32], high[32];
    const int32_t open_high = (option->flags & DI_OPTION_OPEN_HIGH) != 0;
    if (value >= option->low && (open_high ? value < option->high : value <= option->high)) return DK_OK;
    if ((option->flags & DI_OPTION_OR_ZERO) && value == 0) return DK_OK;
    show(node, shown);
    dk_format_f64(option->low, low);
    dk_format_f64(option->high, high);
    if (option->flags & DI_OPTION_OR_ZERO)
        return dk_fail(err, DK_E_OPTION, "%s %s is neither 0 nor in [%s, %s]: %s", option->name, shown, low, high,
                       option->help);
    return dk_fail(err, DK_E_OPTION, "%s %s is not in [%s, %s%c%s%s", option->name, shown, low, high,
                   open_high ? ')' : ']', option->unit ? " " : "", option->unit ? option->unit : "");
}

static int32_t check_int(const di_option_info *option, const dk_node *node, int64_t *out, dk_error *err)
{
    int32_t whole = node->type == DK_NODE_FLOAT && fabs(node->f64) <= 0x1p62 && floor(node->f64) == node->f64;
    if (node->type != DK_NODE_INT && !whole) return fail_kind(option, node, "an integer", err);
    int32_t rc = check_bounds(option, node, node->f64, err);
    if (!rc) *out = whole ? (int64_t)node->f64 : node->i64;
    return rc;
}

static int32_t check_number(const di_option_info *option, const dk_node *node, double *out, dk_error *err)
{
    if (node->type != DK_NODE_INT && node->type != DK_NODE_FLOAT) return fail_kind(option, node, "a number", err);
    int32_t rc = check_bounds(option, node, node->f64, err);
    if (!rc) *out = node->f64;
    return rc;
}

static int32_t check_flag(const di_option_info *option, const dk_node *node, int64_t *out, dk_error *err)
{
    if (node->type == DK_NODE_BOOL || (node->type == DK_NODE_INT && (node->i64 == 0 || node->i64 == 1)))
        *out = node->i64;
    else if (dk_node_is_text(node, "yes") || dk_node_is_text(node, "on")) *out = 1;
    else if (dk_node_is_text(node, "no") || dk_node_is_text(node, "off")) *out = 0;
    else return fail_kind(option, node, "true or false", err);
    return DK_OK;
}

/* A scalar of any type has a spelling, and a text takes it: `separator: 1` is the text "1". */
static int32_t check_text(dk_host *host, const di_option_info *option, const dk_node *node, char **out, dk_error *err)
{
    if (node->type == DK_NODE_LIST || node->type == DK_NODE_MAP || !node->text)
        return fail_kind(option, node, "a text", err);
    if (strlen(node->text) != node->size)
        return dk_fail(err, DK_E_OPTION, "%s: a NUL character cannot be part of a text", option->name);
    *out = dk_strdup(host, node->text);
    return *out ? DK_OK : dk_fail_nomem(err, (uint64_t)node->size + 1);
}

static int32_t check_choice(dk_host *host, const di_option_info *option, const dk_node *node, char **out, dk_error *err)
{
    char near[SHOWN];
    const char *meant;
    int32_t rc = check_text(host, option, node, out, err);
    if (rc || di_option_has_choice(option, node->text, node->size)) return rc;
    meant = di_choice_suggest(option, node->text, near, sizeof near);
    return dk_fail(err, DK_E_OPTION, "%s \"%.60s\" is none of %s%s%s%s", option->name, node->text, option->choices,
                   meant ? "; did you mean " : "", meant ? meant : "", meant ? "?" : "");
}

static int32_t check_path(dk_host *host, const di_option_info *option, const dk_node *node, const char *folder,
                          char **out, dk_error *err)
{
    int32_t rc = check_text(host, option, node, out, err);
    if (rc) return rc;
    if (!**out) return dk_fail(err, DK_E_OPTION, "%s is empty; give a path, or null for none", option->name);
    if (!folder || !strcmp(folder, ".")) return DK_OK;
    char *joined = dk_path_join(host, folder, *out);
    if (!joined) return dk_fail_nomem(err, strlen(folder) + node->size + 2);
    dk_free(host, *out);
    *out = joined;
    return DK_OK;
}

static int32_t check_item(dk_host *host, const di_option_info *option, const dk_node *node, di_item *out, dk_error *err)
{
    if (option->item_type == DI_OPTION_INT) return check_int(option, node, &out->i64, err);
    return check_text(host, option, node, &out->text, err);
}

/* One plain value is a list of one. */
static int32_t check_list(dk_host *host, const di_option_info *option, const dk_node *node, di_value *out,
                          dk_error *err)
{
    const dk_node *const *items = node->type == DK_NODE_LIST ? node->items : &node;
    int64_t size = node->type == DK_NODE_LIST ? (int64_t)node->size : 1;
    int32_t rc;
    if (node->type == DK_NODE_MAP) return fail_kind(option, node, "a list", err);
    DK_TRY(dk_new(host, size, &out->items, err));
    for (; out->size < size; out->size++)
        DK_TRY(check_item(host, option, items[out->size], &out->items[out->size], err));
out:
    return rc;
}

static int32_t check_type(dk_host *host, const di_option_info *option, const dk_node *node, const char *folder,
                          di_value *out, dk_error *err)
{
    int32_t rc;
    switch (option->type) {
    case DI_OPTION_INT:
        rc = check_int(option, node, &out->i64, err);
        out->f64 = (double)out->i64;
        return rc;
    case DI_OPTION_NUMBER:
        return check_number(option, node, &out->f64, err);
    case DI_OPTION_FLAG:
        return check_flag(option, node, &out->i64, err);
    case DI_OPTION_PATH:
        return check_path(host, option, node, folder, &out->text, err);
    case DI_OPTION_CHOICE:
        return check_choice(host, option, node, &out->text, err);
    case DI_OPTION_LIST:
        return check_list(host, option, node, out, err);
    default:
        return check_text(host, option, node, &out->text, err);
    }
}

int32_t di_check(dk_host *host, int64_t option, const dk_node *node, const char *folder, di_value *out, dk_error *err)
{
    di_value value = {.option = option, .term = DI_NO_TERM};
    int32_t rc = check_type(host, di_option_at(option), node, folder, &value, err);
    if (rc) di_value_free(host, &value);
    else *out = value;
    return rc;
}
