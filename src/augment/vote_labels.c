/* vote_labels.c - vote: majority, confidence and dawid_skene. Labels of several voters become one, with probabilities:
 * fields "label" and "probabilities". A vote is a class; null, the voter abstains; {"label": CLASS, "confidence": x};
 * or {CLASS: probability, ...}. Votes are the list in one field, or a field each. */
#include <math.h>
#include <string.h>

#include "augment/curate/kept_log.h"
#include "augment/curate/votes.h"
#include "augment/operator.h"
#include "augment/paths.h"

enum { MOST_CLASSES = 32767, ROUNDS = 1000 };
typedef enum { MAJORITY, CONFIDENCE, DAWID_SKENE } rule;

typedef struct vote_labels {
    const di_step *step;
    rule by;
    int64_t classes;
    const char *field;                       /* of a list; NULL = fields */
    double *probabilities, *spread, *shares; /* [classes] the result; sums over voters; one voter's */
    /* votes of the sample under work */
    int32_t *votes; /* [voters] */
    int64_t voters, capacity;
    /* of all samples: dawid_skene */
    char *path;
    di_kept_log *log; /* voters * int16; NULL = none yet */
    int16_t *record;
    int64_t logged; /* voters of a record */
    di_dawid_skene model;
} vote_labels;

static void free_state(void *state)
{
    vote_labels *v = state;
    dk_host *host = v->step->host;
    di_kept_log_close(v->log);
    di_dawid_skene_free(&v->model);
    dk_free(host, v->probabilities);
    dk_free(host, v->spread);
    dk_free(host, v->shares);
    dk_free(host, v->votes);
    dk_free(host, v->record);
    dk_free(host, v->path);
    dk_free(host, v);
}

static const char *class_name(const vote_labels *v, int64_t c)
{
    return di_options_list_text(v->step->options, "classes", c);
}

static int32_t class_of(const vote_labels *v, const char *name, size_t size)
{
    for (int64_t c = 0; c < v->classes; c++)
        if (strlen(class_name(v, c)) == size && memcmp(class_name(v, c), name, size) == 0) return (int32_t)c;
    return -1;
}

/* ---- options ---- */

static int32_t check_options(const di_step *step, dk_error *err)
{
    const di_options *o = step->options;
    const int64_t classes = di_options_list_size(o, "classes");
    if (classes < 2 || classes > MOST_CLASSES)
        return di_step_fail(step, err, "classes lists %lld names: 2 to %d are wanted", (long long)classes,
                            MOST_CLASSES);
    for (int64_t i = 0; i < classes; i++)
        for (int64_t j = 0; j < i; j++)
            if (!strcmp(di_options_list_text(o, "classes", i), di_options_list_text(o, "classes", j)))
                return di_step_fail(step, err, "classes names \"%.60s\" twice", di_options_list_text(o, "classes", i));
    if (di_options_is_set(o, "fields") && di_options_is_set(o, "field"))
        return di_step_fail(step, err, "both field, of a list of votes, and fields, a vote each, are given");
    return DK_OK;
}

static int32_t create_by(const di_step *step, rule by, void **state, dk_error *err)
{
    vote_labels *v = NULL;
    int32_t rc;
    DK_TRY(check_options(step, err));
    DK_TRY(dk_new(step->host, 1, &v, err));
    v->step = step;
    v->by = by;
    v->classes = di_options_list_size(step->options, "classes");
    v->field = di_options_text(step->options, "field");
    if (!v->field && !di_options_list_size(step->options, "fields")) v->field = "votes";
    DK_TRY(dk_new(step->host, v->classes, &v->probabilities, err));
    DK_TRY(dk_new(step->host, v->classes, &v->spread, err));
    DK_TRY(dk_new(step->host, v->classes, &v->shares, err));
    DK_TRY(di_step_path(step, "votes", &v->path, err));
    *state = v;
    return DK_OK;
out:
    if (v) free_state(v);
    return rc;
}

static int32_t create_majority(const di_step *step, void **state, dk_error *err)
{
    return create_by(step, MAJORITY, state, err);
}

static int32_t create_confidence(const di_step *step, void **state, dk_error *err)
{
    return create_by(step, CONFIDENCE, state, err);
}

static int32_t create_dawid_skene(const di_step *step, void **state, dk_error *err)
{
    return create_by(step, DAWID_SKENE, state, err);
}

/* ---- votes of a sample ---- */

static int32_t add_vote(vote_labels *v, int32_t vote, dk_error *err)
{
    if (v->voters == v->capacity) {
        const int64_t capacity = v->capacity ? 2 * v->capacity : 16;
        int32_t *grown = dk_realloc(v->step->host, v->votes, (uint64_t)capacity, sizeof *grown);
        if (!grown) return dk_fail_nomem(err, (uint64_t)capacity * sizeof *grown);
        v->votes = grown;
        v->capacity = capacity;
    }
    v->votes[v->voters++] = vote;
    return DK_OK;
}

/* What a vote counts is summed in this unit, a power of two: so many votes of the largest number do not overflow. */
static const double unit = 0x1p-64;

static int32_t read_number(const dk_node *node, double *out)
{
    if (!node || (node->type != DK_NODE_FLOAT && node->type != DK_NODE_INT)) return 0;
    *out = node->f64;
    return isfinite(*out) && *out >= 0;
}

/* {CLASS: probability, ...}: the likeliest, and shares. */
static const char *read_shares(vote_labels *v, const dk_node *map, int32_t *vote)
{
    double sum = 0;
    memset(v->shares, 0, (size_t)v->classes * sizeof *v->shares);
    for (size_t i = 0; i < map->size; i++) {
        const int32_t c = class_of(v, map->items[i]->key, map->items[i]->key_size);
        if (c < 0) return "unknown_class";
        if (!read_number(map->items[i], &v->shares[c])) return "unreadable_vote";
        sum += unit * v->shares[c];
    }
    if (!(sum > 0)) return "unreadable_vote";
    for (int64_t c = 0; c < v->classes; c++) v->shares[c] = unit * v->shares[c] / sum;
    *vote = di_decide(v->shares, v->classes).class;
    return NULL;
}

/* {"label": CLASS, "confidence": x} */
static const char *read_label(vote_labels *v, const dk_node *label, const dk_node *confidence, int32_t *vote)
{
    double weight = 1;
    *vote = -1;
    if (label->type == DK_NODE_NULL) return NULL;
    if (label->type != DK_NODE_TEXT || (confidence && !read_number(confidence, &weight))) return "unreadable_vote";
    *vote = class_of(v, label->text, label->size);
    memset(v->shares, 0, (size_t)v->classes * sizeof *v->shares);
    if (*vote >= 0) v->shares[*vote] = weight;
    return *vote < 0 ? "unknown_class" : NULL;
}

/* Adds the vote, and what it gives each class; returns why it cannot be read. */
static int32_t read_vote(vote_labels *v, const dk_node *node, const char **why, dk_error *err)
{
    const dk_node *label = node->type == DK_NODE_MAP ? dk_node_get(node, "label") : NULL;
    int32_t vote = -1;
    if (node->type == DK_NODE_TEXT || node->type == DK_NODE_NULL) *why = read_label(v, node, NULL, &vote);
    else if (label && class_of(v, "label", 5) < 0) *why = read_label(v, label, dk_node_get(node, "confidence"), &vote);
    else *why = node->type == DK_NODE_MAP ? read_shares(v, node, &vote) : "unreadable_vote";
    if (*why) return DK_OK;
    for (int64_t c = 0; c < v->classes && vote >= 0; c++) v->spread[c] += unit * v->shares[c];
    return add_vote(v, vote, err);
}

static int32_t with_field(vote_labels *v, const di_field *field, int32_t is_list, const char **why, dk_error *err)
{
    dk_strbuf json;
    dk_document *document = NULL;
    int32_t rc;
    dk_strbuf_init(&json, v->step->host);
    di_field_json(field, &json);
    DK_TRY(dk_strbuf_check(&json, err));
    DK_TRY(dk_json_parse(v->step->host, json.data, json.size, field->key, &document, err));
    const dk_node *root = dk_document_root(document);
    if (!is_list) DK_TRY(read_vote(v, root, why, err));
    else if (root->type != DK_NODE_LIST) *why = "unreadable_vote";
    for (size_t i = 0; is_list && !*why && i < root->size; i++) DK_TRY(read_vote(v, root->items[i], why, err));
out:
    dk_document_free(document);
    dk_strbuf_free(&json);
    return rc;
}

static int32_t any_vote(const vote_labels *v)
{
    for (int64_t i = 0; i < v->voters; i++)
        if (v->votes[i] >= 0) return 1;
    return 0;
}

/* *why NULL = there are votes. */
static int32_t read_votes(vote_labels *v, const di_record *record, const char **why, dk_error *err)
{
    const int64_t fields = v->field ? 1 : di_options_list_size(v->step->options, "fields");
    int32_t rc = DK_OK;
    v->voters = 0;
    *why = NULL;
    memset(v->spread, 0, (size_t)v->classes * sizeof *v->spread);
    for (int64_t i = 0; i < fields && !*why; i++) {
        const char *key = v->field ? v->field : di_options_list_text(v->step->options, "fields", i);
        const di_field *field = di_record_field(record, key);
        if (field) DK_TRY(with_field(v, field, v->field != NULL, why, err));
        else if (!v->field) DK_TRY(add_vote(v, -1, err)); /* a voter that was not asked */
    }
    if (!*why && !any_vote(v)) *why = "no_votes";
out:
    return rc;
}

/* ---- what is learnt of the voters ---- */

static int32_t begin_log(vote_labels *v, dk_error *err)
{
    int32_t rc;
    v->logged = v->voters;
    DK_TRY(dk_new(v->step->host, v->voters, &v->record, err));
    rc = di_kept_log_open(v->step->host, v->path, (uint32_t)(v->voters * (int64_t)sizeof *v->record),
                          (uint64_t)v->classes, NULL, &v->log, err);
out:
    return rc;
}

static int32_t gather(void *state, const di_record *record, dk_error *err)
{
    vote_labels *v = state;
    const char *why;
    int32_t rc;
    DK_TRY(read_votes(v, record, &why, err));
    if (why) goto out;
    if (!v->log) DK_TRY(begin_log(v, err));
    if (v->voters != v->logged)
        DK_TRY(dk_fail(err, DK_E_FORMAT,
                       "sample %s: has %lld votes where the samples before have %lld: null is for who abstains",
                       record->id, (long long)v->voters, (long long)v->logged));
    for (int64_t i = 0; i < v->voters; i++) v->record[i] = (int16_t)v->votes[i];
    rc = di_kept_log_append(v->log, v->record, err);
out:
    return rc;
}

static int32_t next_votes(void *user, int64_t number, const int32_t **votes, dk_error *err)
{
    vote_labels *v = user;
    const void *record;
    int32_t rc = di_kept_log_walk(v->log, number, &record, err);
    if (rc) return rc;
    memcpy(v->record, record, (size_t)v->logged * sizeof *v->record);
    for (int64_t i = 0; i < v->logged; i++) v->votes[i] = v->record[i];
    *votes = v->votes;
    return DK_OK;
}

/* How often a voter says what is true, as far as that is known now. */
static void tell_voters(const vote_labels *v)
{
    const int64_t classes = v->classes;
    for (int64_t i = 0; i < v->logged; i++) {
        double right = 0;
        for (int64_t c = 0; c < classes; c++)
            right += v->model.prior[c] * v->model.errors[(i * classes + c) * classes + c];
        dk_log(v->step->host, DK_LOG_INFO, "augment", "vote dawid_skene: voter %lld is right in %d of 100",
               (long long)i, (int)(100 * right + 0.5));
    }
}

static int32_t settle(void *state, dk_error *err)
{
    vote_labels *v = state;
    const di_dawid_skene_rules rules = {.classes = v->classes,
                                        .voters = v->logged,
                                        .smoothing = di_options_f64(v->step->options, "smoothing"),
                                        .tolerance = 1e-8,
                                        .rounds = ROUNDS};
    int32_t rc;
    if (!v->log) return DK_OK; /* nobody voted on anything */
    DK_TRY(di_dawid_skene_fit(v->step->host, rules, di_kept_log_count(v->log), next_votes, v, &v->model, err));
    if (!v->model.converged)
        dk_log(v->step->host, DK_LOG_WARN, "augment", "vote dawid_skene: still moves after %d rounds", ROUNDS);
    tell_voters(v);
    di_kept_log_close(v->log);
    v->log = NULL;
out:
    return rc;
}

static int32_t remove_votes(void *state, dk_error *err) { return di_path_remove(((vote_labels *)state)->path, err); }

/* ---- labels ---- */

static void decide(vote_labels *v)
{
    double sum = 0;
    if (v->by == MAJORITY) di_majority(v->votes, v->voters, v->classes, v->probabilities);
    if (v->by == DAWID_SKENE) di_dawid_skene_posterior(&v->model, v->votes, v->probabilities);
    if (v->by != CONFIDENCE) return;
    for (int64_t c = 0; c < v->classes; c++) sum += v->spread[c];
    for (int64_t c = 0; c < v->classes; c++) v->probabilities[c] = sum > 0 ? v->spread[c] / sum : 0;
}

static int32_t set_label(vote_labels *v, di_record *record, const char *label, dk_error *err)
{
    const di_made made = {.verb = v->step->verb, .name = v->step->name, .seed = v->step->seed};
    dk_strbuf json;
    int32_t rc;
    dk_strbuf_init(&json, v->step->host);
    for (int64_t c = 0; c < v->classes; c++) {
        dk_strbuf_puts(&json, c ? "," : "{");
        dk_strbuf_json(&json, class_name(v, c), strlen(class_name(v, c)));
        dk_strbuf_puts(&json, ":");
        dk_strbuf_f64(&json, v->probabilities[c]);
    }
    dk_strbuf_puts(&json, "}");
    DK_TRY(dk_strbuf_check(&json, err));
    DK_TRY(di_record_set_text(record, "label", label, strlen(label), err));
    DK_TRY(di_record_set_json(record, "probabilities", json.data, json.size, err));
    rc = di_record_add_operator(record, &made, err);
out:
    dk_strbuf_free(&json);
    return rc;
}

static int32_t label(vote_labels *v, di_record **record, di_flow *flow, dk_error *err)
{
    const char *why;
    int32_t rc;
    DK_TRY(read_votes(v, *record, &why, err));
    if (why) return di_flow_aside(flow, record, why, err);
    decide(v);
    const di_decision decision = di_decide(v->probabilities, v->classes);
    if (decision.class < 0) return di_flow_aside(flow, record, "no_votes", err); /* without any confidence */
    if (decision.tied) DK_TRY(di_flow_count(flow, "tied", 1, err));
    DK_TRY(set_label(v, *record, class_name(v, decision.class), err));
    rc = di_flow_emit(flow, record, err);
out:
    return rc;
}

static int32_t apply(void *state, di_record **in, int64_t count, di_flow *flow, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < count; i++) DK_TRY(label(state, &in[i], flow, err));
out:
    return rc;
}

const di_operator_functions di_vote_majority = {.create = create_majority, .free = free_state, .apply = apply};
const di_operator_functions di_vote_confidence = {.create = create_confidence, .free = free_state, .apply = apply};
const di_operator_functions di_vote_dawid_skene = {.create = create_dawid_skene,
                                                   .free = free_state,
                                                   .apply = apply,
                                                   .remove = remove_votes,
                                                   .gather = gather,
                                                   .settle = settle};
