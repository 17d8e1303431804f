#include <math.h>
#include <string.h>

#include "augment/curate/votes.h"

typedef struct sums { /* of one round */
    double *prior, *errors, *posterior;
    double log_likelihood;
} sums;

static int64_t errors_size(const di_dawid_skene_rules *rules)
{
    return rules->voters * rules->classes * rules->classes;
}

static int32_t any_vote(const int32_t *votes, int64_t voters)
{
    for (int64_t v = 0; v < voters; v++)
        if (votes[v] >= 0) return 1;
    return 0;
}

static int32_t check_votes(const di_dawid_skene_rules *rules, int64_t number, const int32_t *votes, dk_error *err)
{
    for (int64_t v = 0; v < rules->voters; v++)
        if (votes[v] >= rules->classes)
            return dk_fail(err, DK_E_INVALID, "item %lld: voter %lld says class %d of %lld", (long long)number,
                           (long long)v, (int)votes[v], (long long)rules->classes);
    return DK_OK;
}

double di_dawid_skene_posterior(const di_dawid_skene *model, const int32_t *votes, double *probabilities)
{
    const int64_t classes = model->rules.classes;
    double top = -INFINITY, sum = 0;
    for (int64_t c = 0; c < classes; c++) {
        probabilities[c] = model->log_prior[c];
        for (int64_t v = 0; v < model->rules.voters; v++)
            if (votes[v] >= 0) probabilities[c] += model->log_errors[(v * classes + c) * classes + votes[v]];
        if (probabilities[c] > top) top = probabilities[c];
    }
    if (top == -INFINITY) { /* votes that no class gives: possible without smoothing alone */
        for (int64_t c = 0; c < classes; c++) probabilities[c] = model->prior[c];
        return top;
    }
    for (int64_t c = 0; c < classes; c++) sum += probabilities[c] = exp(probabilities[c] - top);
    for (int64_t c = 0; c < classes; c++) probabilities[c] /= sum;
    return top + log(sum);
}

static void add_item(const di_dawid_skene_rules *rules, const int32_t *votes, sums *to)
{
    const int64_t classes = rules->classes;
    for (int64_t c = 0; c < classes; c++) {
        to->prior[c] += to->posterior[c];
        for (int64_t v = 0; v < rules->voters; v++)
            if (votes[v] >= 0) to->errors[(v * classes + c) * classes + votes[v]] += to->posterior[c];
    }
}

/* Shares of what was counted, and how far the furthest moved; a row that nothing was counted for is even. */
static double take_shares(const double *counts, int64_t rows, int64_t classes, double smoothing, double *shares,
                          double *logs)
{
    double moved = 0;
    for (int64_t r = 0; r < rows; r++, counts += classes, shares += classes, logs += classes) {
        double sum = 0;
        for (int64_t c = 0; c < classes; c++) sum += counts[c] + smoothing;
        for (int64_t c = 0; c < classes; c++) {
            const double share = sum > 0 ? (counts[c] + smoothing) / sum : 1 / (double)classes;
            moved = fmax(moved, fabs(share - shares[c]));
            shares[c] = share;
            logs[c] = share > 0 ? log(share) : -INFINITY;
        }
    }
    return moved;
}

static int32_t run_round(di_dawid_skene *model, int64_t items, di_votes_fn fn, void *user, sums *round, double *moved,
                         dk_error *err)
{
    const di_dawid_skene_rules *rules = &model->rules;
    const int32_t *votes;
    int32_t rc = DK_OK;
    memset(round->prior, 0, (size_t)rules->classes * sizeof(double));
    memset(round->errors, 0, (size_t)errors_size(rules) * sizeof(double));
    round->log_likelihood = 0;
    for (int64_t i = 0; i < items; i++) {
        DK_TRY(fn(user, i, &votes, err));
        DK_TRY(check_votes(rules, i, votes, err));
        if (!any_vote(votes, rules->voters)) continue;
        if (model->rounds) round->log_likelihood += di_dawid_skene_posterior(model, votes, round->posterior);
        else di_majority(votes, rules->voters, rules->classes, round->posterior);
        add_item(rules, votes, round);
    }
    if (model->rounds) model->log_likelihood = round->log_likelihood;
    *moved = fmax(take_shares(round->prior, 1, rules->classes, rules->smoothing, model->prior, model->log_prior),
                  take_shares(round->errors, rules->voters * rules->classes, rules->classes, rules->smoothing,
                              model->errors, model->log_errors));
out:
    return rc;
}

static int32_t make_room(dk_host *host, di_dawid_skene *model, sums *round, dk_error *err)
{
    const int64_t classes = model->rules.classes, size = errors_size(&model->rules);
    int32_t rc;
    DK_TRY(dk_new(host, classes, &model->prior, err));
    DK_TRY(dk_new(host, classes, &model->log_prior, err));
    DK_TRY(dk_new(host, size, &model->errors, err));
    DK_TRY(dk_new(host, size, &model->log_errors, err));
    DK_TRY(dk_new(host, classes, &round->prior, err));
    DK_TRY(dk_new(host, classes, &round->posterior, err));
    DK_TRY(dk_new(host, size, &round->errors, err));
out:
    return rc;
}

int32_t di_dawid_skene_fit(dk_host *host, di_dawid_skene_rules rules, int64_t items, di_votes_fn fn, void *user,
                           di_dawid_skene *out, dk_error *err)
{
    di_dawid_skene model = {.host = host, .rules = rules};
    sums round = {0};
    double moved;
    int32_t rc = DK_OK;
    if (rules.classes < 1 || rules.voters < 1 || rules.rounds < 1 || !(rules.smoothing >= 0))
        return dk_fail(err, DK_E_INVALID, "%lld classes, %lld voters and %lld rounds: each must be 1 or more",
                       (long long)rules.classes, (long long)rules.voters, (long long)rules.rounds);
    DK_TRY(make_room(host, &model, &round, err));
    for (; model.rounds < rules.rounds && !model.converged; model.rounds++) {
        if (dk_host_cancelled(host)) DK_TRY(dk_fail(err, DK_E_CANCELLED, "cancelled while voters were compared"));
        DK_TRY(run_round(&model, items, fn, user, &round, &moved, err));
        model.converged = model.rounds > 0 && moved <= rules.tolerance;
    }
    *out = model;
    model = (di_dawid_skene){.host = host};
out:
    di_dawid_skene_free(&model);
    dk_free(host, round.prior);
    dk_free(host, round.posterior);
    dk_free(host, round.errors);
    return rc;
}

void di_dawid_skene_free(di_dawid_skene *model)
{
    if (!model->host) return;
    dk_free(model->host, model->prior);
    dk_free(model->host, model->errors);
    dk_free(model->host, model->log_prior);
    dk_free(model->host, model->log_errors);
    *model = (di_dawid_skene){.host = model->host};
}
