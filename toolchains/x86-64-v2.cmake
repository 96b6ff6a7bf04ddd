# x86-64 with SSE4.2 and later: Atom and Celeron boards, old PCs. Kernels for AVX2 and AVX-512 are inside, too, and chosen
# at load.
set(CMAKE_SYSTEM_PROCESSOR x86_64)
set(MLC_DEVICE_TRIPLE x86_64-linux-gnu)
set(MLC_DEVICE_FLAGS "-march=x86-64-v2")
set(MLC_DEVICE_EMULATOR qemu-x86_64)
set(MLC_DEVICE_EMULATOR_FLAGS -cpu Nehalem)
include(${CMAKE_CURRENT_LIST_DIR}/device.cmake)
