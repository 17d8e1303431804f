/* jinja_exec.h - statements are run. Private to lib/jinja. */
#ifndef DK_JINJA_EXEC_H
#define DK_JINJA_EXEC_H

#include "jinja/jinja_run.h"
#include "jinja/jinja_tree.h"

int32_t dk_jinja_exec(dk_jinja_run *run, const dk_jinja_node *body); /* one statement after the other */
int32_t dk_jinja_invoke(dk_jinja_run *run, const dk_jinja_macro *macro, const dk_jinja_arguments *given,
                        dk_jinja_value *out);

#endif
