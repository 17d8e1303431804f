/* Pairs of chosen and rejected and the loss that compares them, in training: TRL's own steps, micro-batches, strips and
 * threads, references, a run that goes on, what is measured, what is refused. */
#include "small.h"

typedef struct preference_golden {
    const char *name, *loss;
    double steps[3][4];      /* loss, norm of the gradient, margin and accuracy of rewards */
    double total, magnitude; /* of all weights behind them */
} preference_golden;
#include "preference_goldens.h"

static const char *const pairs[][3] = {{"AB", "CDE", "FG"},     {"HIJK", "LM", "NOPQR"}, {"S", "TA", "TB"},
                                       {"BCD", "E", "FGHIJKL"}, {"MN", "OPQRSTA", "B"},  {"CC", "DDD", "EE"},
                                       {"FGH", "IJ", "KLM"},    {"N", "OPQ", "RST"}};
enum { PAIRS = sizeof pairs / sizeof *pairs };

static int write_tokenizer(void)
{
    char text[2600] = "{\"added_tokens\":[{\"id\":63,\"content\":\"<e>\",\"special\":true,\"single_word\":false,"
                      "\"lstrip\":false,\"rstrip\":false,\"normalized\":false}],\"pre_tokenizer\":{\"type\":"
                      "\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false},\"decoder\":{\"type\":"
                      "\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{";
    int id = 0;
    for (char c = '!'; id < SMALL_VOCAB - 1; c++)
        if (c != '"' && c != '\\' && c != '<') snprintf(text + strlen(text), 16, "\"%c\":%d,", c, id), id++;
    strcat(text, "\"<e>\":63}}}\n");
    return small_write(test_path(small_folder, "tokenizer.json"), text) &&
           small_write(test_path(small_folder, "tokenizer_config.json"), "{\"eos_token\":\"<e>\"}\n");
}

static const char *pair_line(int i)
{
    return small_text("{\"prompt\": \"%s\", \"chosen\": \"%s\", \"rejected\": \"%s\"}\n", pairs[i][0], pairs[i][1],
                      pairs[i][2]);
}

static int write_data(void)
{
    char lines[4096] = "", mixed[4096] = "", texts[1024] = "";
    for (int i = 0; i < PAIRS; i++) {
        strcat(lines, pair_line(i));
        strcat(mixed, pair_line(i));
        if (i % 2) strcat(mixed, "{\"text\": \"QRSTABCDEF\"}\n");
        snprintf(texts + strlen(texts), 64, "{\"text\": \"ABCDEFG%c\"}\n", 'A' + i);
    }
    const char *wide = small_text("{\"prompt\": \"A\", \"chosen\": \"B\", \"rejected\": \"%070d\"}\n", 0);
    return small_write(test_path(small_folder, "long.jsonl"), wide) &&
           small_write(test_path(small_folder, "pairs.jsonl"), lines) &&
           small_write(test_path(small_folder, "mixed.jsonl"), mixed) &&
           small_write(test_path(small_folder, "texts.jsonl"), texts);
}

/* As weights() of make_preference_goldens.py. */
static void set_weights(distill_student *student, const char *salt)
{
    const char *name;
    distill_tensor t;
    distill_error err;
    for (int64_t i = 0; (name = distill_student_parameter_name(student, i)); i++) {
        uint32_t seed = 2166136261u;
        for (const char *c = salt; *c; c++) seed = (seed ^ (uint8_t)*c) * 16777619u;
        for (const char *c = name; *c; c++) seed = (seed ^ (uint8_t)*c) * 16777619u;
        REQUIRE_OK(distill_student_parameter(student, name, DISTILL_WEIGHT, &t, &err));
        for (int64_t k = 0; k < small_elements(&t); k++) {
            uint32_t h = ((uint32_t)k * 2654435761u) ^ seed;
            h ^= h >> 16;
            h *= 0x7FEB352Du;
            h ^= h >> 15;
            const double even = (double)(h >> 8) / 16777216 - 0.5;
            ((float *)t.data)[k] = (float)(t.ndim == 1 ? 1 + 0.2 * even : 0.5 * even);
        }
    }
    REQUIRE_OK(distill_student_weights_changed(student, &err));
}

static int32_t open_student(small *s, const char *salt, distill_student **out, distill_error *err)
{
    distill_tokenizer *tokenizer = NULL;
    int32_t rc = distill_tokenizer_open(s->env, small_folder, &tokenizer, err);
    if (!rc)
        rc = distill_student_create(s->env, test_path(small_folder, "student.json"), tokenizer, s->options, out, err);
    if (!rc) set_weights(*out, salt);
    distill_tokenizer_free(tokenizer);
    return rc;
}

static int prepare(void)
{
    static int done;
    small s = {0};
    distill_error err;
    char command[700];
    if (done) return 1;
    if (!small_models("preference") || !write_tokenizer() || !write_data()) return 0;
    int32_t rc = small_env(&s, NULL, NULL, &err);
    static const char *const salts[] = {"teacher", "student"};
    for (int i = 0; i < 2 && !rc; i++) { /* as models to be references */
        snprintf(command, sizeof command, "rm -rf '%s/of_%s'", small_folder, salts[i]);
        if (system(command)) return 0;
        rc = open_student(&s, salts[i], &s.student, &err);
        if (!rc) rc = distill_student_save(s.student, small_text("%s/of_%s", small_folder, salts[i]), s.options, &err);
        distill_student_free(s.student);
        s.student = NULL;
    }
    if (rc) FAIL("%s", err.message);
    small_close(&s);
    done = !rc;
    return done;
}

static int64_t threads = 1;

static int32_t open_with(small *s, const char *data, const char *yaml, distill_error *err)
{
    memset(s, 0, sizeof *s);
    int32_t rc = small_env(s, NULL,
                           "train: {batch_size: 8, schedule: constant, warmup_steps: 0, weight_decay: 0, beta2: 0.95, "
                           "epsilon: 1e-8, clip_norm: 1, steps: 3, micro_batch_size: 8}\n",
                           err);
    if (!rc) rc = distill_env_set_threads(s->env, threads, NULL, NULL, NULL, err);
    if (!rc) rc = distill_options_parse(s->options, yaml, strlen(yaml), "recipe", err);
    if (!rc) rc = distill_options_set_str(s->options, "data.train.0.path", test_path(small_folder, data), err);
    if (!rc) rc = distill_teacher_open(s->env, test_path(small_folder, "of_teacher"), s->options, &s->teacher, err);
    if (!rc) rc = open_student(s, "student", &s->student, err);
    if (!rc) rc = distill_trainer_create(s->env, s->teacher, s->student, NULL, NULL, s->options, &s->trainer, err);
    return rc;
}

static void train(small *s, int steps)
{
    distill_error err;
    for (int i = 0; i < steps; i++) REQUIRE_OK(distill_trainer_step(s->trainer, NULL, &err));
}

static void sum_weights(distill_student *student, double *total, double *magnitude)
{
    const char *name;
    distill_tensor t;
    *total = *magnitude = 0;
    for (int64_t i = 0; (name = distill_student_parameter_name(student, i)); i++) {
        if (distill_student_parameter(student, name, DISTILL_WEIGHT, &t, NULL)) continue;
        for (int64_t k = 0; k < small_elements(&t); k++) {
            *total += (double)((const float *)t.data)[k];
            *magnitude += fabs((double)((const float *)t.data)[k]);
        }
    }
}

TEST(steps_of_trl)
{
    REQUIRE(prepare());
    for (size_t i = 0; i < sizeof preference_goldens / sizeof *preference_goldens; i++) {
        const preference_golden *g = &preference_goldens[i];
        small s;
        distill_error err;
        double total, magnitude;
        REQUIRE_OK(open_with(&s, "pairs.jsonl", small_text("loss: %s\n", g->loss), &err));
        for (int step = 0; step < 3; step++) {
            const double *want = g->steps[step];
            distill_progress p;
            DISTILL_INIT(&p);
            REQUIRE_OK(distill_trainer_step(s.trainer, &p, &err));
            if (fabs(p.loss - want[0]) > 3e-5 * (1 + want[0]) || fabs(p.grad_norm - want[1]) > 1e-4 * (1 + want[1]) ||
                fabs(p.pair_margin - want[2]) > 5e-5 * (1 + fabs(want[2])))
                FAIL("%s, step %d: loss %.9g, norm %.9g, margin %.9g", g->name, step, p.loss, p.grad_norm,
                     p.pair_margin);
            CHECK_INT(p.pairs, PAIRS);
            if (step || want[3] > 0) CHECK_NEAR(p.pair_accuracy, want[3], 0); /* of equals 0 or 1, by rounding */
        }
        sum_weights(s.student, &total, &magnitude);
        CHECK_NEAR(total, g->total, 2e-3);
        CHECK_NEAR(magnitude, g->magnitude, 2e-3);
        small_close(&s);
    }
}

#define BOTH "loss: [{type: dpo}, {type: cross_entropy, weight: 0.5}]\n"

/* A window is one update, however it is cut: pairs and positions have divisors of their own. */
TEST(micro_batches_and_strips)
{
    static const char *const data[] = {"pairs.jsonl", "mixed.jsonl"};
    static const char *const others[] = {"micro_batch_size: 1", "micro_batch_size: 3",
                                         "micro_batch_size: 3, loss_memory: 65536",
                                         "micro_batch_size: 8, loss_memory: 65536"};
    REQUIRE(prepare());
    for (int d = 0; d < 2; d++)
        for (int packed = 0; packed < 2; packed++) {
            const char *base = packed ? "data: {pack: true, sequence_length: 30}\n" : "data: {pack: false}\n";
            small whole, s;
            distill_error err;
            REQUIRE_OK(open_with(&whole, data[d], small_text("%s" BOTH, base), &err));
            train(&whole, 3);
            for (int i = 0; i < 4; i++) {
                REQUIRE_OK(open_with(&s, data[d], small_text("%s" BOTH "train: {%s}\n", base, others[i]), &err));
                train(&s, 3);
                CHECK_NEAR(small_distance(s.student, whole.student), 0, 2e-4);
                small_close(&s);
            }
            small_close(&whole);
        }
}

/* Of a window with other samples, too, each term has its own mean. */
TEST(each_term_has_its_divisor)
{
    static const char *const losses[] = {"{type: dpo}", "{type: cross_entropy}", NULL};
    double alone[2];
    small s;
    distill_error err;
    distill_progress p;
    REQUIRE(prepare());
    for (int i = 0; losses[i]; i++) {
        const char *both[] = {"[{type: dpo}, {type: cross_entropy, weight: 0}]",
                              "[{type: dpo, weight: 1e-6}, {type: cross_entropy}]"};
        REQUIRE_OK(open_with(&s, "mixed.jsonl", small_text("loss: %s\ntrain: {batch_size: 12}\n", both[i]), &err));
        DISTILL_INIT(&p);
        REQUIRE_OK(distill_trainer_step(s.trainer, &p, &err));
        alone[i] = p.term_values[i];
        if (i) CHECK_INT(p.count, 31 + 40); /* chosen sides and their ends, texts but for their first token */
        if (i) CHECK_NEAR(p.weight_sum, 71, 0);
        small_close(&s);
    }
    CHECK_NEAR(alone[0], 0.69314718, 1e-6);
    REQUIRE_OK(open_with(&s, "mixed.jsonl", BOTH "train: {batch_size: 12}\n", &err));
    DISTILL_INIT(&p);
    REQUIRE_OK(distill_trainer_step(s.trainer, &p, &err));
    CHECK_NEAR(p.loss, alone[0] + 0.5 * alone[1], 1e-6);
    CHECK_NEAR(p.term_values[1], alone[1], 1e-6);
    small_close(&s);
}

TEST(threads_and_references)
{
    small one, s;
    distill_error err;
    REQUIRE(prepare());
    REQUIRE_OK(open_with(&one, "pairs.jsonl", BOTH "train: {micro_batch_size: 3}\n", &err));
    train(&one, 3);
    threads = 3;
    REQUIRE_OK(open_with(&s, "pairs.jsonl", BOTH "train: {micro_batch_size: 3}\n", &err));
    train(&s, 3);
    CHECK(small_same_bits(s.student, one.student));
    threads = 1;
    small_close(&s);
    /* the student's own weights as a model on disk are the initial ones */
    REQUIRE_OK(open_with(&s, "pairs.jsonl",
                         small_text("loss: [{type: dpo, dpo.reference: '%s/of_student'}, {type: cross_entropy, weight: "
                                    "0.5}]\ntrain: {micro_batch_size: 3}\n",
                                    small_folder),
                         &err));
    train(&s, 3);
    CHECK(small_same_bits(s.student, one.student));
    small_close(&s);
    small_close(&one);
    REQUIRE_OK(open_with(&one, "pairs.jsonl", "loss: {type: dpo, dpo.reference: teacher}\n", &err));
    REQUIRE_OK(open_with(&s, "pairs.jsonl",
                         small_text("loss: {type: dpo, dpo.reference: '%s/of_teacher'}\n", small_folder), &err));
    train(&one, 2);
    train(&s, 2);
    CHECK(small_same_bits(s.student, one.student));
    small_close(&s);
    small_close(&one);
}

/* Moments in any build; products where there are any but by cblas. */
TEST(in_bf16)
{
    const char *precision = small_own_products() ? "bf16" : "fp32";
    small s;
    distill_error err;
    distill_progress p;
    REQUIRE(prepare());
    REQUIRE_OK(open_with(&s, "pairs.jsonl", small_text("loss: dpo\ntrain: {precision: %s, moments: bf16}\n", precision),
                         &err));
    for (int i = 0; i < 3; i++) {
        DISTILL_INIT(&p);
        REQUIRE_OK(distill_trainer_step(s.trainer, &p, &err));
        CHECK_NEAR(p.loss, preference_goldens[0].steps[i][0], 0.03);
        if (!i) CHECK_NEAR(p.loss, 0.69314718, 1e-6); /* both passes in the same products */
    }
    small_close(&s);
}

static int32_t stop_at_3(void *user, const distill_progress *p)
{
    (void)user;
    return p->phase == DISTILL_PHASE_TRAINING && p->step == 3 ? DISTILL_CB_CANCEL : DISTILL_CB_OK;
}

static const char *run_yaml(const char *name, const char *loss)
{
    return small_text("output: '%s/%s'\nloss: %s\ndata: {eval: '%s/pairs.jsonl'}\ntrain: {steps: 6, batch_size: 3, "
                      "micro_batch_size: 2, eval_every: 2, log_every: 1, checkpoint_every: 2}\n",
                      small_folder, name, loss, small_folder);
}

static void clean(const char *name)
{
    char command[700];
    snprintf(command, sizeof command, "rm -rf '%s/%s'", small_folder, name);
    REQUIRE(system(command) == 0);
}

TEST(a_run_that_goes_on)
{
    static const char *const losses[] = {"{type: dpo}", "{type: dpo, dpo.reference: teacher, dpo.label: teacher}"};
    REQUIRE(prepare());
    for (int i = 0; i < 2; i++) {
        small whole, s;
        distill_error err;
        clean("whole");
        clean("parts");
        REQUIRE_OK(open_with(&whole, "pairs.jsonl", run_yaml("whole", losses[i]), &err));
        REQUIRE_OK(distill_trainer_run(whole.trainer, &err));
        REQUIRE_OK(open_with(&s, "pairs.jsonl", run_yaml("parts", losses[i]), &err));
        REQUIRE_OK(distill_trainer_on_progress(s.trainer, stop_at_3, NULL, NULL, &err));
        CHECK_INT(distill_trainer_run(s.trainer, &err), DISTILL_E_CANCELLED);
        small_close(&s);
        /* another reference than that whose numbers are kept */
        REQUIRE_OK(open_with(&s, "pairs.jsonl",
                             run_yaml("parts", small_text("{type: dpo, dpo.reference: '%s/of_student'}", small_folder)),
                             &err));
        CHECK_INT(distill_trainer_resume(s.trainer, &err), DISTILL_E_MISMATCH);
        CHECK_HAS(err.message, "was made with loss.dpo.reference");
        small_close(&s);
        REQUIRE_OK(open_with(&s, "pairs.jsonl", run_yaml("parts", losses[i]), &err));
        REQUIRE_OK(distill_trainer_resume(s.trainer, &err));
        REQUIRE_OK(distill_trainer_run(s.trainer, &err));
        CHECK(small_same_bits(s.student, whole.student));
        small_close(&s);
        small_close(&whole);
    }
}

/* Another model in the place of the reference, whose numbers a checkpoint keeps. */
TEST(a_reference_that_changed)
{
    char command[1600], loss[700];
    small s;
    distill_error err;
    REQUIRE(prepare());
    snprintf(loss, sizeof loss, "{type: dpo, dpo.reference: '%s/changing'}", small_folder);
    for (int i = 0; i < 2; i++) {
        clean("changing");
        snprintf(command, sizeof command, "cp -r '%s/of_%s' '%s/changing'", small_folder, i ? "student" : "teacher",
                 small_folder);
        REQUIRE(system(command) == 0);
        if (!i) clean("parts");
        REQUIRE_OK(open_with(&s, "pairs.jsonl", run_yaml("parts", loss), &err));
        if (!i) {
            REQUIRE_OK(distill_trainer_on_progress(s.trainer, stop_at_3, NULL, NULL, &err));
            CHECK_INT(distill_trainer_run(s.trainer, &err), DISTILL_E_CANCELLED);
        } else {
            CHECK_INT(distill_trainer_resume(s.trainer, &err), DISTILL_E_MISMATCH);
            CHECK_HAS(err.message, "keeps log-probabilities of pairs by the reference");
        }
        small_close(&s);
    }
}

static double number_of(const char *text, const char *before)
{
    const char *at = strstr(text, before);
    return at ? strtod(at + strlen(before), NULL) : NAN;
}

TEST(what_is_measured)
{
    small s;
    distill_error err;
    distill_report *report = NULL;
    double value;
    REQUIRE(prepare());
    clean("measured");
    REQUIRE_OK(open_with(&s, "pairs.jsonl", run_yaml("measured", "dpo"), &err));
    REQUIRE_OK(distill_trainer_run(s.trainer, &err));
    char *metrics = small_read(test_path(test_path(small_folder, "measured"), "metrics.jsonl"), NULL);
    char *result = small_read(test_path(test_path(small_folder, "measured"), "result.json"), NULL);
    REQUIRE(metrics && result);
    CHECK_HAS(metrics, "\"pairs\":{\"count\":3,\"accuracy\":");
    CHECK_NEAR(number_of(result, "\"eval\":{\"tokens\":"), 31, 0); /* of the chosen sides */
    const char *eval = strstr(result, "\"eval\":{\"tokens\":");
    CHECK_NEAR(number_of(eval, "\"reward_accuracy\":"), 1, 0);
    CHECK(number_of(eval, "\"reward_margin\":") > 0.3);
    CHECK(number_of(eval, "\"reward_loss\":") < 0.6);
    CHECK(number_of(metrics, "\"reward_margin\":") < number_of(eval, "\"reward_margin\":"));
    free(metrics);
    free(result);
    /* the same by hand: margins are log-ratios of what models say, and a teacher has its own */
    distill_dataset *data = NULL;
    distill_tokenizer *tokenizer = NULL;
    REQUIRE_OK(distill_student_tokenizer(s.student, &tokenizer, &err));
    REQUIRE_OK(distill_dataset_open(s.env, test_path(small_folder, "pairs.jsonl"), tokenizer, s.options, &data, &err));
    REQUIRE_OK(distill_evaluate(s.student, s.teacher, data, s.options, &report, &err));
    REQUIRE_OK(distill_report_get_f64(report, "pairs.count", &value, &err));
    CHECK_NEAR(value, PAIRS, 0);
    CHECK_OK(distill_report_get_f64(report, "pairs.accuracy", &value, &err));
    CHECK_OK(distill_report_get_f64(report, "pairs.teacher_margin", &value, &err));
    CHECK_INT(distill_report_get_f64(report, "pairs.reward_margin", &value, &err), DISTILL_E_NOT_FOUND);
    int64_t count = 0;
    CHECK_OK(distill_dataset_get_i64(data, "pairs", &count, &err));
    CHECK_INT(count, PAIRS);
    distill_report_free(report);
    distill_dataset_free(data);
    distill_tokenizer_free(tokenizer);
    small_close(&s);
}

/* Two terms by the norms of their gradients: dpo's are those of its pairs, however a window is cut up. */
TEST(balanced)
{
    double norms[2][2], factors[2];
    REQUIRE(prepare());
    for (int micro = 0; micro < 2; micro++) {
        small s;
        distill_error err;
        distill_report *report = NULL;
        static const char *const numbers[] = {"training.balance.factor", "training.balance.norms.0",
                                              "training.balance.norms.1"};
        double found[3] = {0};
        REQUIRE_OK(open_with(&s, "mixed.jsonl",
                             small_text("loss: [{type: dpo, dpo.beta: 0.1, dpo.reference: teacher}, {type: "
                                        "cross_entropy, weight: 0.2}]\ntrain: {balance: {by: gradient_norm}, "
                                        "micro_batch_size: %d}\n",
                                        micro ? 2 : 8),
                             &err));
        train(&s, 2);
        REQUIRE_OK(distill_trainer_report(s.trainer, &report, &err));
        for (int i = 0; i < 3; i++) CHECK_OK(distill_report_get_f64(report, numbers[i], &found[i], &err));
        factors[micro] = found[0];
        norms[micro][0] = found[1];
        norms[micro][1] = found[2];
        distill_report_free(report);
        small_close(&s);
    }
    CHECK(norms[0][0] > 0 && norms[0][1] > 0 && factors[0] != 1);
    CHECK_NEAR(factors[1], factors[0], 1e-5 * factors[0]);
    for (int i = 0; i < 2; i++) CHECK_NEAR(norms[1][i], norms[0][i], 1e-5 * norms[0][i]);
}

TEST(pull_mode)
{
    static float gradient[4096];
    small push, pull;
    distill_error err;
    distill_forward f;
    distill_strip strip;
    REQUIRE(prepare());
    REQUIRE_OK(open_with(&push, "mixed.jsonl", BOTH "train: {micro_batch_size: 3}\n", &err));
    REQUIRE_OK(open_with(&pull, "mixed.jsonl", BOTH "train: {micro_batch_size: 3}\n", &err));
    train(&push, 1);
    for (int done = 0; !done;) {
        DISTILL_INIT(&f);
        DISTILL_INIT(&strip);
        REQUIRE_OK(distill_trainer_forward(pull.trainer, 0, &f, &err));
        int64_t shape[2] = {f.rows, f.student->values->shape[1]};
        distill_tensor own = *f.student->values;
        own.data = gradient;
        own.shape = shape;
        own.strides = NULL;
        CHECK_INT(distill_trainer_backward(pull.trainer, &own, 0, &err), DISTILL_E_STAGE);
        CHECK_HAS(err.message, "loss dpo is the trainer's own");
        CHECK_INT(distill_trainer_next_rows(pull.trainer, &strip, &err), DISTILL_E_STAGE);
        REQUIRE_OK(distill_trainer_backward(pull.trainer, NULL, 0, &err));
        done = f.micro_batch + 1 == f.micro_batches;
    }
    REQUIRE_OK(distill_trainer_apply(pull.trainer, NULL, &err));
    CHECK(small_same_bits(push.student, pull.student));
    small_close(&push);
    small_close(&pull);
}

TEST(refusals)
{
    static const struct {
        const char *data, *yaml, *what;
        int32_t code;
    } wrong[] = {
        {"pairs.jsonl", "loss: cross_entropy\n", "8 samples of pairs have chosen and rejected", DISTILL_E_OPTION},
        {"mixed.jsonl", "loss: forward_kl\n", "which loss forward_kl does not compare", DISTILL_E_OPTION},
        {"texts.jsonl", "loss: dpo\n", "has no sample with chosen and rejected", DISTILL_E_OPTION},
        {"pairs.jsonl", "loss: dpo\ndata: {preferences: chosen}\n", "data.preferences is chosen", DISTILL_E_OPTION},
        {"pairs.jsonl", "loss: {type: dpo, dpo.beta: 0}\n", "dpo.beta", DISTILL_E_OPTION},
        {"pairs.jsonl", "loss: {type: dpo, temperature: 2}\n",
         "compares probabilities of whole answers, at temperature 1", DISTILL_E_OPTION},
        {"pairs.jsonl", "loss: {type: dpo, dpo.beta: -1}\n", "dpo.beta", DISTILL_E_OPTION},
        {"pairs.jsonl", "loss: {type: dpo, dpo.label_smoothing: 0.5}\n",
         "is neither 0 nor in [1e-06, 0.5): ", DISTILL_E_OPTION},
        {"pairs.jsonl", "loss: {type: dpo, dpo.teacher_beta: 0.5}\n", "goes with label=teacher only", DISTILL_E_OPTION},
        {"pairs.jsonl", "loss: {type: dpo, dpo.reference: /no/such/model}\n", "/no/such/model", DISTILL_E_NOT_FOUND},
        {"pairs.jsonl", "loss: {type: cross_entropy, dpo.beta: 1}\n", "goes with type=dpo only", DISTILL_E_OPTION},
        {"pairs.jsonl", "loss: [{type: dpo}, {type: dpo, dpo.beta: 1}]\n", "is the second one", DISTILL_E_OPTION},
        {"pairs.jsonl",
         "loss: [{type: dpo, on: data}, {type: forward_kl}]\ntrain: {on_policy: {lambda: 0.5, max_new_tokens: 4}}\n",
         "train.on_policy beside loss dpo", DISTILL_E_UNSUPPORTED},
        {"long.jsonl", "loss: dpo\ndata: {sequence_length: 128}\n", "the student's context is 64", DISTILL_E_MISMATCH},
        {"pairs.jsonl", "loss: [{type: dpo}, {type: hidden_mse, hidden_mse.layers: [1]}]\n", "is on features",
         DISTILL_E_UNSUPPORTED},
    };
    REQUIRE(prepare());
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        small s;
        distill_error err;
        const int32_t rc = open_with(&s, wrong[i].data, wrong[i].yaml, &err);
        if (rc != wrong[i].code) FAIL("%s%d: %s", wrong[i].yaml, rc, err.message);
        CHECK_HAS(err.message, wrong[i].what);
        small_close(&s);
    }
    small s;
    distill_error err;
    REQUIRE_OK(open_with(&s, "pairs.jsonl", "loss: cross_entropy\ndata: {preferences: chosen}\n", &err));
    train(&s, 1);
    small_close(&s);
}

TEST_MAIN(TEST_CASE(steps_of_trl) TEST_CASE(micro_batches_and_strips) TEST_CASE(each_term_has_its_divisor)
              TEST_CASE(threads_and_references) TEST_CASE(in_bf16) TEST_CASE(a_run_that_goes_on)
                  TEST_CASE(a_reference_that_changed) TEST_CASE(what_is_measured) TEST_CASE(balanced)
                      TEST_CASE(pull_mode) TEST_CASE(refusals))
