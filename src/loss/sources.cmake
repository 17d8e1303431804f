# Built-in losses and row kernels: once per instruction set (dk_kernel_variants comes from lib/compute/sources.cmake).
# Losses over outcomes are compiled in doubles and, as DK_AS_FLOATS, in floats.
file(GLOB kernels CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/kernels/*.c)
file(GLOB points CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/kernels/points/*.c)
# These loops are vectors as written: -O3 copies them for every case of their calls, at six times the size.
set_source_files_properties(${points} PROPERTIES COMPILE_OPTIONS $<$<CONFIG:Release>:-O2>)
dk_kernel_variants(${name} ${kernels} ${points})
dk_kernel_variants(${name} AS floats ${points})
