/* jinja_attribute.h - a.b, a[b] and a[b:c:d]. Private to lib/jinja. */
#ifndef DK_JINJA_ATTRIBUTE_H
#define DK_JINJA_ATTRIBUTE_H

#include "jinja/jinja_run.h"

/* What is not there is undefined; an attribute of what is undefined is an error. name lives as long as the run. */
int32_t dk_jinja_attribute(dk_jinja_run *run, const dk_jinja_value *value, const dk_slice *name, dk_jinja_value *out);
int32_t dk_jinja_item(dk_jinja_run *run, const dk_jinja_value *value, const dk_jinja_value *key, dk_jinja_value *out);
/* "a.b.0": one item after the other, as filters name attributes. path is a text or an integer. */
int32_t dk_jinja_path(dk_jinja_run *run, const dk_jinja_value *value, const dk_jinja_value *path, dk_jinja_value *out);
/* parts: begin, end, step; NONE or UNSET where they were not given. */
int32_t dk_jinja_cut(dk_jinja_run *run, const dk_jinja_value *value, const dk_jinja_value parts[3],
                     dk_jinja_value *out);

#endif
