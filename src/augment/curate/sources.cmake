# Rows of MinHash: once per instruction set (dk_kernel_variants comes from lib/compute/sources.cmake).
file(GLOB kernels CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/kernels/*.c)
dk_kernel_variants(${name} ${kernels})
