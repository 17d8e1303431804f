/* Functions: range, dict, namespace, raise_exception, strftime_now. */
#include "jinja/jinja_builtin.h"
#include "jinja/jinja_spell.h"

#include <stdio.h>
#include <string.h>

enum { RANGE_LIMIT = 100000 }; /* as the reference's sandbox has it */

static int32_t range(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    int64_t bounds[3] = {0, 0, 1}, length;
    dk_jinja_list *list;
    int32_t rc;
    if (call->rest.count < 1 || call->rest.count > 3)
        return dk_jinja_fail(run, "range takes 1 to 3 integers, not %zu", call->rest.count);
    for (size_t i = 0; i < call->rest.count; i++) {
        if (!dk_jinja_is_integer(&call->rest.items[i]))
            return dk_jinja_fail(run, "range takes integers, not %s", dk_jinja_type_name(&call->rest.items[i]));
        bounds[call->rest.count == 1 ? 1 : i] = call->rest.items[i].as.i64;
    }
    if (!bounds[2]) return dk_jinja_fail(run, "range: a step of 0");
    if (__builtin_sub_overflow(bounds[1], bounds[0], &length)) return dk_jinja_fail(run, "range is too long");
    if ((length > 0) != (bounds[2] > 0)) length = 0;
    if (length && bounds[2] != 1) length = (length + (bounds[2] > 0 ? -1 : 1)) / bounds[2] + 1;
    if (length > RANGE_LIMIT) return dk_jinja_fail(run, "a range of %lld, at most %d", (long long)length, RANGE_LIMIT);
    DK_TRY(dk_jinja_new_list(run, DK_JINJA_RANGE, (size_t)length, &list));
    for (int64_t i = 0; i < length; i++) DK_TRY(dk_jinja_push(run, list, dk_jinja_int(bounds[0] + i * bounds[2])));
    *out = dk_jinja_of_list(list);
out:
    return rc;
}

static int32_t add_pairs(dk_jinja_run *run, const dk_jinja_value *from, dk_jinja_map *map)
{
    const dk_jinja_list *list;
    int32_t rc = DK_OK;
    if (dk_jinja_is(from, DK_JINJA_MAP)) {
        for (size_t i = 0; i < from->as.map->size; i++)
            DK_TRY(dk_jinja_map_set(run, map, from->as.map->entries[i].key, from->as.map->entries[i].value));
        return DK_OK;
    }
    DK_TRY(dk_jinja_iterate(run, from, &list));
    for (size_t i = 0; i < list->size; i++) {
        const dk_jinja_value *pair = &list->items[i];
        if (!dk_jinja_is(pair, DK_JINJA_LIST) || pair->as.list->size != 2) {
            rc = dk_jinja_fail(run, "a map is made of pairs, not of %s", dk_jinja_type_name(pair));
            goto out;
        }
        DK_TRY(dk_jinja_map_set(run, map, pair->as.list->items[0], pair->as.list->items[1]));
    }
out:
    return rc;
}

static int32_t make_map(dk_jinja_run *run, const dk_jinja_call *call, int32_t hides, dk_jinja_map **out)
{
    int32_t rc;
    DK_TRY(dk_jinja_new_map(run, call->rest.count, out));
    for (size_t i = 0; i < call->rest.count; i++) {
        dk_slice name = call->rest.names[i];
        dk_jinja_value key;
        if (name.size) {
            if (hides && name.data[0] == '_') {
                rc = dk_jinja_fail(run, "a name in a namespace cannot begin with _");
                goto out;
            }
            DK_TRY(dk_jinja_make_text(run, name.data, name.size, 0, &key));
            DK_TRY(dk_jinja_map_set(run, *out, key, call->rest.items[i]));
        } else if (i) {
            rc = dk_jinja_fail(run, "%s takes one value without a name", call->builtin->name);
            goto out;
        } else DK_TRY(add_pairs(run, &call->rest.items[i], *out));
    }
out:
    return rc;
}

static int32_t dict(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    dk_jinja_map *map;
    int32_t rc = make_map(run, call, 0, &map);
    if (!rc) *out = dk_jinja_of_map(map);
    return rc;
}

static int32_t namespace_of(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    dk_jinja_map *map;
    int32_t rc = make_map(run, call, 1, &map);
    if (!rc) *out = (dk_jinja_value){.type = DK_JINJA_NAMESPACE, .as.map = map};
    return rc;
}

static int32_t raise_exception(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    dk_jinja_value text;
    int32_t rc;
    (void)out;
    DK_TRY(dk_jinja_str(run, &call->in[1], &text));
    rc = dk_jinja_fail(run, "the template says: %.*s", (int)(text.as.text->size < 300 ? text.as.text->size : 300),
                       text.as.text->data);
out:
    return rc;
}

/* ---- dates ---- */

static const char *const months[] = {"January", "February", "March",     "April",   "May",      "June",
                                     "July",    "August",   "September", "October", "November", "December"};
static const char *const days[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};

static int32_t day_of_year(const dk_jinja_date *date)
{
    static const int32_t before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    int32_t leap = (date->year % 4 == 0 && date->year % 100 != 0) || date->year % 400 == 0;
    return before[date->month - 1] + date->day + (leap && date->month > 2);
}

static int32_t day_of_week(const dk_jinja_date *date)
{
    int32_t years = date->year - 1; /* 1 January of year 1 was a Monday */
    return (1 + years * 365 + years / 4 - years / 100 + years / 400 + day_of_year(date) - 1) % 7;
}

/* The text of one directive; 0 = it is not known. */
static int32_t spell_date(const dk_jinja_date *date, char letter, char out[32])
{
    const int32_t hour = date->hour % 12 ? date->hour % 12 : 12;
    const struct {
        char letter;
        const char *format;
        int32_t value;
    } numbers[] = {{'d', "%02d", date->day},        {'m', "%02d", date->month},    {'Y', "%d", date->year},
                   {'y', "%02d", date->year % 100}, {'H', "%02d", date->hour},     {'I', "%02d", hour},
                   {'M', "%02d", date->minute},     {'S', "%02d", date->second},   {'j', "%03d", day_of_year(date)},
                   {'e', "%2d", date->day},         {'w', "%d", day_of_week(date)}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i].letter == letter) return snprintf(out, 32, numbers[i].format, (int)numbers[i].value), 1;
    if (letter == 'B') snprintf(out, 32, "%s", months[date->month - 1]);
    else if (letter == 'b') snprintf(out, 32, "%.3s", months[date->month - 1]);
    else if (letter == 'A') snprintf(out, 32, "%s", days[day_of_week(date)]);
    else if (letter == 'a') snprintf(out, 32, "%.3s", days[day_of_week(date)]);
    else if (letter == 'p') snprintf(out, 32, "%s", date->hour < 12 ? "AM" : "PM");
    else if (letter == 'F') snprintf(out, 32, "%d-%02d-%02d", (int)date->year, (int)date->month, (int)date->day);
    else if (letter == 'T') snprintf(out, 32, "%02d:%02d:%02d", (int)date->hour, (int)date->minute, (int)date->second);
    else if (letter == '%') snprintf(out, 32, "%%");
    else return 0;
    return 1;
}

static int32_t strftime_now(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    const dk_jinja_text *format;
    dk_jinja_builder b = {0};
    int32_t rc;
    DK_TRY(dk_jinja_text_in(run, call, 1, &format));
    if (!run->date.year) {
        rc = dk_jinja_fail(run, "the template asks for today's date, and none is given");
        goto out;
    }
    for (size_t at = 0; at < format->size; at++) {
        char word[32];
        if (format->data[at] != '%') {
            DK_TRY(dk_jinja_put_part(run, &b, format, at, at + 1));
            continue;
        }
        char letter = ++at < format->size ? format->data[at] : 0;
        if (!spell_date(&run->date, letter, word)) {
            rc = dk_jinja_fail(run, "strftime_now does not know %%%c", letter ? letter : ' ');
            goto out;
        }
        DK_TRY(dk_jinja_put(run, &b, word, strlen(word), 0));
    }
    rc = dk_jinja_build(run, &b, out);
out:
    return rc;
}

const dk_jinja_builtin dk_jinja_functions[] = {
    {"range", range, "*"},
    {"dict", dict, "* **"},
    {"namespace", namespace_of, "* **"},
    {"raise_exception", raise_exception, "message"},
    {"strftime_now", strftime_now, "format"},
    {NULL, NULL, NULL},
};
