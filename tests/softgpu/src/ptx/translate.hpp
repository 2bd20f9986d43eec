// An entry of a module made into a program.
#pragma once

#include <map>
#include <string>

#include "engine/program.hpp"
#include "module_text.hpp"
#include "ptx.hpp"

namespace softgpu {

// The functions that the entry calls are inlined. `variables` are those of the module that have
// memory. Throws Unknown.
Program translate(const ModuleText& module, const std::map<std::string, GlobalVariable>& variables,
                  const FunctionText& entry);

}  // namespace softgpu
