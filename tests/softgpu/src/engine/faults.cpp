#include "faults.hpp"

#include <cxxabi.h>

#include <cstdarg>
#include <cstdlib>

#include "machine.hpp"

namespace softgpu {

namespace {

std::string file_name(const std::string& path) {
    return path.substr(path.rfind('/') + 1);
}

// "void f<int, 2>(float*)" -> "f<int, 2>"
std::string without_signature(const std::string& name) {
    size_t end = name.size(), begin = 0;
    int depth = 0;
    for (size_t i = 0; i < name.size(); i++) {
        const char c = name[i];
        if (c == '(' && depth == 0 && i > begin && name.compare(i, 11, "(anonymous ")) {
            end = i;
            break;
        }
        depth += (c == '<' || c == '(') - (c == '>' || c == ')');
        if (c == ' ' && depth == 0) begin = i + 1;
    }
    return name.substr(begin, end - begin);
}

std::string of_kernel(const Machine& m) {
    std::string where = demangled(m.program->name);
    const std::string lines = m.now ? source_lines(m, *m.now) : "";
    if (!lines.empty()) where += " (" + lines + ")";
    return where + text(", block (%u, %u, %u)", m.block[0], m.block[1], m.block[2]);
}

std::string statement(const Machine& m) {
    const auto& all = m.program->statements;
    if (!m.now || size_t(m.now->statement) >= all.size()) return "";
    return ": `" + all[m.now->statement].text + "`";
}

}  // namespace

std::string demangled(const std::string& name) {
    if (name.compare(0, 2, "_Z")) return name;  // "f" would be the type float
    int status;
    char* given = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
    if (!given) return name;
    const std::string whole = given;
    free(given);
    return without_signature(whole);
}

std::string source_lines(const Machine& m, const Instruction& instruction) {
    const auto& all = m.program->statements;
    std::string lines;
    if (size_t(instruction.statement) >= all.size()) return lines;
    for (const SourceLine& at : all[instruction.statement].lines) {
        if (size_t(at.file) >= m.program->files.size()) continue;
        lines += lines.empty() ? "" : ", in ";
        lines += file_name(m.program->files[at.file]) + ":" + std::to_string(at.line);
    }
    return lines;
}

void fail(Machine& m, int lane, const char* format, ...) {
    if (!m.fault.empty()) return;
    char what[1024];
    va_list values;
    va_start(values, format);
    vsnprintf(what, sizeof what, format, values);
    va_end(values);
    m.fault = of_kernel(m) + text(", thread %d: %s", m.thread(lane), what) + statement(m);
}

void fail_block(Machine& m, const std::string& what) {
    if (m.fault.empty()) m.fault = of_kernel(m) + ": " + what + statement(m);
}

const Variable* variable_before(const Machine& m, u64 address) {
    const Variable* found = nullptr;
    for (const Variable& v : m.variables)
        if (v.begin <= address && (!found || v.begin >= found->begin)) found = &v;
    return found;
}

std::string shared_place(const Machine& m, u32 address) {
    const Variable* v = variable_before(m, address);
    if (!v) return text("byte %u of shared memory", address);
    const bool dynamic = v->name.empty();
    std::string name = demangled(v->name);
    name = name.substr(name.rfind(':') + 1);  // "kernel()::tile"
    return text("byte %u of %s", address - v->begin,
                dynamic ? "dynamic shared memory" : ("shared variable " + name).c_str());
}

std::string global_place(const Machine& m, u64 address) {
    for (const Region& r : m.launch->regions)
        if (address >= r.begin && address < r.end)
            return text("byte %llu of %s", static_cast<unsigned long long>(address - r.begin),
                        r.name.c_str());
    return text("0x%llx", static_cast<unsigned long long>(address));
}

void block_index(const Machine& m, u32 number, u32 (&index)[3]) {
    const u32* grid = m.launch->grid;
    index[0] = number % grid[0];
    index[1] = number / grid[0] % grid[1];
    index[2] = number / grid[0] / grid[1];
}

}  // namespace softgpu
