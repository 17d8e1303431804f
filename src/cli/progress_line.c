/* progress_line.c - one line of progress: drawn over on a terminal, a new one every few seconds elsewhere. */
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

static cli_progress *current; /* whose line a message has to end first */

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void cli_progress_start(cli_progress *progress, int quiet)
{
    memset(progress, 0, sizeof *progress);
    progress->quiet = quiet;
    progress->tty = isatty(STDERR_FILENO);
    progress->last = -1e9;
    current = progress;
}

static void clock_text(double seconds, char *out, size_t cap)
{
    long long total = (long long)(seconds + 0.5);
    if (!(seconds >= 0) || seconds > 1e8) snprintf(out, cap, "?");
    else if (total >= 3600) snprintf(out, cap, "%lld:%02lld:%02lld", total / 3600, total / 60 % 60, total % 60);
    else snprintf(out, cap, "%lld:%02lld", total / 60, total % 60);
}

static const char *phase_name(int32_t phase)
{
    switch (phase) {
    case DISTILL_PHASE_LOADING:
        return "loading";
    case DISTILL_PHASE_EVALUATING:
        return "evaluating";
    case DISTILL_PHASE_SAVING:
        return "saving";
    default:
        return "training";
    }
}

static void draw(const cli_progress *progress, const distill_progress *now)
{
    char left[32];
    fprintf(stderr, "%sstep %lld/%lld", progress->tty ? "\r" : "", (long long)now->step, (long long)now->steps);
    if (now->phase == DISTILL_PHASE_TRAINING) {
        clock_text(now->seconds_left, left, sizeof left);
        fprintf(stderr, "  loss %.4f  lr %.2e  %.0f tokens/s  ETA %s", now->loss, now->learning_rate,
                now->tokens_per_second, left);
    } else {
        fprintf(stderr, "  %s", phase_name(now->phase));
    }
    fprintf(stderr, progress->tty ? "\033[K" : "\n");
    fflush(stderr);
}

int32_t cli_progress_show(void *user, const distill_progress *now)
{
    cli_progress *progress = user;
    double time = seconds_now(), every = progress->tty ? 0.1 : 5.0;
    int due = time - progress->last >= every || now->phase != progress->phase || now->step == now->steps;
    if (!progress->quiet && due && (now->phase != progress->phase || now->step != progress->step || progress->tty)) {
        draw(progress, now);
        progress->drawn = progress->tty;
        progress->last = time;
    }
    progress->phase = now->phase;
    progress->step = now->step;
    return DISTILL_CB_OK;
}

void cli_progress_break(void)
{
    if (current && current->drawn) fputc('\n', stderr);
    if (current) current->drawn = 0;
}

void cli_progress_end(cli_progress *progress)
{
    cli_progress_break();
    if (current == progress) current = NULL;
}
