/* seen_slots.h - numbers by a hash of 32 bits, in a file without a name beside what is written: memory is the same for
 * a thousand and for a hundred million of them. Open addressing, at most three quarters full; a slot takes 8 bytes, so
 * a number takes 11 to 22. Numbers of one hash come in the order in which they were added. The table is a pure function
 * of what was added, in order. */
#ifndef DI_AUGMENT_CURATE_SEEN_SLOTS_H
#define DI_AUGMENT_CURATE_SEEN_SLOTS_H

#include "base/host.h"

enum { DI_SLOTS_MEMORY = 16 << 20 }; /* bytes of pages that are kept in memory */

typedef struct di_slots di_slots;
/* folder: where the file lies for as long as this lives. */
int32_t di_slots_create(dk_host *host, const char *folder, di_slots **out, dk_error *err);
void di_slots_free(di_slots *slots);                                                  /* NULL is fine */
int32_t di_slots_add(di_slots *slots, uint32_t hash, uint32_t number, dk_error *err); /* number < 2^32 - 1 */
/* The first `room` numbers of the hash; *count says how many there were room for. */
int32_t di_slots_find(di_slots *slots, uint32_t hash, uint32_t *numbers, int64_t room, int64_t *count, dk_error *err);
/* The only number of a hash becomes another one, where it is there. */
int32_t di_slots_replace(di_slots *slots, uint32_t hash, uint32_t old, uint32_t number, dk_error *err);

#endif
