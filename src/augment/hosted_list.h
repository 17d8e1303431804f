/* hosted_list.h - operators that the host added to its env, by name. */
#ifndef DI_AUGMENT_HOSTED_LIST_H
#define DI_AUGMENT_HOSTED_LIST_H

#include "distill.h"
#include "base/host.h"

typedef struct di_hosted_list di_hosted_list; /* one thread at a time adds; what was added stays to the end */
int32_t di_hosted_list_create(dk_host *host, di_hosted_list **out, dk_error *err);
void di_hosted_list_free(di_hosted_list *list); /* calls each destroy; NULL is fine */
/* table is copied. On failure its destroy has run. */
int32_t di_hosted_list_add(di_hosted_list *list, const char *name, const distill_operator_callbacks *table,
                           dk_error *err);
const distill_operator_callbacks *di_hosted_list_find(const di_hosted_list *list, const char *name); /* NULL = none */

#endif
