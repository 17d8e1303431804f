/* One recipe laid over another, and which names a section uses. */
#include "options/options.h"
#include "test.h"

static dk_host *host;

static di_options *tree(const char *yaml, const char *folder)
{
    di_options *o = NULL;
    dk_error err;
    if (di_options_create(host, &o, &err) || di_options_parse(o, yaml, strlen(yaml), "r.yaml", folder, &err))
        FAIL("%s", err.message);
    return o;
}

static void check_over(const char *under, const char *over, const char *want)
{
    di_options *a = tree(under, NULL), *b = tree(over, NULL), *c = tree(want, NULL);
    dk_error err;
    dk_strbuf text;
    dk_strbuf_init(&text, host);
    CHECK_OK(di_options_lay_over(a, b, &err));
    CHECK_OK(di_options_write_json(a, 0, &text, &err));
    if (!di_options_equal(a, c)) FAIL("%s over %s is %s", over, under, text.data);
    dk_strbuf_free(&text);
    di_options_free(a);
    di_options_free(b);
    di_options_free(c);
}

TEST(over)
{
    REQUIRE(!dk_host_create(NULL, &host, NULL));
    check_over("train: {steps: 3, seed: 2}", "train: {steps: 5}", "train: {steps: 5, seed: 2}");
    check_over("train: {steps: 3}", "loss: mse_logits", "train: {steps: 3}\nloss: mse_logits");
    check_over("", "train: {steps: 3}", "train: {steps: 3}");
    /* a teacher and a student are one thing */
    check_over("teacher: {path: a, temperature: 2}", "teacher: {path: b}", "teacher: {path: b}");
    check_over("teacher: {blend: {of: [a, b]}}", "teacher: c", "teacher: c");
    check_over("student: {config: c.json}", "student: {from: teacher}", "student: {from: teacher}");
    /* lists as a whole; names one by one */
    check_over("data: {train: [{path: a}, {path: b}], pack: false}", "data: {train: [{path: c}]}",
               "data: {train: [{path: c}], pack: false}");
    check_over("loss: [{type: forward_kl}, {type: cross_entropy}]", "loss: {type: forward_kl, temperature: 2}",
               "loss: {type: forward_kl, temperature: 2}");
    check_over("teachers: {a: {path: x, temperature: 2}, b: {path: y}}", "teachers: {a: {path: z}, c: {path: w}}",
               "teachers: {a: {path: z}, b: {path: y}, c: {path: w}}");
}

TEST(uses)
{
    di_options *o = tree("teachers: {a: {path: x}, b: {blend: {of: [a, d]}}, c: {path: z}, d: a, e: e}\n"
                         "teacher: {blend: {of: [b]}}",
                         NULL);
    CHECK(di_options_uses(o, "teacher", "teachers", "a"));
    CHECK(di_options_uses(o, "teacher", "teachers", "b"));
    CHECK(di_options_uses(o, "teacher", "teachers", "d"));
    CHECK(!di_options_uses(o, "teacher", "teachers", "c"));
    CHECK(!di_options_uses(o, "teacher", "teachers", "e"));
    CHECK(!di_options_uses(o, "student", "teachers", "a"));
    di_options_free(o);
}

/* The output of a stage is a name, also in a file that lies elsewhere; what is no stage's is a path. */
TEST(outputs_of_stages)
{
    di_options *o = tree("stages:\n- {name: a}\n- {name: b, teacher: stages.a, student: stages.c,\n"
                         "   teachers: {x: {path: stages.a}}}\n",
                         "folder");
    CHECK_STR(di_options_text(o, "stages.1.teacher.path"), "stages.a");
    CHECK_STR(di_options_text(o, "stages.1.teachers.x.path"), "stages.a");
    CHECK_STR(di_options_text(o, "stages.1.student.path"), "folder/stages.c");
    CHECK_STR(di_options_given(o, "stages.1.student.path"), "stages.c");
    CHECK(!di_options_given(o, "teacher.path"));
    di_options_free(o);
    dk_host_release(host);
}

TEST_MAIN(TEST_CASE(over) TEST_CASE(uses) TEST_CASE(outputs_of_stages))
