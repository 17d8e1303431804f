/* values.h - how a tree keeps its values: a node holds what is set of one group, sorted by id; a value that is itself a
 * group holds nodes. Private to src/options. */
#ifndef DI_OPTIONS_VALUES_H
#define DI_OPTIONS_VALUES_H

#include "conf/document.h"
#include "options/options.h"

enum { DI_ITEMS_MAX = 64, DI_PATH_MAX = 160 };

typedef struct di_item {
    int64_t i64;
    double f64;       /* where a course begins */
    di_course course; /* of a number in a list with flag SCHEDULE */
    char *text;       /* NULL in a list of numbers */
} di_item;

typedef struct di_value {
    int64_t id;
    int64_t i64;      /* INT, FLAG */
    double f64;       /* INT, NUMBER; where a course begins */
    di_course course; /* NUMBER with flag SCHEDULE */
    char *text;       /* TEXT, PATH, CHOICE */
    char *written;    /* PATH: what was given, where text has the recipe's folder before it */
    char *origin;     /* "recipe.yaml:7"; NULL = a setter */
    di_item *items;
    di_options **nodes; /* of a group: one, or one per item or name */
    int64_t size;       /* of items or nodes */
    int32_t is_list;    /* of a group ONE_OR_LIST: the nodes are a list */
} di_value;

struct di_options {
    dk_host *host; /* held by the root */
    const di_table *table;
    int64_t group; /* whose members the values are; DI_ROOT = a whole recipe */
    char *name;    /* of an entry whose key the user chose */
    di_value *values;
    int64_t count, capacity;
    int32_t is_item; /* of a list of maps */
};

/* ---- nodes ---- */
int32_t di_node_create(const di_options *like, int64_t group, di_options **out, dk_error *err);
void di_node_free(di_options *node);
void di_node_clear(di_options *node);
int32_t di_node_equal(const di_options *a, const di_options *b);     /* NULL = empty */
const di_value *di_node_find(const di_options *node, int64_t id);    /* node NULL is fine */
di_value *di_node_slot(di_options *node, int64_t id, dk_error *err); /* found or made; NULL = no memory */
void di_node_remove(di_options *node, int64_t id);
/* takes the value over, also when it fails */
int32_t di_node_put(di_options *node, di_value *value, dk_error *err);

void di_value_free(dk_host *host, di_value *value);
int32_t di_value_clone(const di_options *into, const di_value *value, di_value *out, dk_error *err);
int32_t di_value_equal(const di_value *a, const di_value *b);
/* A new node at the end; name NULL = an item. */
int32_t di_value_grow(di_options *node, di_value *value, const char *name, di_options **out, dk_error *err);
di_options *di_value_entry(const di_value *value, const char *name, size_t size); /* NULL = none */

/* A setter works on a copy; this puts the copy in place. */
void di_options_swap(di_options *a, di_options *b);

/* ---- keys ---- */
typedef struct di_place {   /* what a key points at */
    int64_t id;             /* DI_NONE = nothing */
    const di_value *value;  /* NULL = not set */
    const di_options *node; /* the item or entry that the key ends at; else NULL */
    const char *rest;       /* what is left of the key: an index of a plain list */
    int64_t size;           /* >= 0: there are so many items, and the key names another */
    int32_t ends_at_child;  /* the key ends at an item or an entry, and value is the group's */
    int32_t in_list;        /* asks a list of maps for a member without saying which */
} di_place;
void di_place_find(const di_options *options, const char *key, di_place *out);
int32_t di_part_index(const char *part, size_t size, int64_t *out); /* 0 = not a number */
int32_t di_fail_unknown(const di_options *at, const char *path, const char *rest, dk_error *err);

/* ---- setting ---- */
typedef struct di_source { /* of a value: folder and name as for di_options_parse */
    const dk_node *node;
    const char *folder, *name;
} di_source;
/* Checks what stands there against the table and stores it; an error leaves the tree half changed. */
int32_t di_assign(di_options *options, const char *key, di_source source, dk_error *err);
/* Checks one value against one row; *out is owned by the caller. */
int32_t di_check(const di_options *at, int64_t id, const char *path, di_source source, di_value *out, dk_error *err);
/* A path that names an entry is that name: with the recipe's folder before it, it would be none. */
void di_settle_names(di_options *options);
/* Is this the value that an unset option has? */
int32_t di_value_is_default(const di_table *table, const di_value *value);
/* Is the condition of a row or group met among the members of node (NULL = nothing is set)? */
int32_t di_when_is_met(const di_options *root, const di_options *node, int64_t group, const di_table *table,
                       const char *when);

#endif
