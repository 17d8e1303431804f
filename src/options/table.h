/* table.h - the one table of every option: name, type, default, bounds, help. The recipe, the setters, the program's
 * --set, the bindings and the reference page all read it; adding an option is adding a row to table.c. */
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
       DI_OPTION_MAP = 8
};
enum {                          /* flags */
       DI_OPTION_LIVE = 1,      /* may change on a live trainer */
       DI_OPTION_OR_ZERO = 4,   /* 0 as well as what is in the bounds */
       DI_OPTION_OPEN_HIGH = 8, /* the upper bound itself is out of bounds */
       DI_OPTION_TERM = 16      /* each term of a list of losses may have its own */
};
typedef struct di_option_info {
    const char *name;         /* "section.key" */
    const char *help;         /* one line */
    const char *default_text; /* NULL = unset unless given */
    const char *choices;      /* "a|b|c" of a CHOICE, else NULL */
    const char *unit;         /* NULL = none */
    int32_t type;
    int32_t item_type; /* of a LIST: INT or TEXT; else 0 */
    double low, high;  /* of INT, NUMBER and of the items of a LIST of INT; 0, 0 = no bounds */
    int64_t flags;
} di_option_info;

enum { /* sections, in the order of the table; as a set: 1 << section */
       DI_TEACHER,
       DI_STUDENT,
       DI_DATA,
       DI_LOSS,
       DI_TRAIN,
       DI_GENERATE,
       DI_OUTPUT,
       DI_SECTIONS
};
const char *di_section_name(int32_t section);
const char *di_section_main(int32_t section); /* the option that a section given as one plain value sets; NULL = none */
int32_t di_section_find(const char *name, size_t size); /* -1 = none */

int64_t di_option_count(void);
const di_option_info *di_option_at(int64_t index);     /* NULL past the end */
int64_t di_option_find(const char *name, size_t size); /* -1 = none */
int32_t di_option_section(int64_t index);
const char *di_option_key(int64_t index); /* the name without its section */
int32_t di_option_has_choice(const di_option_info *option, const char *text, size_t size);

/* The option, or the choice of an option, that text was probably meant to be; NULL = nothing is near. A choice is
 * copied into out. */
const char *di_option_suggest(const char *text, size_t size);
const char *di_choice_suggest(const di_option_info *option, const char *text, char *out, size_t cap);

#endif
