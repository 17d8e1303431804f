/* jinja_eval.h - expressions are run. Private to lib/jinja. */
#ifndef DK_JINJA_EVAL_H
#define DK_JINJA_EVAL_H

#include "jinja/jinja_run.h"
#include "jinja/jinja_tree.h"

int32_t dk_jinja_eval(dk_jinja_run *run, const dk_jinja_node *node, dk_jinja_value *out);

#endif
