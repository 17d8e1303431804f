/* operator_table.c - every operator: what it is called, which options it reads, what it needs. */
#include "augment/operator.h"

#define WRITING "samples|max_new_tokens|temperature|top_p|top_k|stop"
#define TEMPLATE WRITING "|language|template"
#define JUDGING "max_new_tokens|temperature|top_p|top_k|stop|language|template"
#define VOTES "classes|field|fields"
#define ASKS (DI_NEEDS_TEACHER | DI_NEEDS_CHAT)

static const di_operator_row rows[] = {
    {"expand", "magpie", "n|max_new_tokens|temperature|top_p|top_k|stop", ASKS | DI_MAKES_SEEDS, &di_expand_magpie},
    {"expand", "topic", "n|topics|from|" TEMPLATE, ASKS | DI_MAKES_SEEDS, &di_expand_template},
    {"expand", "self_instruct", "examples|from|originals|" TEMPLATE, ASKS, &di_expand_template},
    {"expand", "evol_instruct", "direction|originals|" TEMPLATE, ASKS, &di_expand_template},
    {"expand", "persona", "personas|from|originals|" TEMPLATE, ASKS, &di_expand_template},
    {"expand", "paraphrase", "originals|" TEMPLATE, ASKS, &di_expand_template},
    {"expand", "back_translation", "pivot|own|originals|" TEMPLATE, ASKS, &di_expand_back_translation},
    {"expand", "continue", WRITING "|prefix_tokens|originals", DI_NEEDS_TEACHER, &di_expand_continue},
    {"label", "rationale", "marker|rationale_weight|answer_weight|" TEMPLATE, ASKS, &di_label_rationale},
    {"label", "class", "classes|into|chat|per_token|language|template", DI_NEEDS_TEACHER, &di_label_class},
    {"label", "answer", WRITING "|chat|keep_logprobs|only_matched", DI_NEEDS_TEACHER, &di_label_answer},
    {"keep", "length", "min|max|unit|field", 0, &di_keep_length},
    {"drop", "regex", "pattern|invert|field", 0, &di_drop_regex},
    {"drop", "duplicate", "ignore|field", 0, &di_drop_duplicate},
    {"drop", "near_duplicate", "jaccard|shingle|ngram|field", 0, &di_drop_near_duplicate},
    {"drop", "overlap", "with|ngram|field", 0, &di_drop_overlap},
    {"keep", "novelty", "rouge_l|window|field", 0, &di_keep_novelty},
    {"keep", "quality", "bounds|field", 0, &di_keep_quality},
    {"keep", "balance", "field|max|share", 0, &di_keep_balance},
    {"keep", "score", "by|at_least|at_most", 0, &di_keep_score},
    {"keep", "best", "by", 0, &di_keep_best},
    {"keep", "verified", "against|compare|tolerance|field", 0, &di_keep_verified},
    {"feedback", "judge", "low|high|" JUDGING, ASKS, &di_feedback_judge},
    {"feedback", "rank", JUDGING "|answers", ASKS, &di_feedback_rank},
    {"vote", "majority", VOTES, 0, &di_vote_majority},
    {"vote", "confidence", VOTES, 0, &di_vote_confidence},
    {"vote", "dawid_skene", VOTES "|smoothing", DI_IS_BARRIER, &di_vote_dawid_skene},
    {"score", "likelihood", "", DI_NEEDS_TEACHER, &di_score_likelihood},
    {"score", "gap", "model", DI_NEEDS_TEACHER, &di_score_gap},
};

int64_t di_operator_count(void) { return (int64_t)(sizeof rows / sizeof *rows); }

const di_operator_row *di_operator_at(int64_t index)
{
    return index >= 0 && index < di_operator_count() ? &rows[index] : NULL;
}
