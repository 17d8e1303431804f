# What runs once, or waits for what it calls, is compiled for size; folders that go through text, data or numbers
# themselves, and kernels, are not.
set(DK_SMALL conf jinja chat format model options student fill augment shape trainer evaluate run page report chain session api)
function(dk_compile_small target)
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-Os>)
endfunction()

# dk_folder(name dir deps...): one object library per folder of lib/ and src/. It sees its own layer's include root and
# the folders below it; DK_CLOSURE_<name> lists every object library that a program linking this folder needs.
function(dk_folder name dir)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${dir}/*.c ${PROJECT_SOURCE_DIR}/${dir}/reference/*.c)
  if(name STREQUAL "compute")
    file(GLOB cpu CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${dir}/cpu/*.c ${PROJECT_SOURCE_DIR}/${dir}/cpu/product/*.c
      ${PROJECT_SOURCE_DIR}/${dir}/cpu/limits/*.c)
    list(APPEND sources ${cpu})
  endif()
  set(closure "")
  foreach(dep ${ARGN})
    list(APPEND closure ${DK_CLOSURE_${dep}})
  endforeach()
  if(sources)
    add_library(dk_${name} OBJECT ${sources})
    target_include_directories(dk_${name} PUBLIC ${PROJECT_SOURCE_DIR}/lib)
    if(dir MATCHES "^src/")
      target_include_directories(dk_${name} PUBLIC ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
    endif()
    target_compile_definitions(dk_${name} PRIVATE DISTILL_BUILDING)
    target_link_libraries(dk_${name} PRIVATE dk_flags ${DK_SYSTEM_LIBRARIES})
    if(name IN_LIST DK_SMALL)
      dk_compile_small(dk_${name})
    endif()
    if(name STREQUAL "api" AND DISTILL_TESTS AND NOT DISTILL_SANITIZE)
      target_compile_options(dk_api PRIVATE -g) # the ABI gate reads the types of what is exported, and nothing else
    endif()
    list(APPEND closure dk_${name})
    if(EXISTS ${PROJECT_SOURCE_DIR}/${dir}/sources.cmake)
      include(${PROJECT_SOURCE_DIR}/${dir}/sources.cmake) # per-ISA variants of kernels
    endif()
  endif()
  list(REMOVE_DUPLICATES closure)
  set(DK_CLOSURE_${name} "${closure}" PARENT_SCOPE)
endfunction()

# dk_link(target folder): links target with a folder and all that it needs.
function(dk_link target folder)
  foreach(object ${DK_CLOSURE_${folder}})
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${object}>)
    get_target_property(variants ${object} DK_VARIANTS) # object libraries that sources.cmake added
    if(variants)
      foreach(variant ${variants})
        target_sources(${target} PRIVATE $<TARGET_OBJECTS:${variant}>)
      endforeach()
    endif()
  endforeach()
  target_link_libraries(${target} PRIVATE ${DK_SYSTEM_LIBRARIES})
endfunction()
