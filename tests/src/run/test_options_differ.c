/* The first option that two ranks have otherwise, as it stands in a recipe. */
#include "run/run_state.h"
#include "test.h"

static void check(const char *a, const char *b, const char *in_a, const char *in_b)
{
    dk_host *host = NULL;
    dk_strbuf one, two;
    dk_error err;
    REQUIRE(dk_host_create(NULL, &host, &err) == DK_OK);
    dk_strbuf_init(&one, host);
    dk_strbuf_init(&two, host);
    CHECK_INT(di_options_first_difference(a, b, &one, &two), in_a != NULL);
    if (in_a) CHECK_STR(one.data, in_a);
    if (in_a) CHECK_STR(two.data, in_b);
    dk_strbuf_free(&one);
    dk_strbuf_free(&two);
    dk_host_release(host);
}

TEST(values)
{
    check("", "", NULL, NULL);
    check("train:\n  steps: 3\n", "train:\n  steps: 3\n", NULL, NULL);
    check("loss: a\ntrain:\n  steps: 3\n", "loss: a\ntrain:\n  steps: 4\n", "train.steps: 3", "train.steps: 4");
    check("a:\n  b:\n    c: 1\n  d: 2\n", "a:\n  b:\n    c: 1\n  d: 3\n", "a.d: 2", "a.d: 3");
}

TEST(more_on_one_side)
{
    check("train:\n  steps: 3\n", "", "train:", "nothing more");
    check("train:\n  seed: 1\n  steps: 3\n", "train:\n  steps: 3\n", "train.seed: 1", "train.steps: 3");
    check("a:\n  b: 1\n", "a:\n  b: 1\n  c: 2\n", "nothing more", "a.c: 2");
}

TEST(lists)
{
    check("loss:\n  - type: x\n    weight: 1\n", "loss:\n  - type: x\n    weight: 2\n", "loss.weight: 1",
          "loss.weight: 2");
    check("layers:\n  - -1\n", "layers:\n  - 1\n", "layers.-1", "layers.1");
}

TEST(deeper_than_is_followed)
{
    char a[2000] = "", b[2000] = "";
    size_t at = 0;
    for (int i = 0; i < 30; i++) at += (size_t)sprintf(a + at, "%*sk:\n", i, "");
    snprintf(b, sizeof b, "%s%*sz: 1\n", a, 30, "");
    check(a, b, "nothing more", "k.k.k.k.k.k.k.k.k.k.k.k.k.k.k.k.z: 1");
}

TEST_MAIN(TEST_CASE(values) TEST_CASE(more_on_one_side) TEST_CASE(lists) TEST_CASE(deeper_than_is_followed))
