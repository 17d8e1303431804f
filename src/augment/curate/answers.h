/* answers.h - numbers, scores and verdicts that a model wrote at the end of its text. What is not plain is not parsed:
 * nothing is guessed. '.' is the decimal point and ',' parts thousands, whatever the locale. */
#ifndef DI_AUGMENT_CURATE_ANSWERS_H
#define DI_AUGMENT_CURATE_ANSWERS_H

#include <stddef.h>
#include <stdint.h>

/* The number that a text answers with: behind its last "####" (GSM8K), else in its last \boxed{}, else its last number.
 * A sign, a currency or % beside it are passed over: "$1,234.50" is 1234.5. 0 = there is none, or it is not plain
 * ("1,5", "1.2.3", "#### about ten"). */
int32_t di_find_number(const char *text, size_t size, double *out);
/* |a - b| <= tolerance * max(1, |b|) */
int32_t di_same_number(double a, double b, double tolerance);
/* Are the answers the same words, but for spaces, letter case and a full stop at the end? */
int32_t di_same_answer(const char *a, size_t a_size, const char *b, size_t b_size);

/* A judge's score in [low, high]: the only one behind "Score:" or "Rating:" ("Nota:", "Pontuação:"), or a last line
 * that is a number and nothing else; "7/10" where high is 10. 0 = not parsed: none, several that differ, out of
 * bounds. */
int32_t di_find_score(const char *text, size_t size, double low, double high, double *out);

typedef enum { DI_VERDICT_NONE, DI_VERDICT_A, DI_VERDICT_B, DI_VERDICT_TIE } di_verdict;
/* "[[A]]", "Verdict: B", "Winner: tie" ("Veredito:", "Vencedor:", "empate"; [[C]] is a tie), or a last line that is
 * that and nothing else. NONE = not parsed, several that differ among them. */
di_verdict di_find_verdict(const char *text, size_t size);

#endif
