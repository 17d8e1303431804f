#include "augment/curate/answers.h"

#include "test.h"

typedef struct number_case {
    const char *text;
    double number; /* NAN = not parsed */
} number_case;

TEST(the_number_at_the_end_of_an_answer)
{
    static const number_case cases[] = {
        {"She sold 48/2 = <<48/2=24>>24 clips.\n#### 72", 72},
        {"#### 1,234.50", 1234.5},
        {"#### -5", -5},
        {"#### $1,000,000", 1e6},
        {"#### 50%", 50},
        {"#### 7\nThat was 3 steps.", 7},
        {"#### 5\n#### 6", 6},
        {"#### about 10", NAN},
        {"#### ", NAN},
        {"#### 1,5", NAN},
        {"#### 1.2.3", NAN},
        {"#### 12,34", NAN},
        {"#### 1234,567", NAN},
        {"so \\boxed{42} is it, of 50", 42},
        {"\\boxed{1} then \\boxed{-2.5}", -2.5},
        {"\\boxed{x + 1}", NAN},
        {"\\boxed{3", NAN},
        {"The answer is 12.", 12},
        {"The answer is 1,234.", 1234},
        {"It costs $18.50 in all", 18.5},
        {"It is -3", -3},
        {"It is \xe2\x88\x92"
         "3.",
         -3},
        {"10-3", 3},
        {"pages 10-12", 12},
        {"x=-4", -4},
        {"the numbers are 3,5", NAN},
        {"on 1,000,00", NAN},
        {"007", 7},
        {"none at all", NAN},
        {"", NAN},
        {"0.1", 0.1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double got = NAN;
        const int32_t found = di_find_number(cases[i].text, strlen(cases[i].text), &got);
        if (isnan(cases[i].number) ? found : !(found && got == cases[i].number))
            FAIL("\"%s\" gives %d, %.9g and not %.9g", cases[i].text, (int)found, got, cases[i].number);
    }
    CHECK(di_same_number(1234.5, 1234.5, 0));
    CHECK(!di_same_number(1234.5, 1234.6, 1e-6));
    CHECK(di_same_number(3, 3 + 1e-7, 1e-6));
}

static int32_t same(const char *a, const char *b) { return di_same_answer(a, strlen(a), b, strlen(b)); }

TEST(answers_of_the_same_words)
{
    CHECK(same("Paris", " paris.\n"));
    CHECK(same("S\xc3\x83O  Paulo", "s\xc3\xa3o paulo"));
    CHECK(!same("Paris", "Pari"));
    CHECK(!same("Paris", "Paris France"));
    CHECK(same("", " "));
    CHECK(!same("a b", "ab"));
}

TEST(the_score_of_a_judge)
{
    static const number_case cases[] = {
        {"Good answer.\nScore: 7/10", 7},
        {"Score: 7", 7},
        {"**Score:** 8.5", 8.5},
        {"Rating: [[9]]", 9},
        {"Nota: 6/10\n", 6},
        {"Pontua\xc3\xa7\xc3\xa3o: 4", 4},
        {"score = 3", 3},
        {"Score: 7/10. It has 2 errors.", 7},
        {"Score: 7\nScore: 7", 7},
        {"It is fine.\n8", 8},
        {"It is fine.\n**8/10**", 8},
        {"10", 10},
        {"Score: 7\nScore: 8", NAN},
        {"Score: 7 or 8", NAN},
        {"Score: 7-8", NAN},
        {"Score: 7/5", NAN},
        {"Score: 11", NAN},
        {"Score: 70%", NAN},
        {"Score: 7th place", NAN},
        {"Score: -1", NAN},
        {"Score: seven", NAN},
        {"Score:\n7", NAN},
        {"I would give it 7", NAN},
        {"It has 3 parts", NAN},
        {"7 8", NAN},
        {"", NAN},
        {"underscore: 5 apples", NAN},
        {"Score: 7,5", NAN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double got = NAN;
        const int32_t found = di_find_score(cases[i].text, strlen(cases[i].text), 1, 10, &got);
        if (isnan(cases[i].number) ? found : !(found && got == cases[i].number))
            FAIL("\"%s\" gives %d, %.9g and not %.9g", cases[i].text, (int)found, got, cases[i].number);
    }
}

TEST(the_verdict_on_a_pair)
{
    static const struct {
        const char *text;
        di_verdict verdict;
    } cases[] = {
        {"Both are fine, but [[A]]", DI_VERDICT_A},
        {"[[B]]", DI_VERDICT_B},
        {"[[C]]", DI_VERDICT_TIE},
        {"[[tie]]", DI_VERDICT_TIE},
        {"Verdict: B", DI_VERDICT_B},
        {"**Winner:** A.", DI_VERDICT_A},
        {"Veredito: empate", DI_VERDICT_TIE},
        {"Vencedor: A", DI_VERDICT_A},
        {"A is longer.\nB", DI_VERDICT_B},
        {"b.", DI_VERDICT_B},
        {"Tie", DI_VERDICT_TIE},
        {"[[A]] or [[B]]", DI_VERDICT_NONE},
        {"Verdict: A\nVerdict: B", DI_VERDICT_NONE},
        {"Verdict: neither", DI_VERDICT_NONE},
        {"A is better than B", DI_VERDICT_NONE},
        {"[[D]]", DI_VERDICT_NONE},
        {"Answer A", DI_VERDICT_NONE},
        {"", DI_VERDICT_NONE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const di_verdict got = di_find_verdict(cases[i].text, strlen(cases[i].text));
        if (got != cases[i].verdict) FAIL("\"%s\" gives %d and not %d", cases[i].text, got, cases[i].verdict);
    }
}

TEST_MAIN(TEST_CASE(the_number_at_the_end_of_an_answer) TEST_CASE(answers_of_the_same_words)
              TEST_CASE(the_score_of_a_judge) TEST_CASE(the_verdict_on_a_pair))
