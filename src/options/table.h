/* table.h - the one table of every option: name, type, default, bounds, help. The recipe, the setters, the program's
 * --set, the bindings and the reference page all read it; adding an option is adding a row to table.c.
 *
 * A group is what holds options: a section ("train"), a map in it ("teacher.blend"), a list of maps ("augment.steps")
 * or a map whose keys the user names ("teachers"). Names in the table say N for an item's number and NAME for a user's
 * name: "augment.steps.N.expand", "data.mix.NAME". A group may have the members of another one (like), so that an entry
 * of teachers is written once, as section teacher is; like "" = a whole recipe. The table is a value: tests have their
 * own. An id is a row's index, or row_count + a group's. */
#ifndef DI_OPTIONS_TABLE_H
#define DI_OPTIONS_TABLE_H

#include "base/status.h"

enum { /* types */
       DI_OPTION_INT = 1,
       DI_OPTION_NUMBER = 2,
       DI_OPTION_TEXT = 3,
       DI_OPTION_PATH = 4,
       DI_OPTION_CHOICE = 5,
       DI_OPTION_FLAG = 6,
       DI_OPTION_LIST = 7,
       DI_OPTION_MAP = 8 /* says in the list of options that a group with `like` exists; holds no value */
};
enum {                             /* flags */
       DI_OPTION_LIVE = 1,         /* may change on a live trainer */
       DI_OPTION_SCHEDULE = 2,     /* a NUMBER, or the numbers of a LIST, that may be {schedule, from, to, steps} */
       DI_OPTION_OR_ZERO = 4,      /* 0 as well as what is in the bounds */
       DI_OPTION_OPEN_HIGH = 8,    /* the upper bound itself is out of bounds */
       DI_OPTION_ALONE = 16,       /* only where its group is one map, not in a list of them */
       DI_OPTION_OWN = 32,         /* set item by item: "loss.weight" does not reach every term of a list */
       DI_OPTION_OF_STAGE = 128,   /* a PATH that may be the output of a stage: stages.NAME */
       DI_OPTION_OR_EMPTY = 256,   /* a LIST of which an empty one means something */
       DI_OPTION_OR_AUTO = 512,    /* a LIST, or the text auto:N: so many, to be chosen by whoever reads it */
       DI_OPTION_AUTO_ZERO = 1024, /* an INT that may be the text auto, which reads as 0 */
       DI_OPTION_RARE = 64         /* where a mistyped key fits several options, another one is meant */
};
typedef struct di_option_info {
    const char *name;         /* "section.key" */
    const char *help;         /* one line */
    const char *default_text; /* NULL = unset unless given */
    const char *choices;      /* "a|b|c" of a CHOICE, else NULL */
    const char *unit;         /* NULL = none */
    int32_t type;
    int32_t item_type; /* of a LIST: INT, NUMBER or TEXT; else 0 */
    double low, high;  /* of INT, NUMBER and of the numbers of a LIST; 0, 0 = no bounds */
    int64_t flags;
    const char *when;  /* where it is read; NULL = always: see di_options_check */
    const char *names; /* the group of NAMED entries that its texts name; a PATH names an entry or is a path */
} di_option_info;

enum {                       /* shapes of a group */
       DI_GROUP_MAP,         /* one map */
       DI_GROUP_ONE_OR_LIST, /* one map, or a list of them */
       DI_GROUP_LIST,        /* a list of maps; one map is a list of one */
       DI_GROUP_NAMED        /* a map of maps whose keys the user chooses */
};
typedef struct di_group {
    const char *name;
    const char *main; /* the key that a plain value sets; "" = an entry is one plain value; NULL = none */
    const char *like; /* NULL = members of its own */
    const char *when;
    int32_t shape;
    const char
        *beside;     /* "a|b": of its keys, those that may stand beside it where it is one plain value; NULL = none */
    int32_t numbers; /* names of NAMED entries are numbers, such as ids of tokens */
    int32_t whole;   /* laid over another one (di_options_lay_over) it takes its place, not key by key */
} di_group;
typedef struct di_gone { /* options of older versions, for the error that they get */
    const char *name, *answer;
    const char *meant; /* instead: another word for this option, which was never one itself */
} di_gone;
typedef struct di_table {
    const di_option_info *rows;
    const di_group *groups;
    const di_gone *gone;
    int64_t row_count, group_count, gone_count;
} di_table;
extern const di_table di_public_table;

enum { /* sections of the public table, in its order; as a set: 1 << section */
       DI_TEACHERS,
       DI_TEACHER,
       DI_STUDENT,
       DI_DATA,
       DI_LOSS,
       DI_TRAIN,
       DI_CLASSIFIER,
       DI_GENERATE,
       DI_SESSION,
       DI_AUGMENT,
       DI_TASKS,
       DI_COMPUTING,
       DI_COST,
       DI_OUTPUT,
       DI_STAGES, /* and the plain options of the root */
       DI_SECTIONS
};

enum { DI_ROOT = -1, DI_NONE = -2 };
const di_option_info *di_table_row(const di_table *table, int64_t id); /* NULL if id is not a row's */
const di_group *di_table_group(const di_table *table, int64_t id);     /* NULL if id is not a group's */
const char *di_table_name(const di_table *table, int64_t id);          /* DI_ROOT: "" */
const char *di_table_key(const di_table *table, int64_t id);           /* the last part of its name */
int64_t di_table_members(const di_table *table, int64_t id);           /* the group whose members it has: like */
/* The row or group called key in a group (DI_ROOT = the recipe); DI_NONE = there is none. */
int64_t di_table_member(const di_table *table, int64_t group, const char *key, size_t size);
/* The group beside which the key may stand (di_group.beside); DI_NONE = there is none. */
int64_t di_table_beside(const di_table *table, int64_t group, const char *key, size_t size);
int32_t di_table_is_member(const di_table *table, int64_t group, int64_t id);
/* The section that holds it, as a number that counts the groups of the root; a plain option of the root belongs to the
 * last one. */
int32_t di_table_section(const di_table *table, int64_t id);

/* The public table's rows. */
int64_t di_option_count(void);
const di_option_info *di_option_at(int64_t index);     /* NULL past the end */
int64_t di_option_find(const char *name, size_t size); /* -1 = none */
int32_t di_option_has_choice(const char *choices, const char *text, size_t size);

#endif
