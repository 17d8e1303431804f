/* jinja_tree.h - a parsed template: nodes and names. Private to lib/jinja. */
#ifndef DK_JINJA_TREE_H
#define DK_JINJA_TREE_H

#include "jinja/jinja.h"
#include "jinja/jinja_arena.h"
#include "jinja/jinja_value.h"

typedef enum {
    /* expressions */
    DK_TREE_LITERAL = 100, /* literal */
    DK_TREE_NAME,          /* name */
    DK_TREE_ATTRIBUTE,     /* a.text */
    DK_TREE_ITEM,          /* a[b] */
    DK_TREE_CUT,           /* a[b:c:d] */
    DK_TREE_CALL,          /* a(args) */
    DK_TREE_FILTER,        /* a | builtin(args) */
    DK_TREE_TEST,          /* a is builtin(args); op 1 = is not */
    DK_TREE_NOT,
    DK_TREE_AND,
    DK_TREE_OR,
    DK_TREE_NEGATIVE,
    DK_TREE_POSITIVE,
    DK_TREE_BINARY,   /* a op b */
    DK_TREE_JOINED,   /* args, joined by ~ */
    DK_TREE_COMPARED, /* a, then args: each compared by its op with the one before */
    DK_TREE_EITHER,   /* a if b else c; c NULL = undefined */
    DK_TREE_LIST_OF,  /* args */
    DK_TREE_TUPLE_OF, /* args */
    DK_TREE_MAP_OF,   /* args: a: b */
    DK_TREE_HELD,     /* the text of the block that is set */
    DK_TREE_ARGUMENT, /* a; text = its name, size 0 = by place */
    /* statements */
    DK_TREE_DATA,       /* literal */
    DK_TREE_PRINT,      /* a */
    DK_TREE_IF,         /* a; body; other */
    DK_TREE_FOR,        /* for a in b if c; body; other */
    DK_TREE_SET,        /* a = b */
    DK_TREE_SET_BLOCK,  /* a = body, through the filters of b around a DK_TREE_HELD */
    DK_TREE_MACRO,      /* name; args: ARGUMENT(name, a = its default or NULL); body */
    DK_TREE_WITH,       /* args: SET; body */
    DK_TREE_GENERATION, /* body */
    DK_TREE_BREAK_LOOP,
    DK_TREE_CONTINUE_LOOP
} dk_jinja_node_type;

typedef struct dk_jinja_node dk_jinja_node;
struct dk_jinja_node {
    int32_t type, op, line, name; /* name: of a variable */
    dk_jinja_node *a, *b, *c, *d, *args, *body, *other;
    dk_jinja_node *next; /* in args and body */
    dk_slice text;
    dk_jinja_value literal;
    const struct dk_jinja_builtin *builtin;
};

struct dk_jinja {
    dk_host *host;
    dk_jinja_arena arena;
    const char *name;
    dk_jinja_node *body;
    dk_slice *names; /* [name_count] of variables */
    int32_t name_count, name_capacity;
    int32_t has_generation;
    int32_t loop; /* the name "loop" */
};
/* The number of a variable's name; added when it is new. -1 = no memory, or
 * more than 4096. */
int32_t dk_jinja_name(dk_jinja *jinja, const char *name, size_t size);
int32_t dk_jinja_find_name(const dk_jinja *jinja, const char *name, size_t size); /* -1 = not in the template */

#endif
