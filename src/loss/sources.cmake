# Built-in losses and row kernels: once per instruction set (dk_kernel_variants comes from lib/compute/sources.cmake).
# Losses over outcomes are compiled in doubles and, as DK_AS_FLOATS, in floats.
file(GLOB kernels CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/kernels/*.c)
file(GLOB points CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/kernels/points/*.c)
dk_kernel_variants(${name} ${kernels} ${points})
dk_kernel_variants(${name} AS floats ${points})
