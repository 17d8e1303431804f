/* bench_limits.c - what the machine can do at most, measured beside what is held against it. */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

static int measure(bench *b, char **text)
{
    distill_report *report = NULL;
    cli_session *s = &b->session;
    if (distill_limits(s->env, &report, &s->err)) return cli_fail(&s->err);
    *text = cli_report_text(report, &s->err);
    distill_report_free(report);
    return *text ? -1 : cli_fail(&s->err);
}

static double read_rate(const json_t *limits)
{
    return json_number_value(json_object_get(json_object_get(limits, "read"), "bytes_per_second"));
}

/* The rate at which a machine reads wanders, more so a virtual one: the larger of two is nearer to its limit. */
static int keep_larger(bench *b, const char *text)
{
    json_t *limits = json_loads(text, 0, NULL), *before = b->limits;
    if (!limits) return cli_message("the limits are no JSON");
    if (before && read_rate(before) > read_rate(limits))
        json_object_set(limits, "read", json_object_get(before, "read"));
    json_decref(before);
    b->limits = limits;
    return -1;
}

static void tell(const bench *b)
{
    cli_progress_break();
    if (b->progress.tty) fprintf(stderr, "measuring what this machine can do, about 3 s\n");
}

int bench_measure_limits(bench *b)
{
    char *text = NULL;
    tell(b);
    int code = measure(b, &text);
    if (code < 0) code = keep_larger(b, text);
    free(text);
    return code;
}

/* ---- in a process of its own ---- */

static int write_all(int file, const char *text, size_t size)
{
    while (size) {
        const ssize_t done = write(file, text, size);
        if (done < 0) return CLI_FAILED;
        text += done;
        size -= (size_t)done;
    }
    return CLI_DONE;
}

static int measure_into(bench *b, int file)
{
    char *text = NULL;
    const int code = measure(b, &text);
    return code < 0 ? write_all(file, text, strlen(text)) : code;
}

static int read_limits(bench *b, FILE *from, pid_t child)
{
    size_t size = 0;
    int status = 0;
    char *text = cli_read(from, "the limits", (size_t)1 << 20, &size);
    if (waitpid(child, &status, 0) != child) status = -1;
    int code = !text ? CLI_FAILED : WIFEXITED(status) && !WEXITSTATUS(status) ? -1 : CLI_FAILED;
    if (WIFEXITED(status) && WEXITSTATUS(status)) code = WEXITSTATUS(status); /* it has said why */
    if (code < 0) code = keep_larger(b, text);
    free(text);
    return code;
}

int bench_measure_limits_first(bench *b)
{
    int ends[2];
    tell(b);
    fflush(stdout);
    if (pipe(ends)) return cli_message("no pipe to a process that measures the limits");
    const pid_t child = fork();
    if (!child) {
        close(ends[0]);
        _exit(measure_into(b, ends[1]));
    }
    close(ends[1]);
    FILE *from = child > 0 ? fdopen(ends[0], "rb") : NULL;
    int code = from ? read_limits(b, from, child) : cli_message("no process that measures the limits");
    if (from) fclose(from);
    else close(ends[0]);
    return code;
}

double bench_limit(const bench *b, const char *kind, const char *unit)
{
    return json_number_value(json_object_get(json_object_get(b->limits, kind), unit));
}

json_t *bench_share(double value, double limit) { return limit > 0 ? cli_json_real(value / limit) : json_null(); }
