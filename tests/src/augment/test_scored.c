/* Operators that ask a model how likely a sample is, or keep by a score, with the quickstart's teacher. */
#include "augment_fixture.h"

#define TEACHER TEST_DATA "/../../examples/quickstart/teacher"

static void open_with_teacher(bench *b, const char *name, const char *steps, const char *seeds)
{
    open_bench(b, name, steps, seeds);
    CHECK_OK(di_teacher_open(b->backend, TEACHER, 1, &b->teacher, &err));
}

static double number_behind(const char *text, const char *what)
{
    const char *at = text ? strstr(text, what) : NULL;
    return at ? strtod(at + strlen(what), NULL) : NAN;
}

/* The line of the result whose id this is. */
static const char *line_of(const bench *b, const char *id)
{
    static char line[8192];
    char begin[64];
    snprintf(begin, sizeof begin, "{\"id\":\"%s\",", id);
    const char *at = strstr(read_text_of(b->out), begin);
    snprintf(line, sizeof line, "%.*s", at ? (int)strcspn(at, "\n") : 0, at ? at : "");
    return line;
}

/* Mean log-probability of the ids of `learnt` behind those of `before`, from the logits themselves. */
static double likelihood_of(const bench *b, const char *before, const char *learnt)
{
    static float logits[128][4096];
    const dk_tokenizer *tokenizer = di_teacher_tokenizer(b->teacher);
    const int64_t vocab = di_teacher_vocab(b->teacher);
    int32_t ids[128];
    int64_t count = 0, first = 0, more = 0;
    double sum = 0;
    const int64_t eos = dk_tokenizer_eos(tokenizer);
    CHECK_OK(dk_tokenizer_encode(tokenizer, before, strlen(before), 0, ids, 64, &count, &err));
    first = count;
    CHECK_OK(dk_tokenizer_encode(tokenizer, learnt, strlen(learnt), DK_ENCODE_CONTINUES, ids + count, 60, &more, &err));
    count += more;
    if (eos >= 0) ids[count++] = (int32_t)eos;
    const int64_t offsets[2] = {0, count}, shape[2] = {count - 1, vocab};
    distill_batch batch;
    distill_tensor values = {.data = logits,
                             .device_type = DISTILL_CPU,
                             .ndim = 2,
                             .dtype_code = DISTILL_FLOAT,
                             .dtype_bits = 32,
                             .dtype_lanes = 1,
                             .shape = shape};
    distill_target target;
    DISTILL_INIT(&batch);
    DISTILL_INIT(&target);
    batch.ids = ids, batch.offsets = offsets, batch.sequences = 1;
    target.kind = DISTILL_DENSE;
    target.values = &values;
    CHECK_OK(di_teacher_score(b->teacher, &batch, &target, &err));
    for (int64_t i = first; i < count; i++) {
        const float *row = (const float *)logits + (i - 1) * vocab;
        double total = 0;
        for (int64_t v = 0; v < vocab; v++) total += exp((double)row[v]);
        sum += (double)row[ids[i]] - log(total);
    }
    return sum / (double)(count - first);
}

TEST(likelihood_is_that_of_the_tokens_that_are_learnt)
{
    static const char *const seeds =
        "{\"prompt\": \"a small boat\", \"completion\": \" used for fishing\", \"label\": 3}\n"
        "{\"prompt\": \"a small boat\", \"completion\": \" zq xk vv\"}\n{\"prompt\": \"no answer\"}\n";
    bench b;
    open_with_teacher(&b, "likelihood", "[{score: likelihood}]", seeds);
    REQUIRE_OK(run_bench(&b));
    const double first = number_behind(line_of(&b, "#1"), "\"teacher_likelihood\":");
    const double perplexity = number_behind(line_of(&b, "#1"), "\"teacher_perplexity\":");
    const double second = number_behind(line_of(&b, "#2"), "\"teacher_likelihood\":");
    CHECK_NEAR(first, likelihood_of(&b, "a small boat", " used for fishing"), 1e-4);
    CHECK_NEAR(second, likelihood_of(&b, "a small boat", " zq xk vv"), 1e-4);
    CHECK(first > second);
    CHECK_NEAR(perplexity, exp(-first), 1e-9);
    CHECK_HAS(line_of(&b, "#1"), "{\"operator\":\"score likelihood\",\"teacher\":\"");
    CHECK_HAS(b.report.data, "\"counts\":{\"nothing_learnt\":1}");
    char aside[1200];
    snprintf(aside, sizeof aside, "%s.aside.jsonl", b.out);
    CHECK_HAS(read_text_of(aside), "no answer");
    close_bench(&b);
}

TEST(perplexity_has_bounds)
{
    static const char *const seeds = "{\"text\": \"a small boat used for fishing\"}\n"
                                     "{\"text\": \"zq xk vv jj qq wz pf kx zz\"}\n";
    bench b;
    open_with_teacher(&b, "bounds", "[{score: likelihood}, {keep: score, by: teacher_perplexity, at_most: 2000}]",
                      seeds);
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(read_text_of(b.out), "a small boat");
    CHECK_HAS(b.report.data, "\"counts\":{\"too_high\":1}");
    close_bench(&b);
}

static void copy_file(const char *from, const char *to)
{
    char block[4096];
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    for (size_t got; in && out && (got = fread(block, 1, sizeof block, in));)
        if (fwrite(block, 1, got, out) != got) exit(3);
    if (!in || !out || fclose(in) || fclose(out)) exit(3);
}

static int32_t stop(void *user, const distill_progress *now)
{
    (void)user, (void)now;
    return DISTILL_CB_CANCEL;
}

TEST(a_gap_to_another_student_does_not_go_on)
{
    static const char *const names[] = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"};
    bench b;
    char student[1200], from[1200], steps[1400];
    snprintf(student, sizeof student, "%s", test_folder("student"));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(from, sizeof from, "%s/%s", TEACHER, names[i]);
        copy_file(from, test_path(student, names[i]));
    }
    snprintf(steps, sizeof steps, "[{score: gap, model: '%s'}]", student);
    open_with_teacher(&b, "gap_stopped", steps, "{\"text\": \"a small boat used for fishing\"}\n");
    const di_augment_args args = {
        .backend = b.backend, .teacher = b.teacher, .options = b.options, .in = b.in, .out = b.out, .fn = stop};
    CHECK_INT(di_augment(&args, &b.report, &err), DK_E_CANCELLED);
    FILE *file = fopen(test_path(student, "model.safetensors"), "r+b"); /* a weight is another one */
    CHECK(file && !fseek(file, -4096, SEEK_END) && fputc(1, file) == 1 && !fclose(file));
    CHECK_INT(run_bench(&b), DK_E_MISMATCH);
    CHECK_HAS(err.message, "another recipe");
    close_bench(&b);
}

TEST(a_model_has_no_gap_to_itself)
{
    bench b;
    open_with_teacher(&b, "gap", "[{score: gap, model: '" TEACHER "'}, {keep: score, by: gap, at_most: 0.001}]",
                      "{\"text\": \"a small boat used for fishing\"}\n");
    REQUIRE_OK(run_bench(&b));
    CHECK_NEAR(number_behind(read_text_of(b.out), "\"gap\":"), 0, 1e-6);
    CHECK_NEAR(number_behind(read_text_of(b.out), "\"student_likelihood\":"),
               number_behind(read_text_of(b.out), "\"teacher_likelihood\":"), 1e-6);
    close_bench(&b);
    open_with_teacher(&b, "gap", "[{score: gap}]", "{\"text\": \"a\"}\n");
    CHECK_INT(run_bench(&b), DK_E_OPTION);
    CHECK_HAS(err.message, "model is missing");
    close_bench(&b);
}

/* Four answers to each prompt, of which the one stays that is likeliest of them all. */
TEST(the_best_of_several_answers)
{
    static const char *const seeds = "{\"id\": \"a\", \"prompt\": \"a small boat\"}\n{\"id\": \"b\", \"prompt\": \"the "
                                     "act of\"}\n";
    static char all[1 << 16];
    bench b, best;
    open_with_teacher(&b, "all",
                      "[{label: answer, samples: 4, temperature: 1, max_new_tokens: 8}, {score: likelihood}]", seeds);
    REQUIRE_OK(run_bench(&b));
    snprintf(all, sizeof all, "%s", read_text_of(b.out));
    open_with_teacher(&best, "best",
                      "[{label: answer, samples: 4, temperature: 1, max_new_tokens: 8}, {keep: best, by: "
                      "teacher_likelihood}]",
                      seeds);
    REQUIRE_OK(run_bench(&best));
    CHECK_HAS(best.report.data, "\"operator\":\"keep best\",\"in\":8,\"out\":2,\"counts\":{\"not_the_best\":6}");
    for (int prompt = 0; prompt < 2; prompt++) {
        double top = -1e9, kept;
        char id[16], wanted[16] = "";
        for (int s = 0; s < 4; s++) {
            snprintf(id, sizeof id, "%c/1.%d", 'a' + prompt, s);
            const double score = number_behind(line_of(&b, id), "\"teacher_likelihood\":");
            if (score > top) top = score, snprintf(wanted, sizeof wanted, "%s", id);
        }
        kept = number_behind(line_of(&best, wanted), "\"teacher_likelihood\":");
        CHECK_NEAR(kept, top, 1e-5);
    }
    close_bench(&best);
    close_bench(&b);
}

TEST(the_best_by_a_field)
{
    bench b;
    open_bench(&b, "field", "[{keep: best, by: stars}]",
               "{\"text\": \"a\", \"stars\": 1}\n{\"text\": \"b\"}\n{\"text\": \"c\", \"stars\": 3}\n");
    REQUIRE_OK(run_bench(&b)); /* samples of their own have no siblings */
    CHECK_HAS(b.report.data, "\"in\":3,\"out\":2,\"counts\":{\"no_such_score\":1}");
    close_bench(&b);
}

TEST(answers_that_verify)
{
    static const char *const seeds =
        "{\"prompt\": \"p\", \"completion\": \"so 6 * 7 = 42.\\n#### 42\", \"answer\": \"x\\n#### 42\"}\n"
        "{\"prompt\": \"p\", \"completion\": \"it is 41\", \"answer\": 42}\n"
        "{\"prompt\": \"p\", \"completion\": \"I do not know\", \"answer\": 42}\n"
        "{\"prompt\": \"p\", \"completion\": \"42\", \"answer\": \"many\"}\n{\"prompt\": \"p\", \"completion\": "
        "\"42\"}\n"
        "{\"prompt\": \"p\", \"completion\": \"The total is $1,042.50\", \"answer\": 1042.5}\n";
    bench b;
    char aside[1200];
    open_bench(&b, "verified", "[{keep: verified, against: answer}]", seeds);
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(b.report.data,
              "\"in\":6,\"out\":2,\"counts\":{\"wrong\":1,\"unparsed\":1,\"reference_without_a_number\":1,"
              "\"no_reference\":1}");
    snprintf(aside, sizeof aside, "%s.aside.jsonl", b.out);
    CHECK_HAS(read_text_of(aside), "I do not know");
    close_bench(&b);
    open_bench(&b, "exact", "[{keep: verified, against: answer, compare: exact}]",
               "{\"prompt\": \"p\", \"completion\": \" Paris.\", \"answer\": \"paris\"}\n"
               "{\"prompt\": \"p\", \"completion\": \"Rome\", \"answer\": \"paris\"}\n");
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(b.report.data, "\"in\":2,\"out\":1,\"counts\":{\"wrong\":1}");
    close_bench(&b);
    open_bench(&b, "none", "[{keep: verified}]", seeds);
    CHECK_INT(run_bench(&b), DK_E_OPTION);
    CHECK_HAS(err.message, "against is missing");
    close_bench(&b);
}

TEST_MAIN(TEST_CASE(likelihood_is_that_of_the_tokens_that_are_learnt) TEST_CASE(perplexity_has_bounds)
              TEST_CASE(a_model_has_no_gap_to_itself) TEST_CASE(a_gap_to_another_student_does_not_go_on)
                  TEST_CASE(the_best_of_several_answers) TEST_CASE(the_best_by_a_field) TEST_CASE(answers_that_verify))
