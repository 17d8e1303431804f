# gzip and zstd are read where their libraries are.
target_compile_definitions(dk_dataset PRIVATE DI_WITH_ZLIB=${DK_HAS_ZLIB} DI_WITH_ZSTD=${DK_HAS_ZSTD})
