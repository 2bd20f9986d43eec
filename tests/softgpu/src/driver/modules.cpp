#include "modules.hpp"

#include "engine/faults.hpp"
#include "errors.hpp"

namespace softgpu {

namespace {

// Functions by handle, and the modules that they are of.
std::unordered_map<const void*, std::weak_ptr<LoadedModule>>& owners() {
    static auto& only = *new std::unordered_map<const void*, std::weak_ptr<LoadedModule>>;
    return only;
}

}  // namespace

Handles<LoadedModule>& modules() {
    static auto& only = *new Handles<LoadedModule>;
    return only;
}

Function::Function(LoadedModule& module, const Program& program)
    : module(module),
      program(program),
      name(demangled(program.name)),
      of_cupy(program.name.rfind("cupy_", 0) == 0),
      dynamic_limit(shared_unasked - static_cast<u32>(program.static_shared)),
      usage(driver().usage[name]) {}

ModuleMemory::~ModuleMemory() {
    for (const u64 address : addresses)
        driver().allocations.release(address, Place::device, "cuModuleUnload");
}

LoadedModule::LoadedModule(const std::string& ptx, Device& device)
    : device(device), module(ptx, [&](u64 bytes, const std::string&) {
          memory.addresses.push_back(driver().allocations.allocate(bytes, Place::device, device));
          return memory.addresses.back();
      }) {
    for (const auto& [name, variable] : module.variables())
        regions.push_back({variable.at, variable.at + variable.bytes, name});
}

LoadedModule::~LoadedModule() {
    for (const auto& [name, function] : functions) owners().erase(function.get());
}

Function& LoadedModule::function(const std::string& mangled) {
    const auto known = functions.find(mangled);
    if (known != functions.end()) return *known->second;
    const Program* program = module.kernel(mangled);
    if (!program) refuse(Error::not_found, "the module has no function %s", mangled.c_str());
    if (static_cast<u32>(program->static_shared) > shared_unasked)
        refuse(Error::invalid_image, "%s: %d bytes of static shared memory, of %u",
               demangled(mangled).c_str(), program->static_shared, shared_unasked);
    auto function = std::make_shared<Function>(*this, *program);
    owners()[function.get()] = modules().find(this, "cuModuleGetFunction");
    return *(functions[mangled] = std::move(function));
}

std::shared_ptr<Function> find_function(const void* handle) {
    const auto found = owners().find(handle);
    std::shared_ptr<LoadedModule> owner;
    if (found != owners().end()) owner = found->second.lock();
    if (!owner) refuse(Error::invalid_handle, "%p is no function of a loaded module", handle);
    auto* function = static_cast<Function*>(const_cast<void*>(handle));
    return std::shared_ptr<Function>(owner, function);
}

}  // namespace softgpu
