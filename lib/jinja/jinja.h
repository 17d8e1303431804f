/* jinja.h - a sandboxed interpreter of the Jinja that chat templates are written in, as its documentation describes it
 * and as transformers sets it up: trim_blocks, lstrip_blocks, no autoescape, loop controls, {% generation %}.
 *
 * A template is parsed once and then rendered from many threads. What we do not know (a tag, filter, test, method,
 * function or argument) is an error of parsing that names it and its line; nothing is ignored. Rendering is bounded in
 * steps, depth, memory and output. Every character of the output remembers where it came from: the template (0) or one
 * of the values that the caller marked. What cannot carry that through is refused in jinja_builtin.h's tables.
 *
 *   jinja_lexer.c       source -> tokens, white space control     jinja_spell.c      values as text, repr and JSON
 *   jinja_expression.c  tokens -> tree: expressions               jinja_attribute.c  a.b, a[b], a[b:c]
 *   jinja_statement.c   tokens -> tree: tags                      jinja_operator.c   + - * / // % ** < == in
 *   jinja_tree.c        names and nodes of a template             jinja_filter_*.c   x | filter
 *   jinja_value.c       values, equality, order                   jinja_test.c       x is test
 *   jinja_text.c        text with its origin                      jinja_method.c     x.method()
 *   jinja_builtin.c     finding and binding what is built in      jinja_function.c   range, namespace, ...
 *   jinja_eval.c        runs expressions                          jinja_exec.c       runs statements, macros */
#ifndef DK_JINJA_JINJA_H
#define DK_JINJA_JINJA_H

#include "base/slice.h"
#include "conf/document.h"

typedef struct dk_jinja dk_jinja; /* a template; does not change once parsed */
typedef struct dk_jinja_context dk_jinja_context;

/* name: in messages, as "NAME line 3: ...". Text up to 1 MiB. */
int32_t dk_jinja_parse(dk_host *host, const char *name, const char *text, size_t size, dk_jinja **out, dk_error *err);
void dk_jinja_free(dk_jinja *jinja); /* NULL is fine */
/* Whether a {% generation %} is in it; whether it reads a variable of that name anywhere. */
int32_t dk_jinja_has_generation(const dk_jinja *jinja);
int32_t dk_jinja_mentions(const dk_jinja *jinja, const char *variable);

typedef struct dk_jinja_limits { /* 0 = the default */
    int64_t steps, depth;
    size_t memory, output;
} dk_jinja_limits;
typedef struct dk_jinja_date {
    int32_t year, month, day, hour, minute, second; /* year 0 = not known: strftime_now is refused */
} dk_jinja_date;

/* ---- what a template sees: variables that are made for one rendering ---- */
/* limits and date may be NULL. */
int32_t dk_jinja_context_create(const dk_jinja *jinja, dk_host *host, const dk_jinja_limits *limits,
                                const dk_jinja_date *date, dk_jinja_context **out, dk_error *err);
void dk_jinja_context_free(dk_jinja_context *context); /* NULL is fine */
/* The value of a JSON document. origin: of its text, 0 = the template's own; what stands under the key `except` (NULL =
 * none) of a map has origin 0. */
int32_t dk_jinja_set_node(dk_jinja_context *context, const char *name, const dk_node *node, uint16_t origin,
                          const char *except, dk_error *err);
int32_t dk_jinja_set_text(dk_jinja_context *context, const char *name, dk_slice text, uint16_t origin, dk_error *err);
int32_t dk_jinja_set_bool(dk_jinja_context *context, const char *name, int32_t value, dk_error *err);
int32_t dk_jinja_set_none(dk_jinja_context *context, const char *name, dk_error *err);
/* A list under name, to which items are appended one by one, each with its origin. */
int32_t dk_jinja_append_node(dk_jinja_context *context, const char *name, const dk_node *node, uint16_t origin,
                             const char *except, dk_error *err);

typedef struct dk_jinja_span { /* bytes [begin, end) of the output */
    size_t begin, end;
} dk_jinja_span;
typedef struct dk_jinja_output { /* dk_jinja_output_free; zeroed is fine */
    dk_host *host;
    char *text; /* NUL-terminated */
    size_t size;
    uint16_t *origins;          /* [size] */
    dk_jinja_span *generations; /* ascending: what {% generation %} marked */
    int64_t generation_count;
} dk_jinja_output;
/* A context renders once. */
int32_t dk_jinja_render(dk_jinja_context *context, dk_jinja_output *out, dk_error *err);
void dk_jinja_output_free(dk_jinja_output *out);

#endif
