/* votes.h - labels of several voters become one distribution over the classes. A vote is a class from 0 on, or -1: the
 * voter abstained. Ties go to the class that stands first. */
#ifndef DI_AUGMENT_CURATE_VOTES_H
#define DI_AUGMENT_CURATE_VOTES_H

#include "base/host.h"

typedef struct di_decision {
    int32_t class;      /* -1 = nobody voted */
    int32_t tied;       /* another class has as much */
    double probability; /* of the class */
} di_decision;
/* The likeliest class; what differs by less than 1e-12 ties. */
di_decision di_decide(const double *probabilities, int64_t classes);
/* probabilities [classes]: the shares of those who voted; all 0 = nobody did. */
void di_majority(const int32_t *votes, int64_t voters, int64_t classes, double *probabilities);
/* confidence [voters] >= 0, each of its vote; shares of their sum. */
void di_weigh_votes(const int32_t *votes, const double *confidence, int64_t voters, int64_t classes,
                    double *probabilities);

/* ---- Dawid & Skene 1979: how voters err is learnt with what is true, by expectation-maximisation ---- */
typedef struct di_dawid_skene_rules {
    int64_t classes, voters;
    double smoothing; /* counts added to every class and to every kind of error of a voter; 0 = none */
    double tolerance; /* no parameter moves further in the last round */
    int64_t rounds;   /* at most */
} di_dawid_skene_rules;
typedef struct di_dawid_skene {
    dk_host *host;
    di_dawid_skene_rules rules;
    double *prior;  /* [classes] */
    double *errors; /* [voters, classes, classes]: true class, then what the voter says */
    double *log_prior, *log_errors;
    int64_t rounds;
    int32_t converged;
    double log_likelihood; /* of the votes, in the last round */
} di_dawid_skene;
/* Votes [voters] of item `number`, borrowed until the next call. Items are asked for in order, once a round, so that
 * any number of them passes in the same memory. */
typedef int32_t (*di_votes_fn)(void *user, int64_t number, const int32_t **votes, dk_error *err);
/* Begins with the shares of the voters. An item without votes says nothing of voters and of how frequent classes
 * are. */
int32_t di_dawid_skene_fit(dk_host *host, di_dawid_skene_rules rules, int64_t items, di_votes_fn fn, void *user,
                           di_dawid_skene *out, dk_error *err);
void di_dawid_skene_free(di_dawid_skene *model); /* zeroed is fine */
/* probabilities [classes]; where nobody voted, the prior. Returns the log-likelihood of the votes. */
double di_dawid_skene_posterior(const di_dawid_skene *model, const int32_t *votes, double *probabilities);

#endif
