// The way into CuPy. The CUDA runtime is linked statically into some of CuPy's extension modules.
// When such a module has been loaded, and before Python runs it, its functions of the runtime are
// found by the module's symbol table, and a jump to ours is written over their first bytes, in
// memory: the file is never changed. One that we lack is overwritten too, and then says its name.
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <set>
#include <vector>

#include "runtime.hpp"

namespace softgpu {

const Functions& runtime_functions() {
    static const Functions all = [] {
        Functions all;
        for (const auto& some :
             {runtime_device_functions(), runtime_memory_functions(), runtime_copy_functions(),
              runtime_stream_functions(), runtime_graph_functions()})
            all.insert(some.begin(), some.end());
        return all;
    }();
    return all;
}

namespace {

struct Symbol {
    std::string name;
    u64 value, bytes;
};

// mov rax, to; jmp rax
constexpr u64 jump_bytes = 12;

// Functions that do without a device, and that need no replacement.
const std::set<std::string> kept = {"cudaRuntimeGetVersion"};

// Of functions that exist in one version of CUDA only.
const std::set<std::string> optional = {"cudaGetDeviceProperties", "cudaGetDeviceProperties_v2"};

[[noreturn]] void fail(const std::string& why) {
    throw Refusal{Error::not_supported, why};
}

int missing(const char* name) {
    return report(Error::not_supported, std::string(name) + " is not in softgpu");
}

void write_jump(u8* at, const void* to) {
    const u64 target = reinterpret_cast<u64>(to);
    memcpy(at, "\x48\xb8", 2);
    memcpy(at + 2, &target, 8);
    memcpy(at + 10, "\xff\xe0", 2);
}

// Code that calls `missing` with a name: mov rdi, name; and a jump. It stays for ever.
const void* stub_of(const std::string& name) {
    constexpr size_t stub_bytes = 32, page = 4096;
    static u8 *next = nullptr, *end = nullptr;
    if (next == end) {
        void* mapped = mmap(nullptr, page, PROT_READ | PROT_WRITE | PROT_EXEC,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (mapped == MAP_FAILED) fail("this system gives no memory that can be executed");
        next = static_cast<u8*>(mapped);
        end = next + page;
    }
    const u64 text = reinterpret_cast<u64>(strdup(name.c_str()));
    memcpy(next, "\x48\xbf", 2);
    memcpy(next + 2, &text, 8);
    write_jump(next + 10, reinterpret_cast<const void*>(missing));
    next += stub_bytes;
    return next - stub_bytes;
}

struct MappedFile {
    const char* bytes = nullptr;
    size_t size = 0;

    explicit MappedFile(const std::string& path) {
        const int file = open(path.c_str(), O_RDONLY);
        struct stat status = {};
        if (file < 0 || fstat(file, &status)) fail("it cannot be read");
        size = static_cast<size_t>(status.st_size);
        void* mapped = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
        close(file);
        if (mapped == MAP_FAILED) fail("it cannot be read");
        bytes = static_cast<const char*>(mapped);
    }
    ~MappedFile() { munmap(const_cast<char*>(bytes), size); }
    MappedFile(const MappedFile&) = delete;
};

// The functions of the runtime in a file, by its full symbol table.
std::vector<Symbol> runtime_symbols(const std::string& path) {
    const MappedFile file(path);
    const auto* header = reinterpret_cast<const Elf64_Ehdr*>(file.bytes);
    if (file.size < sizeof *header || memcmp(file.bytes, ELFMAG, SELFMAG) ||
        header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_machine != EM_X86_64)
        fail("it is no module for x86-64");
    const auto* sections = reinterpret_cast<const Elf64_Shdr*>(file.bytes + header->e_shoff);
    std::vector<Symbol> found;
    for (int i = 0; i < header->e_shnum; i++) {
        const Elf64_Shdr& table = sections[i];
        if (table.sh_type != SHT_SYMTAB) continue;
        const char* names = file.bytes + sections[table.sh_link].sh_offset;
        const auto* symbols = reinterpret_cast<const Elf64_Sym*>(file.bytes + table.sh_offset);
        for (u64 k = 0; k < table.sh_size / sizeof *symbols; k++) {
            const Elf64_Sym& s = symbols[k];
            const char* name = names + s.st_name;
            const bool is_runtime = !strncmp(name, "cuda", 4) && name[4] >= 'A' && name[4] <= 'Z';
            if (is_runtime && ELF64_ST_TYPE(s.st_info) == STT_FUNC && s.st_shndx != SHN_UNDEF)
                found.push_back({name, s.st_value, s.st_size});
        }
    }
    if (found.empty()) fail("it has no symbol table, or no CUDA runtime in it");
    return found;
}

u64 load_address(const std::string& path) {
    void* module = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);  // Python will have the same
    if (!module) fail(dlerror());
    link_map* map = nullptr;
    if (dlinfo(module, RTLD_DI_LINKMAP, &map)) fail(dlerror());
    return map->l_addr;
}

void replace(u64 base, const Symbol& symbol, const void* by) {
    if (symbol.bytes < jump_bytes) fail(symbol.name + " is too short for a jump");
    constexpr u64 page = 4096;
    u8* at = reinterpret_cast<u8*>(base + symbol.value);
    const u64 begin = (base + symbol.value) / page * page;
    const u64 bytes = base + symbol.value + jump_bytes - begin;
    if (mprotect(reinterpret_cast<void*>(begin), bytes, PROT_READ | PROT_WRITE | PROT_EXEC))
        fail("this system lets no program change its code");
    write_jump(at, by);
    mprotect(reinterpret_cast<void*>(begin), bytes, PROT_READ | PROT_EXEC);
}

void patch(const std::string& path) {
    const std::vector<Symbol> symbols = runtime_symbols(path);
    std::set<std::string> lacking;
    for (const auto& [name, function] : runtime_functions())
        if (!optional.count(name)) lacking.insert(name);
    for (const Symbol& symbol : symbols) lacking.erase(symbol.name);
    if (!lacking.empty()) {
        std::string names;
        for (const std::string& name : lacking) names += (names.empty() ? "" : ", ") + name;
        fail("its CUDA runtime lacks " + names);
    }
    const u64 base = load_address(path);
    for (const Symbol& symbol : symbols) {
        const auto ours = runtime_functions().find(symbol.name);
        if (ours != runtime_functions().end())
            replace(base, symbol, ours->second);
        else if (!kept.count(symbol.name) && symbol.bytes >= jump_bytes)
            replace(base, symbol, stub_of(symbol.name));
    }
}

}  // namespace

}  // namespace softgpu

// Load an extension module and put our runtime in place of its own. Returns 0, or an error, whose
// words cuGetErrorString gives.
extern "C" int softgpu_patch(const char* path) {
    return softgpu::guarded([&] { softgpu::patch(path); });
}
