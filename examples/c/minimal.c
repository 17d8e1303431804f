/* minimal.c - runs a recipe with a progress line and Ctrl-C.  Usage: minimal RECIPE.yaml [key=value]... */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <distill.h>

static distill_trainer *trainer;

static void on_interrupt(int number)
{
    (void)number;
    distill_trainer_cancel(trainer, 1); /* async-signal-safe: the step is finished, a checkpoint saved */
}

static int32_t on_progress(void *user, const distill_progress *p)
{
    (void)user;
    if (p->phase == DISTILL_PHASE_TRAINING)
        fprintf(stderr, "\rstep %lld/%lld  loss %.4f  %.0f tokens/s ", (long long)p->step, (long long)p->steps, p->loss,
                p->tokens_per_second);
    return DISTILL_CB_OK;
}

static int32_t set(distill_options *options, const char *assignment, distill_error *err)
{
    char key[128];
    const char *equals = strchr(assignment, '=');
    size_t size = equals ? (size_t)(equals - assignment) : strlen(assignment);
    snprintf(key, sizeof key, "%.*s", (int)(size < sizeof key ? size : sizeof key - 1), assignment);
    return distill_options_set(options, key, equals ? equals + 1 : NULL, err);
}

int main(int argc, char **argv)
{
    distill_error err;
    distill_env *env = NULL;
    distill_options *options = NULL;
    distill_report *report = NULL;
    double kl = 0;
    if (argc < 2) return fprintf(stderr, "usage: minimal RECIPE.yaml [key=value]...\n"), 2;
    int32_t rc = distill_env_create(NULL, &env, &err);
    if (!rc) rc = distill_options_create(env, &options, &err);
    if (!rc) rc = distill_options_load(options, argv[1], &err);
    for (int i = 2; !rc && i < argc; i++) rc = set(options, argv[i], &err);
    if (!rc) rc = distill_trainer_create(env, NULL, NULL, NULL, NULL, options, &trainer, &err);
    if (!rc) rc = distill_trainer_on_progress(trainer, on_progress, NULL, NULL, &err);
    if (!rc) signal(SIGINT, on_interrupt);
    if (!rc) rc = distill_trainer_run(trainer, &err);
    signal(SIGINT, SIG_DFL);
    if (!rc) rc = distill_trainer_report(trainer, &report, &err);
    if (!rc) rc = distill_report_get_f64(report, "student.forward_kl", &kl, &err);
    if (rc) fprintf(stderr, "\n%s\n", err.message);
    else printf("\nKL(teacher || student) = %.4f nats per token\n", kl);
    distill_report_free(report);
    distill_trainer_free(trainer);
    distill_options_free(options);
    distill_env_free(env);
    return rc == DISTILL_E_CANCELLED ? 130 : rc != 0;
}
