# CUDA kernels: compiled by nvcc when the project is built, embedded beside the compiler, copied into artifacts. The
# runtime needs none of this.
set(MLC_CUDA AUTO CACHE STRING "CUDA kernels: ON (nvcc is required), OFF, or AUTO (when nvcc is found)")
set_property(CACHE MLC_CUDA PROPERTY STRINGS AUTO ON OFF)
get_filename_component(MLC_CUDA_TREE ${CMAKE_CURRENT_LIST_DIR}/.. ABSOLUTE)
# toolchains/cuda.sh installs a toolkit here where the machine has none.
set(MLC_CUDA_ROOT ${MLC_CUDA_TREE}/build-cuda/nvidia/cu13 CACHE PATH "A CUDA toolkit to use where none is installed")

if(NOT MLC_CUDA STREQUAL "OFF")
  find_program(MLC_NVCC nvcc HINTS ENV CUDA_HOME PATHS /usr/local/cuda ${MLC_CUDA_ROOT} PATH_SUFFIXES bin)
  if(MLC_NVCC)
    file(REAL_PATH ${MLC_NVCC} nvcc)
    get_filename_component(MLC_NVCC_DIR ${nvcc} DIRECTORY)
    execute_process(COMMAND ${nvcc} --version OUTPUT_VARIABLE version)
    string(REGEX MATCH "release [0-9.]+" version "${version}")
    find_program(MLC_PTXAS ptxas HINTS ${MLC_NVCC_DIR} REQUIRED)
    # Tests look at the machine code where there is one.
    find_program(MLC_NVDISASM nvdisasm HINTS ${MLC_NVCC_DIR} ${MLC_CUDA_ROOT}/bin)
    message(STATUS "mlc: CUDA kernels by ${nvcc} (${version})")
  elseif(MLC_CUDA STREQUAL "ON")
    message(FATAL_ERROR "MLC_CUDA=ON, and no nvcc: run toolchains/cuda.sh")
  else()
    message(STATUS "mlc: no nvcc: mlc compile --target cuda is refused; toolchains/cuda.sh installs one")
  endif()
endif()

# No contraction, as in the rest of the tree: a kernel says fmaf where it means it.
set(MLC_NVCC_FLAGS -std=c++20 -O3 --fmad=false -I${MLC_CUDA_TREE} -I${CMAKE_BINARY_DIR}/cuda -Xcompiler=-Wall)
# One wrapper for each shape of the warpgroup product.
if(MLC_NVCC)
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
  set(MLC_WGMMA ${CMAKE_BINARY_DIR}/cuda/Wgmma.inc)
  execute_process(COMMAND ${Python3_EXECUTABLE} ${MLC_CUDA_TREE}/targets/cuda/device/wgmma.py ${MLC_WGMMA}
                  COMMAND_ERROR_IS_FATAL ANY)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${MLC_CUDA_TREE}/targets/cuda/device/wgmma.py)
endif()
# What is compiled: PTX for any later device; machine code of it for 8.x, of which every device runs that of 8.0; and
# Hopper's own.
set(MLC_CUDA_ARCHS sm_80 sm_90a compute_80)

# mlc_cuda_images(NAME SOURCES.cu...): the static library NAME with every source's image for every architecture, which
# mlc::cuda::NAME() lists (targets/cuda/Images.h); empty without nvcc. What ptxas says of registers and spills stays
# beside an image as SOURCE.ARCH.txt.
function(mlc_cuda_images name)
  set(directory ${CMAKE_BINARY_DIR}/cuda/${name})
  file(MAKE_DIRECTORY ${directory})
  set(data)
  set(list)
  set(images)
  foreach(source ${ARGN})
    if(NOT MLC_NVCC)
      break()
    endif()
    get_filename_component(stem ${source} NAME_WE)
    set(base ${directory}/${stem})
    set(source ${CMAKE_CURRENT_SOURCE_DIR}/${source})
    set(compile ${MLC_NVCC} ${MLC_NVCC_FLAGS} -MD -MF)
    add_custom_command(OUTPUT ${base}.compute_80.ptx DEPFILE ${base}.compute_80.d DEPENDS ${source} VERBATIM
      COMMAND ${compile} ${base}.compute_80.d -arch=compute_80 -ptx ${source} -o ${base}.compute_80.ptx
      COMMENT "nvcc ${stem} for compute_80")
    add_custom_command(OUTPUT ${base}.sm_80.cubin DEPENDS ${base}.compute_80.ptx VERBATIM
      COMMAND ${MLC_CUDA_TREE}/tools/logged.sh ${base}.sm_80.txt
              ${MLC_PTXAS} -v -arch=sm_80 ${base}.compute_80.ptx -o ${base}.sm_80.cubin
      COMMENT "ptxas ${stem} for sm_80")
    add_custom_command(OUTPUT ${base}.sm_90a.cubin DEPFILE ${base}.sm_90a.d DEPENDS ${source} VERBATIM
      COMMAND ${MLC_CUDA_TREE}/tools/logged.sh ${base}.sm_90a.txt
              ${compile} ${base}.sm_90a.d -Xptxas -v -arch=sm_90a -cubin ${source} -o ${base}.sm_90a.cubin
      COMMENT "nvcc ${stem} for sm_90a")
    foreach(arch ${MLC_CUDA_ARCHS})
      set(image ${base}.${arch}.cubin)
      if(arch MATCHES "^compute")
        set(image ${base}.${arch}.ptx)
      endif()
      string(APPEND data "MLC_IMAGE(${stem}_${arch}, \"${image}\")\n")
      string(APPEND list "    {\"${stem}\", \"${arch}\", {${stem}_${arch}, ${stem}_${arch}_end}},\n")
      list(APPEND images ${image})
    endforeach()
  endforeach()
  configure_file(${MLC_CUDA_TREE}/cmake/CudaImages.cpp.in ${directory}/Images.cpp @ONLY)
  add_library(${name} STATIC ${directory}/Images.cpp)
  set_source_files_properties(${directory}/Images.cpp PROPERTIES OBJECT_DEPENDS "${images}" SKIP_PRECOMPILE_HEADERS ON)
endfunction()
