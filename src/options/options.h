/* options.h - a tree of option values, each checked against the table when it is set.
 *
 * Here live the table, the tree, its text forms (YAML in and out, JSON out) and typed getters. What an option does
 * lives with whoever reads it. Keys are dotted: "train.steps"; items of lists go by number: "student.layers.0",
 * "augment.steps.2.n"; entries by the name that the user gave them: "teachers.pt.path". In a recipe a dotted key may
 * stand for nested maps. The loss is one map ("loss.temperature") or a list of them ("loss.1.type"). A group given as
 * one plain value sets its main option: `output: out/` is output.path. Setting "loss.0.x" turns a single loss into a
 * list of one; an index equal to the size appends. "loss.temperature" and the like, set while loss is a list, reach
 * every item. A number that takes schedules may be {schedule: linear|cosine|step, from, to, steps}.
 *
 * A node of the tree is a tree, too: readers of an item or an entry get it as `const di_options *` and ask it for the
 * keys inside ("path"). It lives as long as its root is not changed.
 *
 * A failed setter or load leaves the tree as it was. A const tree may be read from several threads. */
#ifndef DI_OPTIONS_OPTIONS_H
#define DI_OPTIONS_OPTIONS_H

#include "base/strbuf.h"
#include "options/table.h"

typedef struct di_options di_options;
enum { DI_CONSTANT, DI_LINEAR, DI_COSINE, DI_STEP };
typedef struct di_course { /* of a scheduled number, from where it begins; constant = no schedule */
    int64_t steps;
    double to;
    int32_t kind;
} di_course;
double di_course_at(const di_course *course, double from, int64_t step);

int32_t di_options_create(dk_host *host, di_options **out, dk_error *err);
/* With another table than the public one; table outlives the tree. */
int32_t di_options_create_with(dk_host *host, const di_table *table, di_options **out, dk_error *err);
void di_options_free(di_options *options); /* NULL is fine */

/* ---- setting; errors name the option, the value, the bounds and the way out ---- */
/* Merges a recipe. Relative values of type path become relative to the recipe's folder; errors begin "file:line: ". */
int32_t di_options_load(di_options *options, const char *path, dk_error *err);
/* The same from memory; name stands in errors; folder NULL = paths stay as they are. */
int32_t di_options_parse(di_options *options, const char *yaml, size_t size, const char *name, const char *folder,
                         dk_error *err);
/* yaml NULL or null = back to the default. The key may be a section: `di_options_set(o, "loss", "[{type: a}, {type:
 * b}]", err)`. */
int32_t di_options_set(di_options *options, const char *key, const char *yaml, dk_error *err);
/* A text, path or choice takes the text as it is; other types read it as YAML. NULL = back to the default. */
int32_t di_options_set_str(di_options *options, const char *key, const char *value, dk_error *err);
int32_t di_options_set_i64(di_options *options, const char *key, int64_t value, dk_error *err);
int32_t di_options_set_f64(di_options *options, const char *key, double value, dk_error *err);

/* ---- options that nothing would read; whoever reads a section asks when it is created ---- */
/* Refuses what is set in these sections (as for di_options_copy) while its condition (when) is not met, unless it is
 * the default, and texts that name an entry which does not exist. Errors begin with "recipe.yaml:7: " where known. */
int32_t di_options_check(const di_options *options, int64_t sections, dk_error *err);
int32_t di_options_differs(const di_options *options, const char *key);    /* set, and not to its default */
const char *di_options_origin(const di_options *options, const char *key); /* "recipe.yaml:7"; "" = not known */
/* Refuses key where it differs: "KEY WHY". */
int32_t di_options_refuse(const di_options *options, const char *key, const char *why, dk_error *err);

/* ---- whole trees; NULL stands for an empty one ---- */
/* sections: a set of 1 << DI_TRAIN and so on; -1 = all. Into another host's memory if need be. */
int32_t di_options_copy(const di_options *options, dk_host *host, int64_t sections, di_options **out, dk_error *err);
int32_t di_options_equal(const di_options *a, const di_options *b);
/* Takes over the live options that `from` sets. One that is not live and has another value there is an error
 * (STAGE). */
int32_t di_options_configure(di_options *options, const di_options *from, dk_error *err);

/* ---- one recipe over another ---- */
/* What `over` sets takes the place of what stands in options, the rest stays: key by key, but for groups that are whole
 * (teacher, student), lists, and entries with names, each of which is one. */
int32_t di_options_lay_over(di_options *options, const di_options *over, dk_error *err);
/* Is the entry of a NAMED group named by section, or by an entry that is? ("teacher", "teachers", "pt") */
int32_t di_options_uses(const di_options *options, const char *section, const char *group, const char *name);

/* ---- as text ---- */
/* One value, a section or (key "") everything. Values of type text come as they are, lists as YAML; unset = the
 * default, or nothing. Sections come as YAML, only what is set. */
int32_t di_options_get(const di_options *options, const char *key, dk_strbuf *out, dk_error *err);
/* defaults 0 = only what is set; 1 = every option that has a value. Both read back with di_options_parse. */
int32_t di_options_write_yaml(const di_options *options, int32_t defaults, dk_strbuf *out, dk_error *err);
int32_t di_options_write_json(const di_options *options, int32_t defaults, dk_strbuf *out, dk_error *err);

/* ---- getters: options NULL = all defaults. Keys are constants of the source, so nothing can fail; a key that the
 * table does not have reads as 0 or NULL, and a test that walks the sources finds it. ---- */
int64_t di_options_i64(const di_options *options, const char *key);
double di_options_f64(const di_options *options, const char *key);
double di_options_f64_at(const di_options *options, const char *key, int64_t step); /* where a schedule has come to */
di_course di_options_course(const di_options *options, const char *key);
int32_t di_options_flag(const di_options *options, const char *key);
/* NULL = unset, no default; lives as long as the value */
const char *di_options_text(const di_options *options, const char *key);
/* A path as the recipe has it, without its folder before it. */
const char *di_options_given(const di_options *options, const char *key);
int32_t di_options_is_set(const di_options *options, const char *key);
int32_t di_options_is(const di_options *options, const char *key, const char *text); /* 1 if the value is this text */
/* Items of a plain list, of a list of maps (a single map counts as one), entries of a map of names. */
int64_t di_options_list_size(const di_options *options, const char *key);
int64_t di_options_list_i64(const di_options *options, const char *key, int64_t index);
double di_options_list_f64(const di_options *options, const char *key, int64_t index);
di_course di_options_list_course(const di_options *options, const char *key, int64_t index);
const char *di_options_list_text(const di_options *options, const char *key, int64_t index);

/* ---- nodes: NULL = not there ---- */
const di_options *di_options_map(const di_options *options, const char *key); /* "teacher", "loss.1", "teachers.pt" */
const di_options *di_options_item(const di_options *options, const char *key, int64_t index); /* in order of the file */
const di_options *di_options_entry(const di_options *options, const char *key, const char *name);
const char *di_options_name(const di_options *entry); /* that the user gave it */
/* The name of an entry that a path or text gives ("teacher.path" of `teacher: pt`); NULL = it names none. */
const char *di_options_named(const di_options *options, const char *key);

/* Items of a list that may be one map, which counts as item 0: di_options_at_f64(o, "loss", i, "temperature"). */
int32_t di_options_is_list(const di_options *options, const char *key);
double di_options_at_f64(const di_options *options, const char *list, int64_t index, const char *key);
int64_t di_options_at_i64(const di_options *options, const char *list, int64_t index, const char *key);
di_course di_options_at_course(const di_options *options, const char *list, int64_t index, const char *key);
const char *di_options_at_text(const di_options *options, const char *list, int64_t index, const char *key);
int32_t di_options_at_is_set(const di_options *options, const char *list, int64_t index, const char *key);

#endif
