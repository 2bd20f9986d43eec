// A module of PTX in parts: functions and variables, of which none is translated yet.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "declarations.hpp"

namespace softgpu {

// An entry or a function. All are pieces of the module's text.
struct FunctionText {
    string_view name, returns, parameters, directives, body;
    bool is_entry = false;
};

struct ModuleText {
    std::unordered_map<string_view, FunctionText> functions;
    std::vector<VariableDeclaration> variables;
    std::vector<std::string> files;  // by the number of .file, without folders
};

// The parts of a text without comments, which must outlive them.
ModuleText parts_of(string_view text);

}  // namespace softgpu
