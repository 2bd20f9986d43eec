#include "types.hpp"

#include <cstdarg>
#include <cstdio>

namespace softgpu {

std::string text(const char* format, ...) {
    va_list values, again;
    va_start(values, format);
    va_copy(again, values);
    std::string result(vsnprintf(nullptr, 0, format, values), '\0');
    vsnprintf(result.data(), result.size() + 1, format, again);
    va_end(again);
    va_end(values);
    return result;
}

}  // namespace softgpu
