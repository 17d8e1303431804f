#include "augment/curate/votes.h"

#define TIE 1e-12

di_decision di_decide(const double *probabilities, int64_t classes)
{
    di_decision best = {-1, 0, 0};
    for (int64_t c = 0; c < classes; c++) {
        if (!(probabilities[c] > 0)) continue;
        if (probabilities[c] > best.probability + TIE || best.class < 0)
            best = (di_decision){(int32_t)c, 0, probabilities[c]};
        else if (probabilities[c] > best.probability - TIE) best.tied = 1;
    }
    return best;
}

void di_weigh_votes(const int32_t *votes, const double *confidence, int64_t voters, int64_t classes,
                    double *probabilities)
{
    double sum = 0;
    for (int64_t c = 0; c < classes; c++) probabilities[c] = 0;
    for (int64_t v = 0; v < voters; v++) {
        if (votes[v] < 0) continue;
        probabilities[votes[v]] += confidence ? confidence[v] : 1;
        sum += confidence ? confidence[v] : 1;
    }
    for (int64_t c = 0; c < classes && sum > 0; c++) probabilities[c] /= sum;
}

void di_majority(const int32_t *votes, int64_t voters, int64_t classes, double *probabilities)
{
    di_weigh_votes(votes, NULL, voters, classes, probabilities);
}
