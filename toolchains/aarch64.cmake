# ARM of 64 bits, every armv8-a and later: Raspberry Pi 3 to 5 with a 64-bit system, servers.
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(MLC_DEVICE_TRIPLE aarch64-linux-gnu)
set(MLC_DEVICE_FLAGS "-march=armv8-a")
set(MLC_DEVICE_EMULATOR qemu-aarch64)
include(${CMAKE_CURRENT_LIST_DIR}/device.cmake)
