// The runtime's functions by name: what patch.cpp puts in place of those in CuPy's modules.
#pragma once

#include <map>
#include <string>

#include "api.hpp"

namespace softgpu {

using Functions = std::map<std::string, const void*>;

Functions runtime_device_functions();  // and errors, versions
Functions runtime_memory_functions();
Functions runtime_copy_functions();
Functions runtime_stream_functions();  // and events
Functions runtime_graph_functions();

const Functions& runtime_functions();  // all of them

#define SOFTGPU_ENTRY(function) {#function, reinterpret_cast<const void*>(function)}

// What the runtime says of a device, in the layout of CUDA 12 or 13.
void write_properties(void* to, const Device& device, int cuda);

// An attribute by its number in cudaDeviceAttr.
int device_attribute(const Device& device, int attribute);

}  // namespace softgpu
