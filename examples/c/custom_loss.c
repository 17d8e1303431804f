/* custom_loss.c - a loss of the host's own, used by name in a recipe: the squared Hellinger distance 1 - sum sqrt(p q).
 * Usage: custom_loss TEACHER TEXT [STEPS] */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <distill.h>

/* With DISTILL_LOSS_LOG_PROBS rows arrive as log q and log p, and d/d log q is asked for: -sqrt(p q)/2. The library
 * does softmax, temperature, masks, weights, the sum, and the way back through the head. */
static int32_t hellinger(void *user, const distill_loss_rows *rows)
{
    (void)user;
    for (int64_t r = 0; r < rows->rows; r++) {
        const float *log_q = rows->student + r * rows->vocab, *log_p = rows->teacher + r * rows->vocab;
        double overlap = 0;
        for (int64_t v = 0; v < rows->vocab; v++) {
            double root = exp(0.5 * ((double)log_q[v] + (double)log_p[v]));
            overlap += root;
            if (rows->gradient) rows->gradient[r * rows->vocab + v] = (float)(-0.5 * root);
        }
        rows->value[r] = 1 - overlap;
    }
    return DISTILL_CB_OK;
}

static int32_t on_progress(void *user, const distill_progress *p)
{
    (void)user;
    if (p->phase == DISTILL_PHASE_TRAINING && p->step % 5 == 0)
        printf("step %lld: loss %.5f\n", (long long)p->step, p->loss);
    return DISTILL_CB_OK;
}

static int32_t configure(distill_options *options, const char *teacher, const char *text, const char *steps,
                         distill_error *err)
{
    static const char recipe[] = "student: {from: teacher}\n"
                                 "data: {sequence_length: 64, eval_fraction: 0.1}\n"
                                 "loss: {type: hellinger}\n"
                                 "train: {batch_size: 4, learning_rate: 1.0e-3, warmup_steps: 2}\n";
    int32_t rc = distill_options_parse(options, recipe, sizeof recipe - 1, "custom_loss", err);
    if (!rc) rc = distill_options_set_str(options, "teacher.path", teacher, err);
    if (!rc) rc = distill_options_set_str(options, "data.train", text, err);
    return rc ? rc : distill_options_set_i64(options, "train.steps", atol(steps), err);
}

int main(int argc, char **argv)
{
    distill_error err;
    distill_env *env = NULL;
    distill_options *options = NULL;
    distill_trainer *trainer = NULL;
    distill_loss_callbacks table;
    if (argc < 3) return fprintf(stderr, "usage: custom_loss TEACHER TEXT [STEPS]\n"), 2;
    DISTILL_INIT(&table);
    table.flags = DISTILL_LOSS_MT | DISTILL_LOSS_LOG_PROBS;
    table.eval = hellinger;
    table.targets = 1 << DISTILL_DENSE | 1 << DISTILL_HIDDEN;
    int32_t rc = distill_env_create(NULL, &env, &err);
    if (!rc) rc = distill_env_add_loss(env, "hellinger", &table, &err);
    if (!rc) rc = distill_options_create(env, &options, &err);
    if (!rc) rc = configure(options, argv[1], argv[2], argc > 3 ? argv[3] : "20", &err);
    if (!rc) rc = distill_trainer_create(env, NULL, NULL, NULL, NULL, options, &trainer, &err);
    if (!rc) rc = distill_trainer_on_progress(trainer, on_progress, NULL, NULL, &err);
    if (!rc) rc = distill_trainer_run(trainer, &err);
    if (rc) fprintf(stderr, "%s\n", err.message);
    distill_trainer_free(trainer);
    distill_options_free(options);
    distill_env_free(env);
    return rc != 0;
}
