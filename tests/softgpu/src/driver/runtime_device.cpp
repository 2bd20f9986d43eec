// The runtime's functions about errors, versions and devices.
#include <cstdio>
#include <cstring>

#include "runtime.hpp"
#include "streams.hpp"

namespace softgpu {

namespace {

const char* cudaGetErrorName(int error) {
    return runtime_name(error);
}
const char* cudaGetErrorString(int error) {
    return words_of(error);
}
int cudaGetLastError() {
    return last_error(true);
}
int cudaPeekAtLastError() {
    return last_error(false);
}

int cudaDriverGetVersion(int* number) {
    *number = 13030;
    return 0;
}

int cudaGetDevice(int* number) {
    *number = current_device_number();
    return 0;
}

int cudaSetDevice(int number) {
    return guarded([&] { set_current_device(number); });
}

int cudaGetDeviceCount(int* count) {
    return guarded([&] {
        *count = driver().visible();
        if (!*count) refuse(Error::no_device, "no CUDA-capable device is detected");
    });
}

int cudaDeviceGetAttribute(int* value, int attribute, int number) {
    return guarded([&] { *value = device_attribute(driver().device(number), attribute); });
}

int cudaGetDeviceProperties(void* to, int number) {
    return guarded([&] { write_properties(to, driver().device(number), 13); });
}

int cudaGetDeviceProperties_v2(void* to, int number) {  // of CUDA 12
    return guarded([&] { write_properties(to, driver().device(number), 12); });
}

int cudaDeviceCanAccessPeer(int* can, int device, int peer) {
    return guarded([&] {
        driver().device(device), driver().device(peer);
        *can = 0;
    });
}

int cudaDeviceGetPCIBusId(char* id, int room, int number) {
    return guarded([&] {
        snprintf(id, static_cast<size_t>(room), "0000:%02x:00.0", driver().device(number).number);
    });
}

int cudaDeviceGetByPCIBusId(int* number, const char* id) {
    return guarded([&] {
        if (sscanf(id, "%*x:%x:", reinterpret_cast<unsigned*>(number)) != 1)
            refuse(Error::invalid_value, "no device at %s", id);
        driver().device(*number);
    });
}

int cudaDeviceGetLimit(size_t* value, int) {
    *value = 8 << 20;
    return 0;
}

int cudaDeviceSetLimit(int, size_t) {
    return 0;
}

int cudaDeviceGetStreamPriorityRange(int* least, int* most) {
    *least = 0, *most = -5;
    return 0;
}

int cudaDeviceSynchronize() {
    return guarded([] {
        current_device();
        synchronize_device();
        driver().counts.synchronizations++;
    });
}

int cudaProfilerStart() {
    return 0;
}
int cudaProfilerStop() {
    return 0;
}

}  // namespace

Functions runtime_device_functions() {
    return {
        SOFTGPU_ENTRY(cudaGetErrorName),
        SOFTGPU_ENTRY(cudaGetErrorString),
        SOFTGPU_ENTRY(cudaGetLastError),
        SOFTGPU_ENTRY(cudaPeekAtLastError),
        SOFTGPU_ENTRY(cudaDriverGetVersion),
        SOFTGPU_ENTRY(cudaGetDevice),
        SOFTGPU_ENTRY(cudaSetDevice),
        SOFTGPU_ENTRY(cudaGetDeviceCount),
        SOFTGPU_ENTRY(cudaDeviceGetAttribute),
        SOFTGPU_ENTRY(cudaGetDeviceProperties),
        SOFTGPU_ENTRY(cudaGetDeviceProperties_v2),
        SOFTGPU_ENTRY(cudaDeviceCanAccessPeer),
        SOFTGPU_ENTRY(cudaDeviceGetPCIBusId),
        SOFTGPU_ENTRY(cudaDeviceGetByPCIBusId),
        SOFTGPU_ENTRY(cudaDeviceGetLimit),
        SOFTGPU_ENTRY(cudaDeviceSetLimit),
        SOFTGPU_ENTRY(cudaDeviceGetStreamPriorityRange),
        SOFTGPU_ENTRY(cudaDeviceSynchronize),
        SOFTGPU_ENTRY(cudaProfilerStart),
        SOFTGPU_ENTRY(cudaProfilerStop),
    };
}

}  // namespace softgpu
