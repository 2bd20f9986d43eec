// The driver's functions that CuPy asks libcuda.so.1 for.
#include <algorithm>
#include <fstream>
#include <iterator>

#include "api.hpp"
#include "streams.hpp"

using namespace softgpu;

namespace {

constexpr int version = 13030;  // a driver of CUDA 13.3

Device& device_of_context(const void* context) {
    return driver().device(static_cast<int>(reinterpret_cast<u64>(context)) - 1);
}

void* context_of(int device) {
    return reinterpret_cast<void*>(static_cast<u64>(device) + 1);
}

void load(void** module, std::string image) {
    if (image.rfind("\177ELF", 0) == 0)
        refuse(Error::invalid_image,
               "machine code, where PTX is wanted: CuPy was to have CUPY_COMPILE_WITH_PTX=1 and a "
               "CUPY_CACHE_DIR of its own before it was imported");
    Device& device = current_device();
    *module = modules().add(std::make_shared<LoadedModule>(image, device));
}

int attribute_of(const Function& f, int attribute) {
    switch (attribute) {
        case 0:
            return f.program.most_threads;
        case 1:
            return f.program.static_shared;
        case 3:
            return f.program.local_bytes;
        case 4:
            return 32;  // registers, which PTX does not say
        case 5:
        case 6:
            return f.module.device.limits.capability;
        case 8:
            return static_cast<int>(f.dynamic_limit);
        default:
            return 0;
    }
}

}  // namespace

extern "C" {

int cuGetErrorName(int error, const char** name) {
    *name = driver_name(error);
    return 0;
}

int cuGetErrorString(int error, const char** words) {
    *words = words_of(error);
    return 0;
}

// NVRTC asks, which can do without a device.
int cuInit(unsigned) {
    return static_cast<int>(Error::no_device);
}

int cuGetExportTable(const void** table, const void*) {
    *table = nullptr;
    return static_cast<int>(Error::not_supported);
}

int cuDriverGetVersion(int* number) {
    *number = version;
    return 0;
}

int cuDevicePrimaryCtxRelease_v2(int) {
    return 0;
}

int cuCtxGetCurrent(void** context) {
    *context = context_of(current_device_number());
    return 0;
}

int cuCtxSetCurrent(void* context) {
    return guarded([&] {
        if (context) set_current_device(device_of_context(context).number);
    });
}

int cuCtxCreate_v2(void** context, unsigned, int device) {
    return guarded([&] {
        set_current_device(device);
        *context = context_of(device);
    });
}

int cuCtxDestroy_v2(void*) {
    return 0;
}

int cuCtxGetDevice(int* device) {
    *device = current_device_number();
    return 0;
}

int cuStreamGetCtx(void* stream, void** context) {
    return guarded([&] { *context = context_of(find_stream(stream, "cuStreamGetCtx")->device); });
}

int cuModuleLoadData(void** module, const void* image) {
    return guarded([&] { load(module, static_cast<const char*>(image)); });
}

int cuModuleLoad(void** module, const char* path) {
    return guarded([&] {
        std::ifstream file(path, std::ios::binary);
        if (!file) refuse(Error::not_found, "no file %s", path);
        load(module, {std::istreambuf_iterator<char>(file), {}});
    });
}

int cuModuleUnload(void* module) {
    return guarded([&] { modules().remove(module, "cuModuleUnload"); });
}

int cuModuleGetFunction(void** function, void* module, const char* name) {
    return guarded(
        [&] { *function = &modules().find(module, "cuModuleGetFunction")->function(name); });
}

int cuModuleGetGlobal_v2(u64* address, size_t* bytes, void* module, const char* name) {
    return guarded([&] {
        const auto found = modules().find(module, "cuModuleGetGlobal");
        const GlobalVariable* variable = found->module.variable(name);
        if (!variable) refuse(Error::not_found, "the module has no variable %s", name);
        if (address) *address = variable->at;
        if (bytes) *bytes = variable->bytes;
    });
}

int cuLaunchKernel(void* function, u32 grid_x, u32 grid_y, u32 grid_z, u32 block_x, u32 block_y,
                   u32 block_z, u32 shared, void* stream, void** arguments, void** extra) {
    return guarded([&] {
        auto found = find_function(function);
        const auto to = ready_stream(stream, "cuLaunchKernel");
        if (extra) refuse(Error::not_supported, "%s: a launch with `extra`", found->name.c_str());
        if (to->device != current_device_number())
            refuse(Error::invalid_handle, "%s: a stream of cuda:%d, where cuda:%d is current",
                   found->name.c_str(), to->device, current_device_number());
        submit(*to, checked_launch(found, {grid_x, grid_y, grid_z}, {block_x, block_y, block_z},
                                   shared, arguments));
    });
}

// Blocks run one after another, so they cannot wait for each other.
int cuLaunchCooperativeKernel(void* function) {
    return guarded([&] {
        refuse(Error::not_supported, "%s: a cooperative launch",
               find_function(function)->name.c_str());
    });
}

int cuFuncGetAttribute(int* value, int attribute, void* function) {
    return guarded([&] { *value = attribute_of(*find_function(function), attribute); });
}

int cuFuncSetAttribute(void* function, int attribute, int value) {
    return guarded([&] {
        Function& f = *find_function(function);
        if (attribute != 8) return;
        const int most = static_cast<int>(f.module.device.limits.shared_opt_in);
        if (value < 0 || value > most - f.program.static_shared)
            refuse(Error::invalid_value,
                   "%s: %d dynamic and %d static bytes of shared memory, of %d", f.name.c_str(),
                   value, f.program.static_shared, most);
        f.dynamic_limit = static_cast<u32>(value);
    });
}

int cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void* function, int threads,
                                                size_t dynamic_shared) {
    return guarded([&] {
        const Function& f = *find_function(function);
        const u64 shared = dynamic_shared + static_cast<u64>(f.program.static_shared);
        *blocks = resident_blocks(f.module.device.limits, threads, shared);
    });
}

int cuOccupancyMaxPotentialBlockSize(int* grid, int* block, void* function, void*,
                                     size_t dynamic_shared, int limit) {
    return guarded([&] {
        const Function& f = *find_function(function);
        const Limits& limits = f.module.device.limits;
        const u64 shared = dynamic_shared + static_cast<u64>(f.program.static_shared);
        const int most =
            limit > 0 ? std::min(limit, f.program.most_threads) : f.program.most_threads;
        int best = 0;
        for (int threads = most / 32 * 32; threads > 0; threads -= 32) {
            const int resident = threads * resident_blocks(limits, threads, shared);
            if (resident > best) best = resident, *block = threads;
        }
        if (!best) *block = most;
        *grid = limits.multiprocessors * resident_blocks(limits, *block, shared);
    });
}

}  // extern "C"

// The linker of the driver, which separate compilation needs.
#define NOT_SUPPORTED(name)                                                \
    extern "C" int name() {                                                \
        return report(Error::not_supported, #name ": there is no linker"); \
    }
NOT_SUPPORTED(cuLinkCreate_v2)
NOT_SUPPORTED(cuLinkAddData_v2)
NOT_SUPPORTED(cuLinkAddFile_v2)
NOT_SUPPORTED(cuLinkComplete)
NOT_SUPPORTED(cuLinkDestroy)
