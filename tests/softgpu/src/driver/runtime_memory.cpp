// The runtime's functions that allocate and free, and those of memory pools, which keep nothing.
#include <cstring>

#include "runtime.hpp"
#include "streams.hpp"

namespace softgpu {

namespace {

int allocate(void** to, size_t bytes, Place place, const char* call) {
    return guarded([&] {
        Device& device = current_device();
        check_capture_unsafe(call);
        *to = reinterpret_cast<void*>(driver().allocations.allocate(bytes, place, device));
    });
}

int release(void* pointer, Place place, const char* call) {
    return guarded([&] {
        if (pointer) check_capture_unsafe(call);
        driver().allocations.release(reinterpret_cast<u64>(pointer), place, call);
    });
}

int cudaMalloc(void** to, size_t bytes) {
    return allocate(to, bytes, Place::device, "cudaMalloc");
}
int cudaMallocManaged(void** to, size_t bytes, u32) {
    return allocate(to, bytes, Place::managed, "cudaMallocManaged");
}
int cudaHostAlloc(void** to, size_t bytes, u32) {
    return allocate(to, bytes, Place::host, "cudaHostAlloc");
}
int cudaMallocHost(void** to, size_t bytes) {
    return allocate(to, bytes, Place::host, "cudaMallocHost");
}
int cudaFree(void* pointer) {
    return release(pointer, Place::device, "cudaFree");
}
int cudaFreeHost(void* pointer) {
    return release(pointer, Place::host, "cudaFreeHost");
}

int cudaMemGetInfo(size_t* free, size_t* total) {
    return guarded([&] {
        const Device& device = current_device();
        *free = device.free_bytes();
        *total = device.memory;
    });
}

int cudaPointerGetAttributes(void* to, const void* pointer) {
    return guarded([&] {
        struct {
            int place = 0, device = -1;
            const void *on_device = nullptr, *on_host = nullptr;
        } attributes;
        if (const Allocation* a = driver().allocations.find(reinterpret_cast<u64>(pointer))) {
            attributes.place = static_cast<int>(a->place);
            attributes.device = a->device->number;
            attributes.on_device = pointer;
            if (a->place != Place::device) attributes.on_host = pointer;
        } else {
            attributes.on_host = pointer;
        }
        memcpy(to, &attributes, sizeof attributes);
    });
}

int cudaMemPrefetchAsync() {
    return 0;
}
int cudaMemAdvise() {
    return 0;
}

// Pools. The handle of one is the device that it is of.

Device& device_of(void* pool) {
    for (Device& device : driver().devices)
        if (&device == pool) return device;
    refuse(Error::invalid_value, "%p is no memory pool", pool);
}

int allocate_in_stream(void** to, size_t bytes, void* stream, Device& device) {
    const auto in = ready_stream(stream, "cudaMallocAsync");
    if (in->capture) in->capture->spoil(Error::capture_unsupported, "cudaMallocAsync");
    *to = reinterpret_cast<void*>(driver().allocations.allocate(bytes, Place::device, device));
    return 0;
}

int cudaMallocAsync(void** to, size_t bytes, void* stream) {
    return guarded([&] { allocate_in_stream(to, bytes, stream, current_device()); });
}
int cudaMallocFromPoolAsync(void** to, size_t bytes, void* pool, void* stream) {
    return guarded([&] { allocate_in_stream(to, bytes, stream, device_of(pool)); });
}
int cudaFreeAsync(void* pointer, void* stream) {
    return guarded([&] {
        const auto in = ready_stream(stream, "cudaFreeAsync");
        if (in->capture) in->capture->spoil(Error::capture_unsupported, "cudaFreeAsync");
        driver().allocations.release(reinterpret_cast<u64>(pointer), Place::device,
                                     "cudaFreeAsync");
    });
}
int cudaDeviceGetDefaultMemPool(void** pool, int number) {
    return guarded([&] { *pool = &driver().device(number); });
}
int cudaDeviceGetMemPool(void** pool, int number) {
    return cudaDeviceGetDefaultMemPool(pool, number);
}
int cudaDeviceSetMemPool(int number, void* pool) {
    return guarded([&] {
        if (&driver().device(number) != &device_of(pool))
            refuse(Error::not_supported, "cudaDeviceSetMemPool: a pool of another device");
    });
}
int cudaMemPoolTrimTo(void* pool, size_t) {
    return guarded([&] { device_of(pool); });
}
int cudaMemPoolGetAttribute(void* pool, int attribute, void* to) {
    return guarded([&] {
        const Device& device = device_of(pool);
        u64 value = 0;
        switch (attribute) {
            case 1:
            case 2:
            case 3:  // reuse of what other streams freed
                *static_cast<int*>(to) = 1;
                return;
            case 4:
                value = device.release_threshold;
                break;
            case 5:
            case 7:
                value = device.used;
                break;  // reserved and used
            case 6:
            case 8:
                value = device.most_used;
                break;
            default:
                refuse(Error::invalid_value, "attribute %d of a memory pool", attribute);
        }
        memcpy(to, &value, sizeof value);
    });
}
int cudaMemPoolSetAttribute(void* pool, int attribute, void* from) {
    return guarded([&] {
        Device& device = device_of(pool);
        if (attribute == 4) memcpy(&device.release_threshold, from, sizeof(u64));
        if (attribute == 6 || attribute == 8) device.most_used = device.used;
    });
}

}  // namespace

Functions runtime_memory_functions() {
    return {
        SOFTGPU_ENTRY(cudaMalloc),
        SOFTGPU_ENTRY(cudaMallocManaged),
        SOFTGPU_ENTRY(cudaHostAlloc),
        SOFTGPU_ENTRY(cudaMallocHost),
        SOFTGPU_ENTRY(cudaFree),
        SOFTGPU_ENTRY(cudaFreeHost),
        SOFTGPU_ENTRY(cudaMemGetInfo),
        SOFTGPU_ENTRY(cudaPointerGetAttributes),
        SOFTGPU_ENTRY(cudaMemPrefetchAsync),
        SOFTGPU_ENTRY(cudaMemAdvise),
        SOFTGPU_ENTRY(cudaMallocAsync),
        SOFTGPU_ENTRY(cudaMallocFromPoolAsync),
        SOFTGPU_ENTRY(cudaFreeAsync),
        SOFTGPU_ENTRY(cudaDeviceGetDefaultMemPool),
        SOFTGPU_ENTRY(cudaDeviceGetMemPool),
        SOFTGPU_ENTRY(cudaDeviceSetMemPool),
        SOFTGPU_ENTRY(cudaMemPoolTrimTo),
        SOFTGPU_ENTRY(cudaMemPoolGetAttribute),
        SOFTGPU_ENTRY(cudaMemPoolSetAttribute),
    };
}

}  // namespace softgpu
