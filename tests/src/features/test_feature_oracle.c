/* Losses on features against what torch says of them: value, gradients of every parameter and of the projections, of
 * models that transformers wrote (tests/features/make_feature_oracle.py). */
#include "feature_pair.h"
#include "npz.h"

enum { TOKENS = 15, SEQUENCES = 3 };
static const int32_t ids[TOKENS] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 16, 7, 0}, labels[TOKENS] = {0};
static const int64_t offsets[] = {0, 6, 7, 15}, places[TOKENS] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14},
                     sequence[TOKENS] = {0, 0, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2, 2, 2, 2};
static const float weights[TOKENS] = {1, 0, 0.5f, 0, 2, 0, 0, 1, 0, 1, 0.25f, 0, 1, 1, 0};
static const pair_text oracle_text = {ids, labels, offsets, places, sequence, weights, TOKENS, SEQUENCES, TOKENS};

static const struct {
    const char *name, *yaml;
} oracles[] = {
    {"hidden_mse", "{type: hidden_mse}"},
    {"hidden_cosine", "{type: hidden_cosine, hidden_cosine.layers: [1, -1], hidden_cosine.teacher_layers: [2, -1]}"},
    {"attention_mse", "{type: attention_mse}"},
    {"relation", "{type: relation}"},
    {"relation_others",
     "{type: relation, relation.layers: [0, 1], relation.teacher_layers: [4, 2], relation.heads: 4}"},
};

static int open_models(pair *p, backend_kind kind)
{
    dk_model_options how = {.use_mmap = 1};
    dk_error err = {0};
    memset(p, 0, sizeof *p);
    if (!fixture_open(&p->f, kind, TEST_DATA "/features/student")) return 0;
    const int32_t rc = dk_model_open(p->f.backend, TEST_DATA "/features/teacher", &how, &p->teacher.model, &err);
    if (rc) FAIL("%s", err.message);
    return !rc && prepare(p, &oracle_text);
}

static void set_projections(pair *p, const npz_file *file, const char *name)
{
    dk_parameter *projections = NULL;
    const int64_t count = di_features_parameters(p->features, &projections);
    for (int64_t i = 0; i < count; i++) {
        char key[128];
        snprintf(key, sizeof key, "%s.projection.%d", name, (int)i);
        npz_array values = npz_get(file, key);
        REQUIRE(values.values && values.count == dk_view_count(&projections[i].value));
        write_view(&p->f, projections[i].value, values.values);
        refresh(&p->f, &projections[i]);
        free(values.values);
    }
}

static void check_gradient(pair *p, const npz_file *file, const char *key, const dk_parameter *parameter,
                           double tolerance)
{
    npz_array want = npz_get(file, key);
    double *have = new_read(&p->f, parameter->gradient), largest = 1e-9, apart = 0;
    for (int64_t i = 0; i < dk_view_count(&parameter->gradient); i++) {
        const double value = want.values ? want.values[i] : 0; /* what no loss reaches is not stored */
        largest = fmax(largest, fabs(value));
        apart = test_worst(apart, fabs(value - have[i]));
    }
    if (!(apart <= tolerance * largest)) FAIL("%s: %g of %g apart", key, apart, largest);
    free(have);
    free(want.values);
}

static void check_case(const npz_file *file, int index, backend_kind kind, double tolerance)
{
    const char *name = oracles[index].name;
    char key[256];
    pair p;
    dk_parameter *projections = NULL;
    if (open_models(&p, kind) && make_ready(&p, oracles[index].yaml, index % 2)) {
        set_projections(&p, file, name);
        const double value = gradients_of(&p);
        snprintf(key, sizeof key, "%s.value", name);
        npz_array want = npz_get(file, key);
        REQUIRE(want.values);
        if (!(fabs(value - want.values[0]) <= tolerance * want.values[0]))
            FAIL("%s: %.15g", key, value - want.values[0]);
        free(want.values);
        for (int64_t i = 0; i < p.student.model->parameter_count; i++) {
            snprintf(key, sizeof key, "%s.d.%s", name, p.student.model->parameters[i].name);
            check_gradient(&p, file, key, &p.student.model->parameters[i], tolerance);
        }
        for (int64_t i = 0; i < di_features_parameters(p.features, &projections); i++) {
            snprintf(key, sizeof key, "%s.dprojection.%d", name, (int)i);
            check_gradient(&p, file, key, &projections[i], tolerance);
        }
    }
    end(&p);
}

TEST(torch)
{
    npz_file file;
    REQUIRE(npz_open(TEST_DATA "/features/expected.npz", &file));
    for (int i = 0; i < (int)(sizeof oracles / sizeof *oracles); i++) {
        check_case(&file, i, ON_F64, 2e-6); /* transformers rotates in floats */
        check_case(&file, i, ON_CPU, 5e-5);
    }
    npz_close(&file);
}

TEST_MAIN(TEST_CASE(torch))
