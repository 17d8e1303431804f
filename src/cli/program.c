/* program.c - what every command begins and ends with: env, options, log, Ctrl-C, exit codes. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

/* A signal handler has nothing but statics. */
static const distill_env *volatile watched_env;
static const distill_trainer *volatile watched_trainer;
static const distill_session *volatile watched_session;
static char speaker[32]; /* "rank 2: " */
static volatile sig_atomic_t interrupted, saves_when_cancelled, stops_asked;
static _Atomic(pthread_t) main_thread; /* which alone may look at them */

/* Threads that were there before the program was, as a BLAS has them, get signals, too. */
static int is_forwarded(int number)
{
    const pthread_t to = main_thread;
    if (pthread_equal(to, pthread_self())) return 0;
    pthread_kill(to, number);
    return 1;
}

/* A second Ctrl-C is somebody who does not want to wait; a hang-up and a shutdown may send several signals. */
static void on_signal(int number)
{
    static const char step[] = "\nstopping: the step is finished and saved; Ctrl-C again exits at once\n";
    static const char whole[] = "\nstopping: what is whole is saved, the rest made again; Ctrl-C again exits at once\n";
    if (is_forwarded(number)) return;
    if (watched_session && number == SIGINT) { /* the program stays */
        stops_asked = 1;
        distill_session_cancel(watched_session, 1);
        return;
    }
    if (interrupted && number == SIGINT) _exit(CLI_INTERRUPTED);
    if (interrupted) return;
    interrupted = 1;
    if (watched_trainer || saves_when_cancelled) {
        int before = errno;
        ssize_t written = saves_when_cancelled != CLI_SAVES_CHUNKS ? write(STDERR_FILENO, step, sizeof step - 1)
                                                                   : write(STDERR_FILENO, whole, sizeof whole - 1);
        (void)written;
        errno = before;
    }
    if (watched_trainer) distill_trainer_cancel(watched_trainer, 1);
    else if (watched_env) distill_env_cancel(watched_env, 1);
}

/* Ctrl-C, a closed terminal (unless nohup keeps it away), a shutdown, and what mpirun passes on at once. What cannot be
 * written is an error where it is written, not the end: a run outlives the reader of its progress, and a file that may
 * not grow. */
static void take_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1}, ignored[] = {SIGPIPE, SIGXFSZ};
    struct sigaction action, old;
    memset(&action, 0, sizeof action);
    main_thread = pthread_self();
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        action.sa_handler = on_signal;
        if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler == SIG_IGN && numbers[i] == SIGHUP) continue;
        sigaction(numbers[i], &action, NULL);
    }
    action.sa_handler = SIG_IGN;
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) sigaction(ignored[i], &action, NULL);
}

/* A command opens some files more than once; what it said of them is not said again. What a session says is of a turn:
 * the next one may have to be told the same. */
static int is_repeated(const char *component, const char *message)
{
    static uint64_t seen[64];
    static int count;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    if (component && !strcmp(component, "session")) return 0;
    for (; *message; message++) hash = (hash ^ (unsigned char)*message) * UINT64_C(0x100000001b3);
    for (int i = 0; i < count; i++)
        if (seen[i] == hash) return 1;
    if (count < 64) seen[count++] = hash;
    return 0;
}

static void on_log(void *user, int32_t level, const char *component, const char *message)
{
    (void)user;
    if (level == DISTILL_LOG_WARN && is_repeated(component, message)) return;
    cli_progress_break();
    fprintf(stderr, "%s%s%s\n", speaker,
            level == DISTILL_LOG_ERROR  ? "error: "
            : level == DISTILL_LOG_WARN ? "warning: "
                                        : "",
            message);
}

void cli_watch(const distill_trainer *trainer)
{
    watched_trainer = trainer;
    if (interrupted && trainer) distill_trainer_cancel(trainer, 1);
}

void cli_watch_session(const distill_session *session) { watched_session = session; }

int cli_has_interrupt(void) { return interrupted || stops_asked; }

void cli_take_interrupt(void)
{
    stops_asked = 0;
    if (watched_session) distill_session_cancel(watched_session, 0);
}

int cli_is_interrupted(void) { return interrupted; }

void cli_watch_all(int saves) { saves_when_cancelled = saves; }

/* "data" is of "data.train=x", and so is "data.train". */
static int is_of(const char *key, size_t size, const char *setting)
{
    return !strncmp(key, setting, size) && (setting[size] == '.' || setting[size] == '=');
}

/* " data teacher.mmap " has what is of section data, and one key. */
static int reads_key(const char *reads, const char *setting)
{
    for (const char *at = reads; (at = strchr(at, ' ')) && *++at;)
        if (is_of(at, strcspn(at, " "), setting)) return 1;
    return 0;
}

char *cli_option_text(const distill_options *options, const char *name)
{
    size_t needed = 0;
    distill_options_get(options, name, NULL, 0, &needed, NULL);
    char *text = cli_memory(NULL, needed + 1);
    *text = 0;
    distill_options_get(options, name, text, needed, NULL, NULL);
    return text;
}

/* A setting of a whole section ("teacher={path: x}", "teacher=x") sets the key where its value is another then. */
static int sets_key(const cli_session *session, const char *key, const char *setting, const char *before)
{
    if (is_of(key, strlen(key), setting)) return 1;
    if (strncmp(key, setting, strcspn(setting, "=")) != 0 || key[strcspn(setting, "=")] != '.') return 0;
    char *after = cli_option_text(session->options, key);
    int changed = strcmp(before, after) != 0;
    free(after);
    return changed;
}

/* before: values of the command's own keys. */
static int check_setting(const cli_session *session, const cli_command *command, const char *setting,
                         const cli_settings *all, char *const *before)
{
    for (int i = 0; all->own && all->own[i]; i += 2) {
        const char *key = all->own[i], *what = is_of(key, strlen(key), setting) ? "it" : key;
        if (sets_key(session, key, setting, before[i / 2]))
            return cli_usage(command, "--set %s: %s says %s here", setting, all->own[i + 1], what);
    }
    if (all->reads && !reads_key(all->reads, setting))
        return cli_usage(command, "--set %s: nothing would read it here, only%.*s", setting,
                         (int)strlen(all->reads) - 1, all->reads);
    return -1;
}

static int take_setting(cli_session *session, const cli_command *command, const char *setting, const cli_settings *all)
{
    enum { OWN = 16 };
    char *key = cli_memory(NULL, strlen(setting) + 1), *value, *before[OWN] = {NULL};
    for (int i = 0; all->own && all->own[i]; i += 2) before[i / 2] = cli_option_text(session->options, all->own[i]);
    strcpy(key, setting);
    value = strchr(key, '=');
    *value++ = 0;
    int code, rc = distill_options_set(session->options, key, value, &session->err);
    if (rc) code = cli_usage(command, "--set %s: %s", setting, session->err.message);
    else code = check_setting(session, command, setting, all, before);
    for (int i = 0; i < OWN; i++) free(before[i]);
    free(key);
    return code;
}

int cli_is_said(const cli_session *session, const char *key)
{
    distill_options *fresh = NULL;
    distill_error err;
    if (distill_options_create(session->env, &fresh, &err)) return 0;
    char *usual = cli_option_text(fresh, key), *value = cli_option_text(session->options, key);
    int said = strcmp(value, usual) != 0;
    free(value);
    free(usual);
    distill_options_free(fresh);
    return said;
}

int32_t cli_try_draft(cli_session *session, const cli_settings *settings)
{
    static const char key[] = "train.eval_draft_tokens";
    for (int i = 0; i < settings->count; i++)
        if (!strncmp(settings->items[i], key, sizeof key - 1)) return DISTILL_OK;
    return cli_is_said(session, key) ? DISTILL_OK : distill_options_set_i64(session->options, key, 256, &session->err);
}

int cli_take_flag(cli_session *session, const cli_command *command, const char *name, const char *key,
                  const char *value)
{
    if (!value) return -1;
    char *before = cli_option_text(session->options, key);
    if (cli_is_said(session, key) && strcmp(before, value) != 0)
        cli_message("%s %s is taken, not what the recipe says (%s: %s)", name, value, key, before);
    free(before);
    int32_t rc = distill_options_set_str(session->options, key, value, &session->err);
    return rc ? cli_usage(command, "%s: %s", name, session->err.message) : -1;
}

int cli_open(cli_session *session, const cli_command *command, const char *recipe, const cli_settings *settings)
{
    memset(session, 0, sizeof *session);
    if (distill_env_create(NULL, &session->env, &session->err)) return cli_fail(&session->err);
    watched_env = session->env;
    take_signals();
    cli_log(session, DISTILL_LOG_WARN);
    if (distill_options_create(session->env, &session->options, &session->err) ||
        (recipe && distill_options_load(session->options, recipe, &session->err)))
        return cli_fail(&session->err);
    for (int i = 0; settings && i < settings->count; i++) {
        int code = take_setting(session, command, settings->items[i], settings);
        if (code >= 0) return code;
    }
    return -1;
}

void cli_log(cli_session *session, int32_t level)
{
    distill_env_set_logger(session->env, level, on_log, NULL, NULL, NULL);
}

void cli_log_as(int64_t rank) { snprintf(speaker, sizeof speaker, "rank %lld: ", (long long)rank); }

void cli_close(cli_session *session)
{
    watched_trainer = NULL;
    watched_env = NULL;
    distill_options_free(session->options);
    distill_env_free(session->env);
}

int cli_message(const char *format, ...)
{
    va_list args;
    cli_progress_break();
    va_start(args, format);
    cli_line("distill: ", format, args, "");
    va_end(args);
    return CLI_FAILED;
}

int cli_fail(const distill_error *err)
{
    cli_message("%s", err->message[0] ? err->message : distill_strerror(err->code));
    return err->code == DISTILL_E_CANCELLED ? CLI_INTERRUPTED : CLI_FAILED;
}

void *cli_memory(void *old, size_t size)
{
    void *memory = realloc(old, size ? size : 1);
    if (!memory) {
        cli_message("out of memory (%zu bytes)", size);
        exit(CLI_FAILED);
    }
    return memory;
}
