/* exchange.h - a sample as what was asked and what was answered, for whoever judges it. */
#ifndef DI_AUGMENT_EXCHANGE_H
#define DI_AUGMENT_EXCHANGE_H

#include "augment/record.h"

/* Appended: the prompt, or all that was said before the last answer; and the answer. *answered 0 = there is none. */
int32_t di_exchange_of(const di_record *record, dk_strbuf *asked, dk_strbuf *answer, int32_t *answered, dk_error *err);
/* "messages" as JSON, without the assistant's at the end, if there are some; *answered, or NULL, says so. */
int32_t di_messages_asked(const di_record *record, dk_strbuf *out, int32_t *answered, dk_error *err);
/* A sample of the two answers: prompt, chosen and rejected in the place of completion or messages, each as the samples
 * have it. chosen is what pair was made of. */
int32_t di_exchange_pair(di_record *pair, const di_record *rejected, dk_error *err);

#endif
