/* progress_line.c - one line of progress: drawn over on a terminal, a new one every few seconds elsewhere. */
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
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
    case DISTILL_PHASE_CACHING:
        return "caching";
    case DISTILL_PHASE_AUGMENTING:
        return "augmenting";
    default:
        return "training";
    }
}

/* ---- the line: what matters least goes first where the terminal is narrow ---- */

enum { PARTS = 7, PART = 64, WIDE = 4096, USUAL = 80 };

typedef struct line {
    char text[PARTS][PART];
    int rank[PARTS]; /* the highest goes first */
    int count;
} line;

static void add_part(line *l, int rank, const char *format, ...)
{
    va_list args;
    if (l->count == PARTS) return;
    va_start(args, format);
    vsnprintf(l->text[l->count], PART, format, args);
    va_end(args);
    l->rank[l->count++] = rank;
}

static int line_size(const line *l)
{
    int size = 0;
    for (int i = 0; i < l->count; i++) size += (int)strlen(l->text[i]) + (i ? 2 : 0);
    return size;
}

static void drop_part(line *l)
{
    int worst = 0;
    for (int i = 1; i < l->count; i++)
        if (l->rank[i] > l->rank[worst]) worst = i;
    for (int i = worst; i + 1 < l->count; i++) {
        memcpy(l->text[i], l->text[i + 1], PART);
        l->rank[i] = l->rank[i + 1];
    }
    l->count--;
}

static void add_share(const cli_progress *progress, const char *what, int64_t done, int64_t total, line *l)
{
    double seconds = seconds_now() - progress->phase_begin;
    char left[32];
    add_part(l, 1, "%s %.0f %%", what, 100.0 * (double)done / (double)total);
    if (done <= 0) return; /* nothing says yet how long it takes */
    clock_text(seconds * (double)(total - done) / (double)done, left, sizeof left);
    add_part(l, 2, "ETA %s", left);
}

static void fill_line(const cli_progress *progress, const distill_progress *now, line *l)
{
    char left[32];
    if (now->stages)
        add_part(l, 1, "stage %lld/%lld %s", (long long)now->stage, (long long)now->stages, now->stage_name);
    if (now->steps) add_part(l, 0, "step %lld/%lld", (long long)now->step, (long long)now->steps);
    if (now->phase == DISTILL_PHASE_TRAINING) {
        clock_text(now->seconds_left, left, sizeof left);
        add_part(l, 2, "loss %.4f", now->loss);
        if (now->pairs) add_part(l, 3, "chosen ahead %.0f %%", 100 * now->pair_accuracy);
        add_part(l, 4, "lr %.2e", now->learning_rate);
        add_part(l, 3, "%.0f %s/s", now->tokens_per_second, progress->unit ? progress->unit : "tokens");
        if (now->on_policy_share > 0)
            add_part(l, 5, "%lld generated at %.2f", (long long)now->generated, now->on_policy_share);
        add_part(l, 1, "ETA %s", left);
    } else if (now->total > 0) {
        if (now->phase != DISTILL_PHASE_AUGMENTING)
            add_share(progress, phase_name(now->phase), now->done, now->total, l);
        else {
            clock_text(now->seconds_left, left, sizeof left);
            add_part(l, 1, "%lld of %lld samples", (long long)now->done, (long long)now->total);
            add_part(l, 2, "ETA %s", left);
            add_part(l, 3, "%lld tokens", (long long)now->tokens);
            add_part(l, 4, "%.0f tokens/s", now->tokens_per_second);
        }
    } else {
        add_part(l, 1, "%s", phase_name(now->phase));
    }
}

/* Columns that a line may fill; the last one would make some terminals wrap. Asked each time: windows are resized. */
static int columns(const cli_progress *progress)
{
    struct winsize size;
    if (!progress->tty) return WIDE;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return USUAL - 1;
    return size.ws_col > 1 ? size.ws_col - 1 : 1;
}

static void draw(cli_progress *progress, line *l)
{
    char text[PARTS * (PART + 2)] = "";
    int room = columns(progress), used = 0;
    while (l->count > 1 && line_size(l) > room) drop_part(l);
    for (int i = 0; i < l->count; i++)
        used += snprintf(text + used, sizeof text - (size_t)used, "%s%s", i ? "  " : "", l->text[i]);
    if (used > room) text[used = room] = '\0';
    if (!progress->tty) {
        fprintf(stderr, "%s\n", text);
        return;
    }
    if (progress->drawn > room + 1) /* the window became narrower: the old line takes several rows now */
        fprintf(stderr, "\033[%dA", (progress->drawn - 1) / (room + 1));
    fprintf(stderr, "\r\033[J%s", text);
    fflush(stderr);
    progress->drawn = used;
}

int32_t cli_progress_show(void *user, const distill_progress *now)
{
    cli_progress *progress = user;
    line l = {.count = 0};
    double time = seconds_now(), every = progress->tty ? 0.1 : 5.0;
    const int training = now->phase == DISTILL_PHASE_TRAINING, changed = now->phase != progress->phase,
              begun = training || progress->tty || now->done > 0; /* a line that stays has something to say */
    const int due = begun && ((changed && progress->tty) || time - progress->last >= every ||
                              (training && now->step == now->steps && now->step != progress->step));
    if (changed) progress->phase_begin = time;
    if (!progress->quiet && due) {
        fill_line(progress, now, &l);
        draw(progress, &l);
        progress->last = time;
    }
    progress->phase = now->phase;
    progress->step = now->step;
    progress->stage = now->stage;
    progress->stages = now->stages;
    return DISTILL_CB_OK;
}

void cli_progress_share(cli_progress *progress, const char *what, int64_t done, int64_t total)
{
    double time = seconds_now();
    line l = {.count = 0};
    if (progress->phase_begin == 0) progress->phase_begin = progress->last = time;
    if (time - progress->last < (progress->tty ? 0.1 : 5.0) && !(progress->tty && done == total)) return;
    add_share(progress, what, done, total, &l);
    draw(progress, &l);
    progress->last = time;
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
