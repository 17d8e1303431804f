/* What a sample keeps on its way, and what becomes of one that cannot be asked about: fields as they were written,
 * ids that are never given twice, samples that a template refuses, files beside a result that was moved. */
#include "augment_fixture.h"

static const char *const own = TEST_DATA "/../../examples/quickstart/teacher";

static void open_asking(bench *b, const char *name, const char *steps, const char *seeds)
{
    open_bench(b, name, steps, seeds);
    CHECK_OK(di_teacher_open(b->backend, own, 1, &b->teacher, &err));
}

static int64_t count_of(const char *text, const char *part)
{
    int64_t count = 0;
    for (const char *at = text; (at = strstr(at, part)); at++) count++;
    return count;
}

/* ---- fields ---- */

TEST(fields_are_as_they_were_written)
{
    bench b;
    open_bench(&b, "fields", "[{keep: length, min: 1}]", "");
    write_text(b.in,
               "{\"text\": \"a\", \"big\": 123456789012345678901234567890, \"exact\": 0.1000000000000000000000001, "
               "\"none\": null, \"deep\": [ 1.50, {\"x\" : null, \"y, ]\": \"\\\"]}\"} ] , \"e\": 1E+4}\n"
               "{\"id\": null, \"prompt\": \"q\", \"completion\": null, \"provenance\": null}\n");
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(read_text_of(b.out),
              "{\"id\":\"#1\",\"text\":\"a\",\"big\":123456789012345678901234567890,"
              "\"exact\":0.1000000000000000000000001,\"none\":null,\"deep\":[1.50,{\"x\":null,\"y, ]\":\"\\\"]}\"}],"
              "\"e\":1E+4,\"provenance\":");
    CHECK_HAS(read_text_of(b.out), "{\"id\":\"#2\",\"prompt\":\"q\",\"completion\":null,\"provenance\":{\"operators\"");
    close_bench(&b);
}

/* A completion that is null is none: the prompt is asked about, and the answer stands in its place. */
TEST(null_is_not_there)
{
    bench b;
    open_asking(&b, "null", "[{label: answer, max_new_tokens: 4, temperature: 0}]",
                "{\"prompt\": \"a small boat\", \"completion\": null, \"n\": 1}\n");
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(read_text_of(b.out), "\"prompt\":\"a small boat\",\"completion\":\"");
    CHECK_HAS(read_text_of(b.out), "\",\"n\":1,");
    close_bench(&b);
}

/* ---- ids ---- */

static void collect_ids(const char *text, char ids[][80], int64_t *count)
{
    for (const char *at = text; (at = strstr(at, "{\"id\":\"")); at++) {
        const char *begin = at + 7, *end = strchr(begin, '"');
        snprintf(ids[(*count)++], 80, "%.*s", (int)(end - begin), begin);
    }
}

/* A file that was made is augmented again, together with what it was made of. */
TEST(ids_differ_over_generations)
{
    static const char *const steps = "[{expand: continue, samples: 2, max_new_tokens: 4, temperature: 1}]";
    char ids[64][80], text[1 << 16];
    int64_t count = 0;
    bench b;
    open_asking(&b, "first", steps,
                "{\"id\": \"a\", \"text\": \"a small boat\"}\n{\"id\": \"b/1.0\", \"text\": \"a tree\"}\n");
    CHECK_OK(di_options_set(b.options, "augment.seed", "3", &err));
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(read_text_of(b.out), "\"id\":\"a/2:1.0\"");
    CHECK_HAS(read_text_of(b.out), "\"id\":\"b/1.0/2:1.1\"");
    snprintf(text, sizeof text, "%s", read_text_of(b.out));
    close_bench(&b);

    open_asking(&b, "second", steps, text);
    REQUIRE_OK(run_bench(&b));
    collect_ids(read_text_of(b.out), ids, &count);
    CHECK_INT(count, 18);
    for (int64_t i = 0; i < count; i++)
        for (int64_t k = 0; k < i; k++)
            if (!strcmp(ids[i], ids[k])) FAIL("id %s stands twice", ids[i]);
    CHECK_HAS(read_text_of(b.out), "\"id\":\"a/3:1.0\"");
    close_bench(&b);
}

TEST(generations_are_read)
{
    static const struct {
        const char *id;
        int64_t generation;
    } cases[] = {{"a", 0},      {"a/1.0", 1},    {"a/b/1.x", 0}, {"a/4:1.0/2.3", 4},       {"http://x/1.0/y", 1},
                 {"made#3", 1}, {"made:5#3", 5}, {"maker", 0},   {"a/1.0.0", 0},           {"a/:1.0", 0},
                 {"#17", 0},    {"a/1.", 0},     {"/.0", 0},     {"made#1/7:1.0/2:1.1", 7}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (di_id_generation(cases[i].id) != cases[i].generation)
            FAIL("%s: %lld", cases[i].id, (long long)di_id_generation(cases[i].id));
}

/* ---- samples that a template refuses ---- */

static const char refusing[] =
    "{% for m in messages %}{% if m.role == 'user' and 'no' in m.content %}{{ raise_exception('not this one') }}"
    "{% endif %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}";

TEST(one_that_is_refused_is_kept_aside)
{
    char path[1200];
    bench b;
    open_asking(&b, "refused", "[{label: answer, max_new_tokens: 4, temperature: 0}]",
                "{\"id\": \"x\", \"messages\": [{\"role\": \"user\", \"content\": \"hello\"}]}\n"
                "{\"id\": \"y\", \"messages\": [{\"role\": \"user\", \"content\": \"no\"}]}\n"
                "{\"id\": \"z\", \"messages\": [{\"role\": \"user\", \"content\": \"again\"}]}\n");
    snprintf(path, sizeof path, "%s.jinja", b.out);
    write_text(path, refusing);
    CHECK_OK(di_options_set(b.options, "data.chat_template", path, &err));
    REQUIRE_OK(run_bench(&b));
    CHECK_INT(count_of(read_text_of(b.out), "\n"), 2);
    CHECK_HAS(b.report.data, "\"refused\":1");
    snprintf(path, sizeof path, "%s.aside.jsonl", b.out);
    CHECK_HAS(read_text_of(path), "{\"why\":\"refused\",\"problem\":\"");
    CHECK_HAS(read_text_of(path), "not this one");
    CHECK_HAS(read_text_of(path), "\"sample\":{\"id\":\"y\"");
    close_bench(&b);
}

/* The same for classes, judges and likelihoods. */
TEST(others_refuse_likewise)
{
    static const char *const steps[] = {"[{label: class, classes: [x, y]}]", "[{score: likelihood}]"};
    for (int i = 0; i < 2; i++) {
        char path[1200];
        bench b;
        open_asking(&b, i ? "likelihood" : "class", steps[i],
                    "{\"id\": \"x\", \"messages\": [{\"role\": \"user\", \"content\": \"hello\"}, {\"role\": "
                    "\"assistant\", \"content\": \"here\"}]}\n"
                    "{\"id\": \"y\", \"messages\": [{\"role\": \"user\", \"content\": \"no\"}, {\"role\": "
                    "\"assistant\", \"content\": \"here\"}]}\n");
        snprintf(path, sizeof path, "%s.jinja", b.out);
        write_text(path, refusing);
        CHECK_OK(di_options_set(b.options, "data.chat_template", path, &err));
        REQUIRE_OK(run_bench(&b));
        CHECK_INT(count_of(read_text_of(b.out), "\n"), 1);
        CHECK_HAS(b.report.data, "\"refused\":1");
        close_bench(&b);
    }
}

/* ---- classes of what has an answer ---- */

TEST(a_class_is_no_second_answer)
{
    bench b;
    char first[4096];
    const char *at;
    open_asking(
        &b, "answered", "[{label: class, classes: [boat, tree]}]",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"it floats\"}]}\n"
        "{\"messages\": [{\"role\": \"user\", \"content\": \"it floats\"}, {\"role\": \"assistant\", \"content\": "
        "\"kept\"}]}\n");
    CHECK_OK(di_options_set(b.options, "data.chat_template", "chatml", &err));
    REQUIRE_OK(run_bench(&b));
    snprintf(first, sizeof first, "%s", read_text_of(b.out));
    char *second = strchr(first, '\n');
    REQUIRE(second);
    *second++ = 0;
    CHECK_INT(count_of(first, "assistant"), 1);
    CHECK_INT(count_of(second, "assistant"), 1);
    CHECK_HAS(second, "\"content\":\"kept\"}]");
    /* asked by the same words */
    REQUIRE((at = strstr(first, "\"probabilities\":{")) && strchr(at, '}'));
    char shares[400];
    snprintf(shares, sizeof shares, "%.*s", (int)(strchr(at, '}') - at), at);
    CHECK_HAS(second, shares);
    close_bench(&b);
}

/* ---- what stands beside a result that was moved ---- */

TEST(leftovers_are_not_written_over)
{
    char moved[1200], aside[1200];
    bench b;
    open_bench(&b, "leftover", "[{vote: majority, classes: [x, y]}]",
               "{\"text\": \"a\", \"votes\": [\"x\"]}\n{\"text\": \"b\", \"votes\": [\"z\"]}\n");
    REQUIRE_OK(run_bench(&b));
    snprintf(moved, sizeof moved, "%s.moved", b.out);
    snprintf(aside, sizeof aside, "%s.aside.jsonl", b.out);
    REQUIRE(!rename(b.out, moved));
    CHECK_INT(run_bench(&b), DK_E_STAGE);
    CHECK_HAS(err.message, "out.jsonl.aside.jsonl: is there without");
    CHECK_HAS(read_text_of(aside), "unknown_class");
    CHECK_OK(di_options_set(b.options, "augment.overwrite", "true", &err));
    CHECK_OK(run_bench(&b));
    close_bench(&b);
}

/* ---- one text in two forms ---- */

TEST(accents_stand_in_one_form)
{
    static const char *const steps[] = {"[{drop: duplicate}]", "[{drop: near_duplicate, jaccard: 0.9, ngram: 1}]",
                                        "[{keep: novelty, rouge_l: 0.9}]", "[{drop: overlap, ngram: 5, with: '%s'}]"};
    for (int i = 0; i < 4; i++) {
        char one[400], path[1200];
        bench b;
        open_bench(&b, "forms", "[{keep: length, min: 1}]",
                   "{\"text\": \"a caf\xc3\xa9 \xc3\xa0 la cr\xc3\xa8me br\xc3\xbbl\xc3\xa9"
                   "e\"}\n"
                   "{\"text\": \"a cafe\xcc\x81 a\xcc\x80 la cre\xcc\x80me bru\xcc\x82le\xcc\x81"
                   "e\"}\n");
        snprintf(path, sizeof path, "%s.eval", b.out);
        write_text(path, "{\"text\": \"a cafe\xcc\x81 a\xcc\x80 la cre\xcc\x80me bru\xcc\x82le\xcc\x81"
                         "e\"}\n");
        snprintf(one, sizeof one, "%s", steps[i]);
        if (i == 3) snprintf(one, sizeof one, "[{drop: overlap, ngram: 5, with: '%.300s'}]", path);
        CHECK_OK(di_options_set(b.options, "augment.steps", one, &err));
        REQUIRE_OK(run_bench(&b));
        CHECK_INT(count_of(read_text_of(b.out), "\n"), i == 3 ? 0 : 1);
        close_bench(&b);
    }
}

/* ---- several at once ---- */

/* Blends, and teachers that read a prefix, answer a chunk together, and each prompt as it would be alone. */
TEST(answers_hang_on_nothing_beside_them)
{
    static const char *const steps = "[{label: answer, samples: 2, max_new_tokens: 6, temperature: 1}]",
                             *const seeds[] = {"{\"id\": \"b\", \"prompt\": \"a tall tree\"}\n",
                                               "{\"id\": \"a\", \"prompt\": \"a small boat\"}\n"
                                               "{\"id\": \"b\", \"prompt\": \"a tall tree\"}\n"
                                               "{\"id\": \"c\", \"prompt\": \"the\"}\n"};
    for (int prefix = 0; prefix < 2; prefix++) {
        char alone[1 << 14];
        for (int many = 0; many < 2; many++) {
            bench b;
            di_teacher *other = NULL, *made = NULL;
            const int32_t ids[3] = {4, 5, 6};
            open_asking(&b, prefix ? "prefix" : "blend", steps, seeds[many]);
            REQUIRE_OK(di_teacher_open(b.backend, own, 1, &other, &err));
            const di_blend_member members[2] = {{b.teacher, "a", 0.5, 1}, {other, "b", 0.5, 2}};
            const di_blend_settings linear = {.mode = DI_BLEND_LOG_LINEAR, .softness = 1};
            if (prefix) REQUIRE_OK(di_teacher_prefixed(b.teacher, ids, 3, &made, &err));
            else REQUIRE_OK(di_teacher_blend(b.backend, members, 2, &linear, &made, &err));
            di_teacher_release(b.teacher);
            di_teacher_release(other);
            b.teacher = made;
            CHECK(di_teacher_draws(made));
            REQUIRE_OK(run_bench(&b));
            const char *line = strstr(read_text_of(b.out), "{\"id\":\"b/1.0\"");
            REQUIRE(line != NULL);
            if (!many) snprintf(alone, sizeof alone, "%s", line);
            else CHECK(strncmp(line, alone, strlen(alone)) == 0);
            close_bench(&b);
        }
    }
}

/* ---- the best of many ---- */

TEST(best_of_each_family)
{
    dk_strbuf seeds;
    bench b;
    dk_host *host = NULL;
    REQUIRE_OK(dk_host_create(NULL, &host, &err));
    dk_strbuf_init(&seeds, host);
    for (int i = 0; i < 600; i++) /* the best of family f is its member 2, and of equal ones the first */
        dk_strbuf_printf(&seeds,
                         "{\"id\": \"f%d/1.%d\", \"text\": \"%d\", \"s\": %d, \"provenance\": {\"operators\": [], "
                         "\"parents\": [\"f%d\"], \"scores\": {}}}\n",
                         i / 3, i % 3, i, i % 3 == 0 ? 1 : 7, i / 3);
    open_bench(&b, "best", "[{keep: best, by: s}]", seeds.data);
    REQUIRE_OK(run_bench(&b));
    CHECK_INT(count_of(read_text_of(b.out), "\n"), 200);
    CHECK_INT(count_of(read_text_of(b.out), "/1.1\""), 200);
    CHECK_HAS(b.report.data, "\"not_the_best\":400");
    close_bench(&b);
    dk_strbuf_free(&seeds);
    dk_host_release(host);
}

TEST_MAIN(TEST_CASE(fields_are_as_they_were_written) TEST_CASE(null_is_not_there) TEST_CASE(ids_differ_over_generations)
              TEST_CASE(generations_are_read) TEST_CASE(one_that_is_refused_is_kept_aside)
                  TEST_CASE(others_refuse_likewise) TEST_CASE(a_class_is_no_second_answer)
                      TEST_CASE(leftovers_are_not_written_over) TEST_CASE(best_of_each_family)
                          TEST_CASE(answers_hang_on_nothing_beside_them) TEST_CASE(accents_stand_in_one_form))
