/* answer_time.h - how long a model takes to answer one prompt: to its first token, and from token to token. */
#ifndef DI_EVALUATE_ANSWER_TIME_H
#define DI_EVALUATE_ANSWER_TIME_H

#include "teacher/teacher.h"

typedef struct di_answer_time {
    int64_t prompt_tokens, written_tokens, tries;
    double first_token[2];             /* seconds: median, p95 */
    double token[3];                   /* seconds between tokens: p50, p95, p99 */
    double prompt_speed, decode_speed; /* tokens per second: by the median */
    double seconds;                    /* of all tries */
} di_answer_time;
/* By a session with section generate of options, greedily; what no session is made of is timed as it writes ids. tries
 * 0 = it cannot be timed: a teacher that does not write ids alone, or with no room for a prompt. The first answer,
 * which brings every weight into memory, does not count. */
int32_t di_answer_time_measure(dk_host *host, di_teacher *model, const di_options *options, di_answer_time *out,
                               dk_error *err);

#endif
