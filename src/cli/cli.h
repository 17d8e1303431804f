/* cli.h - the program `distill`: commands, their options, what they print. It uses distill.h and nothing else of the
 * library; results go to stdout (with --json as one document), progress and messages to stderr.
 *
 *   main.c       the commands and their help      arguments.c     options of a command, usage errors
 *   program.c    env, log, Ctrl-C, exit codes     input.c         files and JSON that are read
 *   print.c      JSON and text that are written   progress_line.c the line of progress
 *   cmd_*.c      the commands                     result_table.c  the table at the end of a run
 *   sampling.c   how answers are drawn            talk_*.c        conversations (talk.h)
 *   watch_page.c a page over HTTP while a run trains
 *   bench*.c     those of `distill bench`         serve/          `distill serve`, an optional part */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <jansson.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include "distill.h"

enum { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_INTERRUPTED = 130 };

/* ---- arguments ---- */

enum { CLI_FLAG, CLI_TEXT, CLI_INT, CLI_REAL, CLI_SETTINGS, CLI_TEXTS };
typedef struct cli_option {
    const char *name; /* "--json" */
    int kind;
    void *out;  /* int *, const char **, int64_t *, double *, cli_settings * */
    int *given; /* or NULL */
} cli_option;
typedef struct cli_settings { /* --set key=value, or texts, in order */
    int count;
    const char *items[256];
    const char *reads;      /* the sections and keys that the command reads, " data teacher.mmap "; NULL = all */
    const char *const *own; /* key, the command's own option for it, ..., NULL; NULL = none */
} cli_settings;
typedef struct cli_command {
    const char *name;
    const char *summary;
    const char *help;
    int (*run)(const struct cli_command *command, int argc, char **argv);
} cli_command;

/* Reads argv into options and up to max positional arguments. Returns -1 to go on, else the exit code (help, usage). */
int cli_parse(const cli_command *command, const cli_option *options, int count, int argc, char **argv,
              const char **positional, int max);
int cli_usage(const cli_command *command, const char *format, ...);
/* Runs the one of commands that argv[0] names, whose names begin with prefix bytes ("cache "); exit code. */
int cli_subcommand(const cli_command *command, const cli_command *commands, int count, int prefix, int argc,
                   char **argv);
/* Edit distance based: the name nearest to text, or NULL. */
const char *cli_nearest(const char *text, const char *const *names, int count);

/* ---- session ---- */

typedef struct cli_session {
    distill_env *env;
    distill_options *options;
    distill_error err;
} cli_session;
/* Opens env and options, takes the settings, and turns the first Ctrl-C into cancel, the second into an exit. -1 or an
 * exit code. */
int cli_open(cli_session *session, const cli_command *command, const char *recipe, const cli_settings *settings);
/* Sets a key to what the command's option of that name says (NULL = nothing), and says so where the recipe says
 * otherwise. */
int cli_take_flag(cli_session *session, const cli_command *command, const char *name, const char *key,
                  const char *value);
/* The second of two models is tried as the first one's draft, unless settings say how long, or not at all. */
int32_t cli_try_draft(cli_session *session, const cli_settings *settings);
int cli_is_said(const cli_session *session, const char *key); /* whether it is another value than the default */
char *cli_option_text(const distill_options *options, const char *name); /* the caller frees it */
void cli_log(cli_session *session, int32_t level);                       /* warnings and errors unless said otherwise */
void cli_log_as(int64_t rank);                                           /* of several: said before each message */
void cli_close(cli_session *session);
/* From now on Ctrl-C cancels this trainer instead of the whole env; NULL = the env again. */
void cli_watch(const distill_trainer *trainer);
int cli_is_interrupted(void); /* by Ctrl-C: for a loop of the program's own */
/* From now on Ctrl-C cancels this session instead of ending the program, until that is taken; NULL = as before. */
void cli_watch_session(const distill_session *session);
int cli_has_interrupt(void); /* either of the two */
void cli_take_interrupt(void);
enum { CLI_SAVES_STEPS = 1, CLI_SAVES_CHUNKS }; /* a step at work is finished first, a chunk is made again */
void cli_watch_all(int saves); /* what the env runs is saved when it is cancelled, and Ctrl-C says so; 0 = no more */
/* Prints err and returns the exit code that goes with it. */
int cli_fail(const distill_error *err);
/* On stderr in one write, so that processes that share it do not cut each other's lines. */
void cli_line(const char *before, const char *format, va_list args, const char *behind);
int cli_message(const char *format, ...); /* "distill: ..." on stderr; returns CLI_FAILED */
void *cli_memory(void *old, size_t size); /* realloc that ends the program when there is none */

/* ---- input ---- */

typedef struct cli_ids {
    int64_t count;
    int32_t *ids;
} cli_ids;
/* All bytes, NUL behind them; NULL after a message. */
char *cli_read(FILE *file, const char *name, size_t limit, size_t *size);
json_t *cli_read_json(const char *path); /* NULL after a message; "-" = stdin */
/* [ids] or {"ids": [ids]}; where stands in messages. 0 after a message. */
int cli_get_ids(const json_t *value, const char *where, cli_ids *out);
/* [[ids], ...], or [ids] as a list of one. NULL after a message. */
cli_ids *cli_get_sequences(const json_t *value, const char *where, int64_t *count);
void cli_free_sequences(cli_ids *sequences, int64_t count);

/* ---- output ---- */

/* Length of the well-formed UTF-8 sequence at text, 0 where there is none. */
size_t cli_utf8_length(const unsigned char *text, size_t size);
json_t *cli_json_text(const char *text, size_t size); /* bytes that are not UTF-8 become U+FFFD */
json_t *cli_json_real(double value);                  /* null where it is not finite */
json_t *cli_json_ids(const int32_t *ids, int64_t count);
int cli_print_json(json_t *value); /* one line on stdout; takes value over; exit code */
int cli_finish(int code);          /* what stdout could not take is a failure */
char *cli_report_text(const distill_report *report, distill_error *err); /* free it */
void cli_print_leaves(const json_t *value, const char *name);            /* one line per leaf, dotted names */
/* As JSON or as leaves; the report is freed. whole, or NULL: 0 where it says "whole": false. Exit code. */
int cli_print_report(distill_report *report, int as_json, distill_error *err, int *whole);
void cli_table(FILE *out, const json_t *result);      /* result.json as a table */
void cli_print_cost(FILE *out, const json_t *cost);   /* a line: time, tokens, operations, energy, money */
void cli_print_page(FILE *out, const json_t *result); /* where report.html lies, if the run left one */

/* ---- progress ---- */

typedef struct cli_progress {
    int quiet;
    int tty;
    int drawn;                /* columns of the line without its end that stands on the terminal */
    double last, phase_begin; /* seconds */
    int32_t phase;
    int64_t step, stage, stages;
    const char *unit; /* of what a second does of a training; NULL = tokens */
} cli_progress;
void cli_progress_start(cli_progress *progress, int quiet);
int32_t cli_progress_show(void *user, const distill_progress *now);
/* Of work that is no run: "scoring 40 %  ETA 0:12"; nothing where it is soon over and no terminal watches. */
void cli_progress_share(cli_progress *progress, const char *what, int64_t done, int64_t total);
void cli_progress_end(cli_progress *progress);
void cli_progress_break(void); /* ends the line before a message */

int cli_run(const cli_command *command, int argc, char **argv);
int cli_report(const cli_command *command, int argc, char **argv);
int cli_eval(const cli_command *command, int argc, char **argv);
int cli_compare(const cli_command *command, int argc, char **argv);
int cli_plan(const cli_command *command, int argc, char **argv);
int cli_score(const cli_command *command, int argc, char **argv);
int cli_tokenize(const cli_command *command, int argc, char **argv);
int cli_detokenize(const cli_command *command, int argc, char **argv);
int cli_generate(const cli_command *command, int argc, char **argv);
int cli_chat(const cli_command *command, int argc, char **argv);
int cli_inspect(const cli_command *command, int argc, char **argv);
int cli_export(const cli_command *command, int argc, char **argv);
int cli_cache(const cli_command *command, int argc, char **argv);
int cli_cache_build(const cli_command *command, int argc, char **argv);
int cli_cache_measure(const cli_command *command, int argc, char **argv);
int cli_augment(const cli_command *command, int argc, char **argv);
int cli_classify(const cli_command *command, int argc, char **argv);
int cli_serve(const cli_command *command, int argc, char **argv);
int cli_bench(const cli_command *command, int argc, char **argv);
int cli_options(const cli_command *command, int argc, char **argv);

#endif
