/* print.c - JSON and text on stdout. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* Unicode, table 3-7. */
size_t cli_utf8_length(const unsigned char *text, size_t size)
{
    unsigned char low = 0x80, high = 0xBF;
    size_t length = text[0] < 0x80   ? 1
                    : text[0] < 0xC2 ? 0
                    : text[0] < 0xE0 ? 2
                    : text[0] < 0xF0 ? 3
                    : text[0] < 0xF5 ? 4
                                     : 0;
    if (!length || length > size) return 0;
    if (text[0] == 0xE0) low = 0xA0;
    if (text[0] == 0xED) high = 0x9F;
    if (text[0] == 0xF0) low = 0x90;
    if (text[0] == 0xF4) high = 0x8F;
    for (size_t i = 1; i < length; i++, low = 0x80, high = 0xBF)
        if (text[i] < low || text[i] > high) return 0;
    return length;
}

json_t *cli_json_text(const char *text, size_t size)
{
    char *clean = cli_memory(NULL, 3 * size + 1);
    size_t used = 0;
    for (size_t i = 0; i < size;) {
        size_t length = cli_utf8_length((const unsigned char *)text + i, size - i);
        memcpy(clean + used, length ? text + i : "\xEF\xBF\xBD", length ? length : 3);
        used += length ? length : 3;
        i += length ? length : 1;
    }
    json_t *value = json_stringn(clean, used);
    free(clean);
    return value;
}

json_t *cli_json_real(double value) { return isfinite(value) ? json_real(value) : json_null(); }

json_t *cli_json_ids(const int32_t *ids, int64_t count)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < count; i++) json_array_append_new(list, json_integer(ids[i]));
    return list;
}

int cli_print_json(json_t *value)
{
    int failed = !value || json_dumpf(value, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(value);
    putchar('\n');
    return failed ? cli_message("the result could not be written as JSON") : CLI_DONE;
}

int cli_finish(int code)
{
    if ((fflush(stdout) || ferror(stdout)) && code == CLI_DONE) return cli_message("stdout: %s", strerror(errno));
    return code;
}

char *cli_report_text(const distill_report *report, distill_error *err)
{
    size_t needed = 0;
    if (distill_report_json(report, NULL, 0, &needed, err)) return NULL;
    char *text = cli_memory(NULL, needed);
    if (!distill_report_json(report, text, needed, NULL, err)) return text;
    free(text);
    return NULL;
}

/* A flat view of a JSON value: one line per leaf, dotted names. */
void cli_print_leaves(const json_t *value, const char *name)
{
    const char *key;
    json_t *item;
    if (json_is_object(value)) {
        json_object_foreach((json_t *)value, key, item)
        {
            size_t size = strlen(name) + strlen(key) + 2;
            char *full = cli_memory(NULL, size);
            snprintf(full, size, "%s%s%s", name, *name ? "." : "", key);
            cli_print_leaves(item, full);
            free(full);
        }
        return;
    }
    printf("%-28s ", name);
    if (json_is_string(value)) fwrite(json_string_value(value), 1, json_string_length(value), stdout);
    else json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
    printf("\n");
}

int cli_print_report(distill_report *report, int as_json, distill_error *err, int *whole)
{
    char *text = cli_report_text(report, err);
    distill_report_free(report);
    if (!text) return cli_fail(err);
    json_t *value = json_loads(text, JSON_ALLOW_NUL, NULL);
    if (as_json) printf("%s%s", text, strchr(text, '\n') ? "" : "\n");
    else cli_print_leaves(value, "");
    if (whole) *whole = !json_is_false(json_object_get(value, "whole"));
    json_decref(value);
    free(text);
    return CLI_DONE;
}
