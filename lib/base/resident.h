/* resident.h - memory of this process that is in RAM now. */
#ifndef DK_BASE_RESIDENT_H
#define DK_BASE_RESIDENT_H

#include <stdint.h>

int64_t dk_resident_bytes(void); /* mapped files that were read are in it; -1 = this system does not say */

#endif
