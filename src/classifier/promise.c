#include "classifier/promise.h"

#include <math.h>
#include <stdlib.h>

#include "evaluate/rate.h"

/* The most events of which the upper bound is no more than rate; -1 = not even none of them. */
static int64_t most_events(int64_t trials, double risk, double rate)
{
    int64_t low = -1, high = trials; /* of all of them the bound is 1 */
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        if (di_rate_most(middle, trials, risk) <= rate) low = middle;
        else high = middle;
    }
    return low;
}

static int by_confidence(const void *a, const void *b) /* falling */
{
    const di_judged *x = a, *y = b;
    return x->confidence > y->confidence ? -1 : x->confidence < y->confidence;
}

void di_promise_choose(di_judged *judged, int64_t count, double agreement, double surety, di_promise *out)
{
    const double risk = 1 - surety;
    const int64_t most_wrong = most_events(count, risk, 1 - agreement);
    int64_t wrong = 0;
    *out = (di_promise){.agreement = agreement, .surety = surety, .threshold = 2, .texts = count};
    out->least_texts = (int64_t)ceil(log(risk) / log(agreement));
    if (count) qsort(judged, (size_t)count, sizeof *judged, by_confidence);
    for (int64_t i = 0; i < count && most_wrong >= 0; i++) {
        wrong += !judged[i].agrees;
        if (wrong > most_wrong) break;
        if (i + 1 < count && judged[i + 1].confidence == judged[i].confidence) continue; /* all of them, or none */
        out->threshold = judged[i].confidence;
        out->answered = i + 1;
        out->wrong = wrong;
    }
    out->bound = out->answered ? di_rate_most(out->wrong, count, risk) : 0;
}
