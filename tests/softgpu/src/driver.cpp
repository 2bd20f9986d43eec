#include "driver.hpp"

#include <cxxabi.h>

#include <chrono>
#include <cstdlib>

#include "errors.hpp"

namespace softgpu {

namespace {

thread_local int current_number = 0;

}  // namespace

// It is never destroyed: Python may free arrays and streams while the process ends.
Driver& driver() {
    static Driver& only = *new Driver;
    return only;
}

int Driver::visible() const {
    const int all = static_cast<int>(devices.size());
    return options.visible >= 0 && options.visible < all ? static_cast<int>(options.visible) : all;
}

Device& Driver::device(int number) {
    if (!visible()) refuse(Error::no_device, "there is no device");
    if (number < 0 || number >= visible())
        refuse(Error::invalid_device, "device %d of %d", number, visible());
    return devices[static_cast<size_t>(number)];
}

Settings Driver::settings(const Device& device, bool of_cupy) const {
    Settings s;
    s.seed = static_cast<u32>(options.seed);
    s.rough = options.rough;
    s.races = options.races && !of_cupy;
    s.strict = options.strict && !of_cupy;
    s.mma_products = options.mma_products < 0 ? device.limits.mma_products
                                              : static_cast<int>(options.mma_products);
    s.mma_bits = options.mma_bits < 0 ? device.limits.mma_bits : static_cast<int>(options.mma_bits);
    return s;
}

Device& current_device() {
    return driver().device(current_number);
}
int current_device_number() {
    return current_number;
}
void set_current_device(int number) {
    current_number = driver().device(number).number;
}

std::string short_name(const std::string& mangled) {
    int status = 0;
    char* demangled = abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status);
    if (status || !demangled) return mangled;
    std::string name = demangled;
    free(demangled);
    // A template's name begins with its return type, and a kernel's is void.
    if (name.rfind("void ", 0) == 0) name = name.substr(5);
    int depth = 0;
    for (size_t i = 0; i < name.size(); i++) {
        if (name[i] == '<') depth++;
        if (name[i] == '>') depth--;
        if (name[i] == '(' && !depth && name.compare(i, 21, "(anonymous namespace)")) {
            name.resize(i);
            break;
        }
    }
    return name;
}

double now() {
    using clock = std::chrono::steady_clock;
    return std::chrono::duration<double>(clock::now().time_since_epoch()).count();
}

}  // namespace softgpu
