/* jinja_builtin.h - filters, tests, methods and functions: tables of what is known, and binding of arguments. Private
 * to lib/jinja. */
#ifndef DK_JINJA_BUILTIN_H
#define DK_JINJA_BUILTIN_H

#include "jinja/jinja_run.h"
#include "jinja/jinja_tree.h"

enum { DK_JINJA_PARAMETERS = 8 };
typedef struct dk_jinja_builtin dk_jinja_builtin;
typedef struct dk_jinja_call {
    const dk_jinja_builtin *builtin;
    dk_jinja_value in[DK_JINJA_PARAMETERS]; /* what it is asked of, then its parameters; UNSET where not given */
    dk_jinja_arguments rest;
} dk_jinja_call;
struct dk_jinja_builtin {
    const char *name; /* NULL ends a table */
    int32_t (*fn)(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out);
    /* Names, split by spaces: "old new ?count" (count may be left out). "*" takes all others by place, names behind it
     * are given by name alone; "**" takes all others by name. */
    const char *parameters;
};
extern const dk_jinja_builtin dk_jinja_text_filters[], dk_jinja_list_filters[], dk_jinja_tests[],
    dk_jinja_text_methods[], dk_jinja_map_methods[], dk_jinja_list_methods[], dk_jinja_loop_methods[],
    dk_jinja_functions[];

const dk_jinja_builtin *dk_jinja_in_table(const dk_jinja_builtin *table, const char *name, size_t size);
const dk_jinja_builtin *dk_jinja_filter(const char *name, size_t size); /* NULL = not known */
const dk_jinja_builtin *dk_jinja_test(const char *name, size_t size);
const dk_jinja_builtin *dk_jinja_function(const char *name, size_t size);
int32_t dk_jinja_is_method(const char *name, size_t size); /* of any type */
/* The method of that name that value has, NULL = none. */
const dk_jinja_builtin *dk_jinja_method_of(const dk_jinja_value *value, const char *name, size_t size);

enum { DK_JINJA_UNKNOWN_TEXT = 120 };
/* What is said of a call, filter or test that nobody knows. */
const char *dk_jinja_unknown(const dk_jinja_node *node, char out[DK_JINJA_UNKNOWN_TEXT]);

/* places[count]: the parameter that takes each argument, -1 = the rest. Returns NULL, or what is wrong. */
const char *dk_jinja_bind(const dk_jinja_builtin *builtin, const dk_slice *names, size_t count, int32_t *places);
enum { DK_JINJA_ARGUMENTS = 64 };
int32_t dk_jinja_apply(dk_jinja_run *run, const dk_jinja_builtin *builtin, const dk_jinja_value *self,
                       const dk_jinja_arguments *given, dk_jinja_value *out);
/* Parameters of a type, with a fallback where they were not given; an error names the builtin. */
int32_t dk_jinja_text_in(dk_jinja_run *run, const dk_jinja_call *call, int32_t place, const dk_jinja_text **out);
int32_t dk_jinja_int_in(dk_jinja_run *run, const dk_jinja_call *call, int32_t place, int64_t fallback, int64_t *out);
static inline int32_t dk_jinja_flag_in(const dk_jinja_call *call, int32_t place)
{
    return dk_jinja_truth(&call->in[place]);
}
int32_t dk_jinja_refuse(dk_jinja_run *run, const dk_jinja_call *call, const char *expected); /* what in[0] must be */

#endif
