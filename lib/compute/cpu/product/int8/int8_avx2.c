/* int8_avx2.c - quantised weights times quantised activations by AVX2: VPMADDUBSW and VPMADDWD. */
#include "compute/compute.h"
#include "compute/cpu/product/int8/int8_panel.h"

const dk_int8 dk_int8_avx2 = {
    .name = "avx2",
    .lanes = DK_VF,
    .isa = DK_ISA_AVX2,
    .quantise = int8_quantise,
    .panel = int8_panel,
};
