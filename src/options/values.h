/* values.h - how a tree keeps its values: a list sorted by (option, term). Private to src/options. */
#ifndef DI_OPTIONS_VALUES_H
#define DI_OPTIONS_VALUES_H

#include "conf/document.h"
#include "options/options.h"

enum { DI_TERMS_MAX = 64, DI_NO_TERM = -1 };

typedef struct di_item {
    int64_t i64;
    char *text; /* NULL in a list of integers */
} di_item;

typedef struct di_value {
    int64_t option;
    int64_t term; /* of a list of losses; DI_NO_TERM elsewhere */
    int64_t i64;  /* INT, FLAG */
    double f64;   /* INT, NUMBER */
    char *text;   /* TEXT, PATH, CHOICE */
    di_item *items;
    int64_t size;
} di_value;

struct di_options {
    dk_host *host;
    di_value *values;
    int64_t count, capacity;
    int64_t terms; /* 0 = loss is not a list */
};

void di_value_free(dk_host *host, di_value *value);
int32_t di_value_clone(dk_host *host, const di_value *value, di_value *out, dk_error *err);
const di_value *di_values_find(const di_options *options, int64_t option, int64_t term);
/* takes the value over, also when it fails */
int32_t di_values_put(di_options *options, di_value *value, dk_error *err);
void di_values_remove(di_options *options, int64_t option, int64_t term);
void di_values_remove_section(di_options *options, int32_t section);
void di_values_remove_term(di_options *options, int64_t term);

/* What a key points at: -1 where it says nothing. */
typedef struct di_place {
    int32_t section;
    int64_t option, term, item;
} di_place;
int32_t di_place_find(const char *key, di_place *out, dk_error *err);

/* Checks node against the table and stores it. folder: see di_options_parse. */
int32_t di_assign(di_options *options, const di_place *place, const dk_node *node, const char *folder, dk_error *err);
/* Checks one node against one option; *out is owned by the caller. */
int32_t di_check(dk_host *host, int64_t option, const dk_node *node, const char *folder, di_value *out, dk_error *err);
/* A setter works on a copy; this puts the copy in place. */
void di_options_swap(di_options *a, di_options *b);

#endif
