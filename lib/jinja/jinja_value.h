/* jinja_value.h - what an expression of a template is worth. Private to lib/jinja.
 *
 * Values are small and copied; what they point to lives in the arena of a rendering (literals: of the template) and
 * does not change, but for namespaces, loops and lists under construction. All text is valid UTF-8. */
#ifndef DK_JINJA_VALUE_H
#define DK_JINJA_VALUE_H

#include "base/slice.h"
#include "base/status.h"

typedef enum {
    DK_JINJA_UNSET, /* no value was given */
    DK_JINJA_UNDEFINED,
    DK_JINJA_NONE,
    DK_JINJA_BOOL,
    DK_JINJA_INT,
    DK_JINJA_FLOAT,
    DK_JINJA_TEXT,
    DK_JINJA_LIST,
    DK_JINJA_MAP,
    DK_JINJA_NAMESPACE,
    DK_JINJA_MACRO,
    DK_JINJA_FUNCTION,
    DK_JINJA_METHOD,
    DK_JINJA_LOOP
} dk_jinja_type;

typedef struct dk_jinja_text {
    const char *data;
    size_t size;
    const uint16_t *origins; /* [size]; NULL = all are `origin` */
    uint16_t origin;         /* 0 = the template */
} dk_jinja_text;

typedef struct dk_jinja_value {
    uint8_t type;
    uint8_t safe;    /* TEXT: markup, which escapes what it is added to */
    uint16_t origin; /* of NONE, BOOL, INT and FLOAT, as text has it */
    union {
        int64_t i64; /* INT, BOOL */
        double f64;
        const dk_jinja_text *text;
        struct dk_jinja_list *list;
        struct dk_jinja_map *map; /* MAP, NAMESPACE */
        struct dk_jinja_macro *macro;
        struct dk_jinja_method *method;
        struct dk_jinja_loop *loop;
        const struct dk_jinja_builtin *function;
        const dk_slice *name; /* UNDEFINED: what is, for messages; NULL = unknown */
    } as;
} dk_jinja_value;

typedef enum {
    DK_JINJA_PLAIN, /* a list */
    DK_JINJA_TUPLE,
    DK_JINJA_RANGE,
    DK_JINJA_VIEW,     /* keys(), values(), items(): can be counted, not indexed */
    DK_JINJA_GENERATOR /* what filters give: can be walked once */
} dk_jinja_list_kind;
typedef struct dk_jinja_list {
    int32_t kind, consumed;
    size_t size, capacity;
    dk_jinja_value *items;
} dk_jinja_list;

typedef struct dk_jinja_entry {
    dk_jinja_value key, value;
} dk_jinja_entry;
typedef struct dk_jinja_map { /* in order of insertion */
    size_t size, capacity;
    dk_jinja_entry *entries;
} dk_jinja_map;

typedef struct dk_jinja_method { /* a method and what it is one of */
    const struct dk_jinja_builtin *builtin;
    dk_jinja_value self;
} dk_jinja_method;

typedef struct dk_jinja_loop {
    const dk_jinja_list *list;
    size_t index;
    int64_t depth;
    dk_jinja_value changed; /* what loop.changed() saw last */
} dk_jinja_loop;

static inline dk_jinja_value dk_jinja_none(void) { return (dk_jinja_value){.type = DK_JINJA_NONE}; }
static inline dk_jinja_value dk_jinja_bool(int32_t yes)
{
    return (dk_jinja_value){.type = DK_JINJA_BOOL, .as.i64 = yes != 0};
}
static inline dk_jinja_value dk_jinja_int(int64_t i64) { return (dk_jinja_value){.type = DK_JINJA_INT, .as.i64 = i64}; }
static inline dk_jinja_value dk_jinja_float(double f64)
{
    return (dk_jinja_value){.type = DK_JINJA_FLOAT, .as.f64 = f64};
}
static inline dk_jinja_value dk_jinja_undefined(const dk_slice *name)
{
    return (dk_jinja_value){.type = DK_JINJA_UNDEFINED, .as.name = name};
}
static inline dk_jinja_value dk_jinja_of_text(const dk_jinja_text *text)
{
    return (dk_jinja_value){.type = DK_JINJA_TEXT, .as.text = text};
}
static inline dk_jinja_value dk_jinja_of_list(dk_jinja_list *list)
{
    return (dk_jinja_value){.type = DK_JINJA_LIST, .as.list = list};
}
static inline dk_jinja_value dk_jinja_of_map(dk_jinja_map *map)
{
    return (dk_jinja_value){.type = DK_JINJA_MAP, .as.map = map};
}
static inline int32_t dk_jinja_is(const dk_jinja_value *value, dk_jinja_type type)
{
    return value->type == (uint8_t)type;
}
static inline int32_t dk_jinja_is_number(const dk_jinja_value *value)
{
    return value->type == DK_JINJA_BOOL || value->type == DK_JINJA_INT || value->type == DK_JINJA_FLOAT;
}
static inline int32_t dk_jinja_is_integer(const dk_jinja_value *value)
{
    return value->type == DK_JINJA_BOOL || value->type == DK_JINJA_INT;
}
static inline double dk_jinja_f64(const dk_jinja_value *number)
{
    return number->type == DK_JINJA_FLOAT ? number->as.f64 : (double)number->as.i64;
}
/* Given, and not none. */
static inline int32_t dk_jinja_given(const dk_jinja_value *value) { return value->type > DK_JINJA_NONE; }

const char *dk_jinja_type_name(const dk_jinja_value *value); /* for messages: "a list" */
int32_t dk_jinja_truth(const dk_jinja_value *value);
/* Python's ==. Values nested deeper than 64 are not equal. */
int32_t dk_jinja_equal(const dk_jinja_value *a, const dk_jinja_value *b);
/* *order < 0, 0, > 0. Returns 0 where the two have no order. */
int32_t dk_jinja_order(const dk_jinja_value *a, const dk_jinja_value *b, int32_t *order);
int32_t dk_jinja_text_is(const dk_jinja_value *value, const char *text);
const dk_jinja_value *dk_jinja_map_find(const dk_jinja_map *map, const dk_jinja_value *key); /* NULL = not there */
const dk_jinja_value *dk_jinja_map_find_text(const dk_jinja_map *map, const char *key, size_t size); /* the same */

#endif
