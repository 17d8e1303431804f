#include "teacher/blend_rows.h"

#include "compute/compute.h"

extern const di_blend_rows di_blend_rows_portable;
#ifdef DK_X86_KERNELS
extern const di_blend_rows di_blend_rows_avx2, di_blend_rows_avx512;
static const di_blend_rows *const variants[3] = {&di_blend_rows_portable, &di_blend_rows_avx2, &di_blend_rows_avx512};
#else
static const di_blend_rows *const variants[3] = {&di_blend_rows_portable, &di_blend_rows_portable,
                                                 &di_blend_rows_portable};
#endif

const di_blend_rows *di_blend_rows_for(int32_t isa)
{
    return variants[isa >= DK_ISA_PORTABLE && isa <= DK_ISA_AVX512 ? isa : DK_ISA_PORTABLE];
}
