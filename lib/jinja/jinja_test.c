/* Tests: x is ... */
#include "jinja/jinja_builtin.h"
#include "jinja/jinja_lexer.h"
#include "jinja/jinja_operator.h"
#include "jinja/jinja_spell.h"

#include <utf8proc.h>

#include "text/codepoint.h"

#define TYPE_TEST(name, condition)                                                         \
    static int32_t name(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out) \
    {                                                                                      \
        const dk_jinja_value *value = &call->in[0];                                        \
        (void)run;                                                                         \
        *out = dk_jinja_bool(condition);                                                   \
        return DK_OK;                                                                      \
    }
TYPE_TEST(is_defined, value->type != DK_JINJA_UNDEFINED)
TYPE_TEST(is_undefined, value->type == DK_JINJA_UNDEFINED)
TYPE_TEST(is_none, value->type == DK_JINJA_NONE)
TYPE_TEST(is_string, value->type == DK_JINJA_TEXT)
TYPE_TEST(is_mapping, value->type == DK_JINJA_MAP)
TYPE_TEST(is_number, dk_jinja_is_number(value))
TYPE_TEST(is_integer, value->type == DK_JINJA_INT)
TYPE_TEST(is_float, value->type == DK_JINJA_FLOAT)
TYPE_TEST(is_boolean, value->type == DK_JINJA_BOOL)
TYPE_TEST(is_true, value->type == DK_JINJA_BOOL && value->as.i64)
TYPE_TEST(is_false, value->type == DK_JINJA_BOOL && !value->as.i64)
TYPE_TEST(is_callable,
          value->type == DK_JINJA_UNDEFINED || (value->type >= DK_JINJA_MACRO && value->type <= DK_JINJA_METHOD))
TYPE_TEST(is_iterable, value->type == DK_JINJA_UNDEFINED || value->type == DK_JINJA_TEXT ||
                           value->type == DK_JINJA_MAP || value->type == DK_JINJA_LIST || value->type == DK_JINJA_LOOP)
TYPE_TEST(is_sequence, value->type == DK_JINJA_UNDEFINED || value->type == DK_JINJA_TEXT ||
                           value->type == DK_JINJA_MAP ||
                           (value->type == DK_JINJA_LIST && value->as.list->kind <= DK_JINJA_RANGE))
TYPE_TEST(is_filter, value->type == DK_JINJA_TEXT && dk_jinja_filter(value->as.text->data, value->as.text->size))
TYPE_TEST(is_test, value->type == DK_JINJA_TEXT && dk_jinja_test(value->as.text->data, value->as.text->size))

/* Python's is: the same object. Texts and large numbers have no identity here. */
static int32_t is_sameas(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    const dk_jinja_value *a = &call->in[0], *b = &call->in[1];
    (void)run;
    if (a->type <= DK_JINJA_TEXT) *out = dk_jinja_bool(a->type == b->type && dk_jinja_equal(a, b));
    else *out = dk_jinja_bool(a->type == b->type && a->as.macro == b->as.macro);
    return DK_OK;
}

static int32_t compare(dk_jinja_run *run, const dk_jinja_call *call, int32_t op, dk_jinja_value *out)
{
    int32_t yes, rc;
    DK_TRY(dk_jinja_compare(run, op, &call->in[0], &call->in[1], &yes));
    *out = dk_jinja_bool(yes);
out:
    return rc;
}
#define COMPARISON(name, op)                                                               \
    static int32_t name(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out) \
    {                                                                                      \
        return compare(run, call, op, out);                                                \
    }
COMPARISON(is_equal, DK_SIGN2('=', '='))
COMPARISON(is_unequal, DK_SIGN2('!', '='))
COMPARISON(is_less, '<')
COMPARISON(is_greater, '>')
COMPARISON(is_at_most, DK_SIGN2('<', '='))
COMPARISON(is_at_least, DK_SIGN2('>', '='))
COMPARISON(is_in, 'i')

static int32_t rest_is(dk_jinja_run *run, const dk_jinja_call *call, const dk_jinja_value *by, int64_t rest,
                       dk_jinja_value *out)
{
    const dk_jinja_value expected = dk_jinja_int(rest);
    dk_jinja_value found;
    int32_t rc;
    if (!dk_jinja_is_number(&call->in[0])) return dk_jinja_refuse(run, call, "a number");
    DK_TRY(dk_jinja_binary(run, '%', &call->in[0], by, &found));
    *out = dk_jinja_bool(dk_jinja_equal(&found, &expected));
out:
    return rc;
}

static int32_t is_divisible(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    return rest_is(run, call, &call->in[1], 0, out);
}
static int32_t is_odd(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    const dk_jinja_value two = dk_jinja_int(2);
    return rest_is(run, call, &two, 1, out);
}
static int32_t is_even(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    const dk_jinja_value two = dk_jinja_int(2);
    return rest_is(run, call, &two, 0, out);
}

/* Some letter is of the case, and none of the other. */
static int32_t is_case(dk_jinja_run *run, const dk_jinja_call *call, utf8proc_category_t wanted,
                       utf8proc_category_t other, dk_jinja_value *out)
{
    dk_jinja_value value;
    int32_t rc, some = 0;
    DK_TRY(dk_jinja_str(run, &call->in[0], &value));
    *out = dk_jinja_bool(0);
    for (size_t at = 0, size; at < value.as.text->size; at += size) {
        uint32_t c;
        size = dk_codepoint(value.as.text->data + at, &c);
        utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
        if (category == other || category == UTF8PROC_CATEGORY_LT) goto out;
        some |= category == wanted;
    }
    *out = dk_jinja_bool(some);
out:
    return rc;
}

static int32_t is_lower(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    return is_case(run, call, UTF8PROC_CATEGORY_LL, UTF8PROC_CATEGORY_LU, out);
}
static int32_t is_upper(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    return is_case(run, call, UTF8PROC_CATEGORY_LU, UTF8PROC_CATEGORY_LL, out);
}

const dk_jinja_builtin dk_jinja_tests[] = {
    {"defined", is_defined, ""},
    {"undefined", is_undefined, ""},
    {"none", is_none, ""},
    {"string", is_string, ""},
    {"mapping", is_mapping, ""},
    {"number", is_number, ""},
    {"integer", is_integer, ""},
    {"float", is_float, ""},
    {"boolean", is_boolean, ""},
    {"true", is_true, ""},
    {"false", is_false, ""},
    {"callable", is_callable, ""},
    {"iterable", is_iterable, ""},
    {"sequence", is_sequence, ""},
    {"filter", is_filter, ""},
    {"test", is_test, ""},
    {"sameas", is_sameas, "other"},
    {"divisibleby", is_divisible, "num"},
    {"odd", is_odd, ""},
    {"even", is_even, ""},
    {"lower", is_lower, ""},
    {"upper", is_upper, ""},
    {"equalto", is_equal, "b"},
    {"eq", is_equal, "b"},
    {"==", is_equal, "b"},
    {"ne", is_unequal, "b"},
    {"!=", is_unequal, "b"},
    {"lt", is_less, "b"},
    {"lessthan", is_less, "b"},
    {"<", is_less, "b"},
    {"gt", is_greater, "b"},
    {"greaterthan", is_greater, "b"},
    {">", is_greater, "b"},
    {"le", is_at_most, "b"},
    {"<=", is_at_most, "b"},
    {"ge", is_at_least, "b"},
    {">=", is_at_least, "b"},
    {"in", is_in, "seq"},
    {NULL, NULL, NULL},
};
