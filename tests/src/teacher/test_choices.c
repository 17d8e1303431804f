/* Choices scored behind a prompt: against the log-probabilities of whole texts, whatever tokens they share; as shares;
 * and what is refused. */
#include "model_fixture.h"
#include "teacher/choices.h"

typedef struct asked {
    fixture f;
    dk_model *model;
    dk_tokenizer *tokenizer;
    di_teacher *teacher;
} asked;

static int open_asked(asked *a)
{
    dk_error err;
    open_fixture(&a->f, "choices");
    a->model = fresh_model(&a->f);
    a->tokenizer = NULL;
    a->teacher = NULL;
    int rc = tiny_tokenizer(&a->f, &a->tokenizer, &err);
    if (!rc) rc = di_teacher_from_model(a->f.backend, a->model, a->tokenizer, NULL, NULL, NULL, &a->teacher, &err);
    if (rc) FAIL("%s", err.message);
    return rc == 0;
}

static void close_asked(asked *a)
{
    di_teacher_release(a->teacher);
    dk_tokenizer_release(a->tokenizer);
    dk_model_free(a->model);
    close_fixture(&a->f);
}

static int64_t slices_of(const char *const *texts, dk_slice *out)
{
    int64_t count = 0;
    for (; texts[count]; count++) out[count] = (dk_slice){texts[count], strlen(texts[count])};
    return count;
}

/* The same by the whole text of prompt and choice. */
static double whole_text(asked *a, const int32_t *prompt, int64_t count, const char *choice)
{
    const uint32_t flags = dk_tokenizer_continue_flags(a->tokenizer, prompt, count) | DK_ENCODE_PLAIN;
    int64_t cap = 64, size = count, offsets[2] = {0, 0}, shape[1];
    int32_t *ids = NULL;
    float values[64] = {0};
    double sum = 0;
    distill_batch batch;
    dk_error err;
    if (dk_new(a->f.host, cap, &ids, &err)) exit(3);
    memcpy(ids, prompt, sizeof *ids * (size_t)count);
    CHECK_OK(dk_tokenizer_append(a->tokenizer, a->f.host, choice, strlen(choice), flags, &ids, &cap, &size, &err));
    DISTILL_INIT(&batch);
    offsets[1] = size;
    shape[0] = size - 1;
    batch.ids = ids;
    batch.offsets = offsets;
    batch.sequences = 1;
    distill_tensor chosen = di_tensor_of(values, DISTILL_FLOAT, 32, 1, shape);
    CHECK_OK(di_teacher_log_probs(a->teacher, &batch, 1, &chosen, NULL, &err));
    for (int64_t i = count - 1; i < size - 1; i++) sum += (double)values[i];
    dk_free(a->f.host, ids);
    return sum;
}

TEST(a_choice_is_the_sum_of_its_tokens)
{
    /* one token and several, with ways that are the same, or begin as another one does, or do not */
    static const char *const names[] = {"a",        "bc",  "bd",    "be",    "cefg", "cefh", "ce.f", "the",
                                        "\xc3\xa9", "pop", "nnnno", "nnnnp", "e",    "f",    "g",    "h",
                                        "ia",       "ja",  "ka",    "la",    "ma",   "na",   "oa",   NULL};
    /* behind a word and behind a special token, in which case a space is put in front */
    static const int32_t prompts[2][5] = {{10, 12, 9, 10, 13}, {1, 20, 15, 15, 1}};
    double log_probs[32];
    dk_slice slices[32];
    di_choices *choices = NULL;
    dk_error err;
    asked a;
    REQUIRE(open_asked(&a));
    const int64_t names_count = slices_of(names, slices);
    REQUIRE_OK(di_choices_create(a.teacher, slices, names_count, &choices, &err));
    for (int p = 0; p < 2; p++)
        for (int64_t count = p ? 5 : 1; count <= 5; count += 2) {
            CHECK_OK(di_choices_score(choices, prompts[p], count, log_probs, &err));
            for (int64_t i = 0; i < names_count; i++)
                CHECK_NEAR(log_probs[i], whole_text(&a, prompts[p], count, names[i]), 1e-4);
        }
    di_choices_free(choices);
    close_asked(&a);
}

TEST(shares_of_choices)
{
    const double log_probs[3] = {-1, -2, -4};
    const int64_t lengths[3] = {1, 2, 4};
    double shares[3];
    di_choices_share(log_probs, NULL, 3, shares);
    const double sum = exp(-1.0) + exp(-2.0) + exp(-4.0);
    for (int i = 0; i < 3; i++) CHECK_NEAR(shares[i], exp(log_probs[i]) / sum, 1e-15);
    di_choices_share(log_probs, lengths, 3, shares); /* each -1 for a token */
    for (int i = 0; i < 3; i++) CHECK_NEAR(shares[i], 1.0 / 3, 1e-15);
    const double far[2] = {-5000, -5001}; /* no share is lost where all are unlikely */
    di_choices_share(far, NULL, 2, shares);
    CHECK_NEAR(shares[0], 1 / (1 + exp(-1.0)), 1e-15);
}

static int32_t refusal(asked *a, const char *const *names, dk_error *err)
{
    dk_slice slices[8];
    di_choices *choices = NULL;
    const int64_t count = slices_of(names, slices);
    const int32_t rc = di_choices_create(a->teacher, slices, count, &choices, err);
    di_choices_free(choices);
    return rc;
}

TEST(what_is_refused)
{
    static const char *const one[] = {"a", NULL}, *const twice[] = {"b", "a", "b", NULL},
                             *const begins[] = {"bc", "bca", NULL}, *const empty[] = {"a", "", NULL},
                             *const fine[] = {"a", "b", NULL};
    static int32_t prompt[80] = {0};
    double log_probs[2] = {7, 7};
    dk_slice slices[2];
    di_choices *choices = NULL;
    di_teacher *silent = NULL;
    dk_error err;
    asked a;
    REQUIRE(open_asked(&a));
    CHECK_INT(refusal(&a, one, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "1 choices: there are at least two");
    CHECK_INT(refusal(&a, twice, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "choice 0, \"b\", is what choice 2, \"b\", begins with");
    CHECK_INT(refusal(&a, begins, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "choice 0, \"bc\", is what choice 1, \"bca\", begins with");
    CHECK_INT(refusal(&a, empty, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "choice 1, \"\", has no token");
    slices_of(fine, slices);
    REQUIRE_OK(di_choices_create(a.teacher, slices, 2, &choices, &err));
    CHECK_INT(di_choices_score(choices, prompt, 0, log_probs, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "no token");
    CHECK_INT(di_choices_score(choices, prompt, 65, log_probs, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "context of 64");
    prompt[3] = TINY_VOCAB;
    CHECK_INT(di_choices_score(choices, prompt, 5, log_probs, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "token 3 of the prompt is id 29");
    CHECK_NEAR(log_probs[0], 7, 0); /* wrong arguments leave outputs alone */
    di_choices_free(choices);
    CHECK_OK(di_teacher_from_model(a.f.backend, a.model, NULL, NULL, NULL, NULL, &silent, &err));
    CHECK_INT(di_choices_create(silent, slices, 2, &choices, &err), DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, "no tokenizer");
    di_teacher_release(silent);
    close_asked(&a);
}

TEST_MAIN(TEST_CASE(a_choice_is_the_sum_of_its_tokens) TEST_CASE(shares_of_choices) TEST_CASE(what_is_refused))
