# Compile settings and the target helpers every CMakeLists.txt of the tree uses.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
# Debian keeps libMLIR out of the loader's path; an installed mlc finds it where it was linked from.
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
# Assertions stay on in Debug only; results never depend on them.
# With sanitizers kernels compile in three quarters of the time at -O1, and tests hardly take longer.
if(MLC_SANITIZE)
  set(CMAKE_CXX_FLAGS_RELEASE "-O1 -DNDEBUG")
else()
  set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
endif()

find_program(MLC_CCACHE ccache)
if(MLC_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${MLC_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${MLC_CCACHE})
endif()

if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  add_link_options(-fuse-ld=lld)
  # Kernels of one form repeat helpers in every source: equal functions become one. Sanitizers report them by name.
  if(NOT MLC_SANITIZE)
    add_link_options(-Wl,--icf=all)
  endif()
endif()

# Pointers that the loader relocates take two bits each, not 24 bytes: 2% of mlc-run. The C library must know the form.
include(CheckSourceCompiles)
check_source_compiles(C "#include <features.h>
#if !defined(__GLIBC_PREREQ)
#error another C library
#elif !__GLIBC_PREREQ(2, 36)
#error older
#endif
int main(void) { return 0; }" MLC_PACKED_RELOCATIONS)
if(MLC_PACKED_RELOCATIONS AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND NOT CMAKE_CROSSCOMPILING)
  add_link_options(-Wl,-z,pack-relative-relocs)
endif()

# No contraction: a sum's rounding is the same at every optimisation level and on every compiler.
add_compile_options(-Wall -Wextra -Werror -Wno-unused-parameter -ffp-contract=off
                    -ffile-prefix-map=${CMAKE_SOURCE_DIR}/= -fvisibility=hidden -ffunction-sections -fdata-sections)
# gcc takes a FlatBuffers table for an object of one byte, and GoogleTest's macros for an else without braces.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_compile_options(-Wno-stringop-overread -Wno-stringop-overflow -Wno-array-bounds -Wno-dangling-else)
  set(CMAKE_CXX_STANDARD_LIBRARIES "-lm -lc -lgcc")
  if(CMAKE_UNITY_BUILD)
    # A source that is compiled with others looks like a header to it, whose classes should not use unnamed namespaces.
    add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Wno-subobject-linkage>)
  endif()
endif()
# 32-bit systems: files above 2 GiB can be told from damaged ones.
if(CMAKE_SIZEOF_VOID_P EQUAL 4)
  add_compile_definitions(_FILE_OFFSET_BITS=64)
endif()
add_link_options(-Wl,--gc-sections)
if(MLC_SANITIZE)
  # Not vptr: it needs the type information that the runtime goes without.
  add_compile_options(-fsanitize=${MLC_SANITIZE} -fno-sanitize=vptr -fno-omit-frame-pointer -fno-sanitize-recover=all -g1)
  add_link_options(-fsanitize=${MLC_SANITIZE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    add_compile_options(-fsanitize-ignorelist=${CMAKE_SOURCE_DIR}/cmake/sanitize-ignore.txt)
  endif()
endif()
if(MLC_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

include_directories(${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
include(MlcPrecompile)

# Header-only libraries are taken from this machine, beside its flatc, not from the device's root.
if(CMAKE_CROSSCOMPILING)
  foreach(header flatbuffers/flatbuffers.h xxhash.h boost/beast.hpp nlohmann/json.hpp)
    find_path(MLC_HOST_${header} ${header} PATHS /usr/include /usr/local/include NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH REQUIRED)
    string(REGEX REPLACE "/.*" "" entry ${header})
    file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/host-include)
    file(CREATE_LINK ${MLC_HOST_${header}}/${entry} ${CMAKE_BINARY_DIR}/host-include/${entry} SYMBOLIC)
  endforeach()
  include_directories(SYSTEM ${CMAKE_BINARY_DIR}/host-include)
endif()

# Static programs for devices: one file each, no dynamic loader and therefore no dlopen.
if(MLC_STATIC)
  message(STATUS "mlc: static: no dlopen, so nothing is loaded beside the program; XNNPACK is left out, its kernels are refused by name")
endif()

# The runtime's C++: no exceptions, no RTTI, and no tables to unwind its frames, a tenth of mlc-run (debuggers read theirs
# from -g).
set(MLC_RUNTIME_OPTIONS -fno-exceptions -fno-rtti -fno-threadsafe-statics -fno-unwind-tables -fno-asynchronous-unwind-tables)

# For size: what works once a load or a turn.
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  set(MLC_SMALL_OPTION -Oz)
else()
  set(MLC_SMALL_OPTION -Os)
endif()

# mlc_runtime_library(NAME SOURCES... [SMALL] [OBJECT] [DEPS...]): a static library of the runtime, or with OBJECT its
# objects; SMALL ones, which work once a load or a turn, are compiled for size: a device has room for models.
function(mlc_runtime_library name)
  cmake_parse_arguments(ARG "SMALL;OBJECT" "" "DEPS" ${ARGN})
  if(ARG_OBJECT)
    add_library(${name} OBJECT ${ARG_UNPARSED_ARGUMENTS})
  else()
    add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  endif()
  target_compile_options(${name} PRIVATE ${MLC_RUNTIME_OPTIONS} $<$<BOOL:${ARG_SMALL}>:${MLC_SMALL_OPTION}>)
  if(CMAKE_SIZEOF_VOID_P EQUAL 4 AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    # A size that is cut short shows here, where size_t has 32 bits.
    target_compile_options(${name} PRIVATE -Wshorten-64-to-32)
  endif()
  target_link_libraries(${name} PUBLIC ${ARG_DEPS})
  if(ARG_SMALL)
    mlc_precompile(${name} runtime_small)
  else()
    mlc_precompile(${name} runtime)
  endif()
endfunction()

# mlc_freestanding(TARGET): links TARGET with no C++ library, so that it needs libc, libm and libpthread alone. Sanitized
# builds keep theirs, whose run-time needs it.
function(mlc_freestanding target)
  if(MLC_STATIC)
    target_link_options(${target} PRIVATE -static)
  endif()
  if(MLC_SANITIZE OR MLC_FUZZ)
    return()
  endif()
  set(symbols ${CMAKE_SOURCE_DIR}/runtime/core/Freestanding.cpp)
  target_sources(${target} PRIVATE ${symbols})
  # It defines what the headers of the C++ library declare.
  set_source_files_properties(${symbols} TARGET_DIRECTORY ${target} PROPERTIES SKIP_PRECOMPILE_HEADERS ON
    SKIP_UNITY_BUILD_INCLUSION ON)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    target_link_options(${target} PRIVATE -static-libgcc -nostdlib++)
  else()
    # gcc 12 has no -nostdlib++; its other libraries are CMAKE_CXX_STANDARD_LIBRARIES, behind everything that needs them.
    target_link_options(${target} PRIVATE -static-libgcc -nodefaultlibs)
  endif()
endfunction()

# mlc_static_archive(TARGET OUTPUT LIBRARIES...): one archive of static libraries, for those who link without CMake.
function(mlc_static_archive target output)
  set(script "CREATE ${output}\n")
  set(libraries)
  foreach(library ${ARGN})
    string(APPEND script "ADDLIB $<TARGET_FILE:${library}>\n")
    list(APPEND libraries $<TARGET_FILE:${library}>)
  endforeach()
  set(script_file ${CMAKE_CURRENT_BINARY_DIR}/${target}.mri)
  file(GENERATE OUTPUT ${script_file} CONTENT "${script}SAVE\nEND\n")
  add_custom_command(OUTPUT ${output} COMMAND ${CMAKE_AR} -M < ${script_file} COMMAND ${CMAKE_RANLIB} ${output}
    DEPENDS ${libraries} ${script_file} COMMENT "Archiving ${output}")
  add_custom_target(${target} ALL DEPENDS ${output})
endfunction()

# mlc_unit_test(NAME SOURCES... [COST SECONDS] DEPS ...): a GoogleTest program registered with CTest, which begins with
# those of the largest cost.
function(mlc_unit_test name)
  if(NOT MLC_BUILD_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "COST" "DEPS" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} GTest::gmock GTest::gtest_main)
  mlc_precompile(${name} tests)
  if(MLC_STATIC)
    target_link_options(${name} PRIVATE -static)
  endif()
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  set_property(GLOBAL APPEND PROPERTY MLC_UNIT_TESTS ${name})
  add_test(NAME ${name} COMMAND ${name})
  if(ARG_COST)
    set_tests_properties(${name} PROPERTIES COST ${ARG_COST})
  endif()
endfunction()

if(MLC_FUZZ)
  add_custom_target(mlc-fuzzers)
endif()

# mlc_fuzz_target(NAME SOURCES... DEPS ...): a libFuzzer program of the target mlc-fuzzers with MLC_FUZZ, else nothing.
function(mlc_fuzz_target name)
  if(NOT MLC_FUZZ)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "DEPS" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS})
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
  add_dependencies(mlc-fuzzers ${name})
endfunction()

# mlc_flatbuffer(TARGET FILE.fbs...): an interface library with the C++ headers generated into the build.
function(mlc_flatbuffer target)
  find_program(MLC_FLATC flatc REQUIRED)
  set(headers)
  foreach(schema ${ARGN})
    get_filename_component(stem ${schema} NAME_WE)
    set(header ${CMAKE_CURRENT_BINARY_DIR}/${stem}_generated.h)
    add_custom_command(OUTPUT ${header}
      COMMAND ${MLC_FLATC} --cpp --scoped-enums --cpp-std c++17 --gen-object-api --filename-suffix _generated
              -I ${CMAKE_CURRENT_SOURCE_DIR} -o ${CMAKE_CURRENT_BINARY_DIR} ${CMAKE_CURRENT_SOURCE_DIR}/${schema}
      DEPENDS ${ARGN} COMMENT "flatc ${schema}")
    list(APPEND headers ${header})
  endforeach()
  add_custom_target(${target}_headers DEPENDS ${headers})
  add_library(${target} INTERFACE)
  target_include_directories(${target} SYSTEM INTERFACE ${CMAKE_CURRENT_BINARY_DIR})
  add_dependencies(${target} ${target}_headers)
endfunction()

if(MLC_BUILD_TESTS AND CMAKE_CROSSCOMPILING)
  # Debian's sources, built for the device.
  find_path(MLC_GTEST_SOURCE CMakeLists.txt PATHS /usr/src/googletest NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH REQUIRED)
  set(INSTALL_GTEST OFF)
  add_subdirectory(${MLC_GTEST_SOURCE} ${CMAKE_BINARY_DIR}/googletest EXCLUDE_FROM_ALL SYSTEM)
  foreach(library gtest gtest_main gmock gmock_main)
    target_compile_options(${library} PRIVATE -w)
  endforeach()
elseif(MLC_BUILD_TESTS)
  find_package(GTest REQUIRED)
endif()
