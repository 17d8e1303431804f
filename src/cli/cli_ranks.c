#include "cli_ranks.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PLUGIN "libdistill_mpi.so"

typedef int32_t (*open_fn)(void *mpi_comm, distill_communicator *out, distill_error *err);

/* Beside the program, in lib beside its folder, then wherever the system looks. */
static void *load(char *why, size_t size)
{
    static const char *const places[] = {"", "../lib/", "../lib/x86_64-linux-gnu/", "../lib/aarch64-linux-gnu/",
                                         "../lib64/"};
    char folder[2048], path[2200];
    ssize_t length = readlink("/proc/self/exe", folder, sizeof folder - 1);
    void *found = NULL;
    while (length > 0 && folder[length - 1] != '/') length--;
    for (size_t i = 0; length > 0 && i < sizeof places / sizeof *places; i++) {
        snprintf(path, sizeof path, "%.*s%s%s", (int)length, folder, places[i], PLUGIN);
        if (access(path, R_OK)) continue;
        if (!(found = dlopen(path, RTLD_NOW | RTLD_GLOBAL))) snprintf(why, size, "%s", dlerror());
        return found;
    }
    if (!(found = dlopen(PLUGIN, RTLD_NOW | RTLD_GLOBAL))) snprintf(why, size, "%s", dlerror());
    return found;
}

static int open_plugin(cli_ranks *ranks)
{
    char why[512] = "";
    distill_error err;
    open_fn open_it;
    void *plugin = load(why, sizeof why);
    if (!plugin)
        return cli_message("--communicator mpi needs %s: %s; build distill where MPI is found (Debian: openmpi-bin and "
                           "libopenmpi-dev), or leave --communicator out",
                           PLUGIN, why);
    *(void **)&open_it = dlsym(plugin, "distill_mpi_communicator");
    if (!open_it) return cli_message("%s has no distill_mpi_communicator: it is of another version", PLUGIN);
    DISTILL_INIT(&ranks->table);
    if (!open_it(NULL, &ranks->table, &err)) return -1;
    DISTILL_INIT(&ranks->table);
    ranks->table.size = 1;
    return cli_fail(&err);
}

static void print_nothing(void)
{
    const int nothing = open("/dev/null", O_WRONLY);
    fflush(stdout);
    if (nothing < 0) return; /* then it is heard */
    dup2(nothing, STDOUT_FILENO);
    close(nothing);
}

/* What this rank would print is kept in a file without a name: it is shown where this one is to be heard. */
static void be_quiet(cli_ranks *ranks)
{
    FILE *kept = tmpfile();
    if (!kept) return; /* then it is heard */
    fflush(stderr);
    ranks->spoken = dup(STDERR_FILENO);
    dup2(fileno(kept), STDERR_FILENO);
    fclose(kept);
}

static void be_heard(cli_ranks *ranks)
{
    char text[4096];
    ssize_t size;
    if (ranks->spoken < 0) return;
    fflush(stderr);
    lseek(STDERR_FILENO, 0, SEEK_SET);
    dprintf(ranks->spoken, "rank %lld: ", (long long)ranks->table.rank);
    while ((size = read(STDERR_FILENO, text, sizeof text)) > 0)
        if (write(ranks->spoken, text, (size_t)size) != size) break;
}

/* What launchers tell each process; NULL = none started it. */
static const char *told(const char *const *names)
{
    const char *value = NULL;
    for (; *names && !value; names++) value = getenv(*names);
    return value;
}

/* Several processes that do not know of each other would all write the same files. One says so. */
static int check_alone(void)
{
    static const char *const sizes[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS", NULL},
                             *const places[] = {"OMPI_COMM_WORLD_RANK", "PMI_RANK", "MPI_LOCALRANKID", NULL};
    const char *size = told(sizes), *place = told(places);
    if (!size || strtol(size, NULL, 10) < 2) return -1;
    if (!place || strtol(place, NULL, 10) == 0)
        cli_message("%s processes of it were started, and each would do all of it: give --communicator mpi, or "
                    "--communicator none where that is wanted",
                    size);
    return CLI_USAGE;
}

int cli_ranks_start(cli_ranks *ranks, const char *communicator, int all)
{
    int code = -1;
    memset(ranks, 0, sizeof *ranks);
    ranks->spoken = -1;
    DISTILL_INIT(&ranks->table);
    ranks->table.size = 1;
    if (!communicator) return check_alone();
    if (!strcmp(communicator, "none")) return -1;
    if (strcmp(communicator, "mpi") != 0)
        return cli_message(
            "--communicator %s is not known here: it is mpi or none; others are set by a program of one's own, "
            "with distill_env_set_communicator",
            communicator);
    code = open_plugin(ranks);
    if (code < 0 && ranks->table.rank) print_nothing(); /* a result is told once */
    if (code < 0 && ranks->table.rank && !all) be_quiet(ranks);
    if (code < 0 && ranks->table.size > 1 && all) cli_log_as(ranks->table.rank);
    return code;
}

int cli_ranks_agree(cli_ranks *ranks, int code)
{
    const int32_t own = code;
    int32_t *all;
    int64_t ticket, speaker = -1;
    int worst = code;
    if (ranks->table.size < 2) return code;
    all = cli_memory(NULL, (size_t)ranks->table.size * sizeof *all);
    if (ranks->table.all_gather_start(ranks->table.user, &own, all, sizeof own, &ticket) == DISTILL_CB_OK &&
        ranks->table.wait(ranks->table.user, ticket) == DISTILL_CB_OK)
        for (int64_t i = 0; i < ranks->table.size; i++) {
            if (all[i] > 0 && speaker < 0) speaker = i;
            if (all[i] > worst) worst = all[i];
        }
    free(all);
    if (speaker == ranks->table.rank) be_heard(ranks);
    return worst;
}

int cli_ranks_join(cli_ranks *ranks, cli_session *session)
{
    if (ranks->table.size < 2) return -1;
    ranks->joined = 1;
    if (!distill_env_set_communicator(session->env, &ranks->table, &session->err)) return -1;
    ranks->table.size = 1; /* it is gone */
    return cli_fail(&session->err);
}

int cli_ranks_meet(cli_ranks *ranks, cli_session *session, int code)
{
    if (code < 0) code = cli_ranks_join(ranks, session);
    return cli_ranks_agree(ranks, code);
}

void cli_ranks_go_on(int64_t ranks, const char *verb, const char *recipe, const cli_settings *settings,
                     const char *last)
{
    char *line = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&line, &size), *to = memory ? memory : stderr;
    fprintf(to, "To go on: ");
    if (ranks > 1) fprintf(to, "mpirun -n %lld ", (long long)ranks);
    fprintf(to, "distill %s %s", verb, recipe);
    for (int i = 0; i < settings->count; i++) fprintf(to, " --set '%s'", settings->items[i]);
    fprintf(to, "%s%s\n", ranks > 1 ? " --communicator mpi" : "", last);
    if (memory && !fclose(memory)) fwrite(line, 1, size, stderr);
    free(line);
}

int cli_ranks_are_quiet(const cli_ranks *ranks) { return ranks->table.rank != 0; }

void cli_ranks_end(cli_ranks *ranks, const cli_session *session)
{
    if (session->err.code == DISTILL_E_CALLBACK && ranks->table.size > 1 && ranks->table.abort)
        ranks->table.abort(ranks->table.user, NULL);
    if (!ranks->joined && ranks->table.destroy) ranks->table.destroy(ranks->table.user);
}
