// A module of PTX, as NVRTC emits it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "engine/program.hpp"

namespace softgpu {

// A variable of a module in global or constant memory.
struct GlobalVariable {
    u64 at = 0, bytes = 0;
};

class Module {
  public:
    // `allocate` gives device memory for a module's variables: (bytes, name) -> address. Throws
    // Unknown.
    Module(const std::string& ptx, std::function<u64(u64, const std::string&)> allocate);
    ~Module();

    // The kernel of a mangled name, translated when it is first asked for; null if there is none.
    // Throws Unknown.
    const Program* kernel(const std::string& name);

    // The variable of a name, or null.
    const GlobalVariable* variable(const std::string& name) const;

    // All of them, by name.
    const std::map<std::string, GlobalVariable>& variables() const;

  private:
    struct Parts;
    std::unique_ptr<Parts> parts;
};

}  // namespace softgpu
