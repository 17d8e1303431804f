/* processor.h - what the processor says of itself beyond what compilers ask for, and leave to use its tiles. */
#ifndef DK_BASE_PROCESSOR_H
#define DK_BASE_PROCESSOR_H

#include <stdint.h>

enum { DK_PROCESSOR_NAME = 64 };
void dk_processor_name(char out[DK_PROCESSOR_NAME]); /* with family and model, which vendors' names leave out */
int32_t dk_processor_is_amd(void);
int32_t dk_processor_has_avx512_bf16(void);
int32_t dk_processor_has_avx512_vnni(void);
int32_t dk_processor_has_avx_vnni(void);
int32_t dk_processor_has_amx_bf16(void); /* and the system saves tiles */
int32_t dk_processor_has_amx_int8(void); /* likewise */
int32_t dk_processor_has_neon_dot(void); /* SDOT and UDOT of aarch64 */
/* Linux gives a process leave to use tiles when it asks, once for all its threads: 1 = it may. Asked when tiles are
 * about to be used, since it makes the frames of signals larger. */
int32_t dk_processor_allow_tiles(void);

#endif
