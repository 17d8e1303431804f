/* answer_time.h - how long a model takes to answer one prompt: to its first token, and from token to token. */
#ifndef DI_EVALUATE_ANSWER_TIME_H
#define DI_EVALUATE_ANSWER_TIME_H

#include "teacher/teacher.h"

typedef struct di_answer_time {
    int64_t prompt_tokens, written_tokens, tries, gaps; /* gaps: between tokens that were timed */
    double first_token[2];                              /* seconds: median, p95 */
    double token[3];                                    /* seconds between tokens: p50, p95, p99 */
    double prompt_speed, decode_speed;                  /* tokens per second: by the median */
    double seconds;                                     /* of all tries */
} di_answer_time;
/* How long to try: until there are so many gaps between tokens or so many seconds have passed, with three answers at
 * least; after `most` seconds what is under way is cut, with one answer of two tokens at least. most 0 = never. */
typedef struct di_answer_effort {
    int64_t written; /* tokens of an answer, at most DI_ANSWER_WRITTEN */
    int64_t gaps;
    double seconds, most;
} di_answer_effort;
enum { DI_ANSWER_WRITTEN = 64 };
extern const di_answer_effort di_answer_thorough;  /* what two models are compared by */
di_answer_effort di_answer_within(double seconds); /* what a run ends with */
/* By a session with section generate of options, greedily; what no session is made of is timed as it writes ids. tries
 * 0 = it cannot be timed: a teacher that does not write ids alone, or with no room for a prompt. Before the first
 * answer a short one, which brings every weight into memory and does not count. model NULL = none. */
int32_t di_answer_time_measure(dk_host *host, di_teacher *model, const di_options *options,
                               const di_answer_effort *effort, di_answer_time *out, dk_error *err);
/* ,"prompt_tokens":...,"decode_tokens_per_second":..., and what else was timed; nothing where nothing was */
void di_answer_time_json(const di_answer_time *time, dk_strbuf *out);

#endif
