# Headers that nearly every source reads are parsed once for each group of targets with the same compile settings: three
# quarters of a build's time was the parsing of the same headers. Off, every source shows what it forgets to include.
option(MLC_PRECOMPILE "Parse the common headers once for a group of targets" ON)

if(MLC_PRECOMPILE AND MLC_CCACHE AND CMAKE_CXX_COMPILER_LAUNCHER STREQUAL MLC_CCACHE)
  # What ccache asks for before it keeps objects that are made with precompiled headers.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${MLC_CCACHE})
endif()

set(MLC_COMMON_HEADERS <algorithm> <array> <atomic> <cmath> <cstdint> <cstring> <functional> <memory> <optional> <span>
    <string> <string_view> <vector>)

# mlc_precompiled_group(GROUP HEADERS... [OPTIONS OPTION...] [DEPS LIBRARY...]): the group's headers, for sources that are
# compiled with OPTIONS.
function(mlc_precompiled_group group)
  cmake_parse_arguments(ARG "" "" "OPTIONS;DEPS" ${ARGN})
  if(NOT MLC_PRECOMPILE)
    return()
  endif()
  file(GENERATE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/precompiled_${group}.cpp CONTENT "")
  add_library(mlc_precompiled_${group} OBJECT EXCLUDE_FROM_ALL ${CMAKE_CURRENT_BINARY_DIR}/precompiled_${group}.cpp)
  target_compile_options(mlc_precompiled_${group} PRIVATE ${ARG_OPTIONS}
    $<$<CXX_COMPILER_ID:Clang>:SHELL:-Xclang -fno-pch-timestamp>)
  target_link_libraries(mlc_precompiled_${group} PRIVATE ${ARG_DEPS})
  target_precompile_headers(mlc_precompiled_${group} PRIVATE ${ARG_UNPARSED_ARGUMENTS})
endfunction()

# mlc_precompile(TARGET GROUP): compiles the target's sources with the headers of a group.
function(mlc_precompile target group)
  if(MLC_PRECOMPILE)
    target_precompile_headers(${target} REUSE_FROM mlc_precompiled_${group})
  endif()
endfunction()
