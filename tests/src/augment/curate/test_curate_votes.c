#include "augment/curate/votes.h"

#include "conf/document.h"
#include "test_files.h"

typedef struct votes_case {
    const dk_node *rows;
    int32_t votes[16];
} votes_case;

static int32_t next_votes(void *user, int64_t number, const int32_t **votes, dk_error *err)
{
    votes_case *c = user;
    const dk_node *row = dk_node_at(c->rows, (size_t)number);
    (void)err;
    for (size_t v = 0; v < row->size; v++) c->votes[v] = (int32_t)row->items[v]->i64;
    *votes = c->votes;
    return DK_OK;
}

static double furthest(const double *got, const dk_node *want)
{
    double most = 0;
    for (size_t i = 0; i < want->size; i++) most = test_worst(most, fabs(got[i] - want->items[i]->f64));
    return most;
}

static di_dawid_skene_rules rules_of(const dk_node *node, double smoothing)
{
    return (di_dawid_skene_rules){.classes = dk_node_get(node, "classes")->i64,
                                  .voters = dk_node_get(node, "voters")->i64,
                                  .smoothing = smoothing,
                                  .tolerance = 1e-8,
                                  .rounds = 10000};
}

static void check_case(dk_host *host, const dk_node *node)
{
    votes_case user = {.rows = dk_node_get(node, "votes")};
    di_dawid_skene model = {0};
    double p[16];
    const int32_t *votes;
    dk_error err;
    REQUIRE_OK(di_dawid_skene_fit(host, rules_of(node, dk_node_get(node, "smoothing")->f64), (int64_t)user.rows->size,
                                  next_votes, &user, &model, &err));
    CHECK(model.converged);
    CHECK(furthest(model.prior, dk_node_get(node, "prior")) < 1e-7);
    CHECK(furthest(model.errors, dk_node_get(node, "errors")) < 1e-6);
    const dk_node *posterior = dk_node_get(node, "posterior");
    for (size_t i = 0; i < user.rows->size; i++) {
        const size_t classes = (size_t)model.rules.classes;
        next_votes(&user, (int64_t)i, &votes, &err);
        di_dawid_skene_posterior(&model, votes, p);
        for (size_t c = 0; c < classes; c++) CHECK_NEAR(p[c], posterior->items[i * classes + c]->f64, 1e-6);
    }
    di_dawid_skene_free(&model);
}

/* crowd-kit after 20 rounds: it has no smoothing, and no posterior for an item without votes. */
static void check_crowd_kit(dk_host *host, const dk_node *node)
{
    votes_case user = {.rows = dk_node_get(node, "votes")};
    const dk_node *want = dk_node_get(node, "crowd_kit");
    di_dawid_skene model = {0};
    di_dawid_skene_rules rules = rules_of(node, 0);
    double p[16], most = 0;
    const int32_t *votes;
    dk_error err;
    rules.rounds = 20;
    rules.tolerance = 0;
    REQUIRE_OK(di_dawid_skene_fit(host, rules, (int64_t)user.rows->size, next_votes, &user, &model, &err));
    for (size_t i = 0; i < user.rows->size; i++) {
        const size_t classes = (size_t)rules.classes;
        next_votes(&user, (int64_t)i, &votes, &err);
        di_dawid_skene_posterior(&model, votes, p);
        for (size_t c = 0; c < classes && want->items[i * classes]->f64 >= 0; c++)
            most = test_worst(most, fabs(p[c] - want->items[i * classes + c]->f64));
    }
    CHECK_INT(model.rounds, 20);
    CHECK_NEAR(most, 0, 1e-6);
    di_dawid_skene_free(&model);
}

TEST(dawid_skene_is_as_numpy_and_crowd_kit_have_it)
{
    dk_host *host = NULL;
    dk_document *doc = NULL;
    dk_error err;
    REQUIRE_OK(dk_host_create(NULL, &host, &err));
    REQUIRE_OK(dk_json_open(host, TEST_DATA "/curate/votes.json", &doc, &err));
    const dk_node *root = dk_document_root(doc);
    REQUIRE(root->size >= 3);
    for (size_t i = 0; i < root->size; i++) {
        check_case(host, root->items[i]);
        check_crowd_kit(host, root->items[i]);
    }
    dk_document_free(doc);
    dk_host_release(host);
}

typedef struct listed {
    const int32_t (*votes)[3];
} listed;

static int32_t next_listed(void *user, int64_t number, const int32_t **votes, dk_error *err)
{
    (void)err;
    *votes = ((listed *)user)->votes[number];
    return DK_OK;
}

/* Two voters always agree, the third says the opposite: it is worth as much as they are, the other way round. */
TEST(a_voter_who_is_always_wrong_is_turned_round)
{
    static const int32_t votes[][3] = {{0, 0, 1}, {1, 1, 0}, {0, 0, 1},   {1, 1, 0},
                                       {0, 0, 1}, {1, 1, 0}, {-1, -1, 1}, {-1, -1, -1}};
    listed user = {votes};
    di_dawid_skene model = {0};
    double p[2];
    dk_host *host = NULL;
    dk_error err;
    REQUIRE_OK(dk_host_create(NULL, &host, &err));
    const di_dawid_skene_rules rules = {.classes = 2, .voters = 3, .smoothing = 0.01, .tolerance = 1e-8, .rounds = 500};
    REQUIRE_OK(di_dawid_skene_fit(host, rules, 8, next_listed, &user, &model, &err));
    CHECK(model.converged);
    di_dawid_skene_posterior(&model, votes[6], p);
    CHECK(p[0] > 0.99);
    di_dawid_skene_posterior(&model, votes[7], p); /* nobody voted: the prior */
    CHECK_NEAR(p[0], model.prior[0], 1e-15);
    CHECK_NEAR(model.prior[0], 4.01 / 7.02, 1e-3);
    di_dawid_skene_free(&model);
    dk_host_release(host);
}

/* One voter: what it says is true, and every error stays as small as the smoothing makes it. */
TEST(one_voter_is_believed)
{
    static const int32_t votes[][3] = {{0, -1, -1}, {0, -1, -1}, {1, -1, -1}};
    listed user = {votes};
    di_dawid_skene model = {0};
    double p[2];
    dk_host *host = NULL;
    dk_error err;
    REQUIRE_OK(dk_host_create(NULL, &host, &err));
    const di_dawid_skene_rules rules = {.classes = 2, .voters = 3, .smoothing = 0, .tolerance = 1e-8, .rounds = 50};
    REQUIRE_OK(di_dawid_skene_fit(host, rules, 3, next_listed, &user, &model, &err));
    CHECK_NEAR(model.prior[0], 2.0 / 3, 1e-12);
    CHECK_NEAR(model.errors[0], 1, 1e-12);
    CHECK_NEAR(model.errors[4], 0.5, 1e-12); /* of a voter of whom nothing is known */
    di_dawid_skene_posterior(&model, votes[2], p);
    CHECK_NEAR(p[1], 1, 1e-12);
    di_dawid_skene_free(&model);
    dk_host_release(host);
}

TEST(a_class_that_is_none_is_refused)
{
    static const int32_t votes[][3] = {{0, 2, -1}};
    listed user = {votes};
    di_dawid_skene model = {0};
    dk_host *host = NULL;
    dk_error err;
    REQUIRE_OK(dk_host_create(NULL, &host, &err));
    di_dawid_skene_rules rules = {.classes = 2, .voters = 3, .tolerance = 1e-8, .rounds = 50};
    CHECK_INT(di_dawid_skene_fit(host, rules, 1, next_listed, &user, &model, &err), DK_E_INVALID);
    CHECK_STR(err.message, "item 0: voter 1 says class 2 of 2");
    rules.voters = 0;
    CHECK_INT(di_dawid_skene_fit(host, rules, 1, next_listed, &user, &model, &err), DK_E_INVALID);
    dk_host_release(host);
}

TEST(majority_and_confidence)
{
    static const int32_t votes[] = {2, -1, 0, 2, 0, 1};
    static const double confidence[] = {0.5, 9, 0.4, 0.25, 0.35, 0.5};
    double p[3];
    di_majority(votes, 6, 3, p);
    CHECK_NEAR(p[0], 0.4, 1e-15);
    CHECK_NEAR(p[1], 0.2, 1e-15);
    CHECK_NEAR(p[2], 0.4, 1e-15);
    di_decision first = di_decide(p, 3);
    CHECK_INT(first.class, 0); /* ties: the class that stands first */
    CHECK(first.tied);
    di_weigh_votes(votes, confidence, 6, 3, p);
    CHECK_NEAR(p[0], 0.375, 1e-15);
    CHECK_NEAR(p[1], 0.25, 1e-15);
    CHECK_NEAR(p[2], 0.375, 1e-15);
    di_majority(votes, 1, 3, p);
    first = di_decide(p, 3);
    CHECK_INT(first.class, 2);
    CHECK(!first.tied);
    di_majority(votes + 1, 1, 3, p);
    first = di_decide(p, 3);
    CHECK_INT(first.class, -1); /* nobody voted */
}

TEST_MAIN(TEST_CASE(dawid_skene_is_as_numpy_and_crowd_kit_have_it)
              TEST_CASE(a_voter_who_is_always_wrong_is_turned_round) TEST_CASE(one_voter_is_believed)
                  TEST_CASE(a_class_that_is_none_is_refused) TEST_CASE(majority_and_confidence))
