/* sampling.h - how an answer is drawn, as generate and chat are told by the same options. */
#ifndef CLI_SAMPLING_H
#define CLI_SAMPLING_H

#include "cli.h"

typedef struct cli_sampling { /* what section generate is told */
    int64_t max_tokens, top_k, seed;
    double temperature, top_p, min_p, repetition_penalty, presence_penalty;
    int has_tokens, has_top_k, has_seed, has_temperature, has_top_p, has_min_p, has_repetition, has_presence;
    const char *quantized, *precision; /* NULL = not given */
    cli_settings bias, stop, stop_ids;
} cli_sampling;

enum { CLI_SAMPLING_COUNT = 13 };
/* Writes the options of how to out [CLI_SAMPLING_COUNT]. */
void cli_sampling_options(cli_sampling *how, cli_option *out);
/* Without a temperature the most probable token is taken, always. -1 or the exit code of wrong usage. */
int cli_set_sampling(cli_session *session, const cli_command *command, const cli_sampling *how);

#endif
