/* feature_kernels.c - knows the variants of the row loops. */
#include "compute/compute.h"
#include "features/kernels/feature_rows.h"

extern const di_feature_rows di_feature_rows_portable;
#ifdef DK_X86_KERNELS
extern const di_feature_rows di_feature_rows_avx2, di_feature_rows_avx512;
static const di_feature_rows *const variants[3] = {&di_feature_rows_portable, &di_feature_rows_avx2,
                                                   &di_feature_rows_avx512};
#else
static const di_feature_rows *const variants[3] = {&di_feature_rows_portable, &di_feature_rows_portable,
                                                   &di_feature_rows_portable};
#endif

const di_feature_rows *di_feature_rows_for(int32_t isa)
{
    return variants[isa >= DK_ISA_PORTABLE && isa <= DK_ISA_AVX512 ? isa : DK_ISA_PORTABLE];
}
