/* cli_ranks.h - `--communicator mpi`: the plug-in libdistill_mpi, and who speaks for all ranks. */
#ifndef CLI_RANKS_H
#define CLI_RANKS_H

#include "cli.h"

#define CLI_RANKS_USAGE "[--communicator mpi] [--log-ranks]"
#define CLI_RANKS_HELP                                                                               \
    "  --communicator C  mpi: one of several ranks, `mpirun -n 4 distill ... --communicator mpi`;\n" \
    "                    none: alone, also where a launcher started several\n"                       \
    "  --log-ranks       messages of all ranks, not of rank 0 alone\n"

typedef struct cli_ranks {
    distill_communicator table; /* size 1 = alone */
    int joined;                 /* the env has taken the table over */
    int spoken;                 /* stderr as it was; what is written meanwhile is kept; -1 = nothing is */
} cli_ranks;
/* communicator NULL = alone, which is refused where a launcher started several; "none" = alone all the same. From here
 * on rank 0 alone is heard, unless all are to be. -1 or an exit code. */
int cli_ranks_start(cli_ranks *ranks, const char *communicator, int all);
/* The worst code of all ranks; of those that fail one is heard. */
int cli_ranks_agree(cli_ranks *ranks, int code);
int cli_ranks_join(cli_ranks *ranks, cli_session *session);           /* -1 or an exit code */
int cli_ranks_meet(cli_ranks *ranks, cli_session *session, int code); /* join where code is -1, and agree */
/* "To go on: ", and the command: of so many ranks. */
void cli_ranks_go_on(int64_t ranks, const char *verb, const char *recipe, const cli_settings *settings,
                     const char *last);
int cli_ranks_are_quiet(const cli_ranks *ranks); /* this one is not heard */
/* Before cli_close. A rank that lost the others ends them all: they may wait for it. */
void cli_ranks_end(cli_ranks *ranks, const cli_session *session);

#endif
