/* sampling.c - how an answer is drawn: from options of a command to section generate. */
#include "sampling.h"

#include <stdlib.h>
#include <string.h>

void cli_sampling_options(cli_sampling *how, cli_option *out)
{
    const cli_option options[CLI_SAMPLING_COUNT] = {
        {"--max-tokens", CLI_INT, &how->max_tokens, &how->has_tokens},
        {"--temperature", CLI_REAL, &how->temperature, &how->has_temperature},
        {"--top-k", CLI_INT, &how->top_k, &how->has_top_k},
        {"--top-p", CLI_REAL, &how->top_p, &how->has_top_p},
        {"--min-p", CLI_REAL, &how->min_p, &how->has_min_p},
        {"--repetition-penalty", CLI_REAL, &how->repetition_penalty, &how->has_repetition},
        {"--presence-penalty", CLI_REAL, &how->presence_penalty, &how->has_presence},
        {"--logit-bias", CLI_SETTINGS, &how->bias, NULL},
        {"--stop", CLI_TEXTS, &how->stop, NULL},
        {"--stop-id", CLI_TEXTS, &how->stop_ids, NULL},
        {"--quantized", CLI_TEXT, &how->quantized, NULL},
        {"--precision", CLI_TEXT, &how->precision, NULL},
        {"--seed", CLI_INT, &how->seed, &how->has_seed},
    };
    memcpy(out, options, sizeof options);
}

static int32_t set_int(cli_session *s, const char *key, int given, int64_t value)
{
    return given ? distill_options_set_i64(s->options, key, value, &s->err) : DISTILL_OK;
}

static int32_t set_real(cli_session *s, const char *key, int given, double value)
{
    return given ? distill_options_set_f64(s->options, key, value, &s->err) : DISTILL_OK;
}

static int32_t set_text(cli_session *s, const char *key, const char *value)
{
    return value ? distill_options_set_str(s->options, key, value, &s->err) : DISTILL_OK;
}

static int32_t set_number(cli_session *s, const char *key, const char *option, const char *text)
{
    char *end = NULL;
    double value = strtod(text, &end);
    if (end != text && !*end) return distill_options_set_f64(s->options, key, value, &s->err);
    snprintf(s->err.message, sizeof s->err.message, "%s wants a number, not '%s'", option, text);
    return DISTILL_E_OPTION;
}

static int32_t set_stops(cli_session *s, const cli_sampling *how)
{
    int32_t rc = DISTILL_OK;
    char name[64];
    for (int i = 0; !rc && i < how->stop.count; i++) {
        snprintf(name, sizeof name, "generate.stop.%d", i);
        rc = distill_options_set_str(s->options, name, how->stop.items[i], &s->err);
    }
    for (int i = 0; !rc && i < how->stop_ids.count; i++) {
        snprintf(name, sizeof name, "generate.stop_ids.%d", i);
        rc = set_number(s, name, "--stop-id", how->stop_ids.items[i]);
    }
    return rc;
}

static int32_t set_bias(cli_session *s, const cli_settings *given)
{
    int32_t rc = DISTILL_OK;
    char name[64];
    for (int i = 0; !rc && i < given->count; i++) {
        const char *text = given->items[i], *value = strchr(text, '=') + 1;
        snprintf(name, sizeof name, "generate.logit_bias.%.*s", (int)(value - 1 - text), text);
        rc = set_number(s, name, "--logit-bias", value);
    }
    return rc;
}

int cli_set_sampling(cli_session *s, const cli_command *command, const cli_sampling *how)
{
    int32_t rc = set_int(s, "generate.max_tokens", how->has_tokens, how->max_tokens);
    if (!rc) rc = set_int(s, "generate.top_k", how->has_top_k, how->top_k);
    if (!rc) rc = set_int(s, "generate.seed", how->has_seed, how->seed);
    if (!rc) rc = set_text(s, "generate.quantized", how->quantized);
    if (!rc) rc = set_text(s, "generate.precision", how->precision);
    if (!rc) rc = set_real(s, "generate.temperature", 1, how->temperature);
    if (!rc) rc = set_real(s, "generate.top_p", how->has_top_p, how->top_p);
    if (!rc) rc = set_real(s, "generate.min_p", how->has_min_p, how->min_p);
    if (!rc) rc = set_real(s, "generate.repetition_penalty", how->has_repetition, how->repetition_penalty);
    if (!rc) rc = set_real(s, "generate.presence_penalty", how->has_presence, how->presence_penalty);
    if (!rc) rc = set_stops(s, how);
    if (!rc) rc = set_bias(s, &how->bias);
    return rc ? cli_usage(command, "%s", s->err.message) : -1;
}
