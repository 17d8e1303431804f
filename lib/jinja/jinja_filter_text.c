/* Filters on texts and numbers. */
#include "jinja/jinja_builtin.h"
#include "jinja/jinja_letter.h"
#include "jinja/jinja_operator.h"
#include "jinja/jinja_spell.h"
#include "text/codepoint.h"

#include <math.h>
#include <string.h>

/* What the filter is asked of, as text. */
static int32_t self_text(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *text)
{
    return dk_jinja_str(run, &call->in[0], text);
}

static int32_t trim(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    const dk_jinja_text *set = NULL;
    dk_jinja_value text;
    int32_t rc;
    DK_TRY(self_text(run, call, &text));
    if (dk_jinja_given(&call->in[1])) DK_TRY(dk_jinja_text_in(run, call, 1, &set));
    size_t begin = 0, end = text.as.text->size;
    dk_jinja_strip(text.as.text->data, set, DK_JINJA_LEFT | DK_JINJA_RIGHT, &begin, &end);
    DK_TRY(dk_jinja_slice(run, text.as.text, begin, end, out));
    out->safe = text.safe;
out:
    return rc;
}

static int32_t change(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_case how, dk_jinja_value *out)
{
    dk_jinja_value text;
    int32_t rc;
    DK_TRY(self_text(run, call, &text));
    DK_TRY(dk_jinja_change_case(run, text.as.text, how, out));
    out->safe = text.safe;
out:
    return rc;
}

static int32_t upper(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    return change(run, call, DK_JINJA_UPPER, out);
}
static int32_t lower(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    return change(run, call, DK_JINJA_LOWER, out);
}
static int32_t title(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    return change(run, call, DK_JINJA_HEADLINE, out);
}
static int32_t capitalize(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    return change(run, call, DK_JINJA_CAPITAL, out);
}

static int32_t string(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    return self_text(run, call, out);
}

static int32_t safe(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    int32_t rc = self_text(run, call, out);
    if (!rc) out->safe = 1;
    return rc;
}

static int32_t escape(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    dk_jinja_value text;
    int32_t rc;
    DK_TRY(self_text(run, call, &text));
    if (text.safe) *out = text;
    else rc = dk_jinja_escape(run, text.as.text, out);
out:
    return rc;
}

static int32_t replace(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    dk_jinja_value text, old, new_text;
    int64_t count;
    int32_t rc;
    DK_TRY(self_text(run, call, &text));
    DK_TRY(dk_jinja_str(run, &call->in[1], &old));
    DK_TRY(dk_jinja_str(run, &call->in[2], &new_text));
    DK_TRY(dk_jinja_int_in(run, call, 3, -1, &count));
    rc = dk_jinja_replace(run, text.as.text, old.as.text, new_text.as.text, count, out);
out:
    return rc;
}

static int32_t default_of(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    int32_t missing =
        dk_jinja_is(&call->in[0], DK_JINJA_UNDEFINED) || (dk_jinja_flag_in(call, 2) && !dk_jinja_truth(&call->in[0]));
    if (!missing) *out = call->in[0];
    else if (call->in[1].type != DK_JINJA_UNSET) *out = call->in[1];
    else return dk_jinja_make_text(run, "", 0, 0, out);
    return DK_OK;
}

static int32_t spaces(dk_jinja_run *run, int64_t count, dk_jinja_value *out)
{
    dk_jinja_builder b = {0};
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < count; i++) DK_TRY(dk_jinja_put(run, &b, " ", 1, 0));
    rc = dk_jinja_build(run, &b, out);
out:
    return rc;
}

/* A text, or so many spaces. */
static int32_t margin(dk_jinja_run *run, const dk_jinja_call *call, int64_t fallback, dk_jinja_value *out)
{
    int64_t width;
    int32_t rc;
    if (dk_jinja_is(&call->in[1], DK_JINJA_TEXT)) return *out = call->in[1], DK_OK;
    DK_TRY(dk_jinja_int_in(run, call, 1, fallback, &width));
    rc = spaces(run, width, out);
out:
    return rc;
}

static int32_t indent(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    dk_jinja_value text, space;
    dk_jinja_builder b = {0};
    int32_t rc, first = dk_jinja_flag_in(call, 2), blank = dk_jinja_flag_in(call, 3);
    if (!dk_jinja_is(&call->in[0], DK_JINJA_TEXT)) return dk_jinja_refuse(run, call, "a text");
    text = call->in[0];
    DK_TRY(margin(run, call, 4, &space));
    const dk_jinja_text *from = text.as.text;
    for (size_t at = 0, next, last = 0; !last; at = next) {
        size_t end = dk_jinja_line_end(from, at, &next);
        last = next == end; /* the text's end closes a line too */
        if (at ? blank || end > at : first) DK_TRY(dk_jinja_put_text(run, &b, space.as.text));
        DK_TRY(dk_jinja_put_part(run, &b, from, at, end));
        if (!last) DK_TRY(dk_jinja_put(run, &b, "\n", 1, dk_jinja_origin_at(from, end)));
    }
    DK_TRY(dk_jinja_build(run, &b, out));
    out->safe = text.safe;
out:
    return rc;
}

static int32_t format(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    dk_jinja_value text;
    int32_t rc;
    DK_TRY(self_text(run, call, &text));
    rc = dk_jinja_format(run, text.as.text, call->rest.items, call->rest.count, out);
out:
    return rc;
}

static int32_t tojson(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    static const dk_jinja_text comma = {",", 1, NULL, 0}, comma_space = {", ", 2, NULL, 0}, colon = {": ", 2, NULL, 0};
    dk_jinja_json how = {.ascii = dk_jinja_flag_in(call, 1), .item = &comma_space, .key = &colon};
    const dk_jinja_value *indents = &call->in[2], *separators = &call->in[3];
    dk_jinja_builder b = {0};
    dk_jinja_value space;
    int32_t rc = DK_OK;
    how.sorted = dk_jinja_flag_in(call, 4);
    if (dk_jinja_is(indents, DK_JINJA_TEXT)) how.indent = indents->as.text;
    else if (dk_jinja_is_integer(indents)) {
        DK_TRY(spaces(run, indents->as.i64, &space));
        how.indent = space.as.text;
    }
    if (how.indent) how.item = &comma;
    if (dk_jinja_given(separators)) {
        const dk_jinja_list *pair = dk_jinja_is(separators, DK_JINJA_LIST) ? separators->as.list : NULL;
        if (!pair || pair->size != 2 || !dk_jinja_is(&pair->items[0], DK_JINJA_TEXT) ||
            !dk_jinja_is(&pair->items[1], DK_JINJA_TEXT)) {
            rc = dk_jinja_fail(run, "separators of tojson must be two texts");
            goto out;
        }
        how.item = pair->items[0].as.text;
        how.key = pair->items[1].as.text;
    }
    DK_TRY(dk_jinja_put_json(run, &b, &call->in[0], &how, 0));
    rc = dk_jinja_build(run, &b, out);
out:
    return rc;
}

/* ---- numbers ---- */

static int32_t to_int(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    const dk_jinja_value *value = &call->in[0];
    int64_t fallback, whole;
    double number = NAN;
    int32_t rc;
    if (dk_jinja_is(value, DK_JINJA_UNDEFINED)) return dk_jinja_refuse(run, call, "a value");
    if (dk_jinja_given(&call->in[2])) {
        rc = dk_jinja_fail(run, "int reads numbers to base 10 alone");
        goto out;
    }
    DK_TRY(dk_jinja_int_in(run, call, 1, 0, &fallback));
    *out = dk_jinja_int(fallback);
    if (dk_jinja_is_integer(value)) *out = dk_jinja_int(value->as.i64);
    else if (dk_jinja_is(value, DK_JINJA_FLOAT)) number = value->as.f64;
    else if (dk_jinja_is(value, DK_JINJA_TEXT)) {
        const dk_jinja_text *text = value->as.text;
        size_t begin = 0, end = text->size;
        dk_jinja_strip(text->data, NULL, DK_JINJA_LEFT | DK_JINJA_RIGHT, &begin, &end);
        begin += begin + 1 < end && text->data[begin] == '+' && text->data[begin + 1] != '-';
        if (dk_parse_i64(text->data + begin, end - begin, &whole)) *out = dk_jinja_int(whole);
        else if (!dk_parse_f64(text->data + begin, end - begin, &number)) number = NAN;
    }
    if (fabs(number) < 9.2e18) *out = dk_jinja_int((int64_t)number);
    out->origin = dk_jinja_is(value, DK_JINJA_TEXT) ? dk_jinja_origin_of(value->as.text) : value->origin;
out:
    return rc;
}

static int32_t to_float(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    const dk_jinja_value *value = &call->in[0];
    if (dk_jinja_is(value, DK_JINJA_UNDEFINED)) return dk_jinja_refuse(run, call, "a value");
    *out = call->in[1].type == DK_JINJA_UNSET ? dk_jinja_float(0) : call->in[1];
    if (dk_jinja_is_number(value)) *out = dk_jinja_float(dk_jinja_f64(value));
    else if (dk_jinja_is(value, DK_JINJA_TEXT)) {
        const dk_jinja_text *text = value->as.text;
        size_t begin = 0, end = text->size;
        double number;
        dk_jinja_strip(text->data, NULL, DK_JINJA_LEFT | DK_JINJA_RIGHT, &begin, &end);
        begin += begin + 1 < end && text->data[begin] == '+' && text->data[begin + 1] != '-';
        if (dk_parse_f64(text->data + begin, end - begin, &number)) *out = dk_jinja_float(number);
    }
    if (dk_jinja_is_number(out))
        out->origin = dk_jinja_is(value, DK_JINJA_TEXT) ? dk_jinja_origin_of(value->as.text) : value->origin;
    return DK_OK;
}

static int32_t absolute(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    const dk_jinja_value *value = &call->in[0];
    if (!dk_jinja_is_number(value)) return dk_jinja_refuse(run, call, "a number");
    if (dk_jinja_f64(value) < 0) return dk_jinja_negate(run, value, out);
    *out = *value;
    if (dk_jinja_is(out, DK_JINJA_BOOL)) out->type = DK_JINJA_INT;
    return DK_OK;
}

static int32_t round_to(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    const dk_jinja_value *value = &call->in[0], *method = &call->in[2];
    int64_t digits;
    int32_t rc;
    if (!dk_jinja_is_number(value)) return dk_jinja_refuse(run, call, "a number");
    DK_TRY(dk_jinja_int_in(run, call, 1, 0, &digits));
    const double scale = pow(10, (double)digits), number = dk_jinja_f64(value);
    if (digits < -20 || digits > 20)
        rc = dk_jinja_fail(run, "round takes -20 to 20 digits, not %lld", (long long)digits);
    else if (dk_jinja_text_is(method, "ceil")) *out = dk_jinja_float(ceil(number * scale) / scale);
    else if (dk_jinja_text_is(method, "floor")) *out = dk_jinja_float(floor(number * scale) / scale);
    else if (dk_jinja_given(method) && !dk_jinja_text_is(method, "common"))
        rc = dk_jinja_fail(run, "round knows common, ceil and floor");
    else if (dk_jinja_is_integer(value) && digits >= 0) *out = dk_jinja_int(value->as.i64);
    else if (digits) rc = dk_jinja_fail(run, "round is known to whole numbers, or as ceil and floor");
    else *out = dk_jinja_float(rint(number));
    out->origin = value->origin;
out:
    return rc;
}

const dk_jinja_builtin dk_jinja_text_filters[] = {
    {"trim", trim, "?chars"},
    {"upper", upper, ""},
    {"lower", lower, ""},
    {"title", title, ""},
    {"capitalize", capitalize, ""},
    {"string", string, ""},
    {"safe", safe, ""},
    {"escape", escape, ""},
    {"e", escape, ""},
    {"replace", replace, "old new ?count"},
    {"default", default_of, "?default_value ?boolean"},
    {"d", default_of, "?default_value ?boolean"},
    {"indent", indent, "?width ?first ?blank"},
    {"format", format, "*"},
    {"tojson", tojson, "?ensure_ascii ?indent ?separators ?sort_keys"},
    {"int", to_int, "?default ?base"},
    {"float", to_float, "?default"},
    {"abs", absolute, ""},
    {"round", round_to, "?precision ?method"},
    {NULL, NULL, NULL},
};
