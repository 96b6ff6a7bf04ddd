# What the toolchain files of devices share; each sets MLC_DEVICE_TRIPLE, MLC_DEVICE_FLAGS and MLC_DEVICE_EMULATOR before.
#   -DMLC_TRIPLE=aarch64-poky-linux  the triple of another distribution's compiler and libraries
#   -DCMAKE_SYSROOT=DIR              the headers and libraries of Yocto, Buildroot or a device's own root, in place of
#                                    Debian's cross packages
#   -DCMAKE_C_COMPILER, -DCMAKE_CXX_COMPILER   another cross compiler than clang 19
set(CMAKE_SYSTEM_NAME Linux)
if(NOT MLC_TRIPLE)
  set(MLC_TRIPLE ${MLC_DEVICE_TRIPLE})
endif()
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES MLC_TRIPLE)

if(NOT CMAKE_CXX_COMPILER)
  set(CMAKE_C_COMPILER clang-19)
  set(CMAKE_CXX_COMPILER clang++-19)
endif()
if(CMAKE_CXX_COMPILER MATCHES "clang")
  set(CMAKE_C_COMPILER_TARGET ${MLC_TRIPLE})
  set(CMAKE_CXX_COMPILER_TARGET ${MLC_TRIPLE})
  set(CMAKE_EXE_LINKER_FLAGS_INIT -fuse-ld=lld)
  set(CMAKE_SHARED_LINKER_FLAGS_INIT -fuse-ld=lld)
endif()
set(CMAKE_C_FLAGS_INIT "${MLC_DEVICE_FLAGS}")
set(CMAKE_CXX_FLAGS_INIT "${MLC_DEVICE_FLAGS}")

# Tools are this machine's, libraries the device's.
if(NOT CMAKE_SYSROOT)
  set(CMAKE_FIND_ROOT_PATH /usr/${MLC_TRIPLE})
endif()
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)

# Tests run under emulation.
find_program(MLC_EMULATOR ${MLC_DEVICE_EMULATOR})
if(MLC_EMULATOR)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${MLC_EMULATOR} ${MLC_DEVICE_EMULATOR_FLAGS})
  if(CMAKE_SYSROOT)
    list(APPEND CMAKE_CROSSCOMPILING_EMULATOR -L ${CMAKE_SYSROOT})
  elseif(IS_DIRECTORY /usr/${MLC_TRIPLE})
    list(APPEND CMAKE_CROSSCOMPILING_EMULATOR -L /usr/${MLC_TRIPLE})
  endif()
endif()
