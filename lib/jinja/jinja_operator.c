#include "jinja/jinja_operator.h"

#include "jinja/jinja_lexer.h"
#include "jinja/jinja_spell.h"

#include <math.h>
#include <string.h>

static int32_t refuse(dk_jinja_run *run, int32_t op, const dk_jinja_value *a, const dk_jinja_value *b)
{
    char sign[3] = {(char)(op & 0xff), (char)(op >> 8), 0};
    const dk_jinja_value *undefined = dk_jinja_is(a, DK_JINJA_UNDEFINED) ? a : b;
    if (dk_jinja_is(undefined, DK_JINJA_UNDEFINED) && undefined->as.name)
        return dk_jinja_fail(run, "'%.*s' is undefined, and stands beside %s",
                             (int)(undefined->as.name->size < 60 ? undefined->as.name->size : 60),
                             undefined->as.name->data, sign);
    return dk_jinja_fail(run, "%s %s %s is not defined", dk_jinja_type_name(a), sign, dk_jinja_type_name(b));
}

/* ---- numbers ---- */

static int32_t too_large(dk_jinja_run *run) { return dk_jinja_fail(run, "an integer of more than 64 bits"); }

static int32_t int_sum(int32_t op, int64_t a, int64_t b, int64_t *out)
{
    return op == '+'   ? __builtin_add_overflow(a, b, out)
           : op == '-' ? __builtin_sub_overflow(a, b, out)
                       : __builtin_mul_overflow(a, b, out);
}

static int32_t int_power(int64_t a, int64_t b, int64_t *out)
{
    *out = 1;
    if (a == 0 || a == 1) return *out = b ? a : 1, 0;
    if (a == -1) return *out = b % 2 ? -1 : 1, 0;
    for (; b > 0; b--)
        if (__builtin_mul_overflow(*out, a, out)) return 1;
    return 0;
}

static int32_t int_divide(dk_jinja_run *run, int32_t op, int64_t a, int64_t b, dk_jinja_value *out)
{
    if (b == -1) { /* what INT64_MIN / -1 would be does not fit */
        if (op == '%') return *out = dk_jinja_int(0), DK_OK;
        return a == INT64_MIN ? too_large(run) : (*out = dk_jinja_int(-a), DK_OK);
    }
    int64_t quotient = a / b, rest = a % b;
    if (rest && (rest < 0) != (b < 0)) quotient--, rest += b; /* towards minus infinity, as Python has it */
    *out = dk_jinja_int(op == '%' ? rest : quotient);
    return DK_OK;
}

static double float_rest(double a, double b)
{
    double rest = fmod(a, b);
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

static int32_t float_binary(dk_jinja_run *run, int32_t op, double a, double b, dk_jinja_value *out)
{
    double value = op == '+' ? a + b : op == '-' ? a - b : op == '*' ? a * b : op == '/' ? a / b : 0;
    if (op == '%') value = float_rest(a, b);
    if (op == DK_SIGN2('/', '/')) value = floor((a - float_rest(a, b)) / b + 0.5);
    if (op == DK_SIGN2('*', '*')) {
        if (a < 0 && b != floor(b)) return dk_jinja_fail(run, "a power that is no real number");
        value = pow(a, b);
        if (isinf(value) && isfinite(a) && isfinite(b)) return dk_jinja_fail(run, "a power that is too large");
    }
    *out = dk_jinja_float(value);
    return DK_OK;
}

static int32_t number_binary(dk_jinja_run *run, int32_t op, const dk_jinja_value *a, const dk_jinja_value *b,
                             dk_jinja_value *out)
{
    const int32_t divides = op == '/' || op == '%' || op == DK_SIGN2('/', '/');
    int64_t value;
    if (divides && dk_jinja_f64(b) == 0) return dk_jinja_fail(run, "a division by zero");
    if (!dk_jinja_is_integer(a) || !dk_jinja_is_integer(b) || op == '/')
        return float_binary(run, op, dk_jinja_f64(a), dk_jinja_f64(b), out);
    if (divides) return int_divide(run, op, a->as.i64, b->as.i64, out);
    if (op == DK_SIGN2('*', '*')) {
        if (b->as.i64 >= 0)
            return int_power(a->as.i64, b->as.i64, &value) ? too_large(run) : (*out = dk_jinja_int(value), DK_OK);
        if (!a->as.i64) return dk_jinja_fail(run, "a division by zero");
        return float_binary(run, op, dk_jinja_f64(a), dk_jinja_f64(b), out);
    }
    if (int_sum(op, a->as.i64, b->as.i64, &value)) return too_large(run);
    *out = dk_jinja_int(value);
    return DK_OK;
}

int32_t dk_jinja_negate(dk_jinja_run *run, const dk_jinja_value *a, dk_jinja_value *out)
{
    const dk_jinja_value zero = dk_jinja_int(0);
    int32_t rc = DK_OK;
    if (!dk_jinja_is_number(a)) return dk_jinja_fail(run, "- of %s is not defined", dk_jinja_type_name(a));
    if (dk_jinja_is(a, DK_JINJA_FLOAT)) *out = dk_jinja_float(-a->as.f64);
    else rc = number_binary(run, '-', &zero, a, out);
    out->origin = a->origin;
    return rc;
}

/* ---- texts and lists ---- */

static const char *html_of(char c)
{
    return c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '\'' ? "&#39;" : c == '"' ? "&#34;" : NULL;
}

int32_t dk_jinja_escape(dk_jinja_run *run, const dk_jinja_text *text, dk_jinja_value *out)
{
    dk_jinja_builder b = {0};
    int32_t rc = DK_OK;
    for (size_t at = 0; at < text->size; at++) {
        const char *html = html_of(text->data[at]);
        if (html) DK_TRY(dk_jinja_put(run, &b, html, strlen(html), dk_jinja_origin_at(text, at)));
        else DK_TRY(dk_jinja_put_part(run, &b, text, at, at + 1));
    }
    DK_TRY(dk_jinja_build(run, &b, out));
    out->safe = 1;
out:
    return rc;
}

/* Markup escapes what it is added to. */
static int32_t add_texts(dk_jinja_run *run, dk_jinja_value a, dk_jinja_value b, dk_jinja_value *out)
{
    const uint8_t safe = a.safe || b.safe;
    dk_jinja_builder builder = {0};
    int32_t rc = DK_OK;
    if (safe && !a.safe) DK_TRY(dk_jinja_escape(run, a.as.text, &a));
    if (safe && !b.safe) DK_TRY(dk_jinja_escape(run, b.as.text, &b));
    DK_TRY(dk_jinja_put_text(run, &builder, a.as.text));
    DK_TRY(dk_jinja_put_text(run, &builder, b.as.text));
    DK_TRY(dk_jinja_build(run, &builder, out));
    out->safe = safe;
out:
    return rc;
}

static int32_t repeat_text(dk_jinja_run *run, const dk_jinja_value *text, int64_t times, dk_jinja_value *out)
{
    dk_jinja_builder b = {0};
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < times && text->as.text->size; i++) {
        DK_TRY(dk_jinja_spend(run, 1));
        DK_TRY(dk_jinja_put_text(run, &b, text->as.text));
    }
    rc = dk_jinja_build(run, &b, out);
    out->safe = text->safe;
out:
    return rc;
}

static int32_t push_all(dk_jinja_run *run, const dk_jinja_list *from, dk_jinja_list *to)
{
    int32_t rc = DK_OK;
    for (size_t i = 0; i < from->size; i++) DK_TRY(dk_jinja_push(run, to, from->items[i]));
out:
    return rc;
}

static int32_t repeat_list(dk_jinja_run *run, const dk_jinja_list *list, int64_t times, dk_jinja_value *out)
{
    dk_jinja_list *made;
    int32_t rc;
    DK_TRY(dk_jinja_new_list(run, list->kind, 0, &made));
    for (int64_t i = 0; i < times && list->size; i++) DK_TRY(push_all(run, list, made));
    *out = dk_jinja_of_list(made);
out:
    return rc;
}

static int32_t add_lists(dk_jinja_run *run, const dk_jinja_list *a, const dk_jinja_list *b, dk_jinja_value *out)
{
    dk_jinja_list *made;
    int32_t rc;
    DK_TRY(dk_jinja_new_list(run, a->kind, a->size + b->size, &made));
    DK_TRY(push_all(run, a, made));
    DK_TRY(push_all(run, b, made));
    *out = dk_jinja_of_list(made);
out:
    return rc;
}

static int32_t is_sequence(const dk_jinja_value *value)
{
    return dk_jinja_is(value, DK_JINJA_LIST) && value->as.list->kind <= DK_JINJA_TUPLE;
}

static int32_t repeat(dk_jinja_run *run, const dk_jinja_value *a, const dk_jinja_value *b, dk_jinja_value *out)
{
    if (dk_jinja_is_integer(a)) return repeat(run, b, a, out);
    if (!dk_jinja_is_integer(b) || (!dk_jinja_is(a, DK_JINJA_TEXT) && !is_sequence(a))) return refuse(run, '*', a, b);
    return dk_jinja_is(a, DK_JINJA_TEXT) ? repeat_text(run, a, b->as.i64, out)
                                         : repeat_list(run, a->as.list, b->as.i64, out);
}

/* ---- % of a text ---- */

static int32_t format_one(dk_jinja_run *run, dk_jinja_builder *b, char letter, const dk_jinja_value *value)
{
    dk_jinja_value whole = *value;
    if (letter == 's') return dk_jinja_put_str(run, b, value);
    if (letter != 'd' && letter != 'i')
        return dk_jinja_fail(run, "%%%c in a text that is formatted is not known; known are %%s and %%d", letter);
    if (!dk_jinja_is_number(value)) return dk_jinja_fail(run, "%%d needs a number, not %s", dk_jinja_type_name(value));
    if (dk_jinja_is(value, DK_JINJA_FLOAT)) {
        if (!(fabs(value->as.f64) < 9e18)) return too_large(run);
        whole.as.i64 = (int64_t)value->as.f64;
    }
    whole.type = DK_JINJA_INT;
    return dk_jinja_put_str(run, b, &whole);
}

int32_t dk_jinja_format(dk_jinja_run *run, const dk_jinja_text *text, const dk_jinja_value *values, size_t count,
                        dk_jinja_value *out)
{
    dk_jinja_builder b = {0};
    size_t used = 0;
    int32_t rc = DK_OK;
    for (size_t at = 0; at < text->size; at++) {
        char letter = at + 1 < text->size ? text->data[at + 1] : 0;
        if (text->data[at] != '%') {
            DK_TRY(dk_jinja_put_part(run, &b, text, at, at + 1));
            continue;
        }
        if (letter == '%') DK_TRY(dk_jinja_put_part(run, &b, text, at, at + 1));
        else if (used == count || !letter) {
            rc = dk_jinja_fail(run, "a text is formatted with %zu values, and wants more", count);
            goto out;
        } else DK_TRY(format_one(run, &b, letter, &values[used++]));
        at++;
    }
    if (used < count) {
        rc = dk_jinja_fail(run, "a text is formatted with %zu values, and wants %zu", count, used);
        goto out;
    }
    rc = dk_jinja_build(run, &b, out);
out:
    return rc;
}

int32_t dk_jinja_binary(dk_jinja_run *run, int32_t op, const dk_jinja_value *a, const dk_jinja_value *b,
                        dk_jinja_value *out)
{
    int32_t rc;
    if (dk_jinja_is_number(a) && dk_jinja_is_number(b)) {
        rc = number_binary(run, op, a, b, out);
        out->origin = a->origin ? a->origin : b->origin;
        return rc;
    }
    if (op == '*') return repeat(run, a, b, out);
    if (op == '%' && dk_jinja_is(a, DK_JINJA_TEXT)) {
        int32_t tuple = dk_jinja_is(b, DK_JINJA_LIST) && b->as.list->kind == DK_JINJA_TUPLE;
        return dk_jinja_format(run, a->as.text, tuple ? b->as.list->items : b, tuple ? b->as.list->size : 1, out);
    }
    if (op != '+' || a->type != b->type) return refuse(run, op, a, b);
    if (dk_jinja_is(a, DK_JINJA_TEXT)) return add_texts(run, *a, *b, out);
    if (is_sequence(a) && is_sequence(b) && a->as.list->kind == b->as.list->kind)
        return add_lists(run, a->as.list, b->as.list, out);
    return refuse(run, op, a, b);
}

/* ---- comparing ---- */

static int32_t contains(dk_jinja_run *run, const dk_jinja_value *item, const dk_jinja_value *in, int32_t *yes)
{
    const dk_jinja_list *list;
    int32_t rc;
    *yes = 0;
    if (dk_jinja_is(in, DK_JINJA_TEXT)) {
        if (!dk_jinja_is(item, DK_JINJA_TEXT))
            return dk_jinja_fail(run, "%s cannot be in a text", dk_jinja_type_name(item));
        *yes = dk_jinja_find(in->as.text, 0, in->as.text->size, item->as.text) >= 0;
        return dk_jinja_spend(run, in->as.text->size / 64);
    }
    if (dk_jinja_is(in, DK_JINJA_MAP)) {
        if (item->type > DK_JINJA_TEXT) return dk_jinja_fail(run, "%s cannot be a key", dk_jinja_type_name(item));
        *yes = dk_jinja_map_find(in->as.map, item) != NULL;
        return dk_jinja_spend(run, in->as.map->size);
    }
    DK_TRY(dk_jinja_iterate(run, in, &list));
    DK_TRY(dk_jinja_spend(run, list->size));
    for (size_t i = 0; i < list->size && !*yes; i++) *yes = dk_jinja_equal(&list->items[i], item);
out:
    return rc;
}

int32_t dk_jinja_compare(dk_jinja_run *run, int32_t op, const dk_jinja_value *a, const dk_jinja_value *b, int32_t *yes)
{
    int32_t rc, order;
    if (op == 'i' || op == 'n') {
        rc = contains(run, a, b, yes);
        if (op == 'n') *yes = !*yes;
        return rc;
    }
    if (op == DK_SIGN2('=', '=') || op == DK_SIGN2('!', '=')) {
        *yes = dk_jinja_equal(a, b) == (op == DK_SIGN2('=', '='));
        return DK_OK;
    }
    if (!dk_jinja_order(a, b, &order)) {
        if (dk_jinja_is_number(a) && dk_jinja_is_number(b)) return *yes = 0, DK_OK; /* NaN */
        return refuse(run, op, a, b);
    }
    *yes = op == '<' ? order < 0 : op == '>' ? order > 0 : op == DK_SIGN2('<', '=') ? order <= 0 : order >= 0;
    return DK_OK;
}
