// Modules and their functions, as the driver has them.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "driver.hpp"
#include "engine/run.hpp"
#include "handles.hpp"
#include "ptx/ptx.hpp"

namespace softgpu {

struct LoadedModule;

struct Function {
    LoadedModule& module;
    const Program& program;
    const std::string name;  // demangled, without its parameters
    const bool of_cupy;      // one of CuPy's own kernels
    u32 dynamic_limit;       // bytes of dynamic shared memory of a block
    Usage& usage;

    Function(LoadedModule& module, const Program& program);
};

// What the variables of a module lie in.
struct ModuleMemory {
    std::vector<u64> addresses;

    ~ModuleMemory();
};

struct LoadedModule {
    Device& device;
    ModuleMemory memory;
    Module module;
    std::vector<Region> regions;  // its variables
    std::map<std::string, std::shared_ptr<Function>> functions;

    LoadedModule(const std::string& ptx, Device& device);
    ~LoadedModule();

    // Refuses a name that the module has not got.
    Function& function(const std::string& mangled);
};

Handles<LoadedModule>& modules();

// The function of a handle, which keeps its module alive.
std::shared_ptr<Function> find_function(const void* handle);

}  // namespace softgpu
