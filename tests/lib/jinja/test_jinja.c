#include "jinja/jinja.h"
#include "test.h"

static dk_host *host;
static dk_error err;

/* What template makes of the members of a map; the text is the caller's. NULL = err says why not. */
static int32_t render_with(const char *template, size_t size, const dk_node *values, uint16_t origin,
                           const dk_jinja_limits *limits, const dk_jinja_date *date, dk_jinja_output *out)
{
    dk_jinja *jinja = NULL;
    dk_jinja_context *context = NULL;
    int32_t rc;
    if (!host) dk_host_create(NULL, &host, &err);
    dk_error_clear(&err);
    memset(out, 0, sizeof *out);
    DK_TRY(dk_jinja_parse(host, "t", template, size, &jinja, &err));
    DK_TRY(dk_jinja_context_create(jinja, host, limits, date, &context, &err));
    for (size_t i = 0; values && i < values->size; i++)
        DK_TRY(dk_jinja_set_node(context, values->items[i]->key, values->items[i], origin, NULL, &err));
    rc = dk_jinja_render(context, out, &err);
out:
    dk_jinja_context_free(context);
    dk_jinja_free(jinja);
    return rc;
}

static const char *show(const char *template)
{
    static char text[512];
    dk_jinja_output out;
    if (render_with(template, strlen(template), NULL, 0, NULL, NULL, &out)) return err.message;
    snprintf(text, sizeof text, "%s", out.text);
    dk_jinja_output_free(&out);
    return text;
}

/* What the reference rendered: tests/lib/jinja/make_cases.py wrote it down. */
TEST(as_the_reference)
{
    const int32_t parts_of_date = 6;
    dk_document *document;
    dk_jinja_date date;
    int32_t *const parts[] = {&date.year, &date.month, &date.day, &date.hour, &date.minute, &date.second};
    if (!host) dk_host_create(NULL, &host, &err);
    REQUIRE_OK(dk_json_open(host, TEST_DATA "/jinja/cases.json", &document, &err));
    const dk_node *root = dk_document_root(document), *cases = dk_node_get(root, "cases");
    for (int32_t i = 0; i < parts_of_date; i++)
        *parts[i] = (int32_t)dk_node_at(dk_node_get(root, "date"), (size_t)i)->i64;
    CHECK(cases->size > 40);
    for (size_t i = 0; i < cases->size; i++) {
        const dk_node *template = dk_node_get(cases->items[i], "template"),
                      *want = dk_node_get(cases->items[i], "text");
        dk_jinja_output out;
        int32_t rc = render_with(template->text, template->size, dk_node_get(root, "context"), 1, NULL, &date, &out);
        if (!want) CHECK(rc);
        else if (rc) FAIL("%s: %s", template->text, err.message);
        else CHECK_STR(out.text, want->text);
        dk_jinja_output_free(&out);
    }
    dk_document_free(document);
}

TEST(unknown_is_named)
{
    static const char *const cases[][2] = {
        {"a\n{{ x | wordwrap(3) }}", "t line 2: filter 'wordwrap' is not known"},
        {"{{ x | map('nope') }}", "line 1: filter 'nope' is not known"},
        {"{{ x | select('nope') | list }}", "test 'nope' is not known"},
        {"{{ x | selectattr('a', 'nope') }}", "test 'nope' is not known"},
        {"{{ x is nope }}", "test 'nope' is not known"},
        {"\n\n{{ x.append(1) }}", "line 3: method 'append' is not known"},
        {"{{ foo(1) }}", "function 'foo' is not known"},
        {"{% include 'x' %}", "tag 'include' is not known"},
        {"{% call f() %}{% endcall %}", "tag 'call' is not known"},
        {"{{ x | trim(width=3) }}", "filter 'trim' has no argument of that name"},
        {"{{ x | trim(1, 2) }}", "filter 'trim' takes fewer arguments"},
        {"{{ x | replace('a') }}", "filter 'replace' needs more arguments"},
        {"{{ x | indent(2, width=3) }}", "is given an argument twice"},
        {"{{ x | join(*y) }}", "arguments with * are not supported"},
        {"{% for x in y recursive %}{% endfor %}", "recursive loops are not supported"},
        {"{% macro f() %}{{ varargs }}{% endmacro %}", "varargs and kwargs of a macro are not supported"},
        {"{% macro f() %}{% generation %}{% endgeneration %}{% endmacro %}", "generation stands inside of a macro"},
        {"{% break %}", "break and continue stand in loops alone"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) CHECK_HAS(show(cases[i][0]), cases[i][1]);
}

/* Behind conditions, in loops and in macros it fails where it is asked for, as the reference's does. */
TEST(unknown_fails_where_it_is_asked_for)
{
    static const char *const cases[][3] = {
        {"{% if a %}{{ 1 | from_json }}{% endif %}b", "filter 'from_json' is not known here", "b"},
        {"{% if a %}{% elif a is nope %}{% endif %}b", NULL, "t line 1: test 'nope' is not known here"},
        {"{{ (1 | nope) if a else 'b' }}", "filter 'nope' is not known here", "b"},
        {"{{ 'b' if not a else (x is nope) }}", "test 'nope' is not known here", "b"},
        {"{% for i in a or [] %}{% set _ = [].append(i) %}{% endfor %}b", "method 'append' is not known here", "b"},
        {"{% macro f() %}{{ foo(1) }}{% endmacro %}{% if a %}{{ f() }}{% endif %}b", "'foo' is undefined", "b"},
        {"{% if a %}{{ [1] | map('nope') | list }}{% endif %}b", "map: 'nope' is not known here", "b"},
        {"{% if a %}{{ [1] | select('nope') | list }}{% endif %}b", "select: 'nope' is not known here", "b"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[300];
        snprintf(text, sizeof text, "{%% set a = [1] %%}%s", cases[i][0]);
        if (cases[i][1]) CHECK_HAS(show(text), cases[i][1]);
        CHECK_HAS(show(cases[i][0]), cases[i][2]);
    }
}

/* transformers 5.24: none, 0 and what is undefined have no items to look at. */
TEST(what_is_false_has_no_items)
{
    CHECK_STR(show("{{ none | selectattr('a', 'equalto', 1) | list | length }}"), "0");
    CHECK_STR(show("{{ none | rejectattr('a') | list }}{{ 0 | select | list }}{{ x | reject | list }}"), "[][][]");
    CHECK_STR(show("{{ false | map('upper') | list }}{{ none | map(attribute='a') | list }}"), "[][]");
    CHECK_STR(show("{{ x | map(attribute='a') | join(',') }}|"), "|");
    CHECK_HAS(show("{{ 5 | map('upper') | list }}"), "cannot be walked over");
}

TEST(malformed)
{
    static const char *const cases[][2] = {
        {"{{ x", "line 1: a tag has no }}"},
        {"{% if x", "a tag has no %}"},
        {"a\n{# x", "line 2: a comment that {# opens has no #}"},
        {"{% raw %}x", "{% raw %} has no {% endraw %}"},
        {"{% if x %}", "the template ends where 'elif' must stand"},
        {"{% for x in y %}{% endif %}", "tag 'endif' is not known"},
        {"{% endfor %}", "tag 'endfor' is not known"},
        {"{{ }}", "stands where a value must"},
        {"{{ x ] }}", "']' closes no bracket"},
        {"{{ (x }}", "'}' closes no bracket"},
        {"{{ 'x }}", "a string has no closing '"},
        {"{{ x ? y }}", "the character '?' is not known"},
        {"{{ x \x01 y }}", "the character ' ' is not known"}, /* one line, whatever stands in it */
        {"{{ 'a\\uzz' }}", "the escape '\\u' of a string is not known"},
        {"{{ 99999999999999999999 }}", "is no number that is known here"},
        {"{{ x y }}", "'y' stands where }} must"},
        {"{% set loop = 1 %}", "'loop' cannot be set"},
        {"{{ x is defined is defined }}", "tests cannot be chained"},
        {"\xff", "byte 0 is not UTF-8"},
    };
    char nested[400] = "{{ ";
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) CHECK_HAS(show(cases[i][0]), cases[i][1]);
    memset(nested + 3, '(', 390);
    CHECK_HAS(show(nested), "brackets nest deeper than 64");
    memset(nested + 3, '-', 380);
    memcpy(nested + 383, "x }}", 5);
    CHECK_HAS(show(nested), "it nests deeper than 100");
}

TEST(wrong_values)
{
    static const char *const cases[][2] = {
        {"\n{{ x.y.z }}", "t line 2: 'x' is undefined"},
        {"{{ x + 1 }}", "'x' is undefined, and stands beside +"},
        {"{{ 'a' + 1 }}", "a text + an integer is not defined"},
        {"{{ 1 < 'a' }}", "an integer < a text is not defined"},
        {"{{ 1 / 0 }}", "a division by zero"},
        {"{{ 9223372036854775807 + 1 }}", "an integer of more than 64 bits"},
        {"{{ 10 ** 30 }}", "an integer of more than 64 bits"},
        {"{% for x in 3 %}{% endfor %}", "an integer cannot be walked over"},
        {"{{ raise_exception('no ' ~ 'way') }}", "line 1: the template says: no way"},
        {"{{ strftime_now('%Y') }}", "the template asks for today's date, and none is given"},
        {"{{ [x] | tojson }}", "an undefined value cannot be written as JSON"},
        {"{{ range(3) }}", "a range has no text"},
        {"{% set x = 1 %}{% set x.y = 2 %}", "attributes of a namespace alone can be set, and 'x' is none"},
        {"{% set a, b = 1, 2, 3 %}", "2 names are set to 3 values"},
        {"{% macro f(a) %}{% endmacro %}{{ f(1, b=2) }}", "macro 'f' is given arguments that it does not name"},
        {"{{ [1, 'a'] | sort }}", "sort: "},
        {"{{ range(200000) }}", "a range of 200000, at most 100000"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) CHECK_HAS(show(cases[i][0]), cases[i][1]);
}

static const char *bounded(const char *template, dk_jinja_limits limits)
{
    dk_jinja_output out;
    if (!render_with(template, strlen(template), NULL, 0, &limits, NULL, &out)) dk_jinja_output_free(&out);
    return err.message;
}

TEST(bounds)
{
    static const char loops[] = "{% for a in range(1000) %}{% for b in range(1000) %}{% endfor %}{% endfor %}";
    static const char deep[] = "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}";
    static const char doubles[] = "{% set n = namespace(s='xxxxxxxx') %}{% for a in range(60) %}{% set n.s = n.s ~ n.s "
                                  "%}{% endfor %}";
    CHECK_HAS(bounded(loops, (dk_jinja_limits){.steps = 100000}), "more than 100000 steps");
    CHECK_HAS(bounded(deep, (dk_jinja_limits){0}), "nests deeper than 400");
    CHECK_HAS(bounded(doubles, (dk_jinja_limits){.output = 10000}), "a text of more than 10000 bytes");
    CHECK_HAS(bounded(doubles, (dk_jinja_limits){.memory = 100000}), "more than 100000 bytes of memory");
    CHECK_HAS(bounded("{{ 'ab' * 100000 }}", (dk_jinja_limits){.output = 1000}), "a text of more than 1000 bytes");
    CHECK_HAS(bounded("{{ [1] * 1000000000 }}", (dk_jinja_limits){0}), "the most that it may");
}

/* Where the characters came from: the template's as '.', others as the digit of their origin. */
static const char *origins_of(const char *template)
{
    static const char values[] =
        "{\"c\": \" a\\u00e9<b> 12 \", \"i\": 42, \"l\": [\"x\", \"yz\"], \"d\": {\"k\": \"v\"}}";
    static char text[256];
    dk_document *document;
    dk_jinja_output out;
    if (!host) dk_host_create(NULL, &host, &err);
    if (dk_json_parse(host, values, strlen(values), "v", &document, &err)) return err.message;
    int32_t rc = render_with(template, strlen(template), dk_document_root(document), 3, NULL, NULL, &out);
    dk_document_free(document);
    if (rc) return err.message;
    for (size_t i = 0; i < out.size && i < sizeof text - 1; i++)
        text[i] = out.origins[i] ? (char)('0' + out.origins[i]) : '.', text[i + 1] = 0;
    dk_jinja_output_free(&out);
    return text;
}

TEST(origins)
{
    static const char *const cases[][2] = {
        {"[{{ c }}]", ".33333333333."},
        {"{{ '<' + c | trim + '>' }}", ".333333333."},
        {"{{ ('x' ~ c)[0:3] }}", ".33"},
        {"{{ c | upper | replace('B', 'q') }}", "33333.33333"},
        {"{{ ('<' ~ i ~ '>') }}{{ i + 1 }}{{ 1 + 1 }}", ".33.33."},
        {"{{ l | join(', ') }}{{ l }}", "3..33..3....33.."},
        {"{{ d | tojson }}", "..3....3.."},
        {"{{ c.split('<')[1] }}", "333333"},
        {"{{ c | tojson }}", ".33333333333."},
        {"{% set q %}a{{ c | trim }}{% endset %}{{ q }}", ".333333333"},
        {"{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f(l[1]) }}", ".33."},
        {"{{ '%s!' % l[0] }}{{ c | length }}", "3..."},
        {"{{ (c | trim)[-2:] | int }}{{ '\n'.join(l) | indent(1) }}", "333..33"},
        {"{{ c | trim | title }}{{ (c | trim | reverse)[0] }}", "3333333333"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *got = origins_of(cases[i][0]);
        if (strcmp(got, cases[i][1]) != 0) FAIL("%s: \"%s\", not \"%s\"", cases[i][0], got, cases[i][1]);
    }
}

TEST(generations)
{
    static const char template[] =
        "<s>{% for x in [1, 22] %}[{% generation %}{{ x }}</a>{% endgeneration %}]{% endfor %}";
    dk_jinja_output out;
    REQUIRE_OK(render_with(template, strlen(template), NULL, 0, NULL, NULL, &out));
    CHECK_STR(out.text, "<s>[1</a>][22</a>]");
    CHECK_INT(out.generation_count, 2);
    CHECK_INT(out.generations[0].begin, 4);
    CHECK_INT(out.generations[0].end, 9);
    CHECK_INT(out.generations[1].begin, 11);
    CHECK_INT(out.generations[1].end, 17);
    dk_jinja_output_free(&out);
    CHECK_HAS(show("{% set x %}{% generation %}a{% endgeneration %}{% endset %}"), "inside of a block that is set");
}

TEST(what_a_template_reads)
{
    static const char template[] = "{{ tools }}{% generation %}{% endgeneration %}";
    dk_jinja *jinja;
    if (!host) dk_host_create(NULL, &host, &err);
    REQUIRE_OK(dk_jinja_parse(host, "t", template, strlen(template), &jinja, &err));
    CHECK(dk_jinja_has_generation(jinja) && dk_jinja_mentions(jinja, "tools") && !dk_jinja_mentions(jinja, "messages"));
    dk_jinja_free(jinja);
}

TEST_MAIN(TEST_CASE(as_the_reference) TEST_CASE(unknown_is_named) TEST_CASE(unknown_fails_where_it_is_asked_for)
              TEST_CASE(what_is_false_has_no_items) TEST_CASE(malformed) TEST_CASE(wrong_values) TEST_CASE(bounds)
                  TEST_CASE(origins) TEST_CASE(generations) TEST_CASE(what_a_template_reads))
