#include "ptx.hpp"

#include <cstring>

#include "translate.hpp"

namespace softgpu {
namespace {

// One value of a variable's initial ones: a number, or the address of a variable.
u64 initial_value(string_view word, string_view type,
                  const std::map<std::string, GlobalVariable>& variables) {
    const char kind = word.size() > 1 && word[0] == '0' ? word[1] : ' ';
    if (kind == 'f' || kind == 'F' || kind == 'd' || kind == 'D')
        return u64(integer("0x" + std::string(word.substr(2))));
    const char first = word[0];
    if (first == '-' || (first >= '0' && first <= '9')) {
        if (type[0] != 'f') return u64(integer(word));
        throw Unknown("an initial value " + std::string(word));
    }
    Cursor at(word);
    const bool is_generic = at.take("generic");
    const string_view name = is_generic ? trimmed(at.block('(', ')')) : at.word();
    const auto variable = variables.find(std::string(name));
    if (variable == variables.end() || bytes_of(type) != 8)
        throw Unknown("an initial value " + std::string(word));
    return variable->second.at + u64(at.take('+') ? at.number() : 0);
}

// Fill a variable's memory, which is the host's: braces only group the values.
void initialize(const VariableDeclaration& v, u8* memory,
                const std::map<std::string, GlobalVariable>& variables) {
    std::memset(memory, 0, v.bytes);
    const size_t size = size_t(bytes_of(v.type));
    size_t offset = 0;
    string_view left = v.initial;
    while (true) {
        left = left.substr(std::min(left.find_first_not_of("{}, \t\r\n"), left.size()));
        if (left.empty()) return;
        const string_view word = left.substr(0, left.find_first_of("{},"));
        left.remove_prefix(word.size());
        if (offset + size > v.bytes) throw Unknown("more initial values than there is room");
        const u64 value = initial_value(trimmed(word), v.type, variables);
        std::memcpy(memory + offset, &value, std::min(size, sizeof value));
        offset += size;
    }
}

}  // namespace

struct Module::Parts {
    std::string text;  // of which `parsed` has pieces
    ModuleText parsed;
    std::map<std::string, GlobalVariable> variables;
    std::map<std::string, std::unique_ptr<Program>> programs;
};

Module::Module(const std::string& ptx, std::function<u64(u64, const std::string&)> allocate)
    : parts(std::make_unique<Parts>()) {
    parts->text = without_comments(ptx);
    parts->parsed = parts_of(parts->text);
    const auto for_globals = [&](auto f) {
        for (const VariableDeclaration& v : parts->parsed.variables)
            if (v.space == "global" || v.space == "const") f(v, std::string(v.name));
    };
    for_globals([&](const VariableDeclaration& v, const std::string& name) {
        parts->variables[name] = {allocate(v.bytes, name), v.bytes};
    });
    // All have addresses by now, which may be initial values. Others, as addresses of functions,
    // are not known: who uses such a variable hears that there is none.
    const std::map<std::string, GlobalVariable> placed = parts->variables;
    for_globals([&](const VariableDeclaration& v, const std::string& name) {
        try {
            initialize(v, reinterpret_cast<u8*>(placed.at(name).at), placed);
        } catch (const Unknown&) {
            parts->variables.erase(name);
        }
    });
}

Module::~Module() = default;

const Program* Module::kernel(const std::string& name) {
    const auto known = parts->programs.find(name);
    if (known != parts->programs.end()) return known->second.get();
    const auto function = parts->parsed.functions.find(name);
    if (function == parts->parsed.functions.end() || !function->second.is_entry) return nullptr;
    auto program =
        std::make_unique<Program>(translate(parts->parsed, parts->variables, function->second));
    return (parts->programs[name] = std::move(program)).get();
}

const GlobalVariable* Module::variable(const std::string& name) const {
    const auto found = parts->variables.find(name);
    return found == parts->variables.end() ? nullptr : &found->second;
}

const std::map<std::string, GlobalVariable>& Module::variables() const {
    return parts->variables;
}

}  // namespace softgpu
